"""Merge trees: which rows belong to a node, and the partition into k clusters."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import AgglomerativeClustering, MiniBatchKMeans

LARGE_CLUSTERS = 200
LARGE_STARTS = 3  # as in `helpers.triplets.partition`
LARGE_BATCH = 1024


def ward_tree(embeddings: np.ndarray) -> np.ndarray:
    """Return the merges of Ward's method, ``(N - 1, 2)``; merge i makes node ``N + i`` out of two earlier ones."""
    return AgglomerativeClustering().fit(embeddings).children_


def large_tree(embeddings: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster by mini-batch k-means, then merge the 200 centres by Ward's method, each with the weight of its rows.

    Returns:
        Merges ``(K - 1, 2)``, and the leaf of each row, ``(N,)``. K is below 200 where clusters stayed empty.
    """
    model = MiniBatchKMeans(LARGE_CLUSTERS, batch_size=LARGE_BATCH, n_init=LARGE_STARTS, random_state=seed)
    found = model.fit_predict(embeddings)
    filled, leaf = np.unique(found, return_inverse=True)
    return weighted_ward(model.cluster_centers_[filled], np.bincount(leaf)), leaf


def weighted_ward(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the merges of Ward's method over clusters that are given, ``(K - 1, 2)``.

    Joining clusters of a and b rows costs ``a b / (a + b)`` times the squared distance of their centres: that much the
    squared distances of rows to their centres grow. The cheapest pair is joined first; of equal ones, that of the
    earlier clusters. All pairs are compared at every step, in time ``K³``: for a few hundred clusters.

    Args:
        centres: ``(K, D)``.
        sizes: ``(K,)``, rows of each.
    """
    centres, sizes = np.array(centres, dtype=np.float64), np.array(sizes, dtype=np.float64)
    count = len(centres)
    node = np.arange(count)  # which node of the tree a place holds; the joined one stays in the first place
    costs = np.full((count, count), np.inf)  # above the diagonal
    for place in range(count):
        _price(costs, centres, sizes, place)
    children = []
    for step in range(count - 1):
        first, second = np.unravel_index(np.argmin(costs), costs.shape)
        children.append(sorted((node[first], node[second])))
        total = sizes[first] + sizes[second]
        centres[first] = (sizes[first] * centres[first] + sizes[second] * centres[second]) / total
        sizes[first], sizes[second], node[first] = total, 0, count + step
        costs[second, :] = costs[:, second] = np.inf
        _price(costs, centres, sizes, first)
    return np.array(children, dtype=np.int64).reshape(-1, 2)


def _price(costs: np.ndarray, centres: np.ndarray, sizes: np.ndarray, place: int) -> None:
    """Enter what it costs to join one place with each that is still alive; those that are gone have size 0."""
    alive = np.flatnonzero(sizes)
    alive = alive[alive != place]
    weight = sizes[place] * sizes[alive] / (sizes[place] + sizes[alive])
    price = weight * ((centres[alive] - centres[place]) ** 2).sum(axis=1)
    costs[np.minimum(alive, place), np.maximum(alive, place)] = price


def members(children: np.ndarray, node: int, rows_of_leaf: list[list[int]]) -> list[int]:
    """Return the rows below a node, those of the left branch before those of the right."""
    leaves, found, waiting = len(children) + 1, [], [node]
    while waiting:
        current = int(waiting.pop())
        if current < leaves:
            found += rows_of_leaf[current]
        else:
            left, right = children[current - leaves]
            waiting += [right, left]
    return found


def cut(children: np.ndarray, k: int) -> np.ndarray:
    """Return the cluster of each leaf where the last ``k - 1`` merges are undone, ``(leaves,)``, from 0."""
    leaves = len(children) + 1
    owner = np.arange(leaves + len(children))
    for merge in reversed(range(leaves - k)):
        owner[children[merge]] = owner[leaves + merge]
    return np.unique(owner[:leaves], return_inverse=True)[1]
