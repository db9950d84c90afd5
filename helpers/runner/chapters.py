"""One staged chapter: the prose of today with the outputs of the last run."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from helpers import settings
from helpers.runner import keys, pages, results
from helpers.runner.book import Book, Cell, Notebook, code_cells, is_injected, read_notebook, tags
from helpers.runner.outputs import cleaned, figure_metadata, redacted
from helpers.runner.parameters import PARAMETERS_TAG, merged

BOOTSTRAP_TAG = "bootstrap"
INFO_BOX_TAG = "info-box"
CELL_METADATA = ("tags", "mystnb")
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3", "file_extension": ".py"}
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@dataclasses.dataclass(frozen=True)
class State:
    """What is known of a chapter.

    Attributes:
        chapter: Its name.
        title: Its first heading.
        run: The facts of its last complete run, or None.
        current: Whether that run is of the code, data and profile of today.
        failure: The first line of the report of a later run that failed, or None.
    """

    chapter: str
    title: str
    run: results.Run | None
    current: bool
    failure: str | None


def state_of(book: Book, chapter: str, profile: settings.Profile) -> State:
    """Look up what is known of a chapter."""
    run = results.load(book, profile.name, chapter)
    current = False
    if run:
        current = run["key"] == keys.key(keys.explain(book, chapter, profile, parameters=run["parameters"]))
    failure = None if current else results.load_failure(book, profile.name, chapter)
    failure = failure and redacted(failure, book.root)
    return State(chapter, pages.title_of(book, chapter), run, current, failure)


def staged(book: Book, state: State, profile: settings.Profile) -> Notebook:
    """Return the notebook of a page.

    Raises:
        ValueError: For outputs that may not be on a page (see `outputs`), with chapter and cell.
    """
    notebook = copy.deepcopy(read_notebook(book.source(state.chapter)))
    shown = _outputs_by_cell(book, state, profile, notebook)
    values = state.run["parameters"] if state.run and shown else {}
    cells = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if not is_injected(cell):
            where = f"{state.chapter}, cell {number}"
            cells.append(_staged_cell(book, cell, shown.get(number), values, state.chapter, where))
    cells[_place_of_note(cells) : 0] = _notes(state)
    metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": notebook.get("nbformat_minor", 5)}


def _outputs_by_cell(
    book: Book, state: State, profile: settings.Profile, notebook: Notebook
) -> dict[int, tuple[list[dict[str, Any]], int | None]]:
    """Return outputs and execution count by cell number.

    The code cells of a current run are those of today, in order. Of an older run, only the cells that are still the
    same show their outputs.
    """
    if state.run is None:
        return {}
    executed = code_cells(read_notebook(results.notebook_path(book, profile.name, state.chapter)))
    numbers = [number for number, cell in enumerate(notebook["cells"], 1) if cell in code_cells({"cells": [cell]})]
    today = [cell["source"] for cell in code_cells(notebook)]
    then = [cell["source"] for cell in executed]
    blocks = difflib.SequenceMatcher(a=today, b=then, autojunk=False).get_matching_blocks()
    pairs = [(block.a + step, block.b + step) for block in blocks for step in range(block.size)]
    return {numbers[a]: (executed[b]["outputs"], executed[b]["execution_count"]) for a, b in pairs}


def _staged_cell(
    book: Book,
    cell: Cell,
    shown: tuple[list[dict[str, Any]], int | None] | None,
    values: Mapping[str, Any],
    chapter: str,
    where: str,
) -> Cell:
    if cell["cell_type"] == "code":
        return _code_cell(book, cell, shown or ([], None), values, where)
    source = cell["source"]
    if INFO_BOX_TAG in tags(cell):
        source = pages.fill_runs(source, book, chapter)
    return {"cell_type": cell["cell_type"], "metadata": _metadata(cell), "source": source} | _id(cell)


def _code_cell(
    book: Book, cell: Cell, shown: tuple[list[dict[str, Any]], int | None], values: Mapping[str, Any], where: str
) -> Cell:
    outputs, count = cleaned(shown[0], book.root, where=where), shown[1]
    metadata = _metadata(cell)
    if figure := figure_metadata(outputs, where=where):
        metadata["mystnb"] = metadata.get("mystnb", {}) | figure
    if BOOTSTRAP_TAG in tags(cell):
        metadata["tags"] = [*tags(cell), "remove-cell"]
    source = merged(cell["source"], values) if PARAMETERS_TAG in tags(cell) else cell["source"]
    outputs = [_without_transient(output) for output in outputs]
    body = {"cell_type": "code", "metadata": metadata, "source": source, "outputs": outputs, "execution_count": count}
    return body | _id(cell)


def _without_transient(output: dict[str, Any]) -> dict[str, Any]:
    """Keep only width and height of an output's metadata; label, caption and alt text are the cell's now."""
    if "metadata" not in output:
        return output
    kept = {mime: entry for mime, entry in output["metadata"].items() if mime in output.get("data", {})}
    sizes = {mime: {key: entry[key] for key in ("width", "height") if key in entry} for mime, entry in kept.items()}
    return output | {"metadata": sizes}


def _metadata(cell: Cell) -> dict[str, Any]:
    """Keep what a page reads; times of execution and papermill's notes go."""
    return {name: value for name, value in cell.get("metadata", {}).items() if name in CELL_METADATA}


def _id(cell: Cell) -> dict[str, str]:
    return {"id": cell["id"]} if "id" in cell else {}


def _place_of_note(cells: list[Cell]) -> int:
    """A note comes after the cell of the title."""
    return 1 if cells and cells[0]["cell_type"] == "markdown" else 0


def _notes(state: State) -> list[Cell]:
    """Return the warning at the top of a page whose outputs are old or missing."""
    text = note_text(state)
    if text is None:
        return []
    source = f":::{{warning}}\n{text}\n:::\n"
    return [{"cell_type": "markdown", "id": "state-of-this-page", "metadata": {}, "source": source}]


def note_text(state: State) -> str | None:
    """Say what a reader should know about the outputs of a page; None where all is well."""
    if state.current:
        return None
    failed = f"\n\nThe last run failed: `{state.failure.replace('`', ' ')}`" if state.failure else ""
    if state.run is None:
        return f"This page was not executed in this build: it shows code without results.{failed}"
    date = state.run["started"][:10]
    old = f"This page shows results of {date}; its code has changed since. Changed cells show no results."
    return old + failed
