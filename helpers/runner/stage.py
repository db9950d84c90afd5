"""Puts together ``_build/stage``, the folder that Jupyter Book reads: prose of today, outputs of the last runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from helpers import settings
from helpers.runner import chapters, pages, verdicts
from helpers.runner.book import Book, Notebook
from helpers.runner.outputs import figure_label
from helpers.runner.status import status

CONFIGURATION = ("_config.yml", "_toc.yml")
MATHJAX_FOLDER = Path("book", "_static", "mathjax")
# The renderer, its fonts, and the extensions that it loads when a formula needs one (\boldsymbol, \cancel …).
MATHJAX_PARTS = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")
_FIGURE_ROLE = re.compile(r"\{(?:numref|ref)\}`(?:[^`<]*<)?(fig-[\w-]+)>?`")
_LABELS = re.compile(r"^\((fig-[\w-]+)\)=|^:name:\s*(fig-[\w-]+)", re.MULTILINE)
FIGURE_MISSING = "*a figure that this build lacks*"


def stage(book: Book, profile: settings.Profile) -> list[chapters.State]:
    """Make ``_build/stage``; files that did not change keep their time, so that Sphinx does not read them again.

    Args:
        book: The project.
        profile: The profile whose results are shown.

    Returns:
        What is known of each chapter.

    Raises:
        ValueError: For outputs that may not be on a page, or an unknown generated block. The old stage stays then.
        FileNotFoundError: Where MathJax is not installed.
    """
    states = [chapters.state_of(book, chapter, profile) for chapter in book.chapters()]
    notebooks = {state.chapter: chapters.staged(book, state, profile) for state in states}
    book.build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=book.build, prefix=".stage-") as name:
        folder = Path(name)
        _copy_prose(book, folder)
        _fill_pages(book, folder, profile, states)
        if not all(state.current for state in states):
            _drop_missing_figures(folder, notebooks)
        for chapter, notebook in notebooks.items():
            _write(folder / "notebooks" / f"{chapter}.ipynb", json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        _copy_mathjax(folder)
        synchronise(folder, book.stage)
    return states


def _copy_prose(book: Book, folder: Path) -> None:
    for name in CONFIGURATION:
        shutil.copyfile(book.root / name, folder / name)
    shutil.copytree(book.root / "book", folder / "book", dirs_exist_ok=True)


def _fill_pages(book: Book, folder: Path, profile: settings.Profile, states: Sequence[chapters.State]) -> None:
    """Fill the generated blocks of all prose pages."""
    blocks: dict[str, pages.Fill] = {
        "profiles": pages.profiles,
        "status": lambda: status(states, profile),
        "scoreboard": lambda: pages.scoreboard(book, profile.name),
        "claims-counts": lambda: verdicts.counts(book),
        "claims": lambda: verdicts.sections(book),
        "chapters": lambda: pages.chapters(book, profile=profile.name),
        "datasets": lambda: pages.licences("datasets", "rows"),
        "models": lambda: pages.licences("models", "parameters"),
    }
    for path in sorted((folder / "book").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        _write(path, pages.fill(text, blocks, where=path.relative_to(folder).as_posix()))


def _drop_missing_figures(folder: Path, notebooks: dict[str, Notebook]) -> None:
    """Where some chapters have no results, references to their figures would be errors: say so in their place."""
    prose = {path: path.read_text(encoding="utf-8") for path in sorted((folder / "book").rglob("*.md"))}
    cells = [cell for notebook in notebooks.values() for cell in notebook["cells"]]
    texts = [*prose.values(), *(cell["source"] for cell in cells if cell["cell_type"] == "markdown")]
    known = {label for text in texts for match in _LABELS.findall(text) for label in match if label}
    known |= {label for cell in cells if (label := figure_label(cell))}
    for path, text in prose.items():
        _write(path, _without_unknown(text, known))
    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = _without_unknown(cell["source"], known)


def _without_unknown(text: str, known: Iterable[str]) -> str:
    return _FIGURE_ROLE.sub(lambda match: match.group() if match.group(1) in known else FIGURE_MISSING, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy_mathjax(folder: Path) -> None:
    """Copy what a page needs of MathJax, with its licence, from the installed package.

    Raises:
        FileNotFoundError: If the package is missing.
    """
    found = importlib.util.find_spec("mathjax")
    source = Path(found.origin).parent / "static" / "mathjax" if found and found.origin else None
    if source is None or not (source / "es5" / MATHJAX_PARTS[0]).is_file():
        raise FileNotFoundError("MathJax is missing: pip install --no-deps django-static-mathjax==3.2.2.1")
    target = folder / MATHJAX_FOLDER
    target.mkdir(parents=True)
    shutil.copyfile(source / "LICENSE", target / "LICENSE")
    for part in MATHJAX_PARTS:
        copy = shutil.copytree if (source / "es5" / part).is_dir() else shutil.copyfile
        copy(source / "es5" / part, target / part)


def synchronise(source: Path, target: Path) -> list[str]:
    """Make ``target`` the same as ``source``; return the files that were written or deleted, sorted."""
    new, old = _files(source), _files(target)
    changed = [name for name, path in new.items() if name not in old or path.read_bytes() != old[name].read_bytes()]
    for name in changed:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(new[name], target / name)
    gone = [name for name in old if name not in new]
    for name in gone:
        old[name].unlink()
    return sorted([*changed, *gone])


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
