"""Spearman, its intervals and the shape of a cloud of embeddings, each against a short reference of another kind."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers import evaluation
from helpers.evaluation import similarity

LISTS = st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 5)), min_size=3, max_size=30)


def cloud(n=40, d=8, seed=0):
    """Two sides with something in common, and scores with ties."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=(n, d))
    mix = rng.uniform(0, 1, size=(n, 1))
    scores = np.round(5 * mix[:, 0] + rng.normal(scale=0.5, size=n))
    return one, mix * one + (1 - mix) * rng.normal(size=(n, d)), scores


def ranks(values):
    """Average ranks, by counting."""
    return np.array([sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values])


def plain_spearman(x, y):
    return 100 * np.corrcoef(ranks(x), ranks(y))[0, 1]


def plain_bootstrap(statistic, n, resamples, rng):
    rows = [rng.integers(0, n, size=n) for _ in range(resamples)]
    return np.percentile([statistic(row) for row in rows], [2.5, 97.5])


def rng(seed=0):
    return np.random.default_rng(seed)


class TestSpearman:
    def test_equals_scipy_on_cosines(self):
        one, two, scores = cloud()
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, two, strict=True)]
        assert evaluation.sts(one, two, scores) == pytest.approx(100 * scipy.stats.spearmanr(cosines, scores)[0])

    @given(LISTS)
    @settings(deadline=None)
    def test_equals_ranks_by_hand_with_ties(self, pairs):
        x, y = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
        assume(np.ptp(x) > 0 and np.ptp(y) > 0)
        assert evaluation.spearman(x, y) == pytest.approx(plain_spearman(x, y), abs=1e-9)
        assert similarity._spearman_rows(x[None], y[None])[0] == pytest.approx(plain_spearman(x, y), abs=1e-9)

    @given(LISTS)
    @settings(deadline=None)
    def test_lies_within_its_bounds_and_is_symmetric(self, pairs):
        x, y = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
        assume(np.ptp(x) > 0 and np.ptp(y) > 0)
        assert -100 - 1e-9 <= evaluation.spearman(x, y) <= 100 + 1e-9
        assert evaluation.spearman(x, y) == pytest.approx(evaluation.spearman(y, x), abs=1e-9)
        assert evaluation.spearman(-x, y) == pytest.approx(-evaluation.spearman(x, y), abs=1e-9)

    def test_perfect_is_100_and_reversed_is_minus_100(self):
        scores = np.array([0.0, 1.4, 2.2, 3.0, 5.0])
        angles = np.pi * (1 - scores / 5)
        one, two = np.tile([1.0, 0.0], (5, 1)), np.stack([np.cos(angles), np.sin(angles)], axis=1)
        assert evaluation.sts(one, two, scores) == pytest.approx(100)
        assert evaluation.sts(one, two, -scores) == pytest.approx(-100)
        assert isinstance(evaluation.sts(one, two, scores), float)

    def test_only_directions_count(self):
        one, two, scores = cloud()
        lengths = rng().uniform(0.1, 10, size=(2, len(one), 1))
        turn = scipy.stats.ortho_group.rvs(one.shape[1], random_state=0)
        expected = evaluation.sts(one, two, scores)
        assert evaluation.sts(one * lengths[0], two * lengths[1], scores) == pytest.approx(expected)
        assert evaluation.sts(one @ turn, two @ turn, scores) == pytest.approx(expected)

    def test_only_the_order_of_scores_counts(self):
        one, two, scores = cloud()
        expected = evaluation.sts(one, two, scores)
        assert evaluation.sts(one, two, np.exp(scores)) == expected
        assert evaluation.sts(one, two, list(3 * scores - 7)) == expected

    def test_sides_can_be_swapped_and_pairs_shuffled(self):
        one, two, scores = cloud()
        order = rng().permutation(len(one))
        expected = evaluation.sts(one, two, scores)
        assert evaluation.sts(two, one, scores) == pytest.approx(expected)
        assert evaluation.sts(one[order], two[order], scores[order]) == pytest.approx(expected)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_low_precision_is_computed_in_float64(self, dtype):
        one, two, scores = cloud(n=200, d=300)
        one, two = one.astype(dtype), two.astype(dtype)
        wide = evaluation.cosine_pairs(one.astype(np.float64), two.astype(np.float64))
        assert evaluation.cosine_pairs(one, two).dtype == np.float64
        np.testing.assert_array_equal(evaluation.cosine_pairs(one, two), wide)
        assert evaluation.sts(one, two, scores) == evaluation.spearman(wide, scores)

    def test_float16_values_whose_squares_overflow(self):
        large = np.array([[60000, 60000], [60000, -60000]], dtype=np.float16)
        np.testing.assert_allclose(evaluation.unit_rows(large), [[0.5**0.5, 0.5**0.5], [0.5**0.5, -(0.5**0.5)]])

    def test_pair_similarities_encode_all_texts_at_once(self):
        calls = []

        def encode(texts):
            calls.append(texts)
            return np.array([[len(text), 1.0] for text in texts])

        found = evaluation.pair_similarities(encode, ("a", "bb"), ("ccc", "dd"))
        assert calls == [["a", "bb", "ccc", "dd"]]
        np.testing.assert_allclose(found, [4 / 20**0.5, 1.0])


