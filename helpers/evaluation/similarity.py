"""Sentence similarity: cosine against judgement. Everything here computes in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata, spearmanr

from helpers.evaluation.geometry import unit_rows
from helpers.evaluation.intervals import Interval, bootstrap


def cosine_pairs(embeddings1: np.ndarray, embeddings2: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of row i with row i, ``(N,)``."""
    a, b = unit_rows(embeddings1), unit_rows(embeddings2)
    if a.shape != b.shape:
        raise ValueError(f"the two sides have different shapes: {a.shape} and {b.shape}")
    return np.einsum("nd,nd->n", a, b)


def pair_similarities(
    encode: Callable[[list[str]], np.ndarray], sentences1: Sequence[str], sentences2: Sequence[str]
) -> np.ndarray:
    """Encode both sides of sentence pairs in one go and return their cosine similarities, ``(N,)``."""
    embeddings = encode([*sentences1, *sentences2])  # (2 N, D)
    return cosine_pairs(embeddings[: len(sentences1)], embeddings[len(sentences1) :])


def sts(embeddings1: np.ndarray, embeddings2: np.ndarray, scores: Sequence[float]) -> float:
    """Return Spearman's rank correlation of cosine similarities with human scores, in percent.

    Args:
        embeddings1: ``(N, D)``, one row a first sentence.
        embeddings2: ``(N, D)``, one row a second sentence.
        scores: ``(N,)`` gold scores.

    Raises:
        ValueError: For shapes that do not fit, values that are not finite, fewer than three pairs, or scores
            or similarities that are all the same (no ranks).
    """
    return spearman(cosine_pairs(embeddings1, embeddings2), scores)


def spearman(similarities: np.ndarray, scores: Sequence[float]) -> float:
    """Return Spearman's rank correlation (average ranks for ties) in percent; errors as `sts`."""
    x, y = _checked(similarities, scores)
    return 100.0 * float(spearmanr(x, y).statistic)


def _checked(similarities: np.ndarray, scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return both lists in float64, or say what is wrong with them."""
    x, y = np.asarray(similarities, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"similarities {x.shape} and scores {y.shape} should be lists of the same length")
    if len(x) < 3:
        raise ValueError(f"{len(x)} pairs are too few for a rank correlation; at least 3 are needed")
    for name, values in (("similarity", x), ("score", y)):
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise ValueError(f"{name} {row} is {values[row]}; it should be a finite number")
        if np.ptp(values) == 0:
            raise ValueError(f"each {name} is {values[0]}: there is no order to compare")
    return x, y


def spearman_interval(
    similarities: np.ndarray, scores: Sequence[float], *, resamples: int, rng: np.random.Generator
) -> Interval:
    """Return `spearman` with a 95 % percentile bootstrap interval over pairs (Efron 1979).

    The interval says what another sample of pairs from the same source might have given. It says nothing about pairs
    of another kind.
    """
    x, y = _checked(similarities, scores)
    return bootstrap(spearman(x, y), lambda rows: _spearman_rows(x[rows], y[rows]), len(x), resamples, rng)


def paired_difference(
    similarities: np.ndarray,
    control: np.ndarray,
    scores: Sequence[float],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """Return how much higher one method's Spearman is than a control's on the same pairs, in points, with its interval.

    Both methods are scored on the same resampled pairs, so what they have in common (easy and hard pairs) cancels out;
    the interval is narrower, and more to the point, than the two intervals side by side (Koehn 2004).
    """
    x, y = _checked(similarities, scores)
    z, _ = _checked(control, scores)

    def differences(rows: np.ndarray) -> np.ndarray:
        return _spearman_rows(x[rows], y[rows]) - _spearman_rows(z[rows], y[rows])

    return bootstrap(spearman(x, y) - spearman(z, y), differences, len(x), resamples, rng)


def _spearman_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman in percent for each row of two ``(R, N)`` matrices; 0 where a row has no order."""
    ranks_x, ranks_y = rankdata(x, axis=1), rankdata(y, axis=1)  # (R, N): 1 … N, ties averaged
    ranks_x -= ranks_x.mean(axis=1, keepdims=True)
    ranks_y -= ranks_y.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks_x**2).sum(axis=1) * (ranks_y**2).sum(axis=1))  # (R,)
    return 100.0 * np.divide((ranks_x * ranks_y).sum(axis=1), scale, out=np.zeros(len(x)), where=scale > 0)
