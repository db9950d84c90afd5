"""The linear probe against slow loops, and what must not change its answers."""

import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from helpers import evaluation

probe = importlib.import_module("helpers.evaluation.transfer")  # the package has a function of the same name
FOLDS = 3
STRENGTHS = (1 / 4096, 1 / 512, 1 / 64, 1 / 8, 1, 8)


def rng(seed=0):
    return np.random.default_rng(seed)


def overlapping(n=60, d=4, classes=2, gap=0.7, seed=0):
    """Groups that overlap, so that a classifier errs, and their labels as words."""
    generator = rng(seed)
    labels = generator.permutation(np.arange(n) % classes)
    centres = 2 * gap * generator.normal(size=(classes, d)) / np.sqrt(d)
    return centres[labels] + generator.normal(size=(n, d)), [f"class {label}" for label in labels]


def counts(n=60, d=200, seed=0):
    """Word counts: nearly all zeros, and a few words that tell the class."""
    generator = rng(seed)
    labels = generator.permutation(np.arange(n) % 2)
    matrix = (generator.random((n, d)) < 0.02).astype(np.float32)
    matrix[
        np.arange(n), 2 * generator.integers(0, 3, size=n) + np.where(generator.random(n) < 0.8, labels, 1 - labels)
    ] += 1
    return matrix, labels.tolist()


def folds_of(labels):
    rows = np.zeros((len(labels), 1))
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=1111).split(rows, labels))


def logistic(strength, solver="lbfgs"):
    return LogisticRegression(C=strength, solver=solver, max_iter=200)


def plain_choice(matrix, labels, solver):
    """Try every strength on every inner fold; the first of the best mean accuracies wins."""
    means = []
    for strength in STRENGTHS:
        parts = [
            (logistic(strength, solver).fit(matrix[train], labels[train]).predict(matrix[test]) == labels[test]).mean()
            for train, test in folds_of(labels)
        ]
        means.append(np.mean(parts))
    return STRENGTHS[int(np.argmax(means))]


def plain_transfer(matrix, labels, solver="lbfgs"):
    """Nested cross-validation by hand: whether each text was answered rightly, and the accuracy of each fold."""
    labels, right, folds = np.array(labels), np.zeros(len(labels), dtype=bool), []
    for train, test in folds_of(labels):
        strength = plain_choice(matrix[train], labels[train], solver)
        model = logistic(strength, solver).fit(matrix[train], labels[train])
        right[test] = model.predict(matrix[test]) == labels[test]
        folds.append(100 * right[test].mean())
    return right, folds


