"""Result records: one JSON list a chapter and profile, checked against a schema, and the tables made from them."""

from __future__ import annotations

import datetime
import json
import logging
import math
import os
import resource
import sys
import time
from pathlib import Path

from helpers import files, settings

logger = logging.getLogger(__name__)

NOISES = ("k-means", "training", "sampling", "bootstrap")

# Field -> (types, fields of a nested object or None).
SCHEMA: dict[str, tuple[tuple[type, ...], dict[str, tuple[type, ...]] | None]] = {
    "chapter": ((str,), None),
    "method": ((str,), None),
    "model": ((dict,), {"id": (str,), "revision": (str,), "sha256": (str,), "parameters": (int,)}),
    "teacher": ((dict, type(None)), {"id": (str,), "calls": (int,), "tokens": (int,)}),
    "dataset": (
        (dict,),
        {"name": (str,), "source": (str,), "revision": (str,), "split": (str,), "rows": (int,)},
    ),
    "metric": ((str,), None),
    "higher_is_better": ((bool,), None),
    "seeds": ((list,), None),
    "values": ((list,), None),
    "mean": ((float,), None),
    "sd": ((float, type(None)), None),
    "ci95": ((list,), None),
    "noise": ((str,), None),
    "control": ((str, type(None)), None),
    "paired_difference": ((dict, type(None)), {"mean": (float,), "ci95": (list,)}),
    "profile": ((str,), None),
    "device": ((str,), None),
    "precision": ((str,), None),
    "seconds": ((float,), None),
    "peak_memory_mb": ((float,), None),
    "key": ((str,), None),
    "versions": ((dict,), None),
    "date": ((str,), None),
    "published": (
        (dict, type(None)),
        {"value": (int, float), "where": (str,), "comparable": (bool,), "why": (str,)},
    ),
}
# List -> types of what it holds.
ITEMS: dict[str, tuple[type, ...]] = {"seeds": (int,), "values": (float,), "ci95": (float,)}


def check(record: dict) -> dict:
    """Return the record, or raise a ValueError that names the field which is missing, unknown or ill-typed."""
    for name in record:
        if name not in SCHEMA:
            raise ValueError(f"unknown record field {name!r}; {settings.nearest(name, SCHEMA)}")
    for name, (types, nested) in SCHEMA.items():
        if name not in record:
            raise ValueError(f"record {record.get('method')!r} lacks the field {name!r}")
        _check_value(name, record[name], types)
        if nested is not None and record[name] is not None:
            _check_nested(name, record[name], nested)
    if record["noise"] not in NOISES:
        raise ValueError(f"unknown noise {record['noise']!r}; {settings.nearest(record['noise'], NOISES)}")
    for interval in (record["ci95"], (record["paired_difference"] or {"ci95": [0, 0]})["ci95"]):
        if len(interval) != 2 or not interval[0] <= interval[1]:
            raise ValueError(f"record {record['method']!r}: ci95={interval} should be [low, high]")
    return record


def _check_nested(name: str, value: dict, fields: dict[str, tuple[type, ...]]) -> None:
    """Check the fields of a nested object."""
    if set(value) != set(fields):
        raise ValueError(f"record field {name!r} has {sorted(value)}, expected {sorted(fields)}")
    for key, types in fields.items():
        _check_value(f"{name}.{key}", value[key], types)


