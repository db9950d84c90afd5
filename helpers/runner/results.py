"""What a run leaves behind: an executed notebook with the facts of its run, or the report of a failure."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from helpers import files
from helpers.runner.book import Book

TRACEBACK_LINES = 15
CELL_LINES = 5
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

Run = dict[str, Any]
COMMITTED_PROFILES = ("benchmark", "paper")


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a chapter has no new result.

    Attributes:
        chapter: Name of the chapter.
        cell: Number of the cell in the notebook, from 1; None where no cell had started.
        source: Source of that cell.
        error: Name of the exception, or what happened instead (``time limit``, ``dead kernel``…).
        message: The exception's message, or the limit and what was reached.
        traceback: The traceback, where there is one.
    """

    chapter: str
    cell: int | None
    source: str
    error: str
    message: str
    traceback: str = ""

    @property
    def summary(self) -> str:
        """One line: where, and what."""
        place = f"in cell {self.cell}" if self.cell else "before its first cell"
        message = _ANSI.sub("", self.message).strip().splitlines() or [""]
        return f"{place}: {self.error}: {message[0]}"

    def report(self) -> str:
        """The whole report, as it is printed and kept beside the results."""
        source = "\n".join(f"    {line}" for line in self.source.splitlines()[:CELL_LINES])
        traceback = "\n".join(_ANSI.sub("", self.traceback).splitlines()[-TRACEBACK_LINES:])
        parts = [f"{self.chapter} failed {self.summary}", source, _ANSI.sub("", self.message), traceback]
        return "\n".join(part for part in parts if part.strip()) + "\n"


def load(book: Book, profile: str, chapter: str) -> Run | None:
    """Return the facts of a chapter's last complete run, or None where there is none (or only half of one)."""
    notebook, facts = _paths(book, profile, chapter)
    if not notebook.is_file() or not facts.is_file():
        return None
    try:
        return json.loads(facts.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return None


def notebook_path(book: Book, profile: str, chapter: str) -> Path:
    """Return where a chapter's executed notebook is."""
    return _paths(book, profile, chapter)[0]


def save(book: Book, profile: str, chapter: str, *, notebook: Path, run: Run) -> None:
    """Move an executed notebook into place and write the facts of its run last, so that both belong together."""
    target, facts = _paths(book, profile, chapter)
    facts.unlink(missing_ok=True)
    os.replace(notebook, target)
    files.write_whole(facts, json.dumps(run, indent=1, sort_keys=True) + "\n")
    clear_failure(book, profile, chapter)


def save_failure(book: Book, profile: str, failure: Failure) -> None:
    """Keep the report of a failure; the chapter's older result, if there is one, stays."""
    files.write_whole(_failure_path(book, profile, failure.chapter), failure.report())


def load_failure(book: Book, profile: str, chapter: str) -> str | None:
    """Return the first line of the report of a chapter's failure, if its last run failed."""
    path = _failure_path(book, profile, chapter)
    return path.read_text(encoding="utf-8").splitlines()[0] if path.is_file() else None


def clear_failure(book: Book, profile: str, chapter: str) -> None:
    """Forget the failure of an earlier run."""
    _failure_path(book, profile, chapter).unlink(missing_ok=True)


def remember(book: Book, profile: str) -> list[str]:
    """Copy time and memory of the runs of a profile into ``data/runs.json``; return the chapters copied.

    The records of runs that few readers can repeat (`COMMITTED_PROFILES`) are copied to ``data/records`` too.
    """
    kept = committed(book)
    copied = []
    for chapter in book.chapters():
        if run := load(book, profile, chapter):
            kept.setdefault(profile, {})[chapter] = quoted(run)
            copied.append(chapter)
            made = book.build / "records" / profile / f"{chapter}.json"
            if profile in COMMITTED_PROFILES and made.is_file():
                files.write_whole(book.root / "data" / "records" / profile / made.name, made.read_bytes())
    files.write_whole(book.runs, json.dumps(kept, indent=2, sort_keys=True) + "\n")
    return copied


def committed(book: Book) -> dict[str, dict[str, Run]]:
    """Return the committed runs: profile to chapter to ``seconds``, ``peak_memory_mb``, ``date`` and ``cores``."""
    return json.loads(book.runs.read_text(encoding="utf-8")) if book.runs.is_file() else {}


def quoted(run: Run) -> Run:
    """Return what is quoted of a run: ``seconds``, ``peak_memory_mb``, ``date`` and ``cores``."""
    return {name: run[name] for name in ("seconds", "peak_memory_mb", "cores")} | {"date": run["started"][:10]}


def _paths(book: Book, profile: str, chapter: str) -> tuple[Path, Path]:
    folder = book.executed(profile)
    return folder / f"{chapter}.ipynb", folder / f"{chapter}.json"


def _failure_path(book: Book, profile: str, chapter: str) -> Path:
    return book.executed(profile) / f"{chapter}.failed.txt"