class TestTransfer:
    @pytest.mark.parametrize(("classes", "d", "solver"), [(2, 4, "newton-cholesky"), (3, 5, "lbfgs")])
    def test_equals_nested_folds_by_hand(self, classes, d, solver):
        matrix, labels = overlapping(d=d, classes=classes)
        right, folds = plain_transfer(matrix, labels, solver)
        found = evaluation.transfer(matrix, labels, folds=FOLDS)
        np.testing.assert_array_equal(found.right, right)
        assert found.folds == pytest.approx(folds)
        assert found.accuracy == pytest.approx(100 * right.mean())
        assert 0 < right.mean() < 1

    @pytest.mark.parametrize(("n", "d", "classes"), [(150, 6, 2), (48, 70, 2), (45, 60, 3)])
    def test_quick_ways_agree_with_plain_lbfgs_to_within_a_text(self, n, d, classes):
        matrix, labels = overlapping(n=n, d=d, classes=classes)
        right, _ = plain_transfer(matrix, labels)
        assert (evaluation.transfer(matrix, labels, folds=FOLDS).right != right).sum() <= 1
        assert 0 < right.mean() < 1

    def test_fewer_texts_than_dimensions_lose_nothing_on_their_own_axes(self):
        matrix, _ = overlapping(n=12, d=40)
        twice = np.concatenate([matrix, matrix[:4]])  # of rank 12
        axes = probe._axes(twice)
        assert axes.shape == (40, 12)
        np.testing.assert_allclose(axes.T @ axes, np.eye(12), atol=1e-9)
        np.testing.assert_allclose(twice @ axes @ axes.T, twice, atol=1e-9)
        assert probe._axes(matrix[:, :12]) is None

    def test_labels_that_are_noise_score_near_chance(self):
        # As many dimensions as texts: any look at the tested texts would let every answer be right.
        matrices, labels = rng(0).normal(size=(5, 40, 40)), np.arange(40) % 2
        scores = [evaluation.transfer(matrix, labels, folds=FOLDS).accuracy for matrix in matrices]
        assert 40 <= np.mean(scores) <= 60

    def test_separate_groups_are_told_apart(self):
        found = evaluation.transfer(*overlapping(gap=20, classes=3), folds=FOLDS)
        assert found.accuracy == 100
        assert found.folds == (100, 100, 100)
        assert found.right.all()

    def test_folds_agree_with_the_texts(self):
        matrix, labels = overlapping(n=60)
        found = evaluation.transfer(matrix, labels, folds=FOLDS)
        assert found.right.shape == (60,)
        assert found.right.dtype == bool
        assert np.mean(found.folds) == pytest.approx(found.accuracy)  # folds of equal size

    @pytest.mark.parametrize("names", [("north", "south", "east"), ("z", "a much longer name", "m")])
    def test_names_of_labels_do_not_matter(self, names):
        matrix, labels = overlapping(classes=3, n=45)
        renamed = [names[int(label[-1])] for label in labels]
        expected = evaluation.transfer(matrix, labels, folds=FOLDS)
        # The shuffle of the folds goes by the order in which classes appear, not by their names.
        np.testing.assert_array_equal(evaluation.transfer(matrix, renamed, folds=FOLDS).right, expected.right)

    def test_numbers_are_labels_too(self):
        matrix, labels = overlapping()
        numbers = [int(label[-1]) for label in labels]
        np.testing.assert_array_equal(
            evaluation.transfer(matrix, numbers, folds=FOLDS).right,
            evaluation.transfer(matrix, labels, folds=FOLDS).right,
        )

    def test_another_seed_shuffles_the_folds_differently(self):
        matrix, labels = overlapping()
        one, two = (evaluation.transfer(matrix, labels, folds=FOLDS, seed=seed) for seed in (1, 2))
        assert not np.array_equal(one.right, two.right)

    def test_counts_give_the_same_sparse_dense_and_on_axes(self, monkeypatch):
        matrix, labels = counts()
        on_axes = evaluation.transfer(matrix, labels, folds=FOLDS)
        monkeypatch.setattr(probe, "MOST_ROWS", 0)
        assert sparse.issparse(probe._onto(matrix, probe._axes(matrix)))
        found = evaluation.transfer(matrix, labels, folds=FOLDS)
        monkeypatch.setattr(probe, "_onto", lambda matrix, axes: matrix)
        np.testing.assert_array_equal(found.right, evaluation.transfer(matrix, labels, folds=FOLDS).right)
        np.testing.assert_array_equal(found.right, on_axes.right)
        assert 50 < found.accuracy < 100

    def test_the_smallest_class_that_fits_gives_no_warning(self):
        matrix, _ = overlapping(n=30)
        for folds in (2, 4):
            labels = ["rare"] * (folds + 2) + ["common"] * (28 - folds)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                evaluation.transfer(matrix, labels, folds=folds)
            with pytest.raises(ValueError, match=f"smallest class has {folds + 1} texts; .* need at least {folds + 2}"):
                evaluation.transfer(matrix, ["common", *labels[1:]], folds=folds)


