"""Makes HTML of the staged book with Jupyter Book, quietly, and checks what came out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from helpers import files
from helpers.runner import checks
from helpers.runner.book import Book, title

_WARNING = re.compile(r"WARNING|ERROR|CRITICAL|Exception|Error:")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEADING = re.compile(r"^# .+$", re.MULTILINE)
LOG_LINES = 20
# The module named first is a grammar that nobody here needs and that takes two seconds to load (see worker.py).
CALL = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_book.cli.main import main; main()"
SKELETON = ("_config.yml", "_toc.yml", "book/_static")


class BookError(RuntimeError):
    """The HTML could not be made, or is not fit to be read; the message lists what is wrong."""


def build(book: Book) -> bool:
    """Make ``_build/html`` of ``_build/stage``.

    Returns:
        False where nothing has changed since the last good build, so that nothing was done.

    Raises:
        BookError: For any warning of Jupyter Book, and for pages that fail the checks.
    """
    digests = {"content": _content(book), "skeleton": _skeleton(book)}
    last = _last_build(book)
    if last == digests and (book.html / "index.html").is_file():
        return False
    _memory(book).unlink(missing_ok=True)
    if last.get("skeleton") != digests["skeleton"]:
        # Titles and contents stand on every page; and Sphinx repeats no warning of a page that it has read before.
        for folder in (book.html, book.build / ".doctrees"):
            shutil.rmtree(folder, ignore_errors=True)
    _run_jupyter_book(book)
    if problems := checks.check(book.html, book.pages()):
        raise BookError("the book has problems:\n" + "\n".join(f"  {problem}" for problem in problems))
    files.write_whole(_memory(book), json.dumps(digests) + "\n")
    return True


def _run_jupyter_book(book: Book) -> None:
    """Call Jupyter Book; its output goes to ``_build/build.log``.

    Raises:
        BookError: If it fails, with its warnings.
    """
    options = ["-W", "-n", "--keep-going", "--path-output", str(book.root)]
    # Autodoc imports the helpers of this project.
    paths = [str(book.root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", CALL, "build", str(book.stage), *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=book.build,
        check=False,
    )
    lines = _COLOUR.sub("", finished.stdout).splitlines()
    files.write_whole(book.build / "build.log", "\n".join(lines) + "\n")
    if finished.returncode != 0:
        told = [line for line in lines if _WARNING.search(line)] or lines[-LOG_LINES:]
        message = "\n".join(f"  {line}" for line in told).replace(f"{book.stage}/", "")
        raise BookError(f"Jupyter Book failed (all of its output: _build/build.log):\n{message}")


def _memory(book: Book) -> Path:
    return book.build / "html.json"


def _last_build(book: Book) -> dict[str, str]:
    """Return the digests of the last good build."""
    return json.loads(_memory(book).read_text()) if _memory(book).is_file() else {}


def _content(book: Book) -> str:
    """Digest all that the HTML is made of: the stage, the helpers (for the reference), Jupyter Book."""
    helpers = list((book.root / "helpers").rglob("*.py"))
    return _digest(book.root, [*_files(book.stage), *helpers], importlib.metadata.version("jupyter-book"))


def _skeleton(book: Book) -> str:
    """Digest what every page shows: configuration, table of contents, static files and the titles of all pages."""
    files = [file for name in SKELETON for file in _files(book.stage / name)]
    return _digest(book.root, files, *(_title(book, page) for page in book.pages()))


def _title(book: Book, page: str) -> str:
    path = book.stage / f"{page}.md"
    if path.is_file():
        found = _HEADING.search(path.read_text(encoding="utf-8"))
        return found.group() if found else ""
    return title(json.loads((book.stage / f"{page}.ipynb").read_text(encoding="utf-8")), default="")


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _digest(root: Path, files: Iterable[Path], *texts: str) -> str:
    found = hashlib.sha256("\n".join(texts).encode("utf-8"))
    for path in sorted(files):
        found.update(f"\n{path.relative_to(root).as_posix()} {path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()
