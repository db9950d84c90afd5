"""Search and its scores: against plain loops, the formulas, and mteb."""

import importlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from helpers import evaluation

SIZES = (st.integers(1, 9), st.integers(1, 15), st.integers(1, 5), st.integers(0, 10**6))
# Each query's judgements: rank of a passage -> relevance; at least one is relevant.
JUDGED = st.dictionaries(st.integers(0, 29), st.integers(0, 3), min_size=1).filter(lambda found: any(found.values()))


def rng(seed=0):
    return np.random.default_rng(seed)


def clouds(queries=6, passages=40, d=5, seed=0):
    """Vectors of queries and of a corpus, without ties, and names."""
    generator = rng(seed)
    names = [f"q{n}" for n in range(queries)], [f"p{n}" for n in range(passages)]
    return generator.normal(size=(queries, d)), generator.normal(size=(passages, d)), *names


def plain_search(queries, corpus, top):
    """Compare every query with every row, and sort by similarity, then by row."""
    rows = []
    for q in queries:
        cosines = [round(float(q @ c / math.sqrt(q @ q) / math.sqrt(c @ c)), 9) for c in corpus]
        rows.append(sorted(range(len(corpus)), key=lambda row: (-cosines[row], row))[:top])
    return rows


def plain_ndcg(gains, judged, k):
    """Gain over log2(rank + 1), over the same sum of the best order (Järvelin and Kekäläinen 2002, linear gain)."""
    ideal = sorted(judged, reverse=True)
    total, best = (sum(gain / math.log2(n + 2) for n, gain in enumerate(side[:k])) for side in (gains, ideal))
    return 100 * total / best


def plain_recall(gains, judged, k):
    return 100 * sum(gain > 0 for gain in gains[:k]) / sum(gain > 0 for gain in judged)


def plain_mrr(gains, depth):
    return next((100 / (n + 1) for n, gain in enumerate(gains[:depth]) if gain > 0), 0.0)


def ranked(n=30):
    """A query, and a corpus that it finds in order of row: angles that grow."""
    angles = np.linspace(0, 3, n)
    return np.array([[1.0, 0.0]]), np.stack([np.cos(angles), np.sin(angles)], axis=1)


def score(judged, n=30, **options):
    """Score the ranking of `ranked` against judgements by rank."""
    query, corpus = ranked(n)
    names = [f"p{row}" for row in range(n)]
    judgements = {"q": {f"p{row}": gain for row, gain in judged.items()}}
    found = evaluation.retrieval(query, corpus, query_ids=["q"], corpus_ids=names, judgements=judgements, **options)
    return {metric: values[0] for metric, values in found.items()}


class TestSearch:
    @given(*SIZES, st.integers(1, 20))
    @limits(deadline=None)
    def test_equals_a_plain_loop(self, queries, passages, d, seed, top):
        generator = rng(seed)
        q, c = generator.normal(size=(queries, d)), generator.normal(size=(passages, d))
        rows, scores = evaluation.search(q, c, top=top)
        assert rows.tolist() == plain_search(q, c, top)
        assert rows.shape == scores.shape == (queries, min(top, passages))
        expected = [
            [q[i] @ c[j] / np.linalg.norm(q[i]) / np.linalg.norm(c[j]) for j in row] for i, row in enumerate(rows)
        ]
        np.testing.assert_allclose(scores, expected, atol=1e-9)

    @given(*SIZES, st.integers(1, 10))
    @limits(deadline=None)
    def test_chunks_do_not_change_it(self, queries, passages, d, seed, chunk):
        generator = rng(seed)
        q, c = generator.normal(size=(queries, d)), generator.normal(size=(passages, d))
        c = np.concatenate([c, c[::-1]])  # with ties
        rows, scores = evaluation.search(q, c, top=7)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.import_module("helpers.evaluation.retrieval"), "CHUNK", chunk)
            again, again_scores = evaluation.search(q, c, top=7)
        np.testing.assert_array_equal(again, rows)
        np.testing.assert_allclose(again_scores, scores, atol=1e-12)

    @given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(2, 70), st.integers(0, 10**6))
    @limits(deadline=None)
    def test_ties_stand_in_the_order_of_the_corpus(self, picks, d, seed):
        generator = rng(seed)
        q, c = generator.normal(size=(3, d)), generator.normal(size=(4, d))[picks]
        assert evaluation.search(q, c, top=40)[0].tolist() == plain_search(q, c, 40)

    def test_lengths_do_not_matter_and_the_row_itself_comes_first(self):
        corpus = rng().normal(size=(50, 8))
        rows, scores = evaluation.search(corpus * rng(1).uniform(0.1, 9, size=(50, 1)), corpus, top=1)
        assert rows[:, 0].tolist() == list(range(50))
        np.testing.assert_allclose(scores, 1)

    def test_more_than_the_corpus_holds_gives_all_of_it(self):
        rows, scores = evaluation.search(np.eye(2), np.eye(2), top=100)
        assert rows.tolist() == [[0, 1], [1, 0]]
        assert scores.tolist() == [[1, 0], [1, 0]]

    @pytest.mark.parametrize(
        ("queries", "corpus", "top", "message"),
        [
            (np.eye(3), np.eye(3), 0, "top=0 should be at least 1"),
            (np.eye(3), np.eye(4), 5, "queries have 3 dimensions and the corpus 4"),
            (np.ones(3), np.eye(3), 5, r"should be a matrix .* got shape \(3,\)"),
            (np.eye(3), np.ones((0, 3)), 5, r"got shape \(0, 3\)"),
            (np.eye(3), np.diag([1, np.nan, 1]), 5, "not finite in row 1"),
            (np.diag([1.0, 1.0, 0.0]), np.eye(3), 5, "embedding 2 is all zeros"),
        ],
    )
    def test_bad_input_is_named(self, queries, corpus, top, message):
        with pytest.raises(ValueError, match=message):
            evaluation.search(queries, corpus, top=top)


