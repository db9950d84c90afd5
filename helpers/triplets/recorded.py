"""Triplets and answers that others have recorded: where the files are, and reading them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from helpers import datasets

_ROWS = ("query_idx", "choice1_idx", "choice2_idx")
_FOLDER = Path("perspective", "1_predict_triplet", "predicted_triplet_results")


def recorded_file(name: str) -> Path | None:
    """Return the file of EMBwithLLM's recorded answers to a public set, or None.

    The hub does not hold these files, only a mirror that keeps the repository of EMBwithLLM as it is.

    Args:
        name: Registry name of a set; those that come with the book have no such answers.

    Raises:
        ValueError: For an unknown name, with the nearest one.
    """
    mirror, entry = os.environ.get(datasets.MIRROR_VARIABLE), datasets.spec(name)
    if not mirror or not entry.mirror:
        return None
    key = Path(entry.mirror_path("test")).parent.name
    found = sorted(Path(mirror, "datasets", entry.mirror, _FOLDER).glob(f"{key}_embed=*-pred.json"))
    return found[0] if found else None


def recorded_answers(path: Path | str) -> tuple[np.ndarray, list[int | None]]:
    """Read triplets and a language model's answers from a file of ClusterLLM or EMBwithLLM.

    Args:
        path: JSON, a list of objects with ``query_idx``, ``choice1_idx``, ``choice2_idx`` and, once a model was asked,
            ``prediction``: the list of the options that its reply named, spelled ``"1"`` or ``" 1"``. A list of none or
            two is no answer, and so is a missing one.

    Returns:
        Triplets ``(n, 3)`` and answers.

    Raises:
        ValueError: For a file that is not such a list, naming the record.
        FileNotFoundError: Where there is no such file.
    """
    path = Path(path)
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(records, list) or not records:
        raise ValueError(f"{path.name} should be a list of records, with at least one")
    triplets = [_recorded_rows(record, f"{path.name}, record {n}") for n, record in enumerate(records)]
    answers = [_recorded_answer(record, f"{path.name}, record {n}") for n, record in enumerate(records)]
    return np.array(triplets), answers


def _recorded_rows(record: object, where: str) -> list[int]:
    """Return the three row numbers of one record."""
    if not isinstance(record, dict):
        raise ValueError(f"{where}: should be an object with {', '.join(_ROWS)}, got {record!r}")
    rows = [record.get(name) for name in _ROWS]
    for name, row in zip(_ROWS, rows, strict=True):
        if not isinstance(row, int) or isinstance(row, bool) or row < 0:
            raise ValueError(f"{where}: {name}={row!r} should be a row number from 0")
    return rows


def _recorded_answer(record: dict, where: str) -> int | None:
    """Return the one option that was named, whichever way it is spelled."""
    named = record.get("prediction")
    options = [] if named is None else named if isinstance(named, list) else [named]
    numbers = {str(option).strip() for option in options}
    if not numbers <= {"1", "2"}:
        raise ValueError(f"{where}: prediction={named!r} should name 1, 2, both or nothing")
    return int(numbers.pop()) if len(numbers) == 1 else None
