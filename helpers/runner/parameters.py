"""The parameters cell of a chapter: read, checked against what is asked for, and shown as it ran."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence

from helpers import settings
from helpers.runner.book import Book, Notebook, code_cells, read_notebook, tags

Scalar = bool | int | float | str
PARAMETERS_TAG = "parameters"
MOST_PARAMETERS = 4


def declared(notebook: Notebook, chapter: str) -> dict[str, Scalar]:
    """Return the names and defaults of a chapter's parameters.

    Raises:
        ValueError: Unless exactly one code cell is tagged ``parameters``, and it holds one to four scalar assignments.
    """
    cells = [cell["source"] for cell in code_cells(notebook) if PARAMETERS_TAG in tags(cell)]
    if len(cells) != 1:
        raise ValueError(f"chapter {chapter} has {len(cells)} cells tagged {PARAMETERS_TAG!r}; it needs exactly one")
    try:
        found = {name: ast.literal_eval(value) for name, value in _assignments(cells[0])}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the parameters cell of {chapter} may only assign literals: {error}") from error
    for name, value in found.items():
        if not isinstance(value, Scalar):
            raise ValueError(f"parameter {name}={value!r} of {chapter} is no bool, int, float or str")
    if not 1 <= len(found) <= MOST_PARAMETERS:
        raise ValueError(f"chapter {chapter} has {len(found)} parameters; allowed: 1 to {MOST_PARAMETERS}")
    return found


def _assignments(source: str) -> list[tuple[str, ast.expr]]:
    """Return (name, right-hand side) of each assignment; anything else in the cell is refused."""
    pairs: list[tuple[str, ast.expr]] = []
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        if not isinstance(target, ast.Name) or node.value is None:  # type: ignore[union-attr]
            raise ValueError(f"line {node.lineno} is not of the form name = value")
        pairs.append((target.id, node.value))  # type: ignore[union-attr]
    return pairs


def for_chapters(
    book: Book, chapters: Sequence[str], profile: str, texts: Mapping[str, str]
) -> dict[str, dict[str, Scalar]]:
    """Return the values to inject into each chapter: the profile, and what ``--set`` gave.

    Args:
        book: The project.
        chapters: The chapters that will run.
        profile: Name of the profile; goes into the parameter ``profile``.
        texts: Parameter name to value, as typed on the command line.

    Raises:
        ValueError: For a name that one of the chapters lacks, or a value of another type than its default.
    """
    if "profile" in texts:
        raise ValueError(f"profile={texts['profile']!r}: give the profile with --profile, not with --set")
    chosen: dict[str, dict[str, Scalar]] = {}
    for chapter in chapters:
        defaults = declared(read_notebook(book.source(chapter)), chapter)
        given = {"profile": profile, **texts}
        chosen[chapter] = {name: _converted(name, text, defaults, chapter) for name, text in given.items()}
    return chosen


def _converted(name: str, text: str, defaults: Mapping[str, Scalar], chapter: str) -> Scalar:
    """Turn typed text into a value of the parameter's type: an int may stand for a float, a bool for neither."""
    if name not in defaults:
        raise ValueError(f"unknown parameter {name!r} of {chapter}; {settings.nearest(name, defaults)}")
    kind = type(defaults[name])
    if kind is str:
        return text
    value = _literal(text)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"parameter {name}={text!r} of {chapter} should be of type {kind.__name__}")
    return value


def _literal(text: str) -> object:
    """Read a Python literal; ``true`` and ``false`` may be written in lower case."""
    try:
        return ast.literal_eval(text.title() if text.lower() in ("true", "false") else text)
    except (SyntaxError, ValueError):
        return text


def merged(source: str, values: Mapping[str, Scalar]) -> str:
    """Put values into the source of a parameters cell; the rest of each line, its comment too, stays."""
    lines = [line.encode("utf-8") for line in source.splitlines(keepends=True)]
    for name, node in reversed(_assignments(source)):
        if name in values and ast.literal_eval(node) != values[name]:
            # Columns of the syntax tree count bytes, not characters.
            first, last = lines[node.lineno - 1], lines[node.end_lineno - 1]
            text = first[: node.col_offset] + _literal_source(values[name]) + last[node.end_col_offset :]
            lines[node.lineno - 1 : node.end_lineno] = [text]
    return b"".join(lines).decode("utf-8")


def _literal_source(value: Scalar) -> bytes:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text.encode("utf-8")
