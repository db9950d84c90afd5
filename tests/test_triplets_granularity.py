"""The number of clusters: sampling merges, cutting trees, choosing k."""

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, fbeta_score

from helpers import triplets
from helpers.triplets import tree


def blobs(k=6, n=20, d=8, spread=0.1, seed=0):
    rng = np.random.default_rng(seed)
    points = np.repeat(rng.normal(size=(k, d)) * 3, n, axis=0) + spread * rng.normal(size=(k * n, d))
    return points.astype(np.float32), np.repeat(np.arange(k), n)


def original(x, k_min, k_max, repeats, seed):
    """The steps of the description, with leaf lists and partitions of the whole tree and the global generator."""
    random.seed(seed)
    children = AgglomerativeClustering().fit(x).children_
    n = len(x)
    leaves, live = {i: [i] for i in range(n)}, [list(range(n))]
    for step, (left, right) in enumerate(children):
        leaves[n + step] = leaves[left] + leaves[right]
        live.append([node for node in live[-1] if node not in (left, right)] + [n + step])
    for node, group in leaves.items():
        if len(group) > 2:
            mean = x[group].mean(axis=0)
            leaves[node] = sorted(group, key=lambda i, mean=mean: ((x[i] - mean) ** 2).sum())
    pairs, steps = [], []
    for _ in range(repeats):
        for step in range(k_min, k_max):
            left, right = children[-step]
            pairs.append(sorted([random.choice(leaves[left]), random.choice(leaves[right])]))
            steps.append(step)
    return pairs, steps, {len(nodes): [leaves[node] for node in nodes] for nodes in live}


