"""Triplet sampling: the same draws as the original's steps, and an end where too little exists."""

import logging
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering, MiniBatchKMeans
from sklearn.preprocessing import StandardScaler

from helpers import triplets


def blobs(k=6, n=25, d=8, spread=0.6, seed=0):
    """Groups of points around separate centres."""
    rng = np.random.default_rng(seed)
    return (np.repeat(rng.normal(size=(k, d)), n, axis=0) + spread * rng.normal(size=(k * n, d))).astype(np.float32)


def original(x, n, d, end, close_share, shuffle, seed, start=0.0, large=False):
    """The steps of the description, one after the other, with the global generators; for ever where too few exist."""
    random.seed(seed)
    np.random.seed(seed)
    x = StandardScaler().fit_transform(x)
    if large:
        labels = MiniBatchKMeans(n_clusters=100, random_state=seed, n_init=3).fit(x).labels_
    else:
        labels = AgglomerativeClustering(n_clusters=None, distance_threshold=d).fit(x).labels_
    m = max(labels) + 1
    centres = [x[labels == c].mean(axis=0) for c in range(m)]
    n_close = max(2, round(close_share * m))
    entropies, close_lists = [], []
    for row in x.astype(np.float64):
        t = [1 / (1 + sum((row - centre.astype(np.float64)) ** 2)) for centre in centres]
        q = [value / sum(t) for value in t]
        close = sorted(range(m), key=lambda c: -q[c])[:n_close]
        top = [q[c] / sum(q[c] for c in close) for c in close]
        entropies.append(-sum(p * math.log(p) for p in top))
        close_lists.append(close)
    order = sorted(range(len(x)), key=lambda i: -entropies[i])
    kept = order[int(start * len(x)) : int(end * len(x))]
    if shuffle:
        np.random.shuffle(kept)
    found = []
    while len(found) < n:
        for i in kept:
            if len(found) == n:
                break
            first, second = random.sample(close_lists[i], 2)
            a = random.choice([int(j) for j in np.flatnonzero(labels == first)])
            b = random.choice([int(j) for j in np.flatnonzero(labels == second)])
            if (i, a, b) not in found and i not in (a, b):
                found.append((i, a, b))
    swapped = [(i, a, b) if random.random() > 0.5 else (i, b, a) for i, a, b in found]
    return np.array(swapped), np.array(entropies), kept


class TestParity:
    @pytest.mark.parametrize("seed", [100, 0, 7])
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_the_draws_are_those_of_the_original(self, seed, shuffle):
        x = blobs(seed=seed)
        wanted, entropies, kept = original(x, 150, 12.0, 0.2, 0.02, shuffle, seed)
        found = triplets.sample(x, n_triplets=150, distance_threshold=12.0, shuffle=shuffle, seed=seed)
        assert found.n_clusters > 3
        assert found.kept.tolist() == kept
        np.testing.assert_allclose(found.entropy, entropies, rtol=1e-10)
        np.testing.assert_array_equal(found.triplets, wanted)

    def test_with_more_close_clusters_a_skipped_share_and_float64(self):
        x = blobs(k=10, seed=3).astype(np.float64)
        wanted, _, _ = original(x, 80, 5.0, 0.5, 0.3, True, 42, start=0.1)
        found = triplets.sample_triplets(
            x, n_triplets=80, distance_threshold=5.0, entropy_fraction=0.5, close_fraction=0.3, seed=42,
            skip_fraction=0.1,
        )  # fmt: skip
        np.testing.assert_array_equal(found, wanted)

    def test_large_data_go_through_mini_batches(self):
        x = blobs(k=30, n=20, seed=5)
        wanted, _, _ = original(x, 200, None, 0.2, 0.02, True, 100, large=True)
        np.testing.assert_array_equal(triplets.sample_triplets(x, n_triplets=200, large=True), wanted)

    def test_nothing_outside_is_seeded(self):
        random.seed(1)
        np.random.seed(1)
        before = random.getstate(), np.random.get_state()[1].copy()
        triplets.sample_triplets(blobs(), n_triplets=10, distance_threshold=12.0)
        assert random.getstate() == before[0]
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])


