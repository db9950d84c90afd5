"""Triplets: which questions to ask, what was answered, and how many clusters there are."""

from helpers.triplets.answers import (
    gold_answers,
    noisy_oracle,
    oracle_answers,
    parse_choice,
    parse_yes_no,
    random_answers,
    self_answers,
    to_training,
)
from helpers.triplets.audit import Audit, accuracy_on_decidable, audit
from helpers.triplets.granularity import Choice, MergePairs, choose_k, pair_oracle, sample_merges
from helpers.triplets.partition import standardise, threshold_for
from helpers.triplets.recorded import recorded_answers, recorded_file
from helpers.triplets.sampling import (
    Sampling,
    close_entropy,
    random_triplets,
    sample,
    sample_triplets,
    soft_assignment,
)

__all__ = [
    "Audit",
    "Choice",
    "MergePairs",
    "Sampling",
    "accuracy_on_decidable",
    "audit",
    "choose_k",
    "close_entropy",
    "gold_answers",
    "noisy_oracle",
    "oracle_answers",
    "pair_oracle",
    "parse_choice",
    "parse_yes_no",
    "random_answers",
    "random_triplets",
    "recorded_answers",
    "recorded_file",
    "sample",
    "sample_merges",
    "sample_triplets",
    "self_answers",
    "soft_assignment",
    "standardise",
    "threshold_for",
    "to_training",
]
