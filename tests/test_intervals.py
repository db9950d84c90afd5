"""Intervals over seeds and over items, each against a short reference of another kind."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from helpers import evaluation
from helpers.evaluation import intervals

PERCENT = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 3))
VALUES = st.lists(PERCENT, min_size=2, max_size=8)
PAIRS = st.lists(st.tuples(PERCENT, PERCENT), min_size=2, max_size=8)


def rng(seed=0):
    return np.random.default_rng(seed)


def ends(interval):
    return interval.low, interval.high


def plain_student(values):
    """Scipy's own interval of a mean."""
    mean, error = np.mean(values), scipy.stats.sem(values)
    return scipy.stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)


def plain_bootstrap(values, resamples, generator):
    means = []
    for _ in range(resamples):
        rows = generator.integers(0, len(values), size=len(values))
        means.append(sum(values[row] for row in rows) / len(values))
    return np.percentile(means, [2.5, 97.5])


class TestOverSeeds:
    @given(VALUES.filter(lambda values: np.ptp(values) > 0.01))
    @limits(deadline=None)
    def test_equals_scipys_t_interval(self, values):
        found = evaluation.over_seeds(values)
        assert ends(found) == pytest.approx(tuple(plain_student(values)), abs=1e-8)
        assert found.value == pytest.approx(sum(values) / len(values))

    def test_a_worked_example(self):
        found = evaluation.over_seeds([60.0, 62.0, 64.0])  # sd 2; t(0.975, 2) = 4.302653
        assert ends(found) == pytest.approx((62 - 4.302653 * 2 / 3**0.5, 62 + 4.302653 * 2 / 3**0.5), abs=1e-5)
        assert found.sd == pytest.approx(2.0)

    @given(VALUES)
    def test_the_spread_divides_by_one_less_than_the_number_of_seeds(self, values):
        mean = sum(values) / len(values)
        expected = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        assert evaluation.over_seeds(values).sd == pytest.approx(expected, abs=1e-9)

    def test_keeps_values_seeds_and_noise(self):
        found = evaluation.over_seeds(np.array([1.0, 3.0], dtype=np.float32), np.array([100, 13]), noise="training")
        assert (found.values, found.seeds, found.noise) == ((1.0, 3.0), (100, 13), "training")
        assert {type(value) for value in (*found.values, *found.seeds)} == {float, int}
        assert evaluation.over_seeds([1.0, 3.0]).noise == "k-means"

    def test_one_seed_is_a_point(self):
        found = evaluation.over_seeds([71.5], [100])
        assert (found.value, found.low, found.high, found.sd) == (71.5, 71.5, 71.5, None)

    def test_seeds_that_agree_give_no_width(self):
        assert ends(evaluation.over_seeds([50.0] * 5)) == (50.0, 50.0)

    @given(VALUES, st.randoms())
    def test_the_order_of_seeds_does_not_matter(self, values, random):
        mixed = random.sample(values, len(values))
        assert ends(evaluation.over_seeds(mixed)) == pytest.approx(ends(evaluation.over_seeds(values)), abs=1e-9)

    @pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf], [[1.0, 2.0]], 3.0])
    def test_values_that_are_no_list_of_finite_numbers(self, values):
        with pytest.raises(ValueError, match="should be a list of finite numbers, one a seed"):
            evaluation.over_seeds(values)

    def test_seeds_that_do_not_match(self):
        with pytest.raises(ValueError, match="2 seeds do not match 3 values"):
            evaluation.over_seeds([1.0, 2.0, 3.0], [100, 13])


class TestDifferenceOverSeeds:
    @given(PAIRS, st.lists(PERCENT, min_size=8, max_size=8))
    @limits(deadline=None)
    def test_what_both_share_cancels_out(self, pairs, shared):
        one, other = (np.array(side) for side in zip(*pairs, strict=True))
        shift = np.array(shared[: len(pairs)])
        plain = evaluation.difference_over_seeds(one, other)
        shifted = evaluation.difference_over_seeds(one + shift, other + shift)
        assert (shifted.value, *ends(shifted)) == pytest.approx((plain.value, *ends(plain)), abs=1e-6)

    @given(PAIRS)
    @limits(deadline=None)
    def test_is_the_interval_of_the_differences_and_turns_its_sign(self, pairs):
        one, other = map(list, zip(*pairs, strict=True))
        found = evaluation.difference_over_seeds(one, other)
        assert found == evaluation.over_seeds([a - b for a, b in pairs])
        back = evaluation.difference_over_seeds(other, one)
        assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low), abs=1e-9)

    def test_of_values_with_themselves_is_zero(self):
        found = evaluation.difference_over_seeds([60.0, 70.0], [60.0, 70.0], [1, 2])
        assert (found.value, found.low, found.high, found.seeds) == (0, 0, 0, (1, 2))

    def test_is_narrower_than_unpaired_where_seeds_are_hard_for_both(self):
        shared = rng(1).normal(scale=10, size=5)
        one, other = 70 + shared + rng(2).normal(size=5), 65 + shared + rng(3).normal(size=5)
        widths = [np.ptp(ends(evaluation.over_seeds(side))) for side in (one, other)]
        assert np.ptp(ends(evaluation.difference_over_seeds(one, other))) < min(widths) / 2

    def test_another_number_of_seeds_is_refused(self):
        with pytest.raises(ValueError, match="3 values and 2 of the control should come from the same seeds"):
            evaluation.difference_over_seeds([1.0, 2.0, 3.0], [1.0, 2.0])