class TestProperties:
    @given(st.integers(0, 1000), st.integers(2, 8), st.sampled_from([0.02, 0.5]))
    @limits(deadline=None, max_examples=25)
    def test_every_triplet_is_one_question(self, seed, k, close_fraction):
        x = blobs(k=k, n=12, seed=seed)
        found = triplets.sample(
            x, n_triplets=60, distance_threshold=8.0, entropy_fraction=0.5, close_fraction=close_fraction, seed=seed
        )
        rows = triplets.standardise(x)
        centres = np.stack([rows[found.clusters == c].mean(axis=0) for c in range(found.n_clusters)])
        close = triplets.close_entropy(triplets.soft_assignment(rows, centres), close_fraction=close_fraction)[1]
        assert all(len({q, a, b}) == 3 for q, a, b in found.triplets.tolist())
        assert set(found.triplets[:, 0]) <= set(found.kept)
        for query, a, b in found.triplets:
            assert found.clusters[a] != found.clusters[b]
            assert {found.clusters[a], found.clusters[b]} <= set(close[query])

    def test_no_question_is_drawn_twice(self):
        """Before the swap; after it, a question and its mirror image may coincide."""
        drawn = triplets.sampling._draw([0, 1], [[0, 1], [1, 0]], [[0, 2, 3], [1, 4]], 14, random.Random(0))
        assert len(set(drawn)) == len(drawn) == 14  # all: 2 orders of 2 · 2 choices for row 0, of 3 · 1 for row 1

    def test_the_swap_turns_about_half(self):
        drawn = [(0, 1, 2)] * 4000
        turned = triplets.sampling._swap(drawn, random.Random(3))[:, 1] == 2
        assert 0.45 < turned.mean() < 0.55

    def test_the_entropy_does_not_depend_on_the_order_of_clusters(self):
        rng = np.random.default_rng(0)
        rows, centres = rng.normal(size=(40, 5)), rng.normal(size=(7, 5))
        order = rng.permutation(7)
        entropy, close = triplets.close_entropy(triplets.soft_assignment(rows, centres), close_fraction=0.4)
        other, others = triplets.close_entropy(triplets.soft_assignment(rows, centres[order]), close_fraction=0.4)
        np.testing.assert_allclose(entropy, other)
        np.testing.assert_array_equal(close, order[others])

    def test_entropy_is_ln_2_half_way_and_low_at_a_centre(self):
        rows = np.array([[0.0, 0.0], [10.0, 0.0], [-10.0, 0.0]])
        assignment = triplets.soft_assignment(rows, np.array([[-10.0, 0.0], [10.0, 0.0]]))
        np.testing.assert_allclose(assignment.sum(axis=1), 1)
        entropy, close = triplets.close_entropy(assignment)
        assert entropy[0] == pytest.approx(math.log(2))
        assert (entropy[1:] < 0.02).all()
        assert close[:, 0].tolist() == [0, 1, 0]

    @pytest.mark.parametrize(("clusters", "close"), [(2, 2), (100, 2), (125, 2), (126, 3), (200, 4)])
    def test_two_percent_of_the_clusters_are_close_and_at_least_two(self, clusters, close):
        assert triplets.close_entropy(np.full((1, clusters), 1 / clusters))[1].shape == (1, close)

    def test_queries_are_the_most_undecided(self):
        found = triplets.sample(blobs(), n_triplets=20, distance_threshold=12.0)
        assert len(found.kept) == 30  # 20 % of 150
        left = np.setdiff1d(np.arange(150), found.kept)
        assert found.entropy[found.kept].min() >= found.entropy[left].max()