class TestTransferSplit:
    @pytest.mark.parametrize(
        ("d", "classes", "solver"), [(4, 2, "newton-cholesky"), (80, 2, "newton-cholesky"), (4, 3, "lbfgs")]
    )
    def test_equals_a_choice_by_cross_validation_and_then_a_fit(self, d, classes, solver):
        matrix, labels = overlapping(n=100, d=d, classes=classes)
        train, test, gold = matrix[:60], matrix[60:], np.array(labels[60:])
        inner = StratifiedKFold(FOLDS, shuffle=True, random_state=1111)
        grid = list(probe.GRID)
        means = [cross_val_score(logistic(c, solver), train, labels[:60], cv=inner).mean() for c in grid]
        model = logistic(grid[int(np.argmax(means))], solver).fit(train, labels[:60])
        found = evaluation.transfer_split(train, labels[:60], test, labels[60:], folds=FOLDS)
        np.testing.assert_array_equal(found.right, model.predict(test) == gold)
        assert found.accuracy == pytest.approx(100 * model.score(test, gold))
        assert found.folds == ()

    def test_a_test_part_may_lack_labels_or_hold_a_single_text(self):
        matrix, labels = overlapping(n=62, gap=20, classes=3)
        for rows in ([60], [60, 60, 60]):
            found = evaluation.transfer_split(
                matrix[:60], labels[:60], matrix[rows], [labels[row] for row in rows], folds=FOLDS
            )
            assert found.right.tolist() == [True] * len(rows)

    def test_names_of_labels_do_not_matter(self):
        matrix, labels = overlapping(n=90, classes=3)
        names = {"class 0": "z", "class 1": "a much longer name", "class 2": "m"}
        renamed = [names[label] for label in labels]
        plain, again = (
            evaluation.transfer_split(matrix[:60], side[:60], matrix[60:], side[60:], folds=FOLDS)
            for side in (labels, renamed)
        )
        np.testing.assert_array_equal(again.right, plain.right)

    def test_counts_give_the_same_sparse_dense_and_on_axes(self, monkeypatch):
        matrix, labels = counts(n=100)
        parts = matrix[:60], labels[:60], matrix[60:], labels[60:]
        on_axes = evaluation.transfer_split(*parts, folds=FOLDS)
        monkeypatch.setattr(probe, "MOST_ROWS", 0)
        found = evaluation.transfer_split(*parts, folds=FOLDS)
        monkeypatch.setattr(probe, "_onto", lambda matrix, axes: matrix)
        np.testing.assert_array_equal(found.right, evaluation.transfer_split(*parts, folds=FOLDS).right)
        np.testing.assert_array_equal(found.right, on_axes.right)

    def test_a_class_needs_as_many_texts_as_folds(self):
        matrix, _ = overlapping(n=12)
        labels = ["rare"] * 3 + ["common"] * 9
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            evaluation.transfer_split(matrix, labels, matrix, labels, folds=3)
        with pytest.raises(ValueError, match=r"the smallest class has 3 texts; 4 folds need at least 4"):
            evaluation.transfer_split(matrix, labels, matrix, labels, folds=4)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda a, x, b, y: (a, x, b, [*y[:-1], "class 9"]), r"the labels \['class 9'\], which the training part"),
            (lambda a, x, b, y: (a, ["class 0"] * len(x), b, ["class 0"] * len(y)), "have the label 'class 0'"),
            (lambda a, x, b, y: (a, x[1:], b, y), "59 labels do not match 60 embeddings"),
            (lambda a, x, b, y: (a, x, b, y[1:]), "29 labels do not match 30 embeddings"),
            (lambda a, x, b, y: (a, x, b, y[:1]), "1 labels do not match 30 embeddings"),
            (lambda a, x, b, y: (a, x, b[:1], y), "30 labels do not match 1 embeddings"),
            (lambda a, x, b, y: (a, x, b[:0], []), r"should be a matrix .* got shape \(0, 4\)"),
            (lambda a, x, b, y: (a[0], x, b, y), r"should be a matrix .* got shape \(4,\)"),
            (lambda a, x, b, y: (a, x, b[:, :3], y), "the test part has 3 dimensions and the training part 4"),
            (lambda a, x, b, y: (np.where(np.arange(60)[:, None] == 7, np.nan, a), x, b, y), "not finite in row 7"),
            (lambda a, x, b, y: (a, x, np.where(np.arange(30)[:, None] == 7, np.inf, b), y), "not finite in row 7"),
        ],
    )
    def test_bad_input_is_named(self, change, message):
        matrix, labels = overlapping(n=90)
        with pytest.raises(ValueError, match=message):
            evaluation.transfer_split(*change(matrix[:60], labels[:60], matrix[60:], labels[60:]), folds=FOLDS)


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (x[0], y), r"should be a matrix .* got shape \(4,\)"),
            (lambda x, y: (x[:0], []), r"got shape \(0, 4\)"),
            (lambda x, y: (x, y[:-1]), "59 labels do not match 60 embeddings"),
            (lambda x, y: (x, ["one"] * 60), "all 60 texts have the label 'one'"),
            (lambda x, y: (np.where(np.arange(60)[:, None] == 7, np.nan, x), y), "not finite in row 7"),
            (lambda x, y: (x, ["rare", *["common"] * 59]), "the smallest class has 1 texts"),
        ],
    )
    def test_bad_input_is_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            evaluation.transfer(*change(*overlapping()), folds=FOLDS)

    @pytest.mark.parametrize("folds", [1, 0, -2])
    def test_fewer_than_two_folds(self, folds):
        with pytest.raises(ValueError, match="n_splits=2 or more"):
            evaluation.transfer(*overlapping(), folds=folds)


class TestPairFeatures:
    @given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10**6))
    def test_equals_the_formula(self, n, d, seed):
        u, v = rng(seed).normal(size=(2, n, d))
        expected = [
            [abs(a - b) for a, b in zip(x, y, strict=True)] + [a * b for a, b in zip(x, y, strict=True)]
            for x, y in zip(u, v, strict=True)
        ]
        np.testing.assert_allclose(evaluation.pair_features(u, v), expected)
        np.testing.assert_array_equal(evaluation.pair_features(v, u), evaluation.pair_features(u, v))

    def test_a_pair_of_the_same_has_no_difference(self):
        found = evaluation.pair_features(np.array([[1.0, -2.0]]), np.array([[1.0, -2.0]]))
        assert found.tolist() == [[0, 0, 1, 4]]

    @pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,)), ((1, 3, 4), (1, 3, 4))])
    def test_shapes_that_do_not_fit(self, shapes):
        with pytest.raises(ValueError, match="should be matrices of the same shape"):
            evaluation.pair_features(*map(np.ones, shapes))
