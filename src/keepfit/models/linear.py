"""Linear classifiers by margin: a support vector machine, and its naive-Bayes-weighted form for text.

Both are scikit-learn estimators on liblinear's dual solver. What they learn is `coef_` (1 or
classes, features) and `intercept_`, all that serving needs: probabilities are sigmoid(X coef + b)
for two classes and softmax(X coef + b) for more, as for logistic regression. Margins are no
probabilities by themselves; `calibrated` folds what was learned on out-of-fold margins into the
coefficients.
"""

from __future__ import annotations

import copy
import threading
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import svm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import LinearSVC

from keepfit.models.calibrate import Floats, platt, sigmoid, softmax, temperature

# liblinear draws from one generator for the whole process: folds fitted side by side would share its numbers,
# and the same data would not give the same model
ALONE = threading.Lock()


class LinearSVR(svm.LinearSVR):  # type: ignore[misc]
    """scikit-learn's, fitted one at a time: the same data give the same model also beside other fits."""

    def fit(self, X: Any, y: NDArray[Any], sample_weight: Any = None) -> Self:
        """Fit on features (n, d), dense or CSR, and values (n,)."""
        with ALONE:
            super().fit(X, y, sample_weight)
        return self


class LinearSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """L2-regularised squared hinge loss, one class against the rest."""

    def __init__(
        self,
        C: float = 1.0,
        tol: float = 1e-3,
        max_iter: int = 1000,
        class_weight: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: NDArray[Any]) -> Self:
        """Fit on features (n, d), dense or CSR, and labels (n,)."""
        self.classes_ = np.unique(y)
        ratios = self._ratios(X, y)
        fits = [self._one(X, y == name, ratio) for name, ratio in zip(self._targets(), ratios, strict=True)]
        self.coef_ = np.array([coefficients for coefficients, _ in fits])
        self.intercept_ = np.array([intercept for _, intercept in fits])
        return self

    def _targets(self) -> NDArray[Any]:
        return self.classes_[1:] if len(self.classes_) == 2 else self.classes_

    def _ratios(self, X: Any, y: NDArray[Any]) -> list[Any]:
        return [None for _ in self._targets()]

    def _one(self, X: Any, positive: NDArray[np.bool_], ratio: Any) -> tuple[Floats, float]:
        """Coefficients and intercept of one class against the rest."""
        scaled = X if ratio is None else _times(X, ratio)
        machine = LinearSVC(
            C=self._strength(scaled), tol=self.tol, max_iter=self.max_iter, class_weight=self.class_weight, dual=True,
            random_state=self.random_state,
        )  # fmt: skip
        with ALONE:
            machine.fit(scaled, positive)
        found = machine.coef_[0] if ratio is None else machine.coef_[0] * ratio
        return found, float(machine.intercept_[0])

    def _strength(self, X: Any) -> float:
        return self.C

    def decision_function(self, X: Any) -> Floats:
        """Margins: (n,) for two classes, else (n, classes)."""
        margins: Floats = np.asarray(X @ self.coef_.T.astype(np.float64)) + self.intercept_
        return margins[:, 0] if len(self.classes_) == 2 else margins

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities (n, classes); meaningful once the margins are `calibrated`."""
        return probabilities(self.decision_function(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Labels (n,)."""
        margins = self.decision_function(X)
        return np.asarray(self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)])


class NaiveBayesLinear(LinearSVM):
    """Each feature is weighted by how differently the classes use it, then a linear SVM is fitted.

    The weight is |log((p + alpha) / (q + alpha))| ** power with p and q the shares of the class's
    and of the others' rows that have the feature (Wang and Manning, "Baselines and Bigrams", ACL
    2012, without their interpolation). It is learned from the training rows and folded into `coef_`.
    `C` is relative: it is divided by the mean squared length of the weighted rows, so that one value
    suits any features. Features are at least zero.
    """

    def __init__(
        self,
        C: float = 3.0,
        power: float = 0.7,
        alpha: float = 0.5,
        tol: float = 0.3,
        max_iter: int = 1000,
        class_weight: Any = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(C, tol, max_iter, class_weight, random_state)
        self.power = power
        self.alpha = alpha

    def _ratios(self, X: Any, y: NDArray[Any]) -> list[Any]:
        there = _present(X)
        total = np.asarray(there.sum(axis=0), np.float64).ravel()
        ratios = []
        for name in self._targets():
            mine = np.asarray(there.T @ (y == name).astype(np.float32), np.float64) + self.alpha
            others = total - mine + 2 * self.alpha
            ratio = np.abs(np.log(mine / mine.sum()) - np.log(others / others.sum())) ** self.power
            ratios.append(ratio.astype(np.float32))
        return ratios

    def _strength(self, X: Any) -> float:
        squares = X.data if sparse.issparse(X) else X
        length = float(np.sum(squares.astype(np.float64) ** 2)) / X.shape[0]
        return self.C / length if length > 0 else self.C


def _present(X: Any) -> Any:
    """1 where a feature is above zero."""
    if not sparse.issparse(X):
        return (X > 0).astype(np.float32)
    return sparse.csr_matrix(((X.data > 0).astype(np.float32), X.indices, X.indptr), shape=X.shape)


def _times(X: Any, ratio: NDArray[np.float32]) -> Any:
    if not sparse.issparse(X):
        return X * ratio
    return sparse.csr_matrix((X.data * ratio[X.indices], X.indices, X.indptr), shape=X.shape)


def probabilities(margins: Floats) -> Floats:
    """Probabilities (n, classes) of margins, (n,) for two classes.

    >>> probabilities(np.array([0.0])).tolist()
    [[0.5, 0.5]]
    """
    if margins.ndim == 1:
        positive = sigmoid(margins)
        return np.column_stack([1 - positive, positive])
    return softmax(margins)


def scale(margins: Floats, codes: NDArray[np.integer[Any]]) -> tuple[float, float]:
    """Slope and offset that make out-of-fold margins probabilities; `codes` are the true classes."""
    return platt(margins, codes == 1) if margins.ndim == 1 else (temperature(margins, codes), 0.0)


def calibrated(estimator: LinearSVM, slope: float, offset: float) -> LinearSVM:
    """A copy whose margins are slope * margin + offset."""
    scaled = copy.copy(estimator)
    scaled.coef_ = estimator.coef_ * slope
    scaled.intercept_ = estimator.intercept_ * slope + offset
    return scaled
