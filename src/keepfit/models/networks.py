"""Small convolutional networks as estimators: scikit-learn's fit and predict on a matrix with pictures in it.

`pictures` says where in a row the pixels of each picture lie; what else a row has joins the network before its
last layer. All of torch stands in `network_torch`, which is imported when a network is fitted.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from keepfit.extras import load

Matrix = NDArray[np.float32]
Pair = tuple[Matrix, NDArray[Any]]  # features and target
TORCH = "keepfit.models.network_torch"
KEY = "model.type"
OPSET = 17
ROUNDS = "epochs"  # the parameter with the number of rounds
STEPS = 12, 120  # epochs: on many rows, and on few
MANY = 50_000  # rows that are many
HELD = 0.1  # share of the rows that are held back where nobody gives others
FEWEST = 8  # pictures a step, and steps an epoch
FEW = 50  # rows of which none is held back
COLOUR = 3  # channels of a picture whose mirror image is likely to be a picture as well; of letters it is not


class _Network(BaseEstimator):  # type: ignore[misc]
    """What both kinds share.

    Args:
        pictures: (first column, height, width, channels) of each picture in a row.
        epochs: passes over the rows; None: twelve on many rows, more on few.
        patience: epochs without a lower loss of the held-back rows after which training ends.
        learning_rate: the highest of the cycle.
        width: channels of the first layer; the next have twice and four times as many.
        batch: pictures a step, at most; fewer where there are few rows, so that an epoch has several steps.
        augment: "none", "shift", "mirror", "shift and mirror", or "auto": shift, and mirror what has colours.
        smoothing: of the labels: so much of a row's weight is spread over all classes.
        class_weight: "balanced" weighs classes alike.
        threads: inside torch. Two seldom are faster than one, and cost far more on a busy machine.
        device: "auto" takes a GPU where there is one; "cpu", "cuda".
    """

    def __init__(
        self,
        pictures: Sequence[Sequence[int]] = (),
        epochs: int | None = None,
        patience: int = 6,
        learning_rate: float = 0.004,
        width: int = 64,
        batch: int = 128,
        augment: str = "auto",
        smoothing: float = 0.05,
        class_weight: str | None = None,
        threads: int = 1,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.pictures = pictures
        self.epochs = epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.width = width
        self.batch = batch
        self.augment = augment
        self.smoothing = smoothing
        self.class_weight = class_weight
        self.threads = threads
        self.device = device
        self.random_state = random_state

    def _train(self, X: Matrix, target: NDArray[Any], held: Any, classes: int, weights: Any, watch: Any) -> None:
        torch = load(TORCH, KEY)
        with torch.threads(self.threads):
            network = self._network(X, target, classes)
            plan = self._plan(len(X), classes, weights)
            done = torch.train(network, X, target, held, plan, watch or torch.Watch())
        self.network_, self.losses_, self.n_iter_, self.cut_ = done.network, done.losses, done.best, done.cut
        self.planned_ = plan.epochs

    def _plan(self, rows: int, classes: int, weights: Any) -> Any:
        torch = load(TORCH, KEY)
        return torch.Plan(
            epochs=self.epochs or _epochs(rows),
            patience=self.patience,
            learning_rate=self.learning_rate,
            batch=min(self.batch, max(FEWEST, rows // FEWEST)),
            smoothing=self.smoothing,
            seed=self.random_state,
            device=torch.device(self.device),
            weights=weights,
            classes=classes,
            **self._moves(),
        )

    def _network(self, X: Matrix, target: NDArray[Any], classes: int) -> Any:
        """The network that is to be trained. Raises ValueError for a matrix without pictures."""
        return load(TORCH, KEY).Network(self._pictures(X.shape[1]), X.shape[1], classes or 1, self.width)

    def _moves(self) -> dict[str, Any]:
        """How pictures are moved while they are learned from: pixels at most, and whether they are mirrored."""
        shift = _shift(self.pictures) if self.augment in ("auto", "shift", "shift and mirror") else 0
        return {"shift": shift, "mirror": self._mirrored(self.pictures)}

    def _pictures(self, columns: int) -> list[tuple[int, ...]]:
        """The parameter, checked. Raises ValueError for a matrix without pictures."""
        found = [tuple(map(int, place)) for place in self.pictures]
        if not found:
            raise ValueError("a network of this kind needs a column of pictures (role image), and there is none")
        for start, *shape in found:
            if start + math.prod(shape) > columns:
                raise ValueError(f"pictures of {shape} from column {start} on do not fit into {columns} columns")
        return found

    def _mirrored(self, pictures: Sequence[Sequence[int]]) -> bool:
        known = ("auto", "none", "shift", "mirror", "shift and mirror")
        if self.augment not in known:
            raise ValueError(f"augment {self.augment!r} is none of {', '.join(known)}")
        return "mirror" in self.augment or (self.augment == "auto" and all(p[3] == COLOUR for p in pictures))

    def _outputs(self, X: Matrix) -> NDArray[np.float64]:
        torch = load(TORCH, KEY)
        with torch.threads(self.threads):
            return np.asarray(torch.answers(self.network_, np.ascontiguousarray(X, np.float32)), np.float64)


class ConvolutionalNetwork(ClassifierMixin, _Network):  # type: ignore[misc]
    """A network that tells classes apart."""

    def fit(self, X: Matrix, y: NDArray[Any], valid: Pair | None = None, watch: Any = None) -> Self:
        """Fit on features (n, d) and labels (n,).

        `valid` rows say when to stop; their labels are among those of `y`. Without them some rows are held back.
        """
        self.classes_, codes = np.unique(y, return_inverse=True)
        learned, held = _split(len(X), self.random_state) if valid is None else (slice(None), None)
        pair = (X[held], codes[held]) if held is not None and len(held) else None
        if valid is not None:
            pair = valid[0], np.searchsorted(self.classes_, valid[1])
        weights = _even(codes) if self.class_weight == "balanced" else None
        self._train(X[learned], codes[learned].astype(np.int64), pair, len(self.classes_), weights, watch)
        return self

    def predict_proba(self, X: Matrix) -> NDArray[np.float64]:
        """Probabilities (n, classes)."""
        scores = self._outputs(X)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predict(self, X: Matrix) -> NDArray[Any]:
        """Labels (n,)."""
        return np.asarray(self.classes_[self._outputs(X).argmax(axis=1)])


class ConvolutionalRegressor(RegressorMixin, _Network):  # type: ignore[misc]
    """A network that tells a number; fitted to the standardised target."""

    def fit(self, X: Matrix, y: NDArray[Any], valid: Pair | None = None, watch: Any = None) -> Self:
        """Fit on features (n, d) and values (n,); `valid` as of the classifier."""
        self.scale_ = float(np.mean(y)), float(np.std(y)) or 1.0
        target = self._standard(y)
        learned, held = _split(len(X), self.random_state) if valid is None else (slice(None), None)
        pair = (X[held], target[held]) if held is not None and len(held) else None
        if valid is not None:
            pair = valid[0], self._standard(valid[1])
        self._train(X[learned], target[learned], pair, 0, None, watch)
        return self

    def _standard(self, y: NDArray[Any]) -> NDArray[np.float32]:
        return ((np.asarray(y, np.float64) - self.scale_[0]) / self.scale_[1]).astype(np.float32)

    def predict(self, X: Matrix) -> NDArray[np.float64]:
        """Values (n,)."""
        return self._outputs(X)[:, 0] * self.scale_[1] + self.scale_[0]


def _epochs(rows: int) -> int:
    """Passes for so many rows.

    >>> [_epochs(rows) for rows in (100, 2_000, 50_000, 10**6)]
    [120, 60, 12, 12]
    """
    return round(min(max(STEPS[0] * math.sqrt(MANY / max(rows, 1)), STEPS[0]), STEPS[1]))


def _shift(pictures: Sequence[Sequence[int]]) -> int:
    """Pixels that still leave a picture what it was."""
    return max(1, round(min(min(height, width) for _, height, width, _ in pictures) / 14))


def _split(rows: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to learn from, and rows that are held back."""
    order = np.random.default_rng(seed).permutation(rows)
    count = int(rows * HELD) if rows >= FEW else 0
    return np.sort(order[count:]), np.sort(order[:count])