def _check_value(name: str, value: object, types: tuple[type, ...]) -> None:
    """Check the type of one value; True and False are not numbers here, and JSON has no NaN and no infinity."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join(kind.__name__ for kind in types)
        raise ValueError(f"record field {name}={value!r} should be of type {names}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"record field {name}={value!r} should be finite")
    if isinstance(value, list):
        for position, item in enumerate(value):
            _check_value(f"{name}[{position}]", item, ITEMS[name.rpartition(".")[2]])


class Recorder:
    """Collects the records of one chapter run, and writes them.

    Args:
        chapter: File name of the chapter without its ending.
        profile: The profile that runs.
    """

    def __init__(self, chapter: str, profile: settings.Profile) -> None:
        self.chapter = chapter
        self.profile = profile
        self.records: list[dict] = []
        self._clock = time.perf_counter()

    def add(
        self,
        method: str,
        *,
        model: dict,
        dataset: dict,
        metric: str,
        value: object,
        control: str | None = None,
        difference: object = None,
        published: dict | None = None,
        teacher: dict | None = None,
        higher_is_better: bool = True,
    ) -> dict:
        """Add the result of one method on one split, from an `evaluation.Interval` (and one for the paired difference).

        Args:
            method: Name of the method, the same in every chapter.
            model: From `model_entry`.
            dataset: From `dataset_entry`.
            metric: Name of the metric with its unit, such as ``spearman``.
            value: An `evaluation.Interval`.
            control: Method that ``difference`` compares with.
            difference: An `evaluation.Interval` of this method minus the control, or None.
            published: ``{value, where, comparable, why}`` of a published number, or None.
            teacher: From `teacher_entry`: whose answers or texts the method learned from, or None.
            higher_is_better: False for errors and distances.

        Returns:
            The record. ``seconds`` is the time since the last record, or since the recorder was made.
        """
        now = time.perf_counter()
        paired = difference and {"mean": difference.value, "ci95": [difference.low, difference.high]}
        record = {
            "chapter": self.chapter,
            "method": method,
            "model": model,
            "teacher": teacher,
            "dataset": dataset,
            "metric": metric,
            "higher_is_better": higher_is_better,
            "seeds": list(value.seeds),
            "values": list(value.values) or [value.value],
            "mean": value.value,
            "sd": value.sd,
            "ci95": [value.low, value.high],
            "noise": value.noise,
            "control": control,
            "paired_difference": paired,
            "profile": self.profile.name,
            "device": settings.device(),
            "precision": settings.precision(self.profile.precision),
            "seconds": round(now - self._clock, 2),
            "peak_memory_mb": peak_memory_mb(),
            "key": os.environ.get(settings.KEY_VARIABLE, "interactive"),
            "versions": settings.versions(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "published": published,
        }
        self._clock = now
        self.records.append(check(record))
        return record

    def save(self) -> Path:
        """Write all records to the profile's folder, replacing those of an earlier run; return the file's path."""
        path = settings.records_folder(self.profile.name) / f"{self.chapter}.json"
        write_json(path, self.records)
        logger.info("%d records of %s", len(self.records), self.chapter)
        return path


def model_entry(model_id: str, *, revision: str = "", sha256: str = "", parameters: int = 0) -> dict:
    """Describe a model by hand, for baselines that are not in the registry (TF-IDF: no parameters)."""
    return {"id": model_id, "revision": revision, "sha256": sha256, "parameters": parameters}


def teacher_entry(teacher_id: str, *, calls: int, tokens: int = 0) -> dict:
    """Describe who answered or wrote: its name, how often it was asked, and how many tokens it read and wrote."""
    return {"id": teacher_id, "calls": calls, "tokens": tokens}


def registry_entry(spec: object) -> dict:
    """Describe a `models.ModelSpec`."""
    digest = next(iter(spec.sha256.values()), "")
    return model_entry(spec.title, revision=spec.revision, sha256=digest, parameters=spec.parameters)


def dataset_entry(spec: object, split: str, rows: object) -> dict:
    """Describe a `datasets.DatasetSpec` split as it was loaded."""
    source = rows.info.description
    return {"name": spec.name, "source": source, "revision": spec.revision, "split": split, "rows": rows.num_rows}


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1)


def write_json(path: Path, content: object) -> None:
    """Write JSON as `files.write_whole` does; a value that JSON does not have is a ValueError or TypeError."""
    files.write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load(path: Path) -> list[dict]:
    """Read and check one file of records."""
    try:
        return [check(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error


def load_all(folder: Path) -> list[dict]:
    """Read every ``*.json`` of a folder, in order of file name; an absent folder has no records."""
    return [record for path in sorted(folder.glob("*.json")) for record in load(path)] if folder.is_dir() else []
