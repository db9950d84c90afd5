"""Making a registered dataset ready for scoring, one function for each kind of task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from helpers import datasets, evaluation
from helpers.evaluation import Interval
from helpers.tasks.task import METRICS, Options, Score, Task


def load(name: str, options: Options, *, split: str | None = None) -> Task:
    """Load a registered dataset as a task.

    Raises:
        ValueError: For an unknown name, or a set that measures nothing (training texts); and as `datasets.load`.
        FileNotFoundError: As `datasets.load`.
    """
    spec = datasets.spec(name)
    if spec.task not in METRICS:
        tasks = [known for known, entry in datasets.REGISTRY.items() if entry.task in METRICS]
        raise ValueError(f"dataset {name!r} is for {spec.task}, not a task; tasks: {', '.join(tasks)}")
    make = {"sts": _sts, "clustering": _clustering, "retrieval": _retrieval}.get(spec.task, _probe)
    return make(spec, split or spec.default_split, options)


def _task(
    spec: datasets.DatasetSpec, split: str, rows: object, count: int, texts: list[str], run: Callable, compare: Callable
) -> Task:
    return Task(spec.name, spec.task, split, rows.info.description, count, texts, run, compare)


def _drawn(rows: object, most: int | None, options: Options) -> object:
    """Return at most so many rows: the first ones of a bundled set, which are a fair sample, else a random draw."""
    if most is None or rows.num_rows <= most:
        return rows
    description = rows.info.description
    chosen = np.arange(most)
    if description != "bundled":
        chosen = np.sort(options.rng().choice(rows.num_rows, size=most, replace=False))
    rows = rows.select(chosen.tolist())
    rows.info.description = description
    return rows


def _sts(spec: datasets.DatasetSpec, split: str, options: Options) -> Task:
    rows = _drawn(datasets.load(spec.name, split), options.rows, options)
    gold = np.array(rows["score"], dtype=np.float64)

    def run(embeddings: np.ndarray) -> dict[str, Score]:
        similarity = evaluation.cosine_pairs(embeddings[: len(gold)], embeddings[len(gold) :])
        found = evaluation.spearman_interval(similarity, gold, resamples=options.resamples, rng=options.rng())
        return {"spearman": Score(found, similarity)}

    def compare(one: Score, other: Score) -> Interval:
        return evaluation.paired_difference(
            one.items, other.items, gold, resamples=options.resamples, rng=options.rng()
        )

    return _task(spec, split, rows, len(gold), [*rows["sentence1"], *rows["sentence2"]], run, compare)


def _clustering(spec: datasets.DatasetSpec, split: str, options: Options) -> Task:
    rows = _drawn(datasets.load(spec.name, split), options.rows, options)
    labels = rows["label"]

    def run(embeddings: np.ndarray) -> dict[str, Score]:
        found = evaluation.clustering(embeddings, labels, seeds=options.seeds)
        return {
            metric: Score(evaluation.over_seeds(found[metric], options.seeds), np.array(found[metric]))
            for metric in METRICS["clustering"]
        }

    def compare(one: Score, other: Score) -> Interval:
        return evaluation.difference_over_seeds(one.items, other.items, options.seeds)

    return _task(spec, split, rows, len(labels), list(rows["text"]), run, compare)


def _retrieval(spec: datasets.DatasetSpec, split: str, options: Options) -> Task:
    judged = datasets.load(spec.name, split)
    judgements = evaluation.judgements_of(judged)
    queries = [row for row in _named(datasets.load(spec.name, "queries")) if row["_id"] in judgements]
    queries = queries[: options.rows]
    judgements = {row["_id"]: judgements[row["_id"]] for row in queries}
    corpus = _passages(_named(datasets.load(spec.name, "corpus")), judgements, options)
    passages = [" ".join(f"{row['title']} {row['text']}".split()[: options.words]) for row in corpus]

    def run(embeddings: np.ndarray) -> dict[str, Score]:
        found = evaluation.retrieval(
            embeddings[: len(queries)],
            embeddings[len(queries) :],
            query_ids=[row["_id"] for row in queries],
            corpus_ids=[row["_id"] for row in corpus],
            judgements=judgements,
        )
        return {metric: _by_item(found[metric], options) for metric in METRICS["retrieval"]}

    texts = [*(row["text"] for row in queries), *passages]
    return _task(spec, split, judged, len(queries), texts, run, _paired(options))


def _named(rows: object) -> list[dict]:
    """Return rows whose names are texts, as those of the judgements are; some sets number their passages."""
    return [{**row, "_id": str(row["_id"])} for row in rows]


def _passages(corpus: list[dict], judgements: Mapping[str, Mapping[str, int]], options: Options) -> list[dict]:
    """Keep the judged passages, and others drawn at random up to the limit, in their old order."""
    if options.passages is None or len(corpus) <= options.passages:
        return corpus
    judged = {name for found in judgements.values() for name in found}
    others = [row["_id"] for row in corpus if row["_id"] not in judged]
    more = max(0, min(options.passages - len(judged), len(others)))
    kept = judged | {others[index] for index in options.rng().choice(len(others), size=more, replace=False)}
    return [row for row in corpus if row["_id"] in kept]


def _probe(spec: datasets.DatasetSpec, split: str, options: Options) -> Task:
    pairs = spec.task == "pair classification"
    tested = datasets.load(spec.name, split)
    train = datasets.load(spec.name, "train") if split != "train" and "train" in spec.rows else None
    if train is None:
        tested = _drawn(tested, options.probe_rows, options)
    parts = [tested] if train is None else [_drawn(train, options.probe_rows, options), tested]
    columns = ("text1", "text2") if pairs else ("text",)
    texts = [text for part in parts for column in columns for text in part[column]]
    labels = [list(part["label"]) for part in parts]

    def features(embeddings: np.ndarray) -> list[np.ndarray]:
        blocks, start = [], 0
        for part in parts:
            sides = [
                embeddings[start + n * part.num_rows : start + (n + 1) * part.num_rows] for n in range(len(columns))
            ]
            blocks.append(evaluation.pair_features(*sides) if pairs else sides[0])
            start += part.num_rows * len(columns)
        return blocks

    def run(embeddings: np.ndarray) -> dict[str, Score]:
        blocks = features(embeddings)
        if train is None:
            found = evaluation.transfer(blocks[0], labels[0], folds=options.folds)
        else:
            found = evaluation.transfer_split(blocks[0], labels[0], blocks[1], labels[1], folds=options.folds)
        return {"accuracy": _by_item(100.0 * found.right, options, found.folds)}

    return _task(spec, split, tested, tested.num_rows, texts, run, _paired(options))


def _by_item(values: Sequence[float], options: Options, folds: tuple[float, ...] = ()) -> Score:
    """Return the mean of one value an item, with its bootstrap interval; ``folds`` go into its values."""
    found = evaluation.mean_interval(values, resamples=options.resamples, rng=options.rng())
    return Score(dataclasses.replace(found, values=folds), np.asarray(values, dtype=np.float64))


def _paired(options: Options) -> Callable[[Score, Score], Interval]:
    def compare(one: Score, other: Score) -> Interval:
        return evaluation.mean_difference(one.items, other.items, resamples=options.resamples, rng=options.rng())

    return compare
