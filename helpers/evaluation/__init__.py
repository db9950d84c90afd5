"""Measuring embeddings: likeness, clusters, search, transfer; and saying how sure we are."""

from helpers.evaluation.clusters import (
    FIVE_SEEDS,
    accuracy,
    check_clusters,
    clustering,
    compare,
    encode_labels,
    mteb_v_measure,
    silhouette,
)
from helpers.evaluation.geometry import anisotropy, effective_dimensions, unit_rows
from helpers.evaluation.intervals import (
    Interval,
    difference_over_seeds,
    mean_difference,
    mean_interval,
    over_seeds,
)
from helpers.evaluation.retrieval import judgements_of, retrieval, search
from helpers.evaluation.similarity import (
    cosine_pairs,
    pair_similarities,
    paired_difference,
    spearman,
    spearman_interval,
    sts,
)
from helpers.evaluation.transfer import Transfer, pair_features, transfer, transfer_split

__all__ = [
    "FIVE_SEEDS",
    "Interval",
    "Transfer",
    "accuracy",
    "anisotropy",
    "check_clusters",
    "clustering",
    "compare",
    "cosine_pairs",
    "difference_over_seeds",
    "effective_dimensions",
    "encode_labels",
    "judgements_of",
    "mean_difference",
    "mean_interval",
    "mteb_v_measure",
    "over_seeds",
    "pair_features",
    "pair_similarities",
    "paired_difference",
    "retrieval",
    "search",
    "silhouette",
    "spearman",
    "spearman_interval",
    "sts",
    "transfer",
    "transfer_split",
    "unit_rows",
]
