"""Tables made from records: nothing on the scoreboard is typed by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import settings

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = settings.DATA / "published.json"
_HEAD = "| method | model | score | against its control | profile | chapter |\n|:--|:--|:--|:--|:--|:--|\n"
_PUBLISHED_HEAD = "| published: method | model | score | comparable | source |\n|:--|:--|:--|:--|:--|\n"


def published(path: Path = PUBLISHED) -> list[dict]:
    """Return the published numbers: ``method, model, dataset, split, metric, value, where, cite, comparable, why``."""
    return json.loads(path.read_text(encoding="utf-8"))


def find_published(method: str, model: str, dataset: str, split: str, *, metric: str = "spearman") -> dict | None:
    """Return the part of a published number that a record keeps, or None where nothing was published."""
    wanted = (method, model, dataset, split, metric)
    for row in published():
        if (row["method"], row["model"], row["dataset"], row["split"], row["metric"]) == wanted:
            return {name: row[name] for name in ("value", "where", "comparable", "why")}
    return None


def table(records: Iterable[dict]) -> str:
    """Return one Markdown section for each dataset, split and metric, best score first, published numbers below."""
    records = sorted(records, key=_section)
    sections = []
    for (dataset, split, metric), rows in itertools.groupby(records, key=_section):
        best_first = sorted(rows, key=lambda row: row["mean"], reverse=_reverse(metric, records))
        body = _HEAD + "".join(_row(row) for row in best_first)
        sections.append(f"### {dataset}, {split}: {metric}\n\n{body}{_beside(dataset, split, metric)}")
    return "\n\n".join(sections) if sections else "No records yet: run `make book`.\n"


def overview(records: Iterable[dict]) -> pd.DataFrame:
    """Return a table for a page: a row for each set, model and method, in the order in which they were measured.

    Args:
        records: Of `records.Recorder` or `records.load`.

    Returns:
        Scores with their intervals and, where a control was named, the paired difference from it. The model stands
        in the index only where there is more than one; without records, the table is empty.
    """
    import pandas as pd

    lines = {}
    for record in records:
        dataset, split, metric = _section(record)
        key = f"{dataset} {split}, {metric}", record["model"]["id"], record["method"]
        score = f"{record['mean']:.1f} [{record['ci95'][0]:.1f}, {record['ci95'][1]:.1f}]"
        lines[key] = {"score": score, "difference": _difference(record) if record["paired_difference"] else ""}
    names = ["set", "model", "method"]
    frame = pd.DataFrame(list(lines.values()), pd.MultiIndex.from_tuples(lines, names=names), ["score", "difference"])
    frame = frame.sort_index(level="set", sort_remaining=False)
    return frame if len({key[1] for key in lines}) > 1 else frame.droplevel("model")


def _section(record: dict) -> tuple[str, str, str]:
    return record["dataset"]["name"], record["dataset"]["split"], record["metric"]


def _reverse(metric: str, records: Sequence[dict]) -> bool:
    """Say whether the largest value of a metric is its best."""
    return next(record["higher_is_better"] for record in records if record["metric"] == metric)


def _row(record: dict) -> str:
    """Format one record."""
    score = f"{record['mean']:.1f} [{record['ci95'][0]:.1f}, {record['ci95'][1]:.1f}]"
    cells = [
        record["method"],
        record["model"]["id"],
        score,
        _difference(record),
        f"{record['profile']}, {record['precision']}",
        f"[{record['chapter'][:2]}](../notebooks/{record['chapter']}.ipynb)",
    ]
    return _line(cells)


def _line(cells: Iterable[str]) -> str:
    """Format one row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _difference(record: dict) -> str:
    """Format the paired difference to the control."""
    paired = record["paired_difference"]
    if paired is None:
        return "none"
    low, high = paired["ci95"]
    return f"{paired['mean']:+.1f} [{low:+.1f}, {high:+.1f}] against {record['control']}"


def _beside(dataset: str, split: str, metric: str) -> str:
    """Format the published numbers of a section, if there are any."""
    rows = [row for row in published() if (row["dataset"], row["split"], row["metric"]) == (dataset, split, metric)]
    return "\n" + _PUBLISHED_HEAD + "".join(_published_row(row) for row in rows) if rows else ""


def _published_row(row: dict) -> str:
    """Format one published number."""
    comparable = f"{'yes' if row['comparable'] else 'no'}: {row['why']}"
    source = f"{row['where']} {{cite:p}}`{row['cite']}`"
    return _line([row["method"], row["model"], str(row["value"]), comparable, source])
