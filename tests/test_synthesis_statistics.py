"""How varied texts are: by hand, and by what should not change."""

import math

import numpy as np
import pytest

from helpers import synthesis


def test_distinct_ngrams_by_hand():
    assert synthesis.distinct_ngrams(["a b a b a"], 1, tokens=5) == 2 / 5
    assert synthesis.distinct_ngrams(["a b a b a"], 2, tokens=4) == 2 / 4
    assert synthesis.distinct_ngrams(["a b", "a b", "c d"], 2, tokens=3) == 2 / 3
    assert synthesis.distinct_ngrams(["A, b!", "a b"], 2, tokens=2) == 1 / 2


def test_sets_of_unlike_sizes_can_be_compared():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 300, 20)) for _ in range(400)]
    few, many = (synthesis.distinct_ngrams(texts[:count], 1, tokens=500) for count in (100, 400))
    assert few == pytest.approx(many, abs=0.05)
    assert synthesis.distinct_ngrams(texts, 1, tokens=4000) < many / 2
    with pytest.raises(ValueError, match="have 20 n-grams of 1 words, and tokens=21"):
        synthesis.distinct_ngrams(texts[:1], 1, tokens=21)


def test_the_effective_number_counts_unlike_vectors():
    assert synthesis.effective_number(np.eye(6)) == pytest.approx(6)
    assert synthesis.effective_number(np.ones((6, 3))) == pytest.approx(1)
    assert synthesis.effective_number(np.repeat(np.eye(3), 4, axis=0)) == pytest.approx(3)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5))
    values = np.linalg.eigvalsh(unit(vectors) @ unit(vectors).T / 30).clip(1e-15)
    assert synthesis.effective_number(vectors) == pytest.approx(np.exp(-(values * np.log(values)).sum()))
    assert synthesis.effective_number(7 * vectors) == pytest.approx(synthesis.effective_number(vectors))
    with pytest.raises(ValueError, match="without rows of zeros"):
        synthesis.effective_number(np.zeros((2, 3)))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_tasks_of_one_kind_fall_into_one_cluster():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(4, 16), 5, axis=0) + 0.02 * rng.normal(size=(20, 16))
    found = synthesis.task_clusters(kinds)
    assert len(set(found.tolist())) == 4
    assert all(len(set(found[start : start + 5].tolist())) == 1 for start in range(0, 20, 5))
    assert len(set(synthesis.task_clusters(kinds, threshold=1.5).tolist())) == 1
    with pytest.raises(ValueError, match="at least two tasks"):
        synthesis.task_clusters(np.ones((1, 3)))


def test_lengths_and_shares():
    assert synthesis.lengths(["one two, three", "", "修剪树"]).tolist() == [3, 0, 3]
    rows = [{"language": name} for name in ("English", "Thai", "English", "English")]
    assert synthesis.shares(rows, "language") == {"English": 0.75, "Thai": 0.25}
    with pytest.raises(ValueError, match="no column 'languages'; did you mean 'language'"):
        synthesis.shares(rows, "languages")
    with pytest.raises(ValueError, match="no rows"):
        synthesis.shares([], "language")


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (3, 20), (381, 381)])
def test_the_interval_of_a_share_is_wilsons(hits, count):
    """By the formula: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)."""
    found = synthesis.share_interval([True] * hits + [False] * (count - hits))
    p, z = hits / count, 1.959963984540054
    middle, half = p + z**2 / (2 * count), z * math.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    ends = [100 * (middle + sign * half) / (1 + z**2 / count) for sign in (-1, 1)]
    assert (found.value, found.low, found.high) == pytest.approx((100 * p, *ends), abs=1e-9)
    assert found.high > found.low
    assert found.noise == "sampling"


def test_a_difference_of_shares_turns_round_with_its_sides():
    one, other = synthesis.share_interval([True] * 9 + [False]), synthesis.share_interval([False] * 8 + [True] * 2)
    there, back = synthesis.difference_of_shares(one, other), synthesis.difference_of_shares(other, one)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.low < 70 < there.high
    same = synthesis.difference_of_shares(one, one)
    assert same.low < same.value == 0 < same.high
    with pytest.raises(ValueError, match="nothing to take a share of"):
        synthesis.share_interval([])
