"""Retrieval: do the passages that answer a query come first?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytrec_eval

from helpers.evaluation.geometry import unit_rows

CHUNK = 256  # queries scored at once: bounds the memory of a search in a large corpus
DECIMALS = (
    9  # cosines that agree so far are equal: a matrix product gives equal rows values that differ in the last bits
)


def search(queries: np.ndarray, corpus: np.ndarray, *, top: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest rows of a corpus by cosine, exactly: every query is compared with every row.

    Args:
        queries: ``(Q, D)``.
        corpus: ``(N, D)``.
        top: How many to return; all where the corpus has fewer.

    Returns:
        Row numbers and cosine similarities, both ``(Q, top)``, the nearest first; rows of equal similarity stand in the
        order of the corpus.

    Raises:
        ValueError: For matrices that do not fit, values that are not finite, rows of zeros, or ``top`` below 1.
    """
    if top < 1:
        raise ValueError(f"top={top} should be at least 1")
    q, c = unit_rows(queries), unit_rows(corpus)
    if q.shape[1] != c.shape[1]:
        raise ValueError(f"queries have {q.shape[1]} dimensions and the corpus {c.shape[1]}")
    rows, scores = [], []
    for start in range(0, len(q), CHUNK):
        similarity = q[start : start + CHUNK] @ c.T  # (chunk, N)
        best = np.argsort(-np.round(similarity, DECIMALS), axis=1, kind="stable")[:, :top]
        rows.append(best)
        scores.append(np.take_along_axis(similarity, best, axis=1))
    return np.concatenate(rows), np.concatenate(scores)


def retrieval(
    queries: np.ndarray,
    corpus: np.ndarray,
    *,
    query_ids: Sequence[str],
    corpus_ids: Sequence[str],
    judgements: Mapping[str, Mapping[str, int]],
    k: int = 10,
    depth: int = 100,
) -> dict[str, list[float]]:
    """Search each query and score the ranking against relevance judgements, with pytrec_eval.

    Args:
        queries: ``(Q, D)``.
        corpus: ``(N, D)``.
        query_ids: ``(Q,)`` names.
        corpus_ids: ``(N,)`` names.
        judgements: Query name -> passage name -> relevance (0: not relevant). A passage that nobody judged counts as 0.
        k: Depth of nDCG and recall.
        depth: How far down a first relevant passage is looked for, at least ``k``; mteb looks as deep as 1,000.

    Returns:
        ``{"nDCG@k": [...], "recall@k": [...], "MRR": [...]}`` in percent, one value a judged query, in the order of
        ``query_ids``. The noise to report is that of the sample of queries (see `mean_interval`). Passages whose
        similarities agree in single precision are ranked by name, the last name first, as trec_eval does.

    Raises:
        ValueError: For names that do not match the rows or occur twice, judgements of unknown names, a query without a
            relevant passage, ``k`` below 1 or beyond ``depth``, and as `search`.
    """
    if not 1 <= k <= depth:  # pytrec_eval ends the whole process at k = 0
        raise ValueError(f"k={k} should be from 1 to depth={depth}")
    _check_ids(query_ids, len(queries), "query")
    _check_ids(corpus_ids, len(corpus), "corpus")
    _check_judgements(judgements, set(query_ids), set(corpus_ids))
    rows, scores = search(queries, corpus, top=depth)
    run = {
        query: {corpus_ids[row]: float(score) for row, score in zip(found, values, strict=True)}
        for query, found, values in zip(query_ids, rows, scores, strict=True)
        if query in judgements
    }
    measures = {f"nDCG@{k}": f"ndcg_cut_{k}", f"recall@{k}": f"recall_{k}", "MRR": "recip_rank"}
    judged = {query: {name: int(score) for name, score in found.items()} for query, found in judgements.items()}
    result = pytrec_eval.RelevanceEvaluator(judged, {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank"}).evaluate(run)
    return {name: [100.0 * result[query][key] for query in run] for name, key in measures.items()}


def judgements_of(rows: Sequence[Mapping[str, object]]) -> dict[str, dict[str, int]]:
    """Gather rows ``{"query-id", "corpus-id", "score"}`` into query name -> passage name -> relevance."""
    gathered: dict[str, dict[str, int]] = {}
    for row in rows:
        gathered.setdefault(str(row["query-id"]), {})[str(row["corpus-id"])] = int(row["score"])
    return gathered


def _check_ids(ids: Sequence[str], rows: int, what: str) -> None:
    if len(ids) != rows:
        raise ValueError(f"{len(ids)} {what} names do not match {rows} rows")
    if len(set(ids)) != len(ids):
        twice = next(name for position, name in enumerate(ids) if name in ids[:position])
        raise ValueError(f"the {what} name {twice!r} occurs more than once")


def _check_judgements(judgements: Mapping[str, Mapping[str, int]], queries: set[str], corpus: set[str]) -> None:
    if not judgements:
        raise ValueError("there are no judgements")
    for query, found in judgements.items():
        if query not in queries:
            raise ValueError(f"judgements name the query {query!r}, which is not among the {len(queries)} queries")
        unknown = next((name for name in found if name not in corpus), None)
        if unknown is not None:
            raise ValueError(f"judgements of query {query!r} name the passage {unknown!r}, which the corpus lacks")
        if not any(score > 0 for score in found.values()):
            raise ValueError(f"query {query!r} has no relevant passage, so no ranking of it can be scored")
