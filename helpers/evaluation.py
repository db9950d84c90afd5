"""Measuring embeddings against human judgement, and saying how sure we are. Everything here computes in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata, spearmanr

CHUNK = 200  # resamples ranked at once: bounds the memory of a bootstrap on long lists


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with a 95 % interval.

    Attributes:
        value: The value on the whole sample.
        low: Lower end.
        high: Upper end.
        noise: What the interval is about (``bootstrap``: another sample of pairs from the same source).
    """

    value: float
    low: float
    high: float
    noise: str = "bootstrap"

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """Print as ``77.3 [74.1, 80.2]``."""
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1, in float64.

    Raises:
        ValueError: For anything but a matrix of finite numbers, or a row of zeros, which has no direction.
    """
    matrix = np.asarray(embeddings, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) == 0:
        raise ValueError(f"embeddings should be a matrix (texts, dimensions), got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(
            f"embeddings have a value that is not finite in row {int(np.argwhere(~np.isfinite(matrix))[0, 0])}"
        )
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise ValueError(f"embedding {int(np.argmin(lengths))} is all zeros and has no direction")
    return matrix / lengths


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
    return _interval(spearman(x, y), lambda rows: _spearman_rows(x[rows], y[rows]), len(x), resamples, rng)


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

    return _interval(spearman(x, y) - spearman(z, y), differences, len(x), resamples, rng)


def _spearman_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman in percent for each row of two ``(R, N)`` matrices; 0 where a row has no order."""
    ranks_x, ranks_y = rankdata(x, axis=1), rankdata(y, axis=1)  # (R, N): 1 … N, ties averaged
    ranks_x -= ranks_x.mean(axis=1, keepdims=True)
    ranks_y -= ranks_y.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks_x**2).sum(axis=1) * (ranks_y**2).sum(axis=1))  # (R,)
    return 100.0 * np.divide((ranks_x * ranks_y).sum(axis=1), scale, out=np.zeros(len(x)), where=scale > 0)


def _interval(
    value: float, statistic: Callable[[np.ndarray], np.ndarray], n: int, resamples: int, rng: np.random.Generator
) -> Interval:
    """Bootstrap a statistic of ``(R, N)`` row indices and take the 2.5 and 97.5 percentiles."""
    if resamples < 1:
        raise ValueError(f"resamples={resamples} should be at least 1")
    sizes = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    drawn = np.concatenate([statistic(rng.integers(0, n, size=(size, n))) for size in sizes])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def anisotropy(embeddings: np.ndarray) -> float:
    """Return the mean cosine similarity of two different rows: 0 where directions spread evenly, 1 where all agree.

    All ``N (N - 1)`` pairs enter, without forming them: the squared length of the sum of unit rows is N plus their
    cosines. The measure is that of Ethayarajh (2019), there on words in context.
    """
    rows = unit_rows(embeddings)
    n = len(rows)
    if n < 2:
        raise ValueError(f"anisotropy needs at least 2 embeddings, got {n}")
    total = rows.sum(axis=0)
    return float((total @ total - n) / (n * (n - 1)))


def effective_dimensions(embeddings: np.ndarray) -> float:
    """Return the participation ratio of the variances along principal axes: how many directions share the variance.

    ``(Σ λ)² / Σ λ²`` over the eigenvalues λ of the covariance of unit rows; 1 where one direction holds all.

    Raises:
        ValueError: Where nothing varies: a single row, or rows that are all the same.
    """
    rows = unit_rows(embeddings)
    if np.ptp(rows, axis=0).max() == 0:
        raise ValueError(f"all {len(rows)} embeddings point the same way: there is no variance to share")
    variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    return float(variances.sum() ** 2 / (variances**2).sum())
