"""What a chapter's result depends on, and the key under which the result is kept.

Prose, tags and outputs are not part of it: editing them never runs code again.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers import settings
from helpers.runner.book import Book, Notebook, code_cells, read_notebook

PACKAGE = "helpers"
LOCK_FILE = "requirements.lock"
_MAGIC = re.compile(r"^(\s*)(?:[%!?]|\w[\w.,\s]*=\s*[%!]).*$", re.MULTILINE)


def key(parts: Mapping[str, str]) -> str:
    """Return one digest for all parts."""
    return _digest(json.dumps(dict(parts), sort_keys=True))


def explain(
    book: Book, chapter: str, profile: settings.Profile, *, parameters: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return the digest of each thing that a chapter's result depends on.

    Args:
        book: The project.
        chapter: Name of the chapter.
        profile: The profile that it runs with.
        parameters: The injected parameters.

    Returns:
        A dict from the part's name (``code``, ``helpers/embedding.py``, ``data/…``, ``profile``, ``parameters``,
        ``requirements.lock``) to its digest.

    Raises:
        FileNotFoundError: If a declared data file does not exist.
    """
    notebook = read_notebook(book.source(chapter))
    sources = [cell["source"] for cell in code_cells(notebook)]
    parts = {
        "code": _digest(json.dumps(sources)),
        "profile": _digest(_profile_text(profile)),
        "parameters": _digest(json.dumps(dict(parameters or {}), sort_keys=True)),
    }
    files = {book.root / LOCK_FILE, *modules_of(book.root, sources), *data_files(book, chapter, notebook)}
    return parts | {path.relative_to(book.root).as_posix(): _file_digest(path) for path in sorted(files)}


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Name the parts that differ between two results."""
    words = {(True, False): "is used no more", (False, True): "is new", (True, True): "changed"}
    differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [f"{name} {words[name in old, name in new]}" for name in differing]


def data_files(book: Book, chapter: str, notebook: Notebook) -> list[Path]:
    """Return the files that a notebook declares in its metadata, ``book.data``: paths or globs from the root.

    Raises:
        FileNotFoundError: If a declared path matches no file.
    """
    found: list[Path] = []
    for pattern in notebook.get("metadata", {}).get("book", {}).get("data", []):
        matches = [path for path in sorted(book.root.glob(pattern)) if path.is_file()]
        if not matches:
            raise FileNotFoundError(f"chapter {chapter} declares the data {pattern!r}, which matches no file")
        found += matches
    return found


def modules_of(root: Path, sources: list[str]) -> set[Path]:
    """Return the files of the helper modules that code cells import, directly or through other helpers."""
    start = root / PACKAGE / "__init__.py"
    found = {start} if start.is_file() else set()
    waiting = [file for source in sources for file in _imported_files(root, _parse(source), package="")]
    waiting += [file for path in found for file in _imported_files(root, _parse(path.read_text()), package=PACKAGE)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            package = ".".join(path.parent.relative_to(root).parts)
            waiting += _imported_files(root, _parse(path.read_text(encoding="utf-8")), package=package)
    return found


def _parse(source: str) -> ast.Module:
    """Parse Python; lines for IPython are taken out, and what is no Python even then imports nothing."""
    for text in (source, _MAGIC.sub(r"\1pass", source)):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    return ast.Module(body=[], type_ignores=[])


def _imported_files(root: Path, tree: ast.Module, *, package: str) -> list[Path]:
    names = {name for node in ast.walk(tree) for name in _imported_names(node, package)}
    return [path for name in sorted(names) for path in _files_of_module(root, name)]


def _imported_names(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that an import statement may refer to; ``from a import b`` may mean ``a.b``."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*parents, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _files_of_module(root: Path, name: str) -> list[Path]:
    """Return a helper module's file and the ``__init__`` files above it; nothing for other packages."""
    steps = name.split(".")
    if steps[0] != PACKAGE:
        return []
    candidates = [root.joinpath(*steps[:depth], "__init__.py") for depth in range(1, len(steps) + 1)]
    candidates.append(root.joinpath(*steps).with_suffix(".py"))
    return [path for path in candidates if path.is_file()]


def _profile_text(profile: settings.Profile) -> str:
    values = dataclasses.asdict(profile)
    values.pop("reason")
    return json.dumps(values, sort_keys=True)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
