"""The registry of datasets, and finding one: bundled with the book, in a mirror folder, or on the public hub."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets as hub_datasets

from helpers import settings

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "EMBEDDING_BOOK_MIRROR"
SOURCES = ("auto", "bundled", "mirror", "hub")


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One dataset of the book.

    Attributes:
        name: The name that chapters and records use.
        title: The name that readers know.
        task: What it measures (``sts``).
        rows: Rows of each split.
        columns: Columns that every row must have.
        licence: Licence or terms of the texts.
        citation: Key in the bibliography, empty for the book's own data.
        folder: Folder under ``data/`` for bundled sets, else None.
        hub: Repository on the public hub (also the path in a mirror), else None.
        revision: Commit on the hub, or the release of the book's own data.
        default_split: The split loaded when none is named.
        score_range: Lowest and highest gold score.
    """

    name: str
    title: str
    task: str
    rows: dict[str, int]
    columns: tuple[str, ...]
    licence: str
    citation: str
    revision: str
    folder: str | None = None
    hub: str | None = None
    default_split: str = "test"
    score_range: tuple[float, float] = (0.0, 5.0)

    @property
    def source(self) -> str:
        """Where the texts come from, for tables."""
        return f"data/{self.folder}" if self.folder else f"hub {self.hub}"


def _sts(name: str, title: str, hub: str, revision: str, licence: str, citation: str, **rows: int) -> DatasetSpec:
    """Describe one public sentence-similarity set."""
    columns = ("sentence1", "sentence2", "score")
    return DatasetSpec(name, title, "sts", rows, columns, licence, citation, revision, hub=hub)


_SEMEVAL = "SemEval, terms of each source"
_SPECS = (
    DatasetSpec(
        name="book-sts",
        title="The book's own STS pairs",
        task="sts",
        rows={"validation": 250, "test": 250},
        columns=("sentence1", "sentence2", "score", "genre", "kind"),
        licence="CC BY 4.0",
        citation="",
        revision="1",
        folder="sts",
    ),
    _sts("stsb", "STS Benchmark", "mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831",
         "CC BY-SA 4.0 and terms of each source", "cer2017stsb", train=5749, validation=1500, test=1379),
    _sts("sts12", "STS 2012", "mteb/sts12-sts", "a0d554a64d88156834ff5ae9920b964011b16384", _SEMEVAL,
         "agirre2012sts", test=3108),
    _sts("sts13", "STS 2013 (without SMT)", "mteb/sts13-sts", "7e90230a92c190f1bf69ae9002b8cea547a64cca", _SEMEVAL,
         "agirre2013sts", test=1500),
    _sts("sts14", "STS 2014", "mteb/sts14-sts", "6031580fec1f6af667f0bd2da0a551cf4f0b2375", _SEMEVAL,
         "agirre2014sts", test=3750),
    _sts("sts15", "STS 2015", "mteb/sts15-sts", "ae752c7c21bf194d8b67fd573edf7ae58183cbe3", _SEMEVAL,
         "agirre2015sts", test=3000),
    _sts("sts16", "STS 2016", "mteb/sts16-sts", "4d8694f8f0e0100860b497b999b3dbed754a0513", _SEMEVAL,
         "agirre2016sts", test=1186),
    _sts("sickr", "SICK-R", "mteb/sickr-sts", "20a6d6f312dd54037fe07a32d58e5e168867909d", "CC BY-NC-SA 3.0",
         "marelli2014sick", test=9927),
)  # fmt: skip

REGISTRY: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}


def spec(name: str) -> DatasetSpec:
    """Return a dataset's entry, or raise a ValueError with the nearest name."""
    if name not in REGISTRY:
        raise ValueError(f"unknown dataset {name!r}; {settings.nearest(name, REGISTRY)}")
    return REGISTRY[name]


