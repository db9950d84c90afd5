"""What a finished search tells about searching: replayed on its similarities, without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from helpers.demonstrations.halving import Outcome, halve


@dataclasses.dataclass(frozen=True)
class Halves:
    """The winner of one half of the pairs, scored on both halves: gains over no demonstration, in points of Spearman.

    Attributes:
        chosen: ``(R,)`` the winner's gain on the half that chose it.
        other: ``(R,)`` its gain on the other half.
        average: ``(R,)`` the mean gain of all candidates on the other half: what a demonstration chosen blindly gives.
    """

    chosen: np.ndarray
    other: np.ndarray
    average: np.ndarray


def spearman_rows(similarities: np.ndarray, scores: Sequence[float]) -> np.ndarray:
    """Return the Spearman correlation of each row of ``(C, N)`` with ``(N,)`` scores, in percent, ``(C,)``.

    A row whose values are all the same has no order; its correlation is nan.
    """
    ranks, gold = rankdata(np.atleast_2d(similarities), axis=1), rankdata(scores)  # (C, N), (N,)
    ranks -= ranks.mean(axis=1, keepdims=True)
    gold = gold - gold.mean()
    with np.errstate(invalid="ignore"):
        return 100.0 * (ranks @ gold) / np.sqrt((ranks**2).sum(axis=1) * (gold**2).sum())


def regrets(
    similarities: np.ndarray, scores: Sequence[float], sizes: Sequence[int], *, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Replay a search on pairs in other orders.

    Args:
        similarities: ``(C, N)``, one row a candidate.
        scores: ``(N,)`` gold scores.
        sizes: Pairs of each round, as for `halve`; a single number is a search of all candidates on that many pairs.
        draws: How many orders.
        rng: Draws them.

    Returns:
        ``(draws,)`` how many points of Spearman, over all N pairs, the winner stays behind the best candidate; and the
        number of pairs that one such search embeds.
    """
    gold = np.asarray(scores, dtype=np.float64)
    full = spearman_rows(similarities, gold)
    lost = np.empty(draws)
    for draw in range(draws):
        order = rng.permutation(len(gold))

        def score(candidates: Sequence[int], size: int, seen: np.ndarray = order) -> np.ndarray:
            return np.nan_to_num(spearman_rows(similarities[np.ix_(candidates, seen[:size])], gold[seen[:size]]))

        outcome = Outcome(halve(len(similarities), sizes, score))
        lost[draw] = full.max() - full[outcome.winner]
    return lost, outcome.evaluations


def split_halves(
    similarities: np.ndarray, baseline: np.ndarray, scores: Sequence[float], *, draws: int, rng: np.random.Generator
) -> Halves:
    """Choose on one random half of the pairs, measure on the other, again and again: the winner's curse in numbers.

    Args:
        similarities: ``(C, N)``, one row a candidate.
        baseline: ``(N,)`` similarities without a demonstration.
        scores: ``(N,)`` gold scores.
        draws: How many ways of halving.
        rng: Draws them.
    """
    gold = np.asarray(scores, dtype=np.float64)
    rows = []
    for _ in range(draws):
        order = rng.permutation(len(gold))
        mine, other = order[: len(gold) // 2], order[len(gold) // 2 :]
        gains = [
            spearman_rows(similarities[:, half], gold[half]) - spearman_rows(baseline[half], gold[half])
            for half in (mine, other)
        ]
        winner = int(np.argmax(gains[0]))
        rows.append((gains[0][winner], gains[1][winner], gains[1].mean()))
    return Halves(*np.array(rows).T)