class TestInterval:
    @pytest.mark.parametrize("resamples", [1, 37, 401])
    def test_equals_a_plain_bootstrap_with_the_same_draws(self, resamples):
        x, y = rng(1).normal(size=25), np.round(rng(2).normal(size=25))
        found = evaluation.spearman_interval(x, y, resamples=resamples, rng=rng(7))
        low, high = plain_bootstrap(lambda rows: plain_spearman(x[rows], y[rows]), 25, resamples, rng(7))
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
        assert found.value == evaluation.spearman(x, y)
        assert found.noise == "bootstrap"

    def test_same_draws_give_exactly_the_same_interval(self):
        x, y = rng(1).normal(size=25), rng(2).normal(size=25)

        def statistic(rows):
            return similarity._spearman_rows(x[rows][None], y[rows][None])[0]

        found = evaluation.spearman_interval(x, y, resamples=500, rng=rng(7))
        assert (found.low, found.high) == tuple(plain_bootstrap(statistic, 25, 500, rng(7)))

    @pytest.mark.parametrize("n", [10, 25, 1379])
    def test_chunks_do_not_change_the_result(self, monkeypatch, n):
        x, y = rng(1).normal(size=n), rng(2).normal(size=n)
        expected = evaluation.spearman_interval(x, y, resamples=30, rng=rng(3))
        for chunk in (1, 7, 29, 30, 31):
            monkeypatch.setattr("helpers.evaluation.intervals.CHUNK", chunk)
            assert evaluation.spearman_interval(x, y, resamples=30, rng=rng(3)) == expected

    def test_covers_the_true_value_about_as_often_as_it_says(self):
        r, covered = 0.6, 0
        truth = 100 * 6 / np.pi * np.arcsin(r / 2)  # Spearman of a bivariate normal with correlation r
        for seed in range(200):
            x, noise = rng(seed).normal(size=(2, 60))
            found = evaluation.spearman_interval(
                x, r * x + (1 - r**2) ** 0.5 * noise, resamples=200, rng=rng(1000 + seed)
            )
            covered += found.low <= truth <= found.high
        assert 176 <= covered <= 199

    def test_is_narrower_with_more_pairs(self):
        widths = []
        for n in (50, 200, 800):
            x = rng(5).normal(size=n)
            found = evaluation.spearman_interval(x, x + rng(6).normal(size=n), resamples=300, rng=rng(7))
            assert found.low < found.value < found.high
            widths.append(found.high - found.low)
        assert widths[0] > 1.5 * widths[1] > 2.25 * widths[2]

    def test_other_seeds_give_nearly_the_same_ends(self):
        x = rng(5).normal(size=200)
        y = x + rng(6).normal(size=200)
        one, two = (evaluation.spearman_interval(x, y, resamples=2000, rng=rng(seed)) for seed in (1, 2))
        assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=1.5)

    def test_resamples_without_order_count_as_zero(self):
        found = evaluation.spearman_interval([0, 0, 1], [0, 0, 1], resamples=200, rng=rng())
        assert (found.value, found.low, found.high) == (pytest.approx(100), 0, pytest.approx(100))

    def test_prints_and_knows_zero(self):
        assert str(evaluation.Interval(77.34, 74.06, 80.15)) == "77.3 [74.1, 80.2]"
        assert evaluation.Interval(2, 1, 3).excludes_zero
        assert evaluation.Interval(-2, -3, -1).excludes_zero
        assert not evaluation.Interval(2, 0, 3).excludes_zero
        assert not evaluation.Interval(0, -1, 1).excludes_zero

    @pytest.mark.parametrize("resamples", [0, -5])
    def test_needs_resamples(self, resamples):
        with pytest.raises(ValueError, match=f"resamples={resamples} should be at least 1"):
            evaluation.spearman_interval([1, 2, 3], [1, 2, 3], resamples=resamples, rng=rng())