def load(
    name: str, split: str | None = None, *, source: str = "auto", limit: int | None = None
) -> hub_datasets.Dataset:
    """Load one split of a registered dataset and check it.

    Args:
        name: A name of `REGISTRY`.
        split: A split of that set; its default split where None.
        source: ``bundled``, ``mirror`` or ``hub``, or ``auto``: the first of the three that has it.
        limit: Keep the first rows only (bundled files are shuffled, so that these are a fair sample).

    Returns:
        The rows; ``info.description`` says which source they came from.

    Raises:
        ValueError: For an unknown name, split or source, a wrong number of rows, missing columns, an empty or
            non-text sentence, or a score that is not a number in range; the first bad row is named.
        FileNotFoundError: Where no source has the set, with the places that were tried.
    """
    entry = spec(name)
    split = split or entry.default_split
    if split not in entry.rows:
        raise ValueError(f"dataset {name!r} has no split {split!r}; {settings.nearest(split, entry.rows)}")
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; {settings.nearest(source, SOURCES)}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} should be at least 1, or None for all rows")
    rows, used = _find(entry, split, source)
    if rows.num_rows != entry.rows[split]:
        raise ValueError(f"{name}/{split} from {used} has {rows.num_rows} rows, expected {entry.rows[split]}")
    check_rows(rows, entry)
    logger.info("%s/%s: %d rows from %s", name, split, rows.num_rows, used)
    rows = rows.select(range(min(limit or rows.num_rows, rows.num_rows)))
    rows.info.description = used
    return rows


def _find(entry: DatasetSpec, split: str, source: str) -> tuple[hub_datasets.Dataset, str]:
    """Return the rows and the kind of place they came from, trying the places in order."""
    wanted = SOURCES[1:] if source == "auto" else (source,)
    if "bundled" in wanted and entry.folder:
        return _read(settings.DATA / entry.folder / f"{split}.jsonl", entry), "bundled"
    mirror = os.environ.get(MIRROR_VARIABLE)
    if "mirror" in wanted and mirror and entry.hub:
        path = Path(mirror) / "datasets" / entry.hub / f"{split}.jsonl"
        if path.is_file():
            return _read(path, entry), "mirror"
    cause = None
    if "hub" in wanted and entry.hub:
        try:
            return hub_datasets.load_dataset(entry.hub, revision=entry.revision, split=split), "hub"
        except (OSError, hub_datasets.exceptions.DatasetsError) as error:
            cause = error
    bundled = f"data/{entry.folder}" if entry.folder else "not bundled with the book"
    at_mirror = f"datasets/{entry.hub}/{split}.jsonl" if entry.hub else "not a public set"
    hub = f"{entry.hub} at {entry.revision[:8]}" if entry.hub else "not a public set"
    raise FileNotFoundError(
        f"dataset {entry.name!r}, split {split!r}, is not here (asked for: {source}). The three places: "
        f"(1) bundled: {bundled}; (2) mirror: set {MIRROR_VARIABLE} (now {'set' if mirror else 'not set'}) "
        f"to a folder that holds {at_mirror}; (3) the public hub: {hub}, with a network and without HF_HUB_OFFLINE"
    ) from cause


def _read(path: Path, entry: DatasetSpec) -> hub_datasets.Dataset:
    """Read a JSONL file without going through a cache that might be stale."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing from {path.parent.name}; get the repository again")
    with path.open(encoding="utf-8") as file:
        rows = [_parse(line, f"{path.name}, line {number},") for number, line in enumerate(file, start=1)]
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(itertools.chain(*rows))}
    if rows:  # here already, because a table refuses a column of mixed types without naming the row
        _check_columns(columns, entry)
    return hub_datasets.Dataset.from_dict(columns)


def _parse(line: str, where: str) -> dict:
    """Return the JSON object of one line."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error.msg}: {line[:60]!r}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where} is not a JSON object: {line[:60]!r}")
    return row


def check_rows(rows: hub_datasets.Dataset, entry: DatasetSpec) -> None:
    """Check columns, texts and scores of sentence pairs.

    Raises:
        ValueError: Naming the dataset, the row (from 0), the bad value and what is allowed.
    """
    _check_columns(rows.to_dict(), entry)


def _check_columns(columns: Mapping[str, Sequence[object]], entry: DatasetSpec) -> None:
    """Check the lists of values that `check_rows` speaks of."""
    missing = [column for column in entry.columns if column not in columns]
    if missing:
        raise ValueError(f"{entry.name} lacks the columns {missing}; it has {list(columns)}")
    for column in ("sentence1", "sentence2"):
        for row, text in enumerate(columns[column]):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{entry.name}, row {row}, {column}={text!r}: should be a text that is not empty")
    low, high = entry.score_range
    for row, score in enumerate(columns["score"]):
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not math.isfinite(score) or not low <= score <= high:
            raise ValueError(f"{entry.name}, row {row}, score={score!r}: should be a number from {low} to {high}")
