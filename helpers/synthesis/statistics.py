"""How varied a set of texts is (tasks, n-grams, lengths, languages), and shares with their intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from helpers import settings
from helpers.evaluation import Interval
from helpers.synthesis.words import ngrams, words

TOKENS = 5_000  # words from which distinct n-grams are counted: their share falls with the size of a set


def distinct_ngrams(texts: Sequence[str], n: int, *, tokens: int = TOKENS, seed: int = 0) -> float:
    """Return the share of n-grams that differ from all others (distinct-n), 0 to 1.

    Texts are taken in random order until they have ``tokens`` n-grams, so that sets of unlike sizes can be compared.

    Args:
        texts: The texts; n-grams do not run from one into the next.
        n: Words in an n-gram.
        tokens: How many n-grams to look at.
        seed: Of the order.

    Raises:
        ValueError: Where the texts have fewer n-grams than that; a smaller ``tokens`` makes sets comparable again.
    """
    found: list[tuple[str, ...]] = []
    for at in np.random.default_rng(seed).permutation(len(texts)):
        found += ngrams(words(texts[at]), n)
        if len(found) >= tokens:
            return len(set(found[:tokens])) / tokens
    raise ValueError(f"the texts have {len(found)} n-grams of {n} words, and tokens={tokens} are wanted")


def effective_number(vectors: np.ndarray) -> float:
    """Return how many unlike texts a set is worth: 1 where all vectors are the same, N where all are orthogonal.

    The exponential of the entropy of the eigenvalues of the matrix of cosines, divided by N (the Vendi score, arXiv
    2210.02410). Compare sets of the same size only.

    Args:
        vectors: ``(N, D)``, none of them zero.
    """
    unit = _unit(vectors)
    shares = np.linalg.svd(unit, compute_uv=False) ** 2 / len(unit)  # eigenvalues of unit @ unit.T / N
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def task_clusters(vectors: np.ndarray, *, threshold: float = 0.5) -> np.ndarray:
    """Return a cluster for each task, ``(N,)``: tasks are joined while clusters are on average nearer than a threshold.

    Args:
        vectors: ``(N, D)`` of the tasks' texts.
        threshold: Cosine distance, 0 to 2.

    Raises:
        ValueError: For fewer than two tasks.
    """
    from sklearn.cluster import AgglomerativeClustering

    if len(vectors) < 2:
        raise ValueError(f"at least two tasks can be clustered, got {len(vectors)}")
    joining = {"metric": "cosine", "linkage": "average", "distance_threshold": threshold}
    return AgglomerativeClustering(n_clusters=None, **joining).fit_predict(_unit(vectors))


def lengths(texts: Sequence[str]) -> np.ndarray:
    """Return the words of each text, ``(N,)``; in scripts without spaces, its characters."""
    return np.array([len(words(text)) for text in texts], dtype=int)


def shares(rows: Sequence[Mapping[str, object]], column: str) -> dict[object, float]:
    """Return the share of each value of a column, the most frequent first.

    Raises:
        ValueError: For no rows, or an unknown column, with the nearest name.
    """
    if len(rows) == 0:
        raise ValueError("there are no rows")
    for row in rows:
        if column not in row:
            raise ValueError(f"there is no column {column!r}; {settings.nearest(column, row)}")
    counts = Counter(row[column] for row in rows)
    return {value: count / len(rows) for value, count in counts.most_common()}


def share_interval(hits: Sequence[bool]) -> Interval:
    """Return the share of hits in percent, with Wilson's 95 % interval (Wilson 1927).

    Where all are hits, or none, a bootstrap gives an interval without width; this one does not.

    Raises:
        ValueError: For no hits and misses at all.
    """
    if len(hits) == 0:
        raise ValueError("there is nothing to take a share of")
    found = sum(map(bool, hits))
    low, high = stats.binomtest(found, len(hits)).proportion_ci(method="wilson")
    return Interval(100 * found / len(hits), 100 * float(low), 100 * float(high), noise="sampling")


def difference_of_shares(one: Interval, other: Interval) -> Interval:
    """Return one share minus another with the interval that their own intervals make (Newcombe 1998, method 10).

    It is for shares of separate answers. For answers to the same questions it is mostly too wide, never without width.
    """
    difference = one.value - other.value
    low = difference - math.hypot(one.value - one.low, other.high - other.value)
    high = difference + math.hypot(one.high - one.value, other.value - other.low)
    return Interval(difference, low, high, noise="sampling")


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1."""
    matrix = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    if matrix.ndim != 2 or not np.all(norms > 0):
        raise ValueError(f"vectors should be an (N, D) array without rows of zeros, got shape {matrix.shape}")
    return matrix / norms