class TestScores:
    @given(JUDGED, st.integers(1, 12))
    @limits(deadline=None)
    def test_equal_the_formulas(self, judged, k):
        gains = [judged.get(row, 0) for row in range(30)]
        found = score(judged, k=k)
        assert found == {
            f"nDCG@{k}": pytest.approx(plain_ndcg(gains, list(judged.values()), k)),
            f"recall@{k}": pytest.approx(plain_recall(gains, list(judged.values()), k)),
            "MRR": pytest.approx(plain_mrr(gains, 100)),
        }

    def test_a_worked_example(self):
        found = score({1: 2, 3: 1, 25: 1})
        expected = (2 / math.log2(3) + 1 / math.log2(5)) / (2 + 1 / math.log2(3) + 1 / 2)
        assert found["nDCG@10"] == pytest.approx(100 * expected)
        assert found["recall@10"] == pytest.approx(200 / 3)
        assert found["MRR"] == pytest.approx(50)

    def test_the_best_order_is_100(self):
        assert score({0: 3, 1: 2, 2: 1}) == pytest.approx({"nDCG@10": 100, "recall@10": 100, "MRR": 100})

    @pytest.mark.parametrize(("depth", "expected"), [(19, 0.0), (20, 5.0), (1000, 5.0)])
    def test_the_first_relevant_passage_is_looked_for_down_to_the_depth(self, depth, expected):
        assert score({19: 1}, depth=depth) == pytest.approx({"nDCG@10": 0, "recall@10": 0, "MRR": expected})

    @given(JUDGED, st.sets(st.integers(0, 29)))
    @limits(deadline=None)
    def test_a_passage_that_nobody_judged_counts_as_not_relevant(self, judged, others):
        assert score(dict.fromkeys(others, 0) | judged) == pytest.approx(score(judged))

    @given(st.integers(0, 10**6))
    @limits(deadline=None, max_examples=30)
    def test_the_order_of_the_corpus_and_of_its_names_does_not_matter(self, seed):
        q, c, query_ids, corpus_ids = clouds(seed=seed)
        judgements = {
            name: {corpus_ids[(7 * n) % 40]: 2, corpus_ids[(3 * n + 1) % 40]: 1} for n, name in enumerate(query_ids)
        }
        order = rng(seed).permutation(40)
        mixed = [corpus_ids[row] for row in order]
        plain = evaluation.retrieval(q, c, query_ids=query_ids, corpus_ids=corpus_ids, judgements=judgements)
        again = evaluation.retrieval(q, c[order], query_ids=query_ids, corpus_ids=mixed, judgements=judgements)
        assert again == plain

    def test_one_value_a_judged_query_in_the_order_of_the_queries(self):
        corpus_ids = [f"p{n}" for n in range(30)]
        query, corpus = ranked()
        judgements = {"late": {"p9": 1}, "early": {"p0": 1}}
        names = ["early", "nobody judged it", "late"]
        found = evaluation.retrieval(
            np.tile(query, (3, 1)), corpus, query_ids=names, corpus_ids=corpus_ids, judgements=judgements
        )
        assert found["MRR"] == pytest.approx([100, 10])
        assert list(found) == ["nDCG@10", "recall@10", "MRR"]
        assert {len(values) for values in found.values()} == {2}

    def test_passages_of_equal_similarity_are_ranked_by_name_the_last_first(self):
        same = np.ones((3, 2))
        for name, expected in (("c", 100), ("b", 50), ("a", 100 / 3)):
            for order in ("abc", "cab"):
                found = evaluation.retrieval(
                    same[:1], same, query_ids=["q"], corpus_ids=list(order), judgements={"q": {name: 1}}
                )
                assert found["MRR"] == pytest.approx([expected])

    def test_whole_numbers_of_any_type_are_relevance(self):
        assert score({0: np.int64(2), 1: 1.0}) == score({0: 2, 1: 1})


