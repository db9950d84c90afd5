"""Clustering scores against slow references, the original's protocol, and mteb."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from helpers import evaluation

LABELLINGS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=14)


def blobs(k=4, n=15, d=6, spread=0.3, seed=0):
    """Groups of points around separate centres, and their labels as words."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, d)) * 2
    points = np.repeat(centres, n, axis=0) + spread * rng.normal(size=(k * n, d))
    return points.astype(np.float32), [f"group {label}" for label in np.repeat(np.arange(k), n)]


def plain_accuracy(found, gold):
    """Try every one-to-one matching."""
    names = range(max(*found, *gold) + 1)
    best = max(sum(match[f] == g for f, g in zip(found, gold, strict=True)) for match in itertools.permutations(names))
    return 100 * best / len(gold)


def plain_nmi(found, gold):
    """Mutual information over the mean entropy, by the definition."""
    n = len(gold)

    def share(pick):
        counts = {}
        for item in pick:
            counts[item] = counts.get(item, 0) + 1
        return {item: count / n for item, count in counts.items()}

    p, q, both = share(found), share(gold), share(list(zip(found, gold, strict=True)))
    mutual = sum(v * math.log(v / (p[f] * q[g])) for (f, g), v in both.items())
    entropies = [-sum(v * math.log(v) for v in part.values()) for part in (p, q)]
    return 100 * mutual / (sum(entropies) / 2) if sum(entropies) else 100.0


def plain_ari(found, gold):
    """Count the pairs of texts that both sides put together or apart."""
    pairs = list(itertools.combinations(range(len(gold)), 2))
    a = np.array([found[i] == found[j] for i, j in pairs])
    b = np.array([gold[i] == gold[j] for i, j in pairs])
    expected, top = a.sum() * b.sum() / len(pairs), (a.sum() + b.sum()) / 2
    return 100.0 if top == expected else 100 * ((a & b).sum() - expected) / (top - expected)


class TestCompare:
    @given(LABELLINGS)
    @limits(deadline=None)
    def test_equals_the_definitions(self, rows):
        found, gold = map(list, zip(*rows, strict=True))
        scores = evaluation.compare(found, gold)
        assert scores["ACC"] == pytest.approx(plain_accuracy(found, gold))
        assert scores["NMI"] == pytest.approx(plain_nmi(found, gold), abs=1e-6)
        assert scores["ARI"] == pytest.approx(plain_ari(found, gold), abs=1e-6)

    @given(LABELLINGS, st.permutations(range(4)), st.permutations(["w", "x", "y", "z"]))
    @limits(deadline=None)
    def test_names_of_clusters_and_labels_do_not_matter(self, rows, numbers, names):
        found, gold = map(list, zip(*rows, strict=True))
        again = evaluation.compare([numbers[f] for f in found], [names[g] for g in gold])
        assert again == pytest.approx(evaluation.compare(found, gold))

    def test_perfect_and_split_clusters(self):
        assert evaluation.compare([1, 1, 0, 0], ["a", "a", "b", "b"]) == {"ACC": 100.0, "NMI": 100.0, "ARI": 100.0}
        assert evaluation.compare([0, 1, 2, 3], ["a", "a", "b", "b"])["ACC"] == 50.0

    def test_lists_of_different_length_are_refused(self):
        with pytest.raises(ValueError, match="3 cluster numbers and 2 labels"):
            evaluation.compare([0, 1, 1], ["a", "b"])


