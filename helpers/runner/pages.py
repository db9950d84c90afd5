"""Blocks of pages that are generated: times, profiles, licences, the scoreboard."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers import settings
from helpers.runner import results
from helpers.runner.book import Book, read_notebook, title
from helpers.runner.progress import clock

_RUNS_LINE = re.compile(r"^([ \t]*)<!-- runs -->[ \t]*$", re.MULTILINE)
_BLOCK_LINE = re.compile(r"^<!-- generated: ([\w-]+) -->[ \t]*$", re.MULTILINE)
_README_BLOCK = re.compile(r"^<!-- generated: ([\w-]+) -->\n.*?^<!-- end generated -->$", re.MULTILINE | re.DOTALL)
NOT_RUN = "not run"
REVISION_LENGTH = 12

Fill = Callable[[], str]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; a bar inside a value is escaped."""
    lines = [list(head), ["---"] * len(head), *([str(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(value.replace("|", "\\|") for value in line) + " |" for line in lines)


def fill(text: str, blocks: dict[str, Fill], *, where: str) -> str:
    """Replace each line ``<!-- generated: NAME -->`` of a page.

    Raises:
        ValueError: For an unknown name, with the nearest one.
    """
    return _BLOCK_LINE.sub(lambda match: _block(match.group(1), blocks, where), text)


def fill_readme(text: str, book: Book) -> str:
    """Renew what stands between ``<!-- generated: NAME -->`` and ``<!-- end generated -->``; the marks stay.

    Raises:
        ValueError: For an unknown name, with the nearest one.
    """
    blocks = {"chapters": lambda: readme_chapters(book), "profiles": profiles}

    def renewed(match: re.Match[str]) -> str:
        opening = match.group().splitlines()[0]
        return f"{opening}\n{_block(match.group(1), blocks, 'README.md')}\n<!-- end generated -->"

    return _README_BLOCK.sub(renewed, text)


def _block(name: str, blocks: dict[str, Fill], where: str) -> str:
    if name not in blocks:
        raise ValueError(f"{where} asks for the unknown block {name!r}; {settings.nearest(name, blocks)}")
    return blocks[name]()


def fill_runs(source: str, book: Book, chapter: str) -> str:
    """Replace the line ``<!-- runs -->`` of an info box by time and memory per profile."""
    lines = table(("Profile", "Time", "Peak memory", "Measured"), _runs_rows(book, chapter)).splitlines()
    return _RUNS_LINE.sub(lambda match: "\n".join(match.group(1) + line for line in lines), source)


def _runs_rows(book: Book, chapter: str) -> list[tuple[str, ...]]:
    rows = []
    for name in settings.PROFILES:
        run = quoted_run(book, name, chapter)
        rows.append((name, *(_run_cells(run) if run else (NOT_RUN, "–", "–"))))
    return rows


def _run_cells(run: results.Run) -> tuple[str, str, str]:
    measured = f"{run['date']}, {run['cores']} core{'s' if run['cores'] != 1 else ''}"
    return f"{clock(run['seconds'])} min", f"{run['peak_memory_mb'] / 1000:.1f} GB", measured


def quoted_run(book: Book, profile: str, chapter: str, *, local: bool = True) -> results.Run | None:
    """Return time and memory of a chapter: of the run made here if there is one, else as committed."""
    run = results.load(book, profile, chapter) if local else None
    return results.quoted(run) if run else results.committed(book).get(profile, {}).get(chapter)


def title_of(book: Book, chapter: str) -> str:
    """Return the title of a chapter."""
    return title(read_notebook(book.source(chapter)), default=chapter)


def chapters(book: Book, *, profile: str, prefix: str = "../", local: bool = True) -> str:
    """Return the table of chapters with links, time and memory of one profile."""
    rows = []
    for chapter in book.chapters():
        run = quoted_run(book, profile, chapter, local=local)
        link = f"[{title_of(book, chapter)}]({prefix}notebooks/{chapter}.ipynb)"
        rows.append((link, *(_run_cells(run) if run else (NOT_RUN, "–", "–"))))
    return table(("Chapter", "Time", "Peak memory", "Measured"), rows)


def readme_chapters(book: Book) -> str:
    """Return the table of chapters for the README: committed runs of the laptop profile only."""
    return chapters(book, profile="laptop", prefix="", local=False)


def profiles() -> str:
    """Return the table of profiles."""
    head = ("Profile", "For", "Decoder", "Encoder", "Seeds", "Rows of a split", "Limits of a chapter")
    return table(head, [_profile_row(profile) for profile in settings.PROFILES.values()])


def _profile_row(profile: settings.Profile) -> tuple[object, ...]:
    seeds = f"{len(profile.seeds)} ({len(profile.training_seeds)} where a model is trained)"
    limits = f"{profile.minutes:g} min, {profile.memory_mb / 1000:g} GB"
    names = (f"`{profile.name}`", profile.purpose, f"`{profile.decoder}`", f"`{profile.encoder}`")
    return (*names, seeds, profile.rows or "all", limits)


def licences(module: str, size: str) -> str:
    """Return the licence table of a registry: ``datasets`` (size: ``rows``) or ``models`` (``parameters``)."""
    loaded = _module(module)
    if loaded is None:
        return ""
    head = ("Name", "What it is", "Licence", "Source", "Revision", size.capitalize())
    return table(head, [_licence_row(entry, size) for entry in loaded.REGISTRY.values()])


def _licence_row(entry: Any, size: str) -> tuple[str, ...]:
    revision = f"`{entry.revision[:REVISION_LENGTH]}`" if entry.revision else "–"
    words = (f"`{entry.name}`", entry.title, entry.licence or "–", entry.source or "–", revision)
    return (*words, _amount(getattr(entry, size)))


def _amount(value: int | dict[str, int] | None) -> str:
    """Write a number of parameters, or the rows of each split."""
    if isinstance(value, dict):
        return ", ".join(f"{split} {rows:,}" for split, rows in value.items())
    return "–" if value is None else f"{value:,}"


def scoreboard(book: Book, profile: str) -> str:
    """Return the scoreboard: committed records, and those of this build."""
    records, tables = _module("records"), _module("scoreboard")
    if records is None or tables is None:
        return ""
    folders = [*sorted((book.root / "data" / "records").glob("*/")), book.build / "records" / profile]
    return tables.table([record for folder in folders for record in records.load_all(Path(folder))])


def _module(name: str) -> Any:
    """Import a helper module when a page needs it; None where the package lacks it."""
    try:
        return importlib.import_module(f"helpers.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"helpers.{name}":
            raise
        return None
