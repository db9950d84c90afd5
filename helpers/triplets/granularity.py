"""How many clusters? Ask, for pairs that are merged one after the other, whether they belong together (ClusterLLM)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np

from helpers import evaluation
from helpers.triplets import tree
from helpers.triplets.partition import check_embeddings


@dataclasses.dataclass(frozen=True)
class MergePairs:
    """Pairs of rows, each from the two sides of one merge, and the tree they come from.

    Attributes:
        pairs: ``(n, 2)`` row numbers, the smaller first.
        steps: ``(n,)``: the merge that leaves s clusters. The pair is together where there are at most s clusters and
            apart where there are more.
        children: ``(leaves - 1, 2)``: merge i joins these two nodes into node ``leaves + i``.
        n_leaves: Leaves of the tree: the rows, or the small clusters of large data.
        leaf_of: ``(N,)``, the leaf of each row.
    """

    pairs: np.ndarray
    steps: np.ndarray
    children: np.ndarray
    n_leaves: int
    leaf_of: np.ndarray

    def labels_at(self, k: int) -> np.ndarray:
        """Return the cluster of each row where the tree is cut into k clusters, ``(N,)``, from 0.

        Raises:
            ValueError: For k below 1 or above the number of leaves.
        """
        if not 1 <= k <= self.n_leaves:
            raise ValueError(f"k={k} should be from 1 to the number of leaves of the tree, {self.n_leaves}")
        return tree.cut(self.children, k)[self.leaf_of]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A number of clusters and the scores it was chosen by.

    Attributes:
        k: The chosen number.
        scores: F-beta, in percent, of every number that was tried.
    """

    k: int
    scores: dict[int, float]


def sample_merges(
    embeddings: np.ndarray, *, k_min: int = 2, k_max: int = 200, repeats: int = 1, seed: int = 100, large: bool = False
) -> MergePairs:
    """Sample a pair of rows for each merge between ``k_max`` and ``k_min`` clusters: a random row of either side.

    The algorithm is ClusterLLM's (arXiv 2305.14871, section 3.2 and its code) to the order of its random numbers: the
    rows of a node of more than two stand in the order of their distance to its mean, and one of them is drawn. (The
    original draws one more number a pair at its end, which decides nothing; we do not.) Ward's method runs on the
    embeddings as they stand.

    Args:
        embeddings: ``(N, D)``.
        k_min: The smallest number of clusters that can be chosen.
        k_max: The largest.
        repeats: Pairs for each merge.
        seed: Of all random numbers.
        large: Merge the centres of mini-batch k-means (200 clusters) instead of the rows.

    Returns:
        ``repeats · (k_max - k_min)`` pairs, from the coarsest merge to the finest, repeat after repeat.

    Raises:
        ValueError: For embeddings that are not a matrix of finite numbers with at least three rows, or numbers of
            clusters out of range.
    """
    rows = check_embeddings(embeddings, least=3)
    _check_range(k_min, k_max, len(rows), "rows")
    if repeats < 1:
        raise ValueError(f"repeats={repeats} should be at least 1")
    if large and len(rows) < tree.LARGE_CLUSTERS:
        raise ValueError(f"large=True makes {tree.LARGE_CLUSTERS} clusters and there are {len(rows)} rows")
    children, leaf_of = tree.large_tree(rows, seed=seed) if large else (tree.ward_tree(rows), np.arange(len(rows)))
    _check_range(k_min, k_max, len(children) + 1, "leaves of the tree")
    steps = list(range(k_min, k_max))
    sides = _sides(rows, children, leaf_of, steps)
    generator = random.Random(seed)  # the stream of random.seed(seed)
    pairs = [sorted(generator.choice(side) for side in sides[step]) for _ in range(repeats) for step in steps]
    return MergePairs(np.array(pairs), np.array(steps * repeats), children, len(children) + 1, leaf_of)


