"""The status page: when, how long and on what each chapter ran, and what did not run."""

from __future__ import annotations

from collections.abc import Sequence

from helpers import settings
from helpers.runner.chapters import State, note_text
from helpers.runner.pages import NOT_RUN, table
from helpers.runner.progress import clock


def status(states: Sequence[State], profile: settings.Profile) -> str:
    """Return the status of all chapters of a build, as Markdown."""
    head = ("Chapter", "State", "Ran on", "Time", "Peak memory", "Device", "Cores")
    parts = [f"Profile of this build: `{profile.name}`.", table(head, [_row(state) for state in states])]
    problems = [(state, note_text(state)) for state in states if not state.current]
    parts += [f"**{state.title}.** {note}" for state, note in problems]
    return "\n\n".join([*parts, *_versions(states)])


def _row(state: State) -> tuple[object, ...]:
    link = f"[{state.title}](../notebooks/{state.chapter}.ipynb)"
    word = "up to date" if state.current else "failed" if state.failure else "old" if state.run else NOT_RUN
    if state.run is None:
        return (link, word, "–", "–", "–", "–", "–")
    run = state.run
    memory = f"{run['peak_memory_mb'] / 1000:.1f} GB"
    return (link, word, run["started"][:10], f"{clock(run['seconds'])} min", memory, run["device"], run["cores"])


def _versions(states: Sequence[State]) -> list[str]:
    """Return a table of versions; a chapter that ran with others than the first has its own column."""
    columns: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for state in states:
        if state.run:
            columns.setdefault(tuple(sorted(state.run["versions"].items())), []).append(state.chapter.split("_")[0])
    if not columns:
        return []
    names = sorted({name for column in columns for name, _ in column})
    heads = ["Version", *(f"chapters {', '.join(chapters)}" for chapters in columns.values())]
    return [table(heads, [(name, *(dict(column).get(name, "–") for column in columns)) for name in names])]
