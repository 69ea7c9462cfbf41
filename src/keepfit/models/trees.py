"""Fitted tree ensembles of each library in one form (`Tree`), exactly as they decide.

library     split                   missing                         categories
LightGBM    x <= t                  none: NaN is 0; NaN: a side;    bit set of codes; NaN and
                                    zero: NaN and |x| <= 1e-35      unknown go right
forests     x <= t                  a side                          none
hist        x <= t                  a side                          bit set of ordinals; unknown
                                                                    is missing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ModelError

ZERO = float(np.float32(1e-35))  # LightGBM takes everything from -ZERO to ZERO as 0


class Tree(NamedTuple):
    """One tree: arrays over its inner nodes, and its leaves.

    `yes` and `no` are where a row goes: an inner node, or `~leaf`. `missing` is whether NaN goes to
    `yes`. `sets` holds, for a node that asks for membership, the codes that go to `yes`. A tree
    without inner nodes is one leaf. `leaves` is (leaves,), or (leaves, outputs) from `target` on.
    `zero` says at which nodes zero counts as missing.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    yes: NDArray[np.int64]
    no: NDArray[np.int64]
    missing: NDArray[np.bool_]
    leaves: NDArray[np.float64]
    target: int = 0
    sets: Mapping[int, NDArray[np.float64]] = {}
    zero: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Forest:
    """Trees whose sums, plus `base`, times `scale` are `outputs` raw scores for each row."""

    trees: list[Tree]
    outputs: int
    width: int  # features
    score: str  # what makes an answer of raw scores, a name of SCORES in models.export
    base: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    scale: float = 1.0

    @property
    def shared(self) -> bool:
        """Whether a leaf holds several outputs. Such forests are written with others of their kind only."""
        return any(tree.leaves.ndim > 1 for tree in self.trees)


def read(estimator: Any) -> Forest:
    """The trees of a fitted estimator. Raises ModelError for what has no exact ONNX form."""
    for kind in type(estimator).__mro__:
        reader = READERS.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
        if reader:
            return reader(estimator)
    raise ModelError(f"{type(estimator).__name__} is no tree ensemble that keepfit can read.")


# --- LightGBM -----------------------------------------------------------------------------------


def lightgbm(estimator: Any) -> Forest:
    """The trees of a Booster or of an LGBM estimator, from its own text format."""
    booster = getattr(estimator, "booster_", estimator)
    head, *blocks = booster.model_to_string().split("\nend of trees")[0].split("\nTree=")
    about = dict(line.partition("=")[::2] for line in head.splitlines())
    objective, *options = about.get("objective", "none").split()
    if objective not in OBJECTIVES:
        raise ModelError(f"lightgbm: objective '{objective}' has no ONNX form. Known: {', '.join(sorted(OBJECTIVES))}")
    outputs = int(about["num_tree_per_iteration"])
    score, base = OBJECTIVES[objective], np.zeros(outputs)
    if "sqrt" in options:
        score = "signed_square"
    trees = [_lightgbm_tree(block, number % outputs) for number, block in enumerate(blocks)]
    scale = outputs / max(len(blocks), 1) if "average_output" in about else 1.0
    width = int(about["max_feature_idx"]) + 1
    steep = dict(option.partition(":")[::2] for option in options).get("sigmoid", "1")
    if objective in ("binary", "multiclassova") and float(steep) != 1.0:
        scale *= float(steep)
    return Forest(trees, outputs, width, score, base, scale)


