"""Which questions are worth asking: triplets around the rows whose cluster is least certain (ClusterLLM)."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import random
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import entr

from helpers.triplets.partition import partition, standardise

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Sampled triplets and what they were sampled from.

    Attributes:
        triplets: ``(n, 3)``, row numbers of query, choice 1 and choice 2.
        clusters: ``(N,)``, the cluster of each row.
        entropy: ``(N,)``, in nats: how undecided each row is between its close clusters.
        kept: The rows that were asked about, in the order in which they were visited.
    """

    triplets: np.ndarray
    clusters: np.ndarray
    entropy: np.ndarray
    kept: np.ndarray

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.clusters.max()) + 1


def sample_triplets(
    embeddings: np.ndarray,
    *,
    n_triplets: int = 1024,
    distance_threshold: float = 77.0,
    entropy_fraction: float = 0.2,
    close_fraction: float = 0.02,
    shuffle: bool = True,
    seed: int = 100,
    large: bool = False,
    skip_fraction: float = 0.0,
) -> np.ndarray:
    """Return ``sample(...).triplets``: ``(n, 3)`` row numbers of query, choice 1 and choice 2."""
    return sample(
        embeddings,
        n_triplets=n_triplets,
        distance_threshold=distance_threshold,
        entropy_fraction=entropy_fraction,
        close_fraction=close_fraction,
        shuffle=shuffle,
        seed=seed,
        large=large,
        skip_fraction=skip_fraction,
    ).triplets


def sample(
    embeddings: np.ndarray,
    *,
    n_triplets: int = 1024,
    distance_threshold: float = 77.0,
    entropy_fraction: float = 0.2,
    close_fraction: float = 0.02,
    shuffle: bool = True,
    seed: int = 100,
    large: bool = False,
    skip_fraction: float = 0.0,
) -> Sampling:
    """Sample questions of the form "does the query go with choice 1 or with choice 2?".

    Rows are standardised and clustered. Queries are the rows with the highest entropy over their close clusters; the
    choices are random members of two different close clusters. Neither needs to be of the query's own cluster or label.

    The algorithm is ClusterLLM's (arXiv 2305.14871, section 3.1 and its code) to the order of its random numbers: for
    the same embeddings and seed it asks the same questions. Rows of equal entropy stand in the order of the embeddings.
    The question ``(q, a, b)`` is asked once, but ``(q, b, a)`` may be asked as well.

    Args:
        embeddings: ``(N, D)``, as the encoder gives them.
        n_triplets: How many to sample. Where fewer exist, all that exist are returned, with a warning in the log.
        distance_threshold: Ward's distance at which clusters stop joining; see `threshold_for`.
        entropy_fraction: Where the ranking by entropy is cut off, as a share of N.
        close_fraction: Share of the clusters that are close to a row; at least two are.
        shuffle: Visit the queries in random order instead of that of their entropy.
        seed: Of all random numbers.
        large: Cluster by mini-batch k-means (100 clusters) instead of Ward.
        skip_fraction: Where the ranking begins: leave out this share, the highest entropies.

    Raises:
        ValueError: For embeddings that are not a matrix of finite numbers, have fewer than four rows or rows that are
            all the same; for a threshold that gives one cluster; for options out of range; where no triplet exists.
    """
    _check_options(n_triplets, distance_threshold, entropy_fraction, close_fraction, seed, skip_fraction)
    rows = standardise(embeddings)
    clusters = partition(rows, distance_threshold=distance_threshold, large=large, seed=seed)
    members = [np.flatnonzero(clusters == number).tolist() for number in range(clusters.max() + 1)]
    centres = np.stack([rows[group].mean(axis=0) for group in members])
    entropy, close = close_entropy(soft_assignment(rows, centres), close_fraction=close_fraction)
    kept = _queries(entropy, skip_fraction, entropy_fraction)
    if shuffle:
        np.random.RandomState(seed).shuffle(kept)  # the stream of np.random.seed(seed)
    wanted = _obtainable(n_triplets, kept, close, clusters)
    generator = random.Random(seed)  # the stream of random.seed(seed)
    drawn = _draw(kept.tolist(), close.tolist(), members, wanted, generator)
    return Sampling(_swap(drawn, generator), clusters, entropy, kept)