class TestBadInput:
    @pytest.fixture
    def search(self):
        q, c, query_ids, corpus_ids = clouds(2, 3)
        judgements = {"q0": {"p0": 1}, "q1": {"p2": 2, "p1": 0}}
        defaults = {"query_ids": query_ids, "corpus_ids": corpus_ids, "judgements": judgements}
        return lambda **changes: evaluation.retrieval(
            changes.pop("queries", q), changes.pop("corpus", c), **{**defaults, **changes}
        )

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"query_ids": ["q0"]}, "1 query names do not match 2 rows"),
            ({"corpus_ids": ["p0", "p1", "p2", "p3"]}, "4 corpus names do not match 3 rows"),
            ({"query_ids": ["q0", "q0"]}, "the query name 'q0' occurs more than once"),
            ({"corpus_ids": ["p0", "p1", "p1"]}, "the corpus name 'p1' occurs more than once"),
            ({"judgements": {}}, "there are no judgements"),
            ({"judgements": {"q7": {"p0": 1}}}, "name the query 'q7', which is not among the 2 queries"),
            ({"judgements": {"q0": {"p0": 1, "p7": 0}}}, "query 'q0' name the passage 'p7', which the corpus lacks"),
            ({"judgements": {"q0": {"p0": 0}}}, "query 'q0' has no relevant passage"),
            ({"judgements": {"q0": {}}}, "query 'q0' has no relevant passage"),
            ({"corpus": np.ones((3, 4))}, "queries have 5 dimensions and the corpus 4"),
            ({"corpus": np.full((3, 5), np.inf)}, "not finite in row 0"),
            ({"queries": np.zeros((2, 5))}, "embedding 0 is all zeros"),
            ({"k": 0}, "k=0 should be from 1 to depth=100"),
            ({"depth": 5}, "k=10 should be from 1 to depth=5"),
        ],
    )
    def test_bad_input_is_named(self, search, changes, message):
        search()
        with pytest.raises(ValueError, match=message):
            search(**changes)


class TestJudgementsOf:
    def test_rows_are_gathered_by_query(self):
        rows = [
            {"query-id": "q1", "corpus-id": "p1", "score": 2},
            {"query-id": "q2", "corpus-id": "p1", "score": 0.0},
            {"query-id": "q1", "corpus-id": "p3", "score": 1},
        ]
        assert evaluation.judgements_of(rows) == {"q1": {"p1": 2, "p3": 1}, "q2": {"p1": 0}}

    def test_names_that_are_numbers_become_words(self):
        found = evaluation.judgements_of([{"query-id": 7, "corpus-id": 31, "score": 1.0}])
        assert found == {"7": {"31": 1}}
        assert type(found["7"]["31"]) is int

    def test_nothing_gives_nothing(self):
        assert evaluation.judgements_of([]) == {}


def test_the_scores_are_what_mteb_computes():
    """mteb's own task on the same vectors, through its own evaluation."""
    import mteb
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    q, c, query_ids, corpus_ids = clouds(queries=12, passages=200, d=6, seed=3)
    grades = rng(4)
    judgements = {
        name: {corpus_ids[row]: int(grades.integers(0, 3)) for row in grades.choice(200, 12, replace=False)}
        for name in query_ids
    }
    vectors = {f"query {name}": row for name, row in zip(query_ids, q, strict=True)}
    vectors |= {f"passage {name}": row for name, row in zip(corpus_ids, c, strict=True)}

    class Local(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LocalRetrieval", dataset={"path": "local/x", "revision": "local"}, description="x",
            type="Retrieval", category="t2t", modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )  # fmt: skip

        def load_data(self, **_):
            rows = {
                "corpus": Dataset.from_list([{"id": n, "title": "", "text": f"passage {n}"} for n in corpus_ids]),
                "queries": Dataset.from_list([{"id": n, "text": f"query {n}"} for n in query_ids]),
                "relevant_docs": judgements,
                "top_ranked": None,
            }
            self.dataset, self.data_loaded = {"default": {"test": rows}}, True

    class Fixed:
        """An encoder that knows the vectors of its texts."""

        mteb_model_meta = mteb.models.ModelMeta.create_empty({"name": "book/fixed", "revision": "1"})

        def encode(self, inputs, **_):
            return np.stack([vectors[text.strip()] for batch in inputs for text in batch["text"]])

        def similarity(self, a, b):
            return evaluation.unit_rows(a) @ evaluation.unit_rows(b).T

        similarity_pairwise = similarity

    result = mteb.evaluate(Fixed(), Local(), cache=None, co2_tracker=False, show_progress_bar=False)
    theirs = result.task_results[0].scores["test"][0]
    ours = evaluation.retrieval(q, c, query_ids=query_ids, corpus_ids=corpus_ids, judgements=judgements, depth=1000)
    names = {"nDCG@10": "ndcg_at_10", "recall@10": "recall_at_10", "MRR": "mrr_at_1000"}
    for metric, name in names.items():
        assert np.mean(ours[metric]) == pytest.approx(100 * theirs[name], abs=1e-3)
