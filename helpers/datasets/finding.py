"""Finding a dataset: bundled with the book, in a mirror folder, on the public hub, or as plain files."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import datasets as hub_datasets

from helpers import settings
from helpers.datasets.checks import check_columns, check_rows
from helpers.datasets.registry import spec
from helpers.datasets.spec import DatasetSpec

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "EMBEDDING_BOOK_MIRROR"
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
SOURCES = ("auto", "bundled", "mirror", "hub")


def load(
    name: str, split: str | None = None, *, source: str = "auto", limit: int | None = None
) -> hub_datasets.Dataset:
    """Load one split of a registered dataset and check it.

    Args:
        name: A name of `REGISTRY`.
        split: A split of that set; its default split where None.
        source: ``bundled``, ``mirror`` or ``hub``, or ``auto``: the first of the three that has it. Sets that no hub
            holds count as ``hub`` too: plain files, fetched once and checked by their SHA-256.
        limit: Keep the first rows only (bundled files are shuffled, so that these are a fair sample).

    Returns:
        The rows; ``info.description`` says which source they came from.

    Raises:
        ValueError: For an unknown name, split or source, a wrong number of rows, a changed file, or a bad row (see
            `check_rows`).
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
    expected = entry.rows[split]
    if rows.num_rows > expected or (rows.num_rows < expected and not entry.in_part):
        raise ValueError(f"{name}/{split} from {used} has {rows.num_rows} rows, expected {expected}")
    check_rows(rows, entry, split)
    logger.info("%s/%s: %d rows from %s", name, split, rows.num_rows, used)
    rows = rows.select(range(min(limit or rows.num_rows, rows.num_rows)))
    rows.info.description = used
    return rows


def _find(entry: DatasetSpec, split: str, source: str) -> tuple[hub_datasets.Dataset, str]:
    """Return the rows and the kind of place they came from, trying the places in order."""
    wanted = SOURCES[1:] if source == "auto" else (source,)
    if "bundled" in wanted and entry.folder:
        return _read(settings.DATA / entry.folder / f"{split}.jsonl", entry, split), "bundled"
    mirror, inside = os.environ.get(MIRROR_VARIABLE), entry.mirror_path(split)
    if "mirror" in wanted and mirror and inside and (Path(mirror) / inside).is_file():
        return _read(Path(mirror) / inside, entry, split), "mirror"
    cause = None
    if "hub" in wanted and (entry.hub or entry.files):
        try:
            return _fetch(entry, split), "hub"
        except (OSError, LookupError, hub_datasets.exceptions.DatasetsError) as error:
            cause = error
    raise FileNotFoundError(_three_places(entry, split, source, bool(mirror))) from cause


def _three_places(entry: DatasetSpec, split: str, source: str, mirror: bool) -> str:
    """Say where the set was looked for and what to do."""
    bundled = f"data/{entry.folder}" if entry.folder else "not bundled with the book"
    hub = "not a public set"
    if entry.hub:
        hub = f"{entry.hub} at {entry.revision[:8]}"
    elif entry.files:
        hub = entry.files[split].url
    elif entry.mirror:
        hub = "no public place is known"
    return (
        f"dataset {entry.name!r}, split {split!r}, is not here (asked for: {source}). The three places: "
        f"(1) bundled: {bundled}; (2) mirror: set {MIRROR_VARIABLE} (now {'set' if mirror else 'not set'}) "
        f"to a folder that holds {entry.mirror_path(split) or 'it: not a public set'}; "
        f"(3) the public hub: {hub}, with a network and without {OFFLINE_VARIABLE}"
    )


def _fetch(entry: DatasetSpec, split: str) -> hub_datasets.Dataset:
    """Load a split from the hub, or from plain files."""
    if entry.files:
        return _read(_download(entry, split), entry, split)
    names = entry.hub_splits.get(split, (split,))
    if not names:
        raise LookupError(f"{entry.hub} does not hold the split {split!r}")
    options = {"revision": entry.revision}
    if entry.config_of(split):
        options["name"] = entry.config_of(split)
    if split in entry.hub_files:
        options["data_files"] = {split: entry.hub_files[split]}
    parts = [hub_datasets.load_dataset(entry.hub, split=name, **options) for name in names]
    return _tidy(hub_datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0], entry)


def _download(entry: DatasetSpec, split: str) -> Path:
    """Fetch a plain file once; a file of another content than the registry's is a ValueError."""
    if os.environ.get(OFFLINE_VARIABLE, "").lower() in ("1", "true", "yes", "on"):
        raise OSError(f"{OFFLINE_VARIABLE} is set")
    import pooch  # only here: no chapter of the laptop profile downloads

    file = entry.files[split]
    folder = settings.cache_folder() / "files"
    return Path(pooch.retrieve(file.url, known_hash=f"sha256:{file.sha256}", path=folder, fname=f"{file.sha256}.jsonl"))


def _tidy(rows: hub_datasets.Dataset, entry: DatasetSpec) -> hub_datasets.Dataset:
    """Give columns our names, and leave out blank lines where the entry says so."""
    names = _renamed(rows.column_names, entry)
    rows = rows.remove_columns([new for new in names.values() if new in rows.column_names]).rename_columns(names)
    if entry.drop_empty:
        rows = rows.select([index for index, text in enumerate(rows["text"]) if not _is_blank(text)])
    return rows


def _renamed(columns: Iterable[str], entry: DatasetSpec) -> dict[str, str]:
    """Return column of the source -> our column; of two sources of one column, the entry's last counts."""
    sources = {new: old for old, new in entry.renamed.items() if old in columns}
    return {old: new for new, old in sources.items()}


def _is_blank(text: object) -> bool:
    """Say whether a value is a text of white space alone; what is no text at all is for `check_rows` to name."""
    return isinstance(text, str) and not text.strip()


def _read(path: Path, entry: DatasetSpec, split: str) -> hub_datasets.Dataset:
    """Read a JSONL file without going through a cache that might be stale."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing from {path.parent.name}; get the repository again")
    content = path.read_bytes()
    if split in entry.sha256 and hashlib.sha256(content).hexdigest() != entry.sha256[split]:
        raise ValueError(f"data/{entry.folder}/{path.name} is not the file that the registry knows; get it again")
    lines = content.decode("utf-8").removesuffix("\n").split("\n") if content else []
    rows = [_parse(line, f"{path.name}, line {number},") for number, line in enumerate(lines, start=1)]
    if entry.drop_empty:
        rows = [row for row in rows if not _is_blank(row.get("text"))]
    if entry.only:
        rows = [row for row in rows if row.get(entry.only[0]) == entry.only[1]]
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(itertools.chain(*rows))}
    names = _renamed(columns, entry)
    replaced = set(names.values())  # columns of the source that one of another name takes the place of
    columns = {
        names.get(name, name): values for name, values in columns.items() if name in names or name not in replaced
    }
    if rows:  # here already: a table refuses a column of mixed types without naming the row
        check_columns(columns, entry, split)
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
