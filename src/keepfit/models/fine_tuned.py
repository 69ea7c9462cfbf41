"""Fine-tuning as an estimator: the last blocks of a pretrained network go on learning, with a head on top.

The network is cut in two at a block. What lies below stays as it is and depends on nothing of the target: it takes
the place of the backbone in the features of pictures, so what it gives (maps, not pooled) is made once for each
picture and kept in the project's cache. The estimator is fitted to these maps. It begins with the head that a
backbone which stays as it is would get (first the head, then all: Kumar et al., "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution", 2022), and is kept as it was best on held-back rows: where no epoch
is better than the beginning, it is the beginning.

All of torch stands in `fine_tuned_torch`. In the bundle lie two graphs, below and above the cut, and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from keepfit.errors import ConfigError
from keepfit.extras import load
from keepfit.features import graphs
from keepfit.models import backbones
from keepfit.models.networks import ConvolutionalNetwork, ConvolutionalRegressor, Matrix
from keepfit.sections import ImageFeatures

TORCH = "keepfit.models.fine_tuned_torch"
KEY = "model.type"
BLOCKS = 1


# --- what it is fitted to -------------------------------------------------------------------------


def options(section: ImageFeatures, project: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What features.image takes: the network below the last blocks; `upper` says where these are.

    Raises ConfigError where there is no backbone, or one that cannot be trained in part.
    """
    last = _last(parameters.get("blocks", BLOCKS))
    if not section.backbone:
        raise ConfigError(
            f"{KEY}: fine_tuned goes on training a pretrained network, and {backbones.KEY} names none. Name a folder "
            "in the layout of transformers or a model of the hub; convolutional_network is trained from scratch."
        )
    path = backbones.found(section.backbone, project)
    if path.is_file():
        raise ConfigError(
            f"{backbones.KEY}: {path.name} is a graph, and the weights of a graph are not trained. For fine_tuned give "
            "a folder in the layout of transformers or a model of the hub; with a graph take another model.type."
        )
    cut = backbones.Cut(f"-below-{last}", lambda network, seen: load(TORCH, KEY).below(network, last, seen))
    below = backbones.load(section.backbone, project, section.size, section.how, cut)
    upper = {"folder": str(path), "blocks": last, "height": below["height"], "width": below["width"]}
    lens = {**below, "maps": _shape(below)}
    return {"backbone": lens, "augment": section.augment, "normalise": False, "upper": upper}


def _last(blocks: Any) -> int:
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
        raise ConfigError(f"model.blocks: {blocks!r} is no number of blocks. Give 1 or more: so many of the last ones.")
    return blocks


def _shape(below: backbones.Backbone) -> list[int]:
    """Of what the graph gives for one picture."""
    blank = np.zeros((1, 3, below["height"], below["width"]), np.float32)
    (said,) = graphs.session(below["graph"]).run([below["output"]], {below["input"]: blank})
    return list(said.shape[1:])


# --- the estimators -------------------------------------------------------------------------------


class _Blocks:
    """What both kinds share; their `fit` and `predict` are those of networks that are trained from scratch.

    Args:
        pictures: (first column, views, shape of the maps …) of each picture in a row.
        upper: where the blocks are, see `options`.
        blocks: so many of the last blocks are trained: layers of a MobileNet or a transformer, stages of a ResNet.
        epochs: passes over the rows, at most.
        patience: epochs without a lower loss of the held-back rows after which training ends.
        learning_rate: the highest of the cycle, of the head; the blocks have a tenth of it.
        C: how little the head with which it begins is held back, as of logistic_regression.
        batch: pictures a step, at most; fewer where there are few rows.
        smoothing: of the labels: so much of a row's weight is spread over all classes.
        class_weight: "balanced" weighs classes alike.
        threads: inside torch.
        device: "auto" takes a GPU where there is one; "cpu", "cuda".
    """

    def __init__(
        self,
        pictures: Sequence[Sequence[int]] = (),
        upper: Mapping[str, Any] | None = None,
        blocks: int = BLOCKS,
        epochs: int | None = 15,
        patience: int = 4,
        learning_rate: float = 0.001,
        C: float = 0.3,
        batch: int = 32,
        smoothing: float = 0.0,
        class_weight: str | None = None,
        threads: int = 1,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.pictures = pictures
        self.upper = upper
        self.blocks = blocks
        self.epochs = epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.C = C
        self.batch = batch
        self.smoothing = smoothing
        self.class_weight = class_weight
        self.threads = threads
        self.device = device
        self.random_state = random_state

    def _network(self, X: Matrix, target: NDArray[Any], classes: int) -> Any:
        """The blocks as they were pretrained, and the head that suits them."""
        if classes == 1:
            raise ValueError("all rows have the same class, so there is nothing to tell apart")
        places: list[tuple[int, ...]] = self._pictures(X.shape[1])  # type: ignore[attr-defined]
        upper = dict(self.upper or {})
        if upper.get("blocks") != self.blocks:
            raise ValueError(f"the pictures are ready for blocks {upper.get('blocks')}, not for {self.blocks}")
        torch = load(TORCH, KEY)
        parts = [torch.last(**upper) for _ in places]
        network = torch.Tuned(places, X.shape[1], classes or 1, parts)
        network.scale(X)
        torch.start(network, *self._head(torch.pooled(network, X, self.device), target, classes))
        return network

    def _head(self, pooled: Matrix, target: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights (outputs, width) and offsets (outputs,) of a linear model of what the blocks say."""
        if not classes:
            line = Ridge(alpha=1 / self.C).fit(pooled, target)
            return line.coef_[None], np.atleast_1d(line.intercept_)
        line = LogisticRegression(C=self.C, max_iter=1000, class_weight=self.class_weight).fit(pooled, target)
        weights, offsets = line.coef_, line.intercept_
        if len(weights) == 1:  # half of the margin for each of two classes
            weights, offsets = (np.concatenate([-part / 2, part / 2]) for part in (weights, offsets))
        return weights, offsets

    def _moves(self) -> dict[str, Any]:
        """Maps stay where they are: the views of a picture are what varies it."""
        return {"shift": 0, "mirror": False}


class FineTuned(_Blocks, ConvolutionalNetwork):
    """The last blocks of a pretrained network, and a head that tells classes apart."""


class FineTunedRegressor(_Blocks, ConvolutionalRegressor):
    """The last blocks of a pretrained network, and a head that tells a number."""