def soft_assignment(standardised: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return how much each row belongs to each cluster, ``(N, M)``; rows add up to 1.

    The weight of a cluster is ``1 / (1 + d²)`` for a squared Euclidean distance ``d²`` to its centre, Student's t with
    one degree of freedom, as in deep embedded clustering (Xie et al. 2016).
    """
    weights = 1.0 / (1.0 + cdist(standardised, centres, "sqeuclidean"))
    return weights / weights.sum(axis=1, keepdims=True)


def close_entropy(assignment: np.ndarray, *, close_fraction: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Return the entropy of each row over its close clusters, and which these are.

    Args:
        assignment: ``(N, M)``, from `soft_assignment`.
        close_fraction: ``max(2, round(close_fraction · M))`` clusters are close.

    Returns:
        Entropies in nats, ``(N,)``, at most ln 2 where two clusters are close; and the numbers of the close clusters,
        the closest first, ``(N, close)``.
    """
    count = max(2, round(close_fraction * assignment.shape[1]))
    close = np.argsort(-assignment, axis=1, kind="stable")[:, :count]
    weights = np.take_along_axis(assignment, close, axis=1)
    return entr(weights / weights.sum(axis=1, keepdims=True)).sum(axis=1), close


def random_triplets(n_rows: int, *, n_triplets: int = 1024, seed: int = 100) -> np.ndarray:
    """Return triplets of three different rows drawn with equal chances, ``(n_triplets, 3)``: the baseline.

    Raises:
        ValueError: For fewer than three rows, or fewer than one triplet.
    """
    if n_rows < 3:
        raise ValueError(f"n_rows={n_rows} should be at least 3: a query and two choices")
    if n_triplets < 1:
        raise ValueError(f"n_triplets={n_triplets} should be at least 1")
    generator = random.Random(seed)
    return np.array([generator.sample(range(n_rows), 3) for _ in range(n_triplets)])


def _check_options(
    n_triplets: int, threshold: float, entropy_fraction: float, close_fraction: float, seed: int, skip_fraction: float
) -> None:
    """Raise the ValueErrors of options out of range; comparisons are such that NaN fails them."""
    if n_triplets < 1:
        raise ValueError(f"n_triplets={n_triplets} should be at least 1")
    if not 0 < threshold < float("inf"):
        raise ValueError(f"distance_threshold={threshold} should be a number above 0")
    if not 0 <= skip_fraction < entropy_fraction <= 1:
        raise ValueError(
            f"skip_fraction={skip_fraction} and entropy_fraction={entropy_fraction} should be shares from 0 to 1, "
            "the first below the second"
        )
    if not 0 <= close_fraction <= 1:
        raise ValueError(f"close_fraction={close_fraction} should be a share from 0 to 1")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed} should be from 0 to 2**32 - 1")


def _queries(entropy: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the rows between two shares of the ranking by entropy, the highest first."""
    ranked = np.argsort(-entropy, kind="stable")
    kept = ranked[int(start * len(ranked)) : int(end * len(ranked))]
    if len(kept) == 0:
        raise ValueError(
            f"skip_fraction={start} and entropy_fraction={end} keep none of {len(ranked)} rows; keep a larger share"
        )
    return kept


def _obtainable(n_triplets: int, kept: np.ndarray, close: np.ndarray, clusters: np.ndarray) -> int:
    """Return how many triplets can be had: as many as asked for, or all that exist.

    The original draws for ever where fewer exist. A pass over the queries that finds nothing new is no proof of that:
    with few queries it also happens by bad luck. So we count: a query has, for each two of its close clusters in either
    order, the product of their sizes, without the query itself.
    """
    sizes = np.bincount(clusters)[close[kept]] - (close[kept] == clusters[kept][:, None])  # (queries, close)
    existing = int((sizes.sum(axis=1) ** 2 - (sizes**2).sum(axis=1)).sum())
    where = f"{len(kept)} queries and {clusters.max() + 1} clusters of {len(clusters)} rows"
    advice = "a higher distance_threshold makes larger clusters, a higher entropy_fraction more queries"
    if existing == 0:
        raise ValueError(f"no triplet exists for {where}: close clusters hold nothing but the query; {advice}")
    if existing < n_triplets:
        logger.warning("%d triplets instead of %d: no more exist for %s; %s", existing, n_triplets, where, advice)
    return min(n_triplets, existing)


def _draw(
    kept: Sequence[int],
    close: Sequence[Sequence[int]],
    members: Sequence[Sequence[int]],
    wanted: int,
    generator: random.Random,
) -> list[tuple[int, int, int]]:
    """Visit the queries in turn, again and again, until there are enough triplets; one draw a visit."""
    found: dict[tuple[int, int, int], None] = {}  # keeps the order
    for query in itertools.cycle(kept):
        first, second = generator.sample(close[query], 2)
        a, b = generator.choice(members[first]), generator.choice(members[second])
        if query not in (a, b):
            found[query, a, b] = None
            if len(found) == wanted:
                break
    return list(found)


def _swap(drawn: list[tuple[int, int, int]], generator: random.Random) -> np.ndarray:
    """Exchange the two choices of about half of the triplets, so that neither place means anything."""
    return np.array([(q, a, b) if generator.random() > 0.5 else (q, b, a) for q, a, b in drawn])