def _even(codes: NDArray[np.intp]) -> NDArray[np.float32]:
    counts = np.bincount(codes)
    return (len(codes) / (len(counts) * np.maximum(counts, 1))).astype(np.float32)


def graph(estimator: Any, width: int, classes: bool) -> bytes:
    """A fitted network as an ONNX file: input `features` (rows, width), output `scores` (rows, outputs)."""
    found: bytes = load(TORCH, KEY).onnx(estimator.network_, width, None if classes else estimator.scale_, OPSET)
    return found


def fit(
    estimator: Any,
    matrix: Matrix,
    target: NDArray[Any],
    valid: Pair | None,
    categorical: Sequence[int],
    stop: threading.Event,
    deadline: float,
    tell: Callable[[float, float, str, str | None], None],
) -> Any:
    """Fit as `crossfit` asks for it: told epoch by epoch, ended by `stop` or as near to `deadline` as can be.

    `categorical` is for trees. Ctrl-C sets `stop`, and what is best so far is kept; within the first epoch there
    is nothing to keep, and KeyboardInterrupt goes on.
    """

    def told(epoch: int, epochs: int, rate: float, best: float) -> None:
        tell(epoch, epochs, f"epoch {epoch} of {epochs}, {rate:,.0f} pictures/s", f"loss {best:.4g}")

    watch = load(TORCH, KEY).Watch(stop, deadline, told)
    return estimator.fit(matrix, target, valid if valid is not None and len(valid[1]) else None, watch)


def rounds(estimator: Any) -> int:
    """Epochs of a fitted network, up to the best."""
    return int(estimator.n_iter_)