class TestSampling:
    @pytest.mark.parametrize(("repeats", "seed"), [(1, 100), (3, 100), (1, 0)])
    def test_the_draws_are_those_of_the_original(self, repeats, seed):
        x, _ = blobs(spread=2.0, seed=seed)
        pairs, steps, partitions = original(x, 2, 60, repeats, seed)
        found = triplets.sample_merges(x, k_max=60, repeats=repeats, seed=seed)
        assert found.pairs.tolist() == pairs
        assert found.steps.tolist() == steps
        for k in (1, 2, 7, 59, 120):
            wanted = np.empty(120, dtype=int)
            for number, group in enumerate(partitions[k]):
                wanted[group] = number
            assert adjusted_rand_score(found.labels_at(k), wanted) == 1
            assert len(set(found.labels_at(k))) == k

    @pytest.mark.parametrize("repeats", [1, 3])
    def test_the_original_s_number_of_pairs(self, repeats):
        assert triplets.sample_merges(blobs(n=40)[0], repeats=repeats).pairs.shape == (198 * repeats, 2)

    @pytest.mark.parametrize("large", [False, True])
    def test_a_pair_is_together_up_to_its_step_and_apart_after(self, large):
        x, _ = blobs(n=50, spread=1.0)
        found = triplets.sample_merges(x, k_max=120, repeats=2, large=large)
        for k in (2, 3, 17, 60, 120):
            labels = found.labels_at(k)
            together = labels[found.pairs[:, 0]] == labels[found.pairs[:, 1]]
            np.testing.assert_array_equal(together, found.steps >= k)

    def test_large_data_are_merged_from_two_hundred_clusters(self):
        x, labels = blobs(n=60)
        found = triplets.sample_merges(x, k_max=50, large=True)
        assert found.n_leaves <= 200
        assert len(found.leaf_of) == 360
        assert adjusted_rand_score(found.labels_at(6), labels) == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"k_max": 200}, "k_max=200 should be at most the number of rows, 120"),
            ({"k_min": 1}, "k_min=1 and k_max=200 should be at least 2"),
            ({"k_min": 9, "k_max": 9}, "k_min=9 and k_max=9"),
            ({"k_max": 60, "repeats": 0}, "repeats=0"),
            ({"k_max": 60, "large": True}, "large=True makes 200 clusters and there are 120 rows"),
        ],
    )
    def test_options_out_of_range(self, options, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            triplets.sample_merges(blobs()[0], **options)

    def test_as_many_clusters_as_rows_is_the_most(self):
        assert triplets.sample_merges(blobs(k=2, n=5)[0], k_max=10).steps.max() == 9

    def test_bad_embeddings(self):
        with pytest.raises(ValueError, match="2 rows; at least 3"):
            triplets.sample_merges(np.eye(2), k_max=2)
        with pytest.raises(ValueError, match="not finite in row 1"):
            triplets.sample_merges(np.array([[0.0], [np.nan], [1.0]]), k_max=3)

    @pytest.mark.parametrize("k", [0, 121])
    def test_cuts_that_the_tree_does_not_have(self, k):
        found = triplets.sample_merges(blobs()[0], k_max=60)
        with pytest.raises(ValueError, match=f"k={k} should be from 1 to the number of leaves of the tree, 120"):
            found.labels_at(k)


class TestWeightedWard:
    @given(st.integers(0, 500), st.integers(2, 25))
    @limits(deadline=None, max_examples=30)
    def test_single_rows_merge_as_in_scipy(self, seed, n):
        x = np.random.default_rng(seed).normal(size=(n, 3))
        np.testing.assert_array_equal(tree.weighted_ward(x, np.ones(n)), hierarchy.ward(x)[:, :2].astype(int))

    @given(st.integers(0, 500))
    @limits(deadline=None, max_examples=20)
    def test_a_weight_is_that_many_rows_in_one_place(self, seed):
        rng = np.random.default_rng(seed)
        x, sizes = rng.normal(size=(12, 3)), rng.integers(1, 6, size=12)
        merges = tree.weighted_ward(x, sizes)
        copies = np.repeat(x, sizes, axis=0)
        whole = hierarchy.ward(copies)
        for k in range(2, 12):
            wanted = hierarchy.fcluster(whole, k, criterion="maxclust")
            assert adjusted_rand_score(np.repeat(tree.cut(merges, k), sizes), wanted) == 1


def pairs_of(steps):
    """Pairs of a made-up tree that goes far enough; their rows do not matter."""
    leaves = 40
    children = np.array([[0, 1], *([leaves + i, i + 2] for i in range(leaves - 2))])
    return triplets.MergePairs(np.zeros((len(steps), 2), int), np.array(steps), children, leaves, np.arange(leaves))


class TestChooseK:
    @pytest.mark.parametrize("k", [3, 6, 11])
    @pytest.mark.parametrize("large", [False, True])
    def test_right_answers_find_the_number_of_groups(self, k, large):
        x, labels = blobs(k=k, n=80, seed=k)
        pairs = triplets.sample_merges(x, k_max=60, large=large)
        found = triplets.choose_k(pairs, triplets.pair_oracle(pairs.pairs, labels))
        assert found.k == k
        assert found.scores[k] == 100
        assert list(found.scores) == list(range(2, 61))

    @given(st.lists(st.tuples(st.integers(2, 12), st.sampled_from([True, False, None])), min_size=3, max_size=40))
    @limits(deadline=None, max_examples=20)
    def test_the_score_is_f_beta(self, drawn):
        steps, answers = zip(*drawn, strict=True)
        if all(answer is None for answer in answers):
            return
        found = triplets.choose_k(pairs_of(steps), answers)
        kept = [(step, answer) for step, answer in drawn if answer is not None]
        assert list(found.scores) == list(range(min(steps), max(steps) + 2))
        for k, score in found.scores.items():
            together = [step >= k for step, _ in kept]
            wanted = fbeta_score([answer for _, answer in kept], together, beta=0.92, zero_division=0)
            assert score == pytest.approx(100 * wanted)
        assert found.k == max(k for k, score in found.scores.items() if score == max(found.scores.values()))

    def test_ties_go_to_the_larger_k(self):
        """Nothing is asked between 3 and 9, so every k from 4 to 9 puts the same pairs together."""
        found = triplets.choose_k(pairs_of([2, 3, 9, 10]), [False, False, True, True])
        assert [k for k, score in found.scores.items() if score == 100] == [4, 5, 6, 7, 8, 9]
        assert found.k == 9

    def test_without_a_yes_everything_ties(self):
        assert triplets.choose_k(pairs_of([2, 3, 4]), [False] * 3).k == 5

    def test_pairs_outside_the_range_do_not_count(self):
        pairs = pairs_of([2, 3, 4, 5, 6, 7, 8])
        answers = [True, False, True, True, True, False, False]
        inside = triplets.choose_k(pairs, answers, k_range=(4, 7))
        only = triplets.choose_k(pairs_of([4, 5, 6]), [True, True, True])
        assert inside == only

    def test_beta_weighs_precision_against_recall(self):
        pairs, answers = pairs_of([2, 3, 4, 5, 6, 7]), [True, False, True, False, False, True]
        assert triplets.choose_k(pairs, answers, beta=0.1).k > triplets.choose_k(pairs, answers, beta=10).k

    @pytest.mark.parametrize(
        ("answers", "options", "message"),
        [
            ([True], {}, "1 answers do not match 3 pairs"),
            ([True, "Yes", False], {}, "answer 1 is 'Yes'; it should be True, False or None"),
            ([None] * 3, {}, "none of 3 pairs from 2 to 5 clusters has an answer"),
            ([True] * 3, {"k_range": (20, 30)}, "none of 3 pairs from 20 to 30"),
            ([True] * 3, {"k_range": (5, 5)}, "k_min=5 and k_max=5"),
            ([True] * 3, {"k_range": (2, 41)}, "k_max=41 should be at most the number of leaves of the tree, 40"),
            ([True] * 3, {"beta": 0}, "beta=0"),
        ],
    )
    def test_bad_input(self, answers, options, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            triplets.choose_k(pairs_of([2, 3, 4]), answers, **options)


class TestPairOracle:
    def test_same_label_or_not(self):
        assert triplets.pair_oracle(np.array([[0, 1], [0, 2]]), ["a", "a", "b"]) == [True, False]

    @pytest.mark.parametrize("pairs", [np.array([[0, 3]]), np.array([[-1, 0]]), np.array([0, 1]), np.array([[0.0, 1]])])
    def test_bad_pairs(self, pairs):
        with pytest.raises(ValueError, match="pairs"):
            triplets.pair_oracle(pairs, ["a", "a", "b"])
