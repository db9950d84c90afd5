"""The clusters that triplets are drawn from, and the distance at which they stop joining."""

from __future__ import annotations

import math

import numpy as np
from sklearn.cluster import AgglomerativeClustering, MiniBatchKMeans
from sklearn.preprocessing import StandardScaler

LARGE_CLUSTERS = 100
LARGE_STARTS = 3  # scikit-learn's default for mini-batches until version 1.4, which made it 1; ClusterLLM ran with 3
THRESHOLD_PER_ROOT = 2.41  # 67 / sqrt(768) = 2.418 and 77 / sqrt(1024) = 2.406
MIN_ROWS = 4  # a query, two choices, and a second cluster that does not fall out of the arithmetic


def threshold_for(embeddings: np.ndarray | int) -> float:
    """Return the Ward threshold that corresponds to the published ones, 67 at 768 and 77 at 1,024 dimensions.

    The coordinates of standardised rows have variance 1, so two rows lie ``2 D`` apart on average, squared, and all
    Ward heights grow with the root of the number of dimensions D. Both published values are 2.41 times that root; so is
    this one: 47.2 at 384 dimensions.

    This carries over the scale and nothing else. Heights also grow with the number of rows (joining two clusters of n
    rows at a distance d costs ``d sqrt(n)``), and depend on the effective dimension of the encoder (how many directions
    share the variance). So a small set gets few clusters, and a large one more clusters than it has labels. Look at
    `Sampling.n_clusters`, and change the threshold where there are fewer than ten or so.

    Args:
        embeddings: ``(N, D)``, or the number of dimensions D.

    Raises:
        ValueError: For a number of dimensions below 1, or embeddings that are not a matrix.
    """
    if isinstance(embeddings, int | np.integer) and not isinstance(embeddings, bool):
        dimensions = int(embeddings)
    else:
        shape = np.shape(embeddings)
        if len(shape) != 2:
            raise ValueError(f"embeddings should be a matrix (rows, dimensions) or a whole number, got shape {shape}")
        dimensions = shape[1]
    if dimensions < 1:
        raise ValueError(f"dimensions={dimensions} should be at least 1")
    return THRESHOLD_PER_ROOT * math.sqrt(dimensions)


def standardise(embeddings: np.ndarray) -> np.ndarray:
    """Return rows of which each coordinate has mean 0 and variance 1, ``(N, D)``; constant coordinates become 0.

    Raises:
        ValueError: For anything but a matrix of finite numbers, fewer than four rows, or rows that are all the same.
    """
    matrix = check_embeddings(embeddings, least=MIN_ROWS)
    if (matrix == matrix[0]).all():
        raise ValueError(f"all {len(matrix)} rows of the embeddings are the same: there is nothing to tell apart")
    return StandardScaler().fit_transform(matrix)


def check_embeddings(embeddings: np.ndarray, *, least: int) -> np.ndarray:
    """Return embeddings as a float matrix of at least so many finite rows, or raise a ValueError; float32 stays."""
    matrix = np.asarray(embeddings)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"embeddings should be a matrix (rows, dimensions), got shape {matrix.shape}")
    if len(matrix) < least:
        raise ValueError(f"embeddings have {len(matrix)} rows; at least {least} are needed")
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        row = int(np.argwhere(~np.isfinite(matrix))[0, 0])
        raise ValueError(f"embeddings have a value that is not finite in row {row}")
    return matrix


def partition(standardised: np.ndarray, *, distance_threshold: float, large: bool, seed: int) -> np.ndarray:
    """Return the cluster number of each row, ``(N,)``, from 0 without gaps.

    Args:
        standardised: ``(N, D)``, from `standardise`.
        distance_threshold: Clusters that lie further apart than this (Ward's distance) stay apart.
        large: Mini-batch k-means with 100 clusters instead, for more rows than have room for their ``N² / 2`` distances
            (20,000 rows: 1.6 GB); the threshold then counts for nothing.
        seed: Of mini-batch k-means.

    Raises:
        ValueError: Where everything falls into one cluster, or there are fewer rows than clusters.
    """
    if large:
        if len(standardised) < LARGE_CLUSTERS:
            raise ValueError(f"large=True makes {LARGE_CLUSTERS} clusters and there are {len(standardised)} rows")
        model = MiniBatchKMeans(n_clusters=LARGE_CLUSTERS, n_init=LARGE_STARTS, random_state=seed)
        found = model.fit_predict(standardised)
        return np.unique(found, return_inverse=True)[1]  # mini-batches may leave a cluster empty
    tree = AgglomerativeClustering(n_clusters=None, distance_threshold=distance_threshold).fit(standardised)
    if tree.n_clusters_ < 2:
        raise ValueError(_one_cluster(tree.distances_, distance_threshold, standardised.shape[1]))
    return tree.labels_


def _one_cluster(heights: np.ndarray, threshold: float, dimensions: int) -> str:
    """Say which thresholds would have given clusters; rounded down, because a join at the threshold is not made."""
    descending = np.floor(np.sort(heights)[::-1] * 100) / 100
    wanted = min(10, len(descending))
    return (
        f"distance_threshold={threshold:g} leaves all {len(heights) + 1} rows in one cluster. It should be at most "
        f"{descending[0]:g}, where the last two clusters join; {descending[wanted - 2]:g} gives about {wanted} "
        f"clusters (threshold_for({dimensions}) is {threshold_for(dimensions):.1f}; small sets need less)"
    )