def _lightgbm_tree(block: str, target: int) -> Tree:
    values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
    if values.get("is_linear", "0") != "0":
        raise ModelError("lightgbm: linear_tree has no ONNX form. Leave model.linear_tree out.")
    leaves = _numbers(values["leaf_value"])
    if int(values["num_leaves"]) <= 1:
        return leaf(leaves[:1], target)
    kinds = _numbers(values["decision_type"]).astype(np.int64)
    threshold = _numbers(values["threshold"])
    # 0 and its neighbours are on one side of every threshold
    threshold = np.where(np.abs(threshold) > ZERO, threshold, np.where(threshold < 0, np.nextafter(-ZERO, -1), ZERO))
    category, default_left, missing = kinds & 1 == 1, kinds & 2 == 2, kinds >> 2 & 3
    # where NaN goes: to the default side, or for missing type "none" where 0 goes
    to_left = np.where(missing == 0, threshold >= 0, default_left) & ~category
    sets = _lightgbm_sets(values, np.flatnonzero(category), threshold)
    yes, no = (_numbers(values[name]).astype(np.int64) for name in ("left_child", "right_child"))
    feature = _numbers(values["split_feature"]).astype(np.int64)
    zero = (missing == 1) & ~category
    return Tree(
        feature, np.where(category, 0, threshold), yes, no, to_left, leaves, target, sets, zero if zero.any() else None
    )


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64)


def _lightgbm_sets(
    values: Mapping[str, str], nodes: NDArray[np.intp], threshold: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """Node → codes that go left; a categorical node's threshold is the number of its bit set."""
    if not len(nodes):
        return {}
    bounds = _numbers(values["cat_boundaries"]).astype(np.int64)
    words = np.array(values["cat_threshold"].split(), dtype=np.uint32)
    sets = ((int(node), int(threshold[node])) for node in nodes)
    return {node: _codes(words[bounds[k] : bounds[k + 1]]) for node, k in sets}


def _codes(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """The numbers of the bits that are set in 32-bit words, lowest first."""
    bits = words[:, None] >> np.arange(32, dtype=np.uint32) & 1
    return np.flatnonzero(bits.ravel()).astype(np.float64)


def leaf(values: NDArray[np.float64], target: int = 0) -> Tree:
    """A tree that is one leaf."""
    ints, floats = np.zeros(0, np.int64), np.zeros(0)
    return Tree(ints, floats, ints, ints, np.zeros(0, bool), values, target)


# --- scikit-learn -------------------------------------------------------------------------------


def forest(estimator: Any) -> Forest:
    """The trees of a random forest or of extra trees; leaves hold the classes' shares or the mean."""
    if estimator.n_outputs_ != 1:
        raise ModelError(f"{type(estimator).__name__}: several targets at once have no ONNX form here.")
    classes = hasattr(estimator, "classes_")
    trees = [_sklearn_tree(tree.tree_, classes) for tree in estimator.estimators_]
    # the last class's share is what is left of 1, so that it need not be summed
    outputs = len(estimator.classes_) - 1 if classes else 1
    score = "shares" if classes else "identity"
    return Forest(trees, outputs, estimator.n_features_in_, score, np.zeros(outputs), 1 / len(trees))


def single_tree(estimator: Any) -> Forest:
    """A decision tree is a forest of one."""
    if estimator.n_outputs_ != 1:
        raise ModelError(f"{type(estimator).__name__}: several targets at once have no ONNX form here.")
    classes = hasattr(estimator, "classes_")
    outputs = len(estimator.classes_) - 1 if classes else 1
    tree = _sklearn_tree(estimator.tree_, classes)
    return Forest([tree], outputs, estimator.n_features_in_, "shares" if classes else "identity", np.zeros(outputs))


def _sklearn_tree(tree: Any, classes: bool) -> Tree:
    inner = np.flatnonzero(tree.children_left >= 0)
    outer = np.flatnonzero(tree.children_left < 0)
    values = tree.value[outer, 0, :]
    if classes:
        values = (values / values.sum(axis=1, keepdims=True))[:, :-1]
    leaves = values[:, 0] if values.shape[1] == 1 else values
    if not len(inner):
        return leaf(leaves)
    place = _places(tree.node_count, inner, outer)
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))[inner].astype(bool)
    yes, no = place[tree.children_left[inner]], place[tree.children_right[inner]]
    return Tree(tree.feature[inner].astype(np.int64), tree.threshold[inner], yes, no, missing, leaves)


