"""What a task, its options and its scores are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from helpers import datasets, evaluation, settings
from helpers.evaluation import Interval

Encode = Callable[[Sequence[str]], np.ndarray]

# Kind of task -> metrics, the one to compare by first.
METRICS: dict[str, tuple[str, ...]] = {
    "sts": ("spearman",),
    "clustering": ("NMI", "ACC", "ARI"),
    "retrieval": ("nDCG@10", "recall@10", "MRR"),
    "classification": ("accuracy",),
    "pair classification": ("accuracy",),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """How much of a set is used, and how often a number is drawn again.

    Attributes:
        seeds: Seeds of k-means.
        resamples: Bootstrap resamples of an interval.
        folds: Outer and inner folds of the linear probe.
        rows: Most pairs, texts to cluster, or queries; None for all.
        probe_rows: Most rows of a set for the linear probe (of its training part, where it has one); None for all.
        passages: Most passages of a corpus (the judged ones first, then others drawn with ``seed``); None for all.
        words: Most words of a passage; None for all.
        seed: Of these draws and of the bootstrap.
    """

    seeds: tuple[int, ...] = evaluation.FIVE_SEEDS
    resamples: int = 2_000
    folds: int = 10
    rows: int | None = None
    probe_rows: int | None = None
    passages: int | None = None
    words: int | None = None
    seed: int = 100

    def rng(self) -> np.random.Generator:
        """Return a fresh generator, so that every method is scored on the same draws."""
        return np.random.default_rng(self.seed)


@dataclasses.dataclass(frozen=True)
class Score:
    """One metric of one method.

    Attributes:
        interval: The value with its interval.
        items: What a paired difference is made of: one number a seed, query or text; for STS the similarities.
    """

    interval: Interval
    items: np.ndarray


@dataclasses.dataclass(frozen=True)
class Task:
    """A dataset made ready for scoring.

    Attributes:
        name: Registry name.
        kind: One of `METRICS`.
        split: The split that is tested.
        source: Where its rows came from.
        rows: How many rows are tested (pairs, texts, or queries).
        texts: Every text that is encoded, in one list.
        run: Embeddings of these texts -> metric -> score.
        compare: Two scores of a metric -> their paired difference.
    """

    name: str
    kind: str
    split: str
    source: str
    rows: int
    texts: list[str]
    run: Callable[[np.ndarray], dict[str, Score]]
    compare: Callable[[Score, Score], Interval]

    @property
    def metric(self) -> str:
        """The metric to compare by."""
        return METRICS[self.kind][0]

    def score(self, encode: Encode) -> dict[str, Score]:
        """Encode all texts in one call and return the metrics, the first one first."""
        return self.run(encode(self.texts))

    def entry(self) -> dict:
        """Describe the dataset for a record."""
        revision = datasets.spec(self.name).revision
        found = {"name": self.name, "source": self.source, "revision": revision}
        return found | {"split": self.split, "rows": self.rows}


def options(profile: settings.Profile, *, seed: int = 100) -> Options:
    """Return the options of a profile; ``smoke`` takes six times its rows, so that every class is there."""
    few = profile.rows and 6 * profile.rows
    return Options(
        seeds=profile.seeds,
        resamples=profile.resamples,
        folds=profile.folds,
        rows=few,
        probe_rows=few or profile.probe_rows,
        passages=few or profile.passages,
        words=profile.passage_words,
        seed=seed,
    )
