"""How good are the answers? Counts beside the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from helpers.triplets.answers import BOTH, NEITHER, check_answers, check_triplets


@dataclasses.dataclass(frozen=True)
class Audit:
    """Answers beside labels. Shares are in percent, and NaN where there is nothing to take a share of.

    Attributes:
        triplets: How many there are.
        decidable: Of which exactly one choice has the query's label.
        both: Of which both have it: no answer is wrong, and none teaches the labels.
        neither: Of which none has it: every answer is wrong.
        answered: With an answer.
        queries: Different queries.
        accuracy: Right answers among decidable triplets that have one; the next two, where choice 1 or 2 is right.
        accuracy_when_1: Right answers where choice 1 is.
        accuracy_when_2: Right answers where choice 2 is.
        share_1: Answers that name choice 1, among all answers.
        agreement: Answers that another teacher gives as well, among triplets that both answer; None without another.
    """

    triplets: int
    decidable: int
    both: int
    neither: int
    answered: int
    queries: int
    accuracy: float
    accuracy_when_1: float
    accuracy_when_2: float
    share_1: float
    agreement: float | None = None


def audit(
    triplets: np.ndarray,
    answers: Sequence[int | None],
    gold: np.ndarray,
    *,
    other: Sequence[int | None] | None = None,
) -> Audit:
    """Count what there is to know, and what the answers know of it.

    Args:
        triplets: ``(n, 3)``.
        answers: ``(n,)``, each 1, 2 or None.
        gold: ``(n,)``, from `gold_answers`.
        other: Answers of a second teacher, such as `self_answers`, for the agreement.

    Raises:
        ValueError: For lengths that differ, or values that are not allowed.
    """
    rows = check_triplets(triplets, np.iinfo(np.int64).max)
    given, right = _given(answers, len(rows)), _check_gold(gold, len(rows))
    agreement = None
    if other is not None:
        second = _given(other, len(rows))
        agreement = _share((given == second)[(given > 0) & (second > 0)])
    return Audit(
        triplets=len(rows),
        decidable=int((right > 0).sum()),
        both=int((right == BOTH).sum()),
        neither=int((right == NEITHER).sum()),
        answered=int((given > 0).sum()),
        queries=len(np.unique(rows[:, 0])),
        accuracy=accuracy_on_decidable(answers, gold),
        accuracy_when_1=_share((given == 1)[(right == 1) & (given > 0)]),
        accuracy_when_2=_share((given == 2)[(right == 2) & (given > 0)]),
        share_1=_share((given == 1)[given > 0]),
        agreement=agreement,
    )


def accuracy_on_decidable(answers: Sequence[int | None], gold: np.ndarray) -> float:
    """Return the right answers, in percent, among decidable triplets that have an answer; NaN where there are none.

    A triplet is decidable where exactly one choice has the query's label: where ``gold`` is 1 or 2.

    Raises:
        ValueError: For lengths that differ, or values that are not allowed.
    """
    right = _check_gold(gold, len(answers))
    given = _given(answers, len(right))
    return _share((given == right)[(right > 0) & (given > 0)])


def _given(answers: Sequence[int | None], triplets: int) -> np.ndarray:
    """Return checked answers as numbers, 0 for None."""
    check_answers(answers, triplets)
    return np.array([answer or 0 for answer in answers], dtype=np.int64)


def _check_gold(gold: np.ndarray, triplets: int) -> np.ndarray:
    """Return the labels' answers as an array, or raise a ValueError."""
    right = np.asarray(gold)
    if right.shape != (triplets,):
        raise ValueError(f"gold has shape {right.shape}; it should be one value for each of {triplets} triplets")
    if not np.isin(right, (1, 2, BOTH, NEITHER)).all():
        bad = right[~np.isin(right, (1, 2, BOTH, NEITHER))][0]
        raise ValueError(f"gold holds {bad!r}; it should hold 1, 2, {BOTH} (both) and {NEITHER} (neither)")
    return right


def _share(hits: np.ndarray) -> float:
    """Return the mean of Booleans in percent, or NaN of none."""
    return 100.0 * float(hits.mean()) if len(hits) else float("nan")