class TestClustering:
    def test_one_value_a_seed_and_the_same_again(self):
        points, labels = blobs(spread=1.5)
        scores = evaluation.clustering(points, labels, seeds=(100, 13))
        assert set(scores) == {"ACC", "NMI", "ARI"}
        assert all(len(values) == 2 for values in scores.values())
        assert scores == evaluation.clustering(points, labels, seeds=(100, 13))

    def test_equals_k_means_with_ten_starts_on_raw_rows(self):
        points, labels = blobs(spread=1.5)
        points[:, 0] *= 30  # neither scaled nor normalised
        gold = evaluation.encode_labels(labels)
        for n, seed in enumerate((100, 13)):
            found = KMeans(n_clusters=4, n_init=10, random_state=seed).fit_predict(points)
            scores = evaluation.clustering(points, labels, seeds=(100, 13))
            assert scores["ACC"][n] == pytest.approx(plain_accuracy(found.tolist(), gold.tolist()))

    def test_separate_groups_are_found_whatever_their_order(self):
        points, labels = blobs()
        order = np.random.default_rng(1).permutation(len(labels))
        scores = evaluation.clustering(points[order], [labels[i] for i in order], seeds=(100,))
        assert scores == {"ACC": [100.0], "NMI": [100.0], "ARI": [100.0]}

    def test_the_five_seeds_are_the_originals(self):
        assert evaluation.FIVE_SEEDS == (100, 13, 21, 36, 42)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (x[0], y), "should be a matrix"),
            (lambda x, y: (x, y[:-1]), "59 labels do not match 60 embeddings"),
            (lambda x, y: (x, ["one"] * len(y)), "all 60 texts have the label 'one'"),
            (lambda x, y: (np.where(np.arange(60)[:, None] == 7, np.nan, x), y), "not finite in row 7"),
        ],
    )
    def test_bad_input_is_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            evaluation.clustering(*change(*blobs()))

    def test_no_seeds_are_refused(self):
        with pytest.raises(ValueError, match="at least one seed"):
            evaluation.clustering(*blobs(), seeds=())

    @pytest.mark.parametrize(("texts", "clusters"), [(5, 6), (5, 1), (1, 2)])
    def test_fewer_texts_than_clusters_are_refused(self, texts, clusters):
        with pytest.raises(ValueError, match=f"clusters={clusters} .* {texts}"):
            evaluation.check_clusters(texts, clusters)
        evaluation.check_clusters(5, 5)


class TestSilhouette:
    def test_equals_the_definition(self):
        points, labels = blobs(k=3, n=5, spread=1.0)
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        distance = 1 - unit @ unit.T
        groups = {name: [i for i, label in enumerate(labels) if label == name] for name in labels}
        values = []
        for i, name in enumerate(labels):
            own = np.mean([distance[i, j] for j in groups[name] if j != i])
            other = min(distance[i, rows].mean() for key, rows in groups.items() if key != name)
            values.append((other - own) / max(own, other))
        assert evaluation.silhouette(points, labels) == pytest.approx(100 * np.mean(values), abs=1e-3)

    def test_a_text_a_cluster_is_refused(self):
        with pytest.raises(ValueError, match="nothing to compare"):
            evaluation.silhouette(blobs()[0][:4], [0, 1, 2, 3])


def test_the_v_measure_is_what_mteb_computes(tmp_path):
    """mteb's own task on the same vectors, through its own evaluation."""
    import mteb
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskClustering
    from mteb.abstasks.task_metadata import TaskMetadata

    points, labels = blobs(k=4, n=30, spread=1.6)
    texts = [f"text number {n}" for n in range(len(labels))]

    class Local(AbsTaskClustering):
        metadata = TaskMetadata(
            name="LocalClustering", dataset={"path": "local/x", "revision": "local"}, description="x",
            type="Clustering", category="t2c", modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"],
            main_score="v_measure",
        )  # fmt: skip
        max_fraction_of_documents_to_embed = None
        max_document_to_embed = None
        max_documents_per_cluster = 500
        n_clusters = 3

        def load_data(self, **_):
            rows = Dataset.from_dict({"sentences": texts, "labels": [int(label[-1]) for label in labels]})
            self.dataset, self.data_loaded = {"default": DatasetDict(test=rows)}, True

    class Fixed:
        """An encoder that knows the vectors of its texts."""

        mteb_model_meta = mteb.models.ModelMeta.create_empty({"name": "book/fixed", "revision": "1"})

        def encode(self, inputs, **_):
            numbers = [int(text.split()[-1]) for batch in inputs for text in batch["text"]]
            return points[numbers]

        def similarity(self, a, b):
            return a @ b.T

        similarity_pairwise = similarity

    result = mteb.evaluate(Fixed(), Local(), cache=None, co2_tracker=False, show_progress_bar=False)
    theirs = result.task_results[0].scores["test"][0]["v_measures"]["Level 0"]
    ours = evaluation.mteb_v_measure(points, labels, documents=500, experiments=3)
    assert ours == pytest.approx([100 * value for value in theirs])
