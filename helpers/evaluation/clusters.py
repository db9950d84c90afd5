"""Clustering: do texts of one label fall into one cluster?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score, v_measure_score

FIVE_SEEDS = (100, 13, 21, 36, 42)
STARTS = 10  # scikit-learn's default became 1 in version 1.4; ClusterLLM ran with 10


def clustering(
    embeddings: np.ndarray, labels: Sequence[object], *, seeds: Sequence[int] = FIVE_SEEDS
) -> dict[str, list[float]]:
    """Cluster with k-means, as many clusters as there are labels, and compare with the labels.

    The protocol is ClusterLLM's (section 4.1 and its code): raw embeddings, neither scaled nor normalised, k-means
    with ten starts, five seeds.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` names or numbers.
        seeds: One run of k-means for each.

    Returns:
        ``{"ACC": [...], "NMI": [...], "ARI": [...]}`` in percent, one value a seed. The seed is the only noise:
        the texts stay the same (see `over_seeds`).

    Raises:
        ValueError: For embeddings that are not a matrix of finite numbers, another number of labels, labels that are
            all the same, fewer texts than clusters, or no seeds.
    """
    matrix, gold = check_labelled(embeddings, labels)
    if len(seeds) == 0:
        raise ValueError("clustering needs at least one seed")
    k = gold.max() + 1
    # Word counts are nearly all zeros; k-means on the other entries alone gives the same, many times faster.
    rows = sparse.csr_matrix(matrix) if np.count_nonzero(matrix) < 0.05 * matrix.size else matrix
    scores: dict[str, list[float]] = {"ACC": [], "NMI": [], "ARI": []}
    for seed in seeds:
        found = KMeans(n_clusters=k, n_init=STARTS, random_state=seed).fit_predict(rows)
        for name, value in compare(found, gold).items():
            scores[name].append(value)
    return scores


def compare(found: Sequence[int], labels: Sequence[object]) -> dict[str, float]:
    """Return ACC, NMI and ARI of one clustering against labels, in percent.

    ACC counts the texts that are right under the best one-to-one matching of clusters and labels (Kuhn 1955), NMI is
    mutual information over the arithmetic mean of the two entropies, ARI counts pairs and subtracts what chance gives.
    """
    gold = encode_labels(labels)
    if len(found) != len(gold):
        raise ValueError(f"{len(found)} cluster numbers and {len(gold)} labels should be of the same texts")
    return {
        "ACC": accuracy(np.asarray(found), gold),
        "NMI": 100.0 * float(normalized_mutual_info_score(gold, found)),
        "ARI": 100.0 * float(adjusted_rand_score(gold, found)),
    }


def accuracy(found: np.ndarray, gold: np.ndarray) -> float:
    """Return the share of texts, in percent, whose cluster is matched with their label in the best matching.

    Clusters and labels need not be equally many: whoever finds no partner counts as wrong.
    """
    size = int(max(found.max(), gold.max())) + 1
    table = np.zeros((size, size), dtype=np.int64)  # texts by cluster and label
    np.add.at(table, (found, gold), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return 100.0 * float(table[rows, columns].sum()) / len(gold)


def silhouette(embeddings: np.ndarray, clusters: Sequence[int]) -> float:
    """Return the mean silhouette (Rousseeuw 1987) by cosine distance, in percent: for texts without labels.

    It says how well separated the clusters are, not whether they are the ones that anybody wants.

    Raises:
        ValueError: As `clustering`; and where each text is a cluster of its own.
    """
    matrix, found = check_labelled(embeddings, clusters)
    if found.max() + 1 >= len(found):
        raise ValueError(f"{len(found)} texts in {found.max() + 1} clusters: there is nothing to compare within them")
    return 100.0 * float(silhouette_score(matrix, found, metric="cosine"))


def mteb_v_measure(
    embeddings: np.ndarray, labels: Sequence[object], *, documents: int = 16_384, experiments: int = 10, seed: int = 42
) -> list[float]:
    """Return the V-measure as mteb 2 computes it for a flat set, in percent, one value an experiment.

    It differs from `clustering` in two ways: each experiment clusters a draw of ``documents`` texts *with replacement*,
    and it uses mini-batch k-means (batches of 512) with a single start. The V-measure itself is NMI by another name.
    """
    import random  # mteb draws with the standard library's generator, so the same draws need it too

    matrix, gold = check_labelled(embeddings, labels)
    generator = random.Random(seed)
    k, scores = gold.max() + 1, []
    for _ in range(experiments):
        rows = np.array(generator.choices(range(len(gold)), k=documents))
        found = MiniBatchKMeans(n_clusters=k, batch_size=512, n_init="auto", random_state=seed)
        scores.append(100.0 * float(v_measure_score(gold[rows], found.fit_predict(matrix[rows]))))
    return scores


def encode_labels(labels: Sequence[object]) -> np.ndarray:
    """Return labels as numbers from 0, ``(N,)``; which label gets which number does not matter to any score."""
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def check_labelled(embeddings: np.ndarray, labels: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and numbered labels, or raise the ValueErrors of `clustering`."""
    matrix = check_matrix(embeddings, len(labels))
    gold = encode_labels(labels)
    if gold.max() == 0:
        raise ValueError(f"all {len(gold)} texts have the label {labels[0]!r}; at least two labels are needed")
    return matrix, gold


def check_matrix(embeddings: np.ndarray, labels: int) -> np.ndarray:
    """Return embeddings as an array, or say what is wrong with them."""
    matrix = np.asarray(embeddings)
    if matrix.ndim != 2 or len(matrix) == 0:
        raise ValueError(f"embeddings should be a matrix (texts, dimensions), got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        row = int(np.argwhere(~np.isfinite(matrix))[0, 0])
        raise ValueError(f"embeddings have a value that is not finite in row {row}")
    if labels != len(matrix):
        raise ValueError(f"{labels} labels do not match {len(matrix)} embeddings")
    return matrix


def check_clusters(texts: int, clusters: int) -> None:
    """Raise a ValueError where there are fewer texts than clusters, or fewer than two clusters."""
    if not 2 <= clusters <= texts:
        raise ValueError(f"clusters={clusters} should be from 2 to the number of texts, {texts}")
