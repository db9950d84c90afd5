"""The shape of a cloud of embeddings. Everything here computes in float64."""

from __future__ import annotations

import numpy as np


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
