"""Transfer: how well does a linear classifier do on frozen embeddings? After SentEval (Conneau and Kiela 2018)."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict

from helpers.evaluation.clusters import check_labelled, check_matrix

# SentEval's scikit-learn classifier has the grid 2^-2 … 2^3. Ours begins lower: a language model's vectors are some
# fifty times as long as an encoder's, and SentEval's strongest penalty hardly holds them back.
GRID = tuple(2.0**power for power in range(-12, 4, 3))
# The seed of SentEval's folds.
SEED = 1111
FOLDS = 10
MOST_ROWS = 3_000  # rows up to which the axes of `_axes` are worth their price


@dataclasses.dataclass(frozen=True)
class Transfer:
    """The result of a linear probe.

    Attributes:
        accuracy: Share of right answers, in percent.
        right: ``(N,)`` for each tested text whether the answer was right, in the order given; what a paired bootstrap
            over texts needs (`mean_interval`, `mean_difference`).
        folds: Accuracy of each outer fold in percent; empty where there is a test part.
    """

    accuracy: float
    right: np.ndarray
    folds: tuple[float, ...] = ()


def pair_features(embeddings1: np.ndarray, embeddings2: np.ndarray) -> np.ndarray:
    """Return SentEval's features of a pair, ``(N, 2 D)``: ``|u - v|`` and ``u * v`` side by side."""
    u, v = np.asarray(embeddings1), np.asarray(embeddings2)
    if u.shape != v.shape or u.ndim != 2:
        raise ValueError(f"the two sides should be matrices of the same shape, got {u.shape} and {v.shape}")
    return np.concatenate([np.abs(u - v), u * v], axis=1)


def transfer(features: np.ndarray, labels: Sequence[object], *, folds: int = FOLDS, seed: int = SEED) -> Transfer:
    """Score frozen features by nested cross-validation, for sets without a test part.

    The outer folds test; within the training part of each, inner folds choose the strength of the L2 penalty out of
    `GRID`. So no text is ever scored by a classifier, or by a choice, that has seen it.

    Args:
        features: ``(N, D)``: embeddings, or `pair_features`.
        labels: ``(N,)`` names or numbers.
        folds: Outer and inner folds, stratified.
        seed: Of the shuffle before the folds.

    Raises:
        ValueError: As `clustering`, and for a class with fewer than ``folds + 2`` texts: the training part of an outer
            fold, which lacks up to two of them, must still have one for each inner fold.
    """
    matrix, gold = _checked(features, labels, folds + 2, f"{folds} folds within {folds} folds")
    matrix = _onto(matrix, _axes(matrix))
    outer = StratifiedKFold(folds, shuffle=True, random_state=seed)
    search = _search(matrix, gold, folds, seed)
    found = _predict(search, lambda search: cross_val_predict(search, matrix, gold, cv=outer))
    right = found == gold
    by_fold = tuple(100.0 * float(right[test].mean()) for _, test in outer.split(matrix, gold))
    return Transfer(100.0 * float(right.mean()), right, by_fold)


def transfer_split(
    train: np.ndarray,
    train_labels: Sequence[object],
    test: np.ndarray,
    test_labels: Sequence[object],
    *,
    folds: int = FOLDS,
    seed: int = SEED,
) -> Transfer:
    """Train on one part, with the penalty chosen by cross-validation within it, and score another part.

    Raises:
        ValueError: As `clustering`, for a class of the training part with fewer texts than folds, for a test label
            that the training part lacks, and for a test part of another number of dimensions.
    """
    gold_names = np.unique(np.asarray(train_labels))
    unknown = sorted(set(np.asarray(test_labels).tolist()) - set(gold_names.tolist()))
    if unknown:
        raise ValueError(f"the test part has the labels {unknown}, which the training part lacks")
    matrix, gold = _checked(train, train_labels, folds, f"{folds} folds")
    other = check_matrix(test, len(test_labels)).astype(np.float64)
    if other.shape[1] != matrix.shape[1]:
        raise ValueError(f"the test part has {other.shape[1]} dimensions and the training part {matrix.shape[1]}")
    test_gold = np.searchsorted(gold_names, np.asarray(test_labels))
    axes = _axes(matrix)
    matrix, other = _onto(matrix, axes), _onto(other, axes)
    found = _predict(_search(matrix, gold, folds, seed), lambda search: search.fit(matrix, gold).predict(other))
    right = found == test_gold
    return Transfer(100.0 * float(right.mean()), right)


def _predict(search: GridSearchCV, how: Callable[[GridSearchCV], np.ndarray]) -> np.ndarray:
    """Run a search without its warnings: the weakest penalties of the grid need not converge to be compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return how(search)


def _search(matrix: np.ndarray, gold: np.ndarray, folds: int, seed: int) -> GridSearchCV:
    """Return a logistic regression whose penalty is chosen by inner folds."""
    inner = StratifiedKFold(folds, shuffle=True, random_state=seed)
    # Newton's method with the full Hessian is exact, and quick for two classes; its Hessian grows with their square.
    newton = not sparse.issparse(matrix) and gold.max() == 1
    model = LogisticRegression(solver="newton-cholesky" if newton else "lbfgs", max_iter=200)
    return GridSearchCV(model, {"C": list(GRID)}, cv=inner)


def _checked(features: np.ndarray, labels: Sequence[object], least: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    matrix, gold = check_labelled(features, labels)
    smallest = int(np.bincount(gold).min())
    if smallest < least:
        raise ValueError(f"the smallest class has {smallest} texts; {what} need at least {least}")
    return matrix.astype(np.float64), gold


def _axes(matrix: np.ndarray) -> np.ndarray | None:
    """Return orthonormal axes, ``(D, R)``, of the space that fewer rows than dimensions span; None where not needed.

    A penalised linear classifier has its weights in that space (the representer theorem), so it loses nothing there,
    and a few hundred coordinates in place of thousands make it many times faster.
    """
    if matrix.shape[0] >= matrix.shape[1] or matrix.shape[0] > MOST_ROWS:
        return None
    values, vectors = np.linalg.eigh(matrix @ matrix.T)  # (N,), (N, N)
    kept = values > values[-1] * 1e-12
    return matrix.T @ (vectors[:, kept] / np.sqrt(values[kept]))


def _onto(matrix: np.ndarray, axes: np.ndarray | None) -> np.ndarray:
    """Return coordinates on the axes; without axes the matrix, sparse where it is nearly all zeros (word counts)."""
    if axes is not None:
        return matrix @ axes
    return sparse.csr_matrix(matrix) if np.count_nonzero(matrix) < 0.05 * matrix.size else matrix