class TestPairedDifference:
    @pytest.fixture
    def methods(self):
        """Scores, a method, and a control that errs like the method."""
        scores = rng(1).normal(size=120)
        shared = scores + rng(2).normal(size=120)
        return shared + 0.2 * rng(3).normal(size=120), shared + 0.4 * rng(4).normal(size=120), scores

    def test_equals_a_plain_bootstrap_with_the_same_draws(self, methods):
        x, z, y = (side[:25] for side in methods)
        found = evaluation.paired_difference(x, z, y, resamples=150, rng=rng(7))

        def difference(rows):
            return plain_spearman(x[rows], y[rows]) - plain_spearman(z[rows], y[rows])

        expected = plain_bootstrap(difference, 25, 150, rng(7))
        assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-9)
        assert found.value == pytest.approx(difference(np.arange(25)), abs=1e-9)

    def test_of_a_method_with_itself_is_exactly_zero(self, methods):
        x, _, y = methods
        assert evaluation.paired_difference(x, x, y, resamples=50, rng=rng()) == evaluation.Interval(0.0, 0.0, 0.0)

    def test_changes_its_sign_with_the_order(self, methods):
        x, z, y = methods
        one = evaluation.paired_difference(x, z, y, resamples=300, rng=rng(5))
        two = evaluation.paired_difference(z, x, y, resamples=300, rng=rng(5))
        assert one.value == -two.value
        assert (one.low, one.high) == pytest.approx((-two.high, -two.low), abs=1e-9)

    def test_is_narrower_than_two_intervals_side_by_side(self, methods):
        x, z, y = methods
        paired = evaluation.paired_difference(x, z, y, resamples=500, rng=rng(5))
        single = [evaluation.spearman_interval(side, y, resamples=500, rng=rng(5)) for side in (x, z)]
        assert paired.high - paired.low < 0.7 * np.hypot(*(one.high - one.low for one in single))

    def test_a_control_of_another_length_is_an_error(self, methods):
        x, z, y = methods
        with pytest.raises(ValueError, match=r"similarities \(119,\) and scores \(120,\)"):
            evaluation.paired_difference(x, z[1:], y, resamples=5, rng=rng())


class TestAnisotropy:
    @given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 10**6))
    @settings(deadline=None)
    def test_equals_the_double_loop(self, n, d, seed):
        rows = rng(seed).normal(size=(n, d))
        cosines = [a @ b / np.sqrt(a @ a * (b @ b)) for i, a in enumerate(rows) for b in rows[:i]]
        assert evaluation.anisotropy(rows) == pytest.approx(np.mean(cosines), abs=1e-9)

    def test_extremes(self):
        assert evaluation.anisotropy(np.tile([3.0, -4.0], (5, 1))) == pytest.approx(1)
        assert evaluation.anisotropy(np.array([[1.0, 0], [2, 0], [5, 0]])) == pytest.approx(1)
        assert evaluation.anisotropy(np.array([[1.0, 0], [-2, 0]])) == pytest.approx(-1)
        assert evaluation.anisotropy(np.eye(6)) == pytest.approx(0)
        assert abs(evaluation.anisotropy(rng().normal(size=(2000, 50)))) < 0.005

    def test_does_not_depend_on_lengths_or_a_rotation(self):
        rows = rng().normal(size=(30, 5)) + 1
        turn = scipy.stats.ortho_group.rvs(5, random_state=0)
        stretched = rows * rng().uniform(0.1, 9, size=(30, 1))
        assert evaluation.anisotropy(stretched @ turn) == pytest.approx(evaluation.anisotropy(rows))

    def test_needs_two_rows(self):
        with pytest.raises(ValueError, match="at least 2 embeddings, got 1"):
            evaluation.anisotropy(np.ones((1, 3)))