def _places(count: int, inner: NDArray[np.intp], outer: NDArray[np.intp]) -> NDArray[np.int64]:
    """Node number → its place among the inner nodes, or ~its place among the leaves."""
    place = np.empty(count, np.int64)
    place[inner] = np.arange(len(inner))
    place[outer] = ~np.arange(len(outer))
    return place


def hist(estimator: Any) -> Forest:
    """The trees of histogram gradient boosting, on the columns as they were before its own encoder."""
    loss = type(estimator._loss).__name__
    if loss not in HIST_LOSSES:
        raise ModelError(f"{type(estimator).__name__}: loss '{loss}' has no ONNX form.")
    columns = _hist_columns(estimator)
    trees = [
        _hist_tree(predictor, columns, target)
        for iteration in estimator._predictors
        for target, predictor in enumerate(iteration)
    ]
    outputs = estimator.n_trees_per_iteration_
    base = np.asarray(estimator._baseline_prediction, np.float64).ravel()
    return Forest(trees, outputs, estimator.n_features_in_, HIST_LOSSES[loss], base)


def _hist_columns(estimator: Any) -> list[tuple[int, NDArray[np.float64] | None]]:
    """For each of the trees' columns: the matrix's column, and the raw value of each ordinal."""
    categorical = estimator.is_categorical_
    if categorical is None:
        return [(column, None) for column in range(estimator.n_features_in_)]
    # the estimator's own encoder puts the categorical columns first
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    first = zip(np.flatnonzero(categorical), encoder.categories_, strict=True)
    return [(int(c), np.asarray(v, np.float64)) for c, v in first] + [
        (int(c), None) for c in np.flatnonzero(~categorical)
    ]


def _hist_tree(predictor: Any, columns: Sequence[tuple[int, NDArray[np.float64] | None]], target: int) -> Tree:
    nodes = predictor.nodes
    inner, outer = np.flatnonzero(nodes["is_leaf"] == 0), np.flatnonzero(nodes["is_leaf"])
    leaves = nodes["value"][outer].astype(np.float64)
    if not len(inner):
        return leaf(leaves, target)
    place, picked = _places(len(nodes), inner, outer), nodes[inner]
    yes, no = place[picked["left"]], place[picked["right"]]
    missing = picked["missing_go_to_left"].astype(bool)
    sets = {}
    for n in np.flatnonzero(picked["is_categorical"]):
        values = columns[picked["feature_idx"][n]][1]
        left = np.isin(np.arange(len(values)), _codes(predictor.raw_left_cat_bitsets[picked["bitset_idx"][n]]))
        values, left = values[~np.isnan(values)], left[~np.isnan(values)]
        if missing[n]:  # unknown codes go left with the missing ones: ask for the right side instead
            yes[n], no[n], left, missing[n] = no[n], yes[n], ~left, False
        sets[int(n)] = values[left]
    feature = np.array([columns[f][0] for f in picked["feature_idx"]], np.int64)
    return Tree(feature, picked["num_threshold"].astype(np.float64), yes, no, missing, leaves, target, sets)


OBJECTIVES = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "one_vs_all",
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
}
HIST_LOSSES = {
    "HalfBinomialLoss": "sigmoid",
    "HalfMultinomialLoss": "softmax",
    **dict.fromkeys(("HalfSquaredError", "AbsoluteError", "PinballLoss"), "identity"),
    **dict.fromkeys(("HalfPoissonLoss", "HalfGammaLoss", "HalfTweedieLoss"), "exp"),
}
READERS: Mapping[str, Callable[[Any], Forest]] = {
    **dict.fromkeys(("lightgbm.Booster", "lightgbm.LGBMModel"), lightgbm),
    **dict.fromkeys(("sklearn.BaseForest",), forest),
    **dict.fromkeys(("sklearn.BaseDecisionTree",), single_tree),
    **dict.fromkeys(("sklearn.BaseHistGradientBoosting",), hist),
}