class TestTheEnd:
    def test_thirty_sentences_give_all_that_exist_and_a_warning(self, caplog):
        x = blobs(k=10, n=3, spread=0.1, seed=1)
        with caplog.at_level(logging.WARNING):
            found = triplets.sample(x, distance_threshold=2.0)
        expected = set()
        rows = triplets.standardise(x)
        centres = np.stack([rows[found.clusters == c].mean(axis=0) for c in range(found.n_clusters)])
        for query in found.kept:
            near = np.argsort(((rows[query] - centres) ** 2).sum(axis=1))[:2]
            first, second = (np.flatnonzero(found.clusters == c) for c in near)
            for a in first:
                expected |= {pair for b in second if query not in (a, b) for pair in [(query, a, b), (query, b, a)]}
        assert 0 < len(found.triplets) == len(expected) < 1024
        assert {tuple(row) for row in found.triplets} <= expected
        assert re.search(rf"{len(expected)} triplets instead of 1024: no more exist", caplog.text)

    def test_no_warning_where_there_are_enough(self, caplog):
        with caplog.at_level(logging.WARNING):
            triplets.sample(blobs(), n_triplets=50, distance_threshold=12.0)
        assert not caplog.records

    def test_one_cluster_names_a_threshold_that_gives_some(self):
        x = blobs(k=8, n=5, seed=2)
        with pytest.raises(ValueError, match=r"distance_threshold=77 leaves all 40 rows in one cluster") as error:
            triplets.sample(x)
        highest, ten = map(
            float, re.search(r"at most ([\d.]+), .*; ([\d.]+) gives about 10", str(error.value)).groups()
        )
        assert triplets.sample(x, n_triplets=5, distance_threshold=highest).n_clusters == 2
        assert triplets.sample(x, n_triplets=5, distance_threshold=ten).n_clusters == 10

    def test_nothing_but_single_rows_have_no_triplet(self):
        with pytest.raises(ValueError, match=r"no triplet exists for 8 queries and 40 clusters of 40 rows"):
            triplets.sample(blobs(k=8, n=5), distance_threshold=1e-9)

    def test_equal_rows_tell_nothing_apart(self):
        with pytest.raises(ValueError, match="all 9 rows of the embeddings are the same"):
            triplets.sample(np.ones((9, 4)))

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.ones((3, 2)), "have 3 rows; at least 4 are needed"),
            (np.ones(5), r"matrix \(rows, dimensions\), got shape \(5,\)"),
            (np.array([[0.0], [1], [np.nan], [2]]), "not finite in row 2"),
            (np.array([[0.0], [1], [3], [np.inf]]), "not finite in row 3"),
        ],
    )
    def test_bad_embeddings(self, x, message):
        with pytest.raises(ValueError, match=message):
            triplets.sample_triplets(x)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_triplets": 0}, "n_triplets=0"),
            ({"distance_threshold": 0.0}, "distance_threshold=0.0"),
            ({"distance_threshold": float("nan")}, "distance_threshold=nan"),
            ({"entropy_fraction": 1.1}, "entropy_fraction=1.1"),
            ({"entropy_fraction": 0.0}, "entropy_fraction=0.0"),
            ({"skip_fraction": 0.3}, "skip_fraction=0.3 and entropy_fraction=0.2"),
            ({"skip_fraction": -0.1}, "skip_fraction=-0.1"),
            ({"close_fraction": 2}, "close_fraction=2"),
            ({"seed": -1}, "seed=-1"),
            ({"entropy_fraction": 0.001, "distance_threshold": 12.0}, "keep none of 150 rows"),
        ],
    )
    def test_options_out_of_range(self, options, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            triplets.sample_triplets(blobs(), **options)

    def test_large_needs_a_hundred_rows(self):
        with pytest.raises(ValueError, match="large=True makes 100 clusters and there are 99 rows"):
            triplets.sample_triplets(blobs(k=9, n=11), large=True)

    def test_half_precision_is_accepted(self):
        assert triplets.sample_triplets(blobs().astype(np.float16), n_triplets=9, distance_threshold=12.0).shape == (
            9,
            3,
        )


class TestThreshold:
    @pytest.mark.parametrize(("dimensions", "published"), [(768, 67), (1024, 77)])
    def test_it_gives_the_published_ones(self, dimensions, published):
        assert triplets.threshold_for(dimensions) == pytest.approx(published, rel=0.004)

    def test_a_matrix_counts_by_its_columns(self):
        assert (
            triplets.threshold_for(np.zeros((7, 384))) == triplets.threshold_for(384) == pytest.approx(47.2, abs=0.05)
        )

    def test_it_carries_the_clusters_over(self):
        """The same points, each coordinate copied: the dimensions double, and the clusters stay."""
        x = blobs(k=12, n=20, d=64, seed=4)
        counts = [
            triplets.sample(y, n_triplets=5, distance_threshold=triplets.threshold_for(y)).n_clusters
            for y in (x, np.tile(x, 2), np.tile(x, 6))
        ]
        assert len(set(counts)) == 1
        assert counts[0] > 1

    @pytest.mark.parametrize("bad", [0, -3, np.zeros(4), True])
    def test_what_has_no_dimensions(self, bad):
        with pytest.raises(ValueError):
            triplets.threshold_for(bad)


class TestRandom:
    def test_the_draws_are_those_of_the_global_generator(self):
        random.seed(100)
        wanted = [random.sample(range(50), 3) for _ in range(200)]
        found = triplets.random_triplets(50, n_triplets=200)
        np.testing.assert_array_equal(found, wanted)
        assert all(len(set(row)) == 3 for row in found.tolist())

    @pytest.mark.parametrize(("rows", "n", "message"), [(2, 5, "n_rows=2"), (5, 0, "n_triplets=0")])
    def test_bad_sizes(self, rows, n, message):
        with pytest.raises(ValueError, match=message):
            triplets.random_triplets(rows, n_triplets=n)