class TestEffectiveDimensions:
    @given(st.integers(3, 20), st.integers(2, 6), st.integers(0, 10**6))
    @settings(deadline=None)
    def test_equals_the_traces_of_the_covariance(self, n, d, seed):
        rows = rng(seed).normal(size=(n, d))
        covariance = np.cov(rows / np.linalg.norm(rows, axis=1, keepdims=True), rowvar=False)
        expected = np.trace(covariance) ** 2 / np.trace(covariance @ covariance)
        assert evaluation.effective_dimensions(rows) == pytest.approx(expected)
        assert 1 - 1e-9 <= evaluation.effective_dimensions(rows) <= min(n - 1, d) + 1e-9

    def test_one_for_a_line(self):
        assert evaluation.effective_dimensions(np.array([[1.0, 2], [-1, -2], [3, 6]])) == pytest.approx(1)

    @pytest.mark.parametrize("d", [3, 20])
    def test_about_d_for_isotropic_rows(self, d):
        assert evaluation.effective_dimensions(rng().normal(size=(4000, d))) == pytest.approx(d, rel=0.02)

    @pytest.mark.parametrize("rows", [np.ones((1, 3)), np.tile([1.0, 2, 3], (4, 1))])
    def test_nothing_varies(self, rows):
        with pytest.raises(ValueError, match=f"all {len(rows)} embeddings point the same way"):
            evaluation.effective_dimensions(rows)


class TestBadInput:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite(self, value):
        one, two, scores = cloud()
        one[5, 2] = value
        with pytest.raises(ValueError, match="not finite in row 5"):
            evaluation.sts(one, two, scores)
        with pytest.raises(ValueError, match="not finite in row 5"):
            evaluation.sts(two, one, scores)
        with pytest.raises(ValueError, match=f"similarity 1 is {value}; it should be a finite number"):
            evaluation.spearman([0, value, 1], [1, 2, 3])
        with pytest.raises(ValueError, match=f"score 2 is {value}; it should be a finite number"):
            evaluation.spearman([0, 1, 2], [1, 2, value])

    def test_a_row_of_zeros(self):
        one, two, scores = cloud()
        two[7] = 0
        with pytest.raises(ValueError, match="embedding 7 is all zeros"):
            evaluation.sts(one, two, scores)
        for measure in (evaluation.anisotropy, evaluation.effective_dimensions):
            with pytest.raises(ValueError, match="embedding 7 is all zeros"):
                measure(two)

    @pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 3, 4), ()])
    def test_not_a_matrix(self, shape):
        with pytest.raises(ValueError, match=r"a matrix .* got shape \("):
            evaluation.unit_rows(np.ones(shape))

    def test_sides_of_different_shapes(self):
        one, two, scores = cloud()
        with pytest.raises(ValueError, match=r"different shapes: \(40, 8\) and \(39, 8\)"):
            evaluation.sts(one, two[1:], scores)
        with pytest.raises(ValueError, match=r"different shapes: \(40, 8\) and \(40, 7\)"):
            evaluation.sts(one, two[:, 1:], scores)

    def test_scores_of_another_length(self):
        one, two, scores = cloud()
        with pytest.raises(ValueError, match=r"similarities \(40,\) and scores \(41,\)"):
            evaluation.sts(one, two, [*scores, 1.0])

    @pytest.mark.parametrize("n", [1, 2])
    def test_too_few_pairs(self, n):
        with pytest.raises(ValueError, match=f"{n} pairs are too few .* at least 3"):
            evaluation.sts(np.eye(3)[:n], np.eye(3)[:n], np.arange(n))

    def test_no_order(self):
        one, two, scores = cloud()
        with pytest.raises(ValueError, match=r"each score is 2\.5: there is no order"):
            evaluation.sts(one, two, np.full(40, 2.5))
        with pytest.raises(ValueError, match=r"each similarity is 0\.5: there is no order"):
            evaluation.spearman_interval(np.full(40, 0.5), scores, resamples=5, rng=rng())
