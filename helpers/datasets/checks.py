"""Checking the rows of a dataset before anything is computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.datasets.spec import OPTIONAL, TAGS, TEXTS, DatasetSpec

if TYPE_CHECKING:
    import datasets as hub_datasets


def check_rows(rows: hub_datasets.Dataset, entry: DatasetSpec, split: str | None = None) -> None:
    """Check columns, texts, labels and scores.

    Args:
        rows: The rows, all of them.
        entry: What they should be.
        split: Which split they are; the default one where None.

    Raises:
        ValueError: Naming the dataset, the row (from 0), the bad value and what is allowed: missing columns, an empty
            or non-text value where a text should be, a score that is not a number in range, a label that is neither a
            word nor a whole number, labels that are all the same, or words and tags that do not match.
    """
    check_columns({name: rows[name] for name in rows.column_names}, entry, split or entry.default_split)


def check_columns(columns: Mapping[str, Sequence[object]], entry: DatasetSpec, split: str) -> None:
    """Check the lists of values that `check_rows` speaks of."""
    wanted = entry.columns(split)
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise ValueError(f"{entry.name} lacks the columns {missing}; it has {list(columns)}")
    for column in wanted:
        if column in TEXTS and column not in OPTIONAL.get(entry.task, ()):
            _check_texts(columns[column], f"{entry.name}, row {{}}, {column}={{!r}}")
    if "score" in wanted:
        _check_scores(columns["score"], entry)
    if "tags" in wanted:
        _check_tags(columns["sentence"], columns["tags"], entry)
    if "label" in wanted:
        _check_labels(columns["label"], entry)


def _check_texts(values: Sequence[object], where: str) -> None:
    for row, text in enumerate(values):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{where.format(row, text)}: should be a text that is not empty")


def _check_scores(values: Sequence[object], entry: DatasetSpec) -> None:
    low, high = entry.score_range
    for row, score in enumerate(values):
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not math.isfinite(score) or not low <= score <= high:
            raise ValueError(f"{entry.name}, row {row}, score={score!r}: should be a number from {low} to {high}")


def _check_tags(sentences: Sequence[str], values: Sequence[object], entry: DatasetSpec) -> None:
    for row, (sentence, tags) in enumerate(zip(sentences, values, strict=True)):
        found = tags.split(" ") if isinstance(tags, str) else []
        words = sentence.split(" ")
        if len(found) != len(words):
            raise ValueError(
                f"{entry.name}, row {row}, tags={tags!r}: should be one tag for each of {len(words)} words"
            )
        if unknown := [tag for tag in found if tag not in TAGS]:
            raise ValueError(f"{entry.name}, row {row}, tags: unknown {unknown[0]!r}; allowed: {', '.join(TAGS)}")


def _check_labels(values: Sequence[object], entry: DatasetSpec) -> None:
    for row, label in enumerate(values):
        word = isinstance(label, str) and label.strip()
        number = isinstance(label, int) and not isinstance(label, bool) and label >= 0
        if not word and not number:
            raise ValueError(f"{entry.name}, row {row}, label={label!r}: should be a name or a number from 0")
    if values and len(set(values)) < 2:
        raise ValueError(f"{entry.name} has the single label {values[0]!r}; at least two classes are needed")