class TestMeanInterval:
    @pytest.mark.parametrize("resamples", [1, 37, 401])
    def test_equals_a_plain_loop_with_the_same_draws(self, resamples):
        values = rng(1).uniform(0, 100, size=25)
        found = evaluation.mean_interval(values, resamples=resamples, rng=rng(7))
        assert ends(found) == pytest.approx(tuple(plain_bootstrap(values, resamples, rng(7))), abs=1e-9)
        assert found.value == pytest.approx(values.mean())
        assert (found.noise, found.values, found.sd) == ("bootstrap", (), None)

    @pytest.mark.parametrize("chunk", [1, 7, 29, 30, 31])
    def test_chunks_do_not_change_the_result(self, monkeypatch, chunk):
        values = rng(1).uniform(size=17)
        expected = evaluation.mean_interval(values, resamples=30, rng=rng(3))
        monkeypatch.setattr(intervals, "CHUNK", chunk)
        assert evaluation.mean_interval(values, resamples=30, rng=rng(3)) == expected

    def test_covers_the_chance_of_a_coin_about_as_often_as_it_says(self):
        p, covered = 0.3, 0
        for seed in range(300):
            flips = rng(seed).random(80) < p
            found = evaluation.mean_interval(flips, resamples=200, rng=rng(1000 + seed))
            covered += found.low <= p <= found.high
        assert 0.88 <= covered / 300 <= 0.99

    @given(st.lists(PERCENT, min_size=1, max_size=20), st.integers(0, 1000))
    @limits(deadline=None, max_examples=50)
    def test_lies_between_the_lowest_and_the_highest_value(self, values, seed):
        found = evaluation.mean_interval(values, resamples=20, rng=rng(seed))
        assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9

    @pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf, 2.0], [[1.0, 2.0]], 3.0])
    def test_values_that_are_no_list_of_finite_numbers(self, values):
        with pytest.raises(ValueError, match="should be a list of finite numbers, one an item"):
            evaluation.mean_interval(values, resamples=5, rng=rng())

    def test_needs_resamples(self):
        with pytest.raises(ValueError, match="resamples=0 should be at least 1"):
            evaluation.mean_interval([1.0, 2.0], resamples=0, rng=rng())


class TestMeanDifference:
    def test_equals_a_plain_loop_with_the_same_draws(self):
        one, other = rng(1).uniform(0, 100, size=(2, 25))
        found = evaluation.mean_difference(one, other, resamples=150, rng=rng(7))
        assert ends(found) == pytest.approx(tuple(plain_bootstrap(one - other, 150, rng(7))), abs=1e-9)
        assert found.value == pytest.approx(one.mean() - other.mean())

    def test_both_sides_are_scored_on_the_same_draws(self):
        one, other = rng(1).uniform(0, 100, size=(2, 25))
        draws = rng(7).integers(0, 25, size=(150, 25))
        low, high = np.percentile(one[draws].mean(axis=1) - other[draws].mean(axis=1), [2.5, 97.5])
        found = evaluation.mean_difference(one, other, resamples=150, rng=rng(7))
        assert ends(found) == pytest.approx((low, high), abs=1e-9)

    def test_a_shift_of_every_item_is_found_without_doubt(self):
        values = rng(1).uniform(0, 90, size=40)
        found = evaluation.mean_difference(values + 3, values, resamples=50, rng=rng())
        assert (found.value, *ends(found)) == pytest.approx((3, 3, 3))
        assert found.excludes_zero

    def test_another_number_of_items_is_refused(self):
        with pytest.raises(ValueError, match="3 values and 2 of the control should be of the same items"):
            evaluation.mean_difference([1, 2, 3], [1, 2], resamples=5, rng=rng())