def choose_k(
    pairs: MergePairs,
    answers: Sequence[bool | None],
    *,
    beta: float = 0.92,
    k_range: tuple[int, int] | None = None,
) -> Choice:
    """Choose the number of clusters at which the tree agrees best with the answers.

    For every k, the F-beta score of "together in k clusters" against "belongs together" over the answered pairs. Below
    1, beta weighs precision more than recall. Of equal scores, the larger k wins.

    Args:
        pairs: From `sample_merges`.
        answers: ``(n,)``: True where a pair belongs together, False where not, None without an answer.
        beta: Above 0.
        k_range: The smallest and the largest number to try; all that were sampled where None. A pair counts where both
            sides of its merge are in this range.

    Raises:
        ValueError: For another number of answers than pairs, values that are not allowed, a range that is none, or no
            answers in it.
    """
    steps = pairs.steps
    k_min, k_max = k_range or (int(steps.min()), int(steps.max()) + 1)
    _check_range(k_min, k_max, pairs.n_leaves, "leaves of the tree")
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta={beta} should be a number above 0")
    _check_same(answers, len(steps))
    used = np.array([answer is not None for answer in answers]) & (steps >= k_min) & (steps < k_max)
    if not used.any():
        raise ValueError(f"none of {len(steps)} pairs from {k_min} to {k_max} clusters has an answer")
    belongs = np.array([bool(answer) for answer in answers])[used]
    scores = {k: _f_beta(steps[used] >= k, belongs, beta) for k in range(k_min, k_max + 1)}
    return Choice(max(scores, key=lambda k: (scores[k], k)), scores)


def pair_oracle(pairs: np.ndarray, labels: Sequence[object]) -> list[bool]:
    """Return whether the two rows of each pair have the same label.

    Raises:
        ValueError: For pairs that are not an ``(n, 2)`` array of rows that have labels.
    """
    rows = np.asarray(pairs)
    if rows.ndim != 2 or rows.shape[1] != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"pairs should be whole numbers of shape (n, 2), got shape {rows.shape}, {rows.dtype}")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(labels):
        raise ValueError(f"pairs name rows from {rows.min()} to {rows.max()}; labels are from 0 to {len(labels) - 1}")
    first, second = evaluation.encode_labels(labels)[rows].T
    return (first == second).tolist()


def _sides(
    rows: np.ndarray, children: np.ndarray, leaf_of: np.ndarray, steps: Sequence[int]
) -> dict[int, tuple[list[int], list[int]]]:
    """Return, for each step, the rows of the two nodes that are merged, nearest to the mean of their node first."""
    of_leaf = [np.flatnonzero(leaf_of == leaf).tolist() for leaf in range(len(children) + 1)]
    return {
        step: tuple(_from_the_mean(rows, tree.members(children, int(node), of_leaf)) for node in children[-step])
        for step in steps
    }


def _from_the_mean(rows: np.ndarray, members: list[int]) -> list[int]:
    """Order the rows of a node by their squared distance to its mean; one or two stay as they are."""
    if len(members) <= 2:
        return members
    vectors = rows[members]
    distances = ((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)
    return [members[place] for place in np.argsort(distances, kind="stable")]


def _f_beta(together: np.ndarray, belongs: np.ndarray, beta: float) -> float:
    """Return the F-beta score in percent; 0 where nothing is right."""
    right = (together & belongs).sum()
    weighed = (1 + beta**2) * right
    return 100.0 * float(weighed / (weighed + beta**2 * (belongs & ~together).sum() + (together & ~belongs).sum() or 1))


def _check_range(k_min: int, k_max: int, most: int, what: str) -> None:
    """Raise a ValueError where numbers of clusters are not two, in order, between 2 and what the data allows."""
    if not 2 <= k_min < k_max:
        raise ValueError(f"k_min={k_min} and k_max={k_max} should be at least 2, the first below the second")
    if k_max > most:
        raise ValueError(f"k_max={k_max} should be at most the number of {what}, {most}")


def _check_same(answers: Sequence[bool | None], pairs: int) -> None:
    """Raise a ValueError where answers are not True, False or None, or not as many as the pairs."""
    if len(answers) != pairs:
        raise ValueError(f"{len(answers)} answers do not match {pairs} pairs")
    for number, answer in enumerate(answers):
        if answer is not None and not isinstance(answer, bool | np.bool_):
            raise ValueError(f"answer {number} is {answer!r}; it should be True, False or None")
