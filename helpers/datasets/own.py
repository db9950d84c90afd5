"""Reading the reader's own texts from a CSV, TSV, JSONL, JSON or plain text file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers import settings

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".txt")


def read_texts(path: str | Path, column: str = "text", *, skip_bad: bool = False) -> list[str]:
    """Return the texts of one column of a file, in order.

    Args:
        path: A ``.csv`` or ``.tsv`` with a header, a ``.jsonl`` with an object a line, a ``.json`` with a list of
            objects or of texts, or a ``.txt`` with a text a line.
        column: Column or key that holds the text (not used for ``.txt`` and lists of texts).
        skip_bad: Leave out rows whose text is missing, empty, or not a text, in place of stopping at the first.

    Returns:
        The texts, without white space around them; never an empty list.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: For another ending, a file that is not UTF-8, a line that is not JSON or CSV, an unknown column
            (with the nearest name), a row whose text is missing, empty or not a text (with its number, from 1), or no
            text.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; files that can be read: {', '.join(FORMATS)}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 (byte {error.start}); save it again as UTF-8") from error
    values = list(_values(content, path, column, skip_bad))
    good = []
    for number, value in enumerate(values, start=1):
        if isinstance(value, str) and value.strip():
            good.append(value.strip())
        elif not skip_bad:
            raise ValueError(
                f"{path.name}, row {number}: {column!r} is {value!r}; it should be a text that is not empty "
                "(skip_bad=True leaves such rows out)"
            )
    if not good:
        raise ValueError(f"{path.name} holds no text")
    return good


def _values(content: str, path: Path, column: str, skip_bad: bool) -> Iterator[object]:
    """Yield the value of the column in each row, whatever it is."""
    kind = path.suffix.lower()
    if kind == ".txt":
        yield from (line for line in content.split("\n") if line.strip())
    elif kind in (".csv", ".tsv"):
        yield from _cells(content, path, column)
    else:
        items = _json_lines(content, path) if kind == ".jsonl" else _json_list(content, path)
        for number, item in enumerate(items, start=1):
            if isinstance(item, dict):
                if not skip_bad:
                    _check_column(column, list(item), path, f", row {number}")
                yield item.get(column)
            else:
                yield item


def _cells(content: str, path: Path, column: str) -> Iterator[object]:
    """Yield the cells of a column; where a row has more cells than the header, a list with those that are too many."""
    rows = csv.DictReader(io.StringIO(content), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    try:
        _check_column(column, rows.fieldnames or (), path)
        # A text with a comma and without quotes around it would lose its end in silence.
        yield from ([row[column], *row[None]] if None in row else row[column] for row in rows)
    except csv.Error as error:
        raise ValueError(f"{path.name} is not CSV after line {rows.line_num}: {error}") from error


def _table(content: str, delimiter: str, path: Path, column: str) -> Iterator[object]:
    """Yield the column of a table; a row with more values than the header has lost its quotes, and its text."""
    rows = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter)
    _check_column(column, rows.fieldnames or (), path)
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise ValueError(
                f"{path.name}, row {number} has more values than the header: a text that holds {delimiter!r} "
                f"should stand in double quotes, got {row[column]!r} and then {row[None][0]!r}"
            )
        yield row[column]


def _check_column(column: str, names: Sequence[str], path: Path, where: str = "") -> None:
    if column not in names:
        raise ValueError(f"{path.name}{where} has no column {column!r}; {settings.nearest(column, names)}")


def _json_lines(content: str, path: Path) -> Iterator[object]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield _json(line, f"{path.name}, line {number},")


def _json_list(content: str, path: Path) -> list[object]:
    items = _json(content, path.name)
    if not isinstance(items, list):
        raise ValueError(f"{path.name} should hold a list of objects or texts, got {type(items).__name__}")
    return items


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error.msg}: {text[:60]!r}") from error
