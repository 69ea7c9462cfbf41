"""The catalogue of estimators: a name, what makes it, and how its features look.

A row names its classes as strings, one for each task that it can do, so that a library is imported
only when one of its estimators is picked. `module:Class` in the config is a row too (`own`).

>>> row("random_forest", "classification").factory["classification"]
'sklearn.ensemble:RandomForestClassifier'
>>> row("random_forrest", "classification")
Traceback (most recent call last):
    ...
keepfit.errors.ConfigError: model.type: unknown name 'random_forrest'. Did you mean 'random_forest'? Known: auto, \
auto_arima, auto_ets, boosted_lags, ces, convolutional_network, dummy, elastic_net, extra_trees, fine_tuned, \
hist_gradient_boosting, lightgbm, linear_svm, logistic_regression, mlp, naive_bayes_linear, nb_linear, random_forest, \
ridge, seasonal_naive, theta
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ConfigError
from keepfit.extras import load, nearest

Style = Mapping[str, Mapping[str, Any]]
Adapt = Callable[[Any, NDArray[Any], int], Mapping[str, Any]]  # matrix, encoded target, number of classes
KEY = "model.type"

# --- how features look: options by role, see keepfit.features -------------------------------------

# ramps alone: beyond the range of the training rows the answer stays what it is at the end of it
_BENT = {"impute": "median", "flag": True, "bins": 16, "linear": False}
LINEAR: Style = {
    "number": _BENT,
    "date": _BENT,
    "category": {"encode": "onehot", "min_count": 3, "max_levels": 1000},
    "text": {"ngrams": [1, 2], "min_count": 2, "max_terms": 200_000},
}
SCALED: Style = {  # distances and gradients: few, small features
    "number": {"impute": "median", "flag": True, "scale": True},
    "date": {"impute": "median", "flag": True, "scale": True},
    "category": {"encode": "onehot", "min_count": 3, "max_levels": 100},
    "text": {"svd": 64, "ngrams": [1, 2], "max_terms": 50_000},
}
TREE: Style = {  # nothing here is learned from the target: all folds of a bag can share the state
    "category": {"encode": "codes", "min_count": 3, "max_levels": 1000},
    "text": {"svd": 48, "ngrams": [1, 1], "max_terms": 30_000},
    "image": {"components": 64},
}
CODES: Style = {**TREE, "category": {"encode": "codes", "min_count": 3, "max_levels": 250}}
FOREST: Style = {**TREE, "category": {"encode": "onehot", "min_count": 3, "max_levels": 60}}
PIXELS: Style = {**SCALED, "image": {}}  # pictures as they are
TERMS: Style = {  # at least zero, as the naive-Bayes weights need
    **LINEAR,
    "text": {"ngrams": [1, 4], "min_count": 2, "max_terms": 2_000_000},
}
# what takes their place where there are very many columns: sixteen ramps for each would fill the memory
NARROW: Mapping[int, Style] = {
    id(LINEAR): {**LINEAR, **{role: SCALED[role] for role in ("number", "date")}},
    id(TERMS): {**TERMS, **{role: {**_BENT, "bins": 2} for role in ("number", "date")}},
}


@dataclass(frozen=True)
class Row:
    """One estimator. `space`: what a search tries, parameter → list or {low, high, log}."""

    factory: Mapping[str, str]  # task → "module:Class"
    style: Style
    defaults: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)
    balanced: str | None = None  # the parameter that takes "balanced" to weigh classes alike
    margins: bool = False  # scores are margins, to be calibrated on out-of-fold rows
    stopping: str = ""  # module: `fit` stops early on the fold's validation rows, `rounds` says when; kept as a bag
    costly: int = 0  # on data of so many times `crossfit.LARGE` cells one fold is fitted, and never again
    standard: bool = False  # regression: fitted to the standardised target
    categorical: str | None = None  # the parameter that takes the positions of category codes
    pictures: str | None = None  # the parameter that takes where the pixels of pictures stand
    past: str | None = None  # the parameter that takes how many of the last columns are known of the past only
    options: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # parameter → (role, option) that it takes
    asked: Mapping[str, str] = field(default_factory=dict)  # role → function(section, project, parameters) → options
    extra: tuple[str, ...] = ()  # parameters that the signature does not name
    adapt: Adapt | None = None  # defaults that depend on the training rows


def _series(model: str, *options: str) -> Row:
    """A row of a forecasting model with the options of its fit; covariates as trees take them."""
    named = ("season", *options)
    factory = {"forecast": "keepfit.models.series.estimator:Forecaster"}
    return Row(factory, TREE, {"model": model}, extra=named, past="past")


def _sklearn(module: str, classifier: str = "", regressor: str = "") -> dict[str, str]:
    tasks = {"classification": classifier, "regression": regressor}
    return {task: f"sklearn.{module}:{name}" for task, name in tasks.items() if name}


def _solver(matrix: Any, target: NDArray[Any], classes: int) -> Mapping[str, Any]:
    """Newton's method where its Hessian is small: several times faster than L-BFGS, and exact."""
    small = isinstance(matrix, np.ndarray) and matrix.shape[1] * (classes if classes > 2 else 1) <= 500
    return {"solver": "newton-cholesky"} if small else {}


def _held_back(rounds: int) -> Adapt:
    """Early stopping on rows that the estimator holds back, where there are enough; else `rounds`."""

    def adapt(matrix: Any, target: NDArray[Any], classes: int) -> Mapping[str, Any]:
        rarest = np.unique(target, return_counts=True)[1].min() if classes else len(target)
        return (
            {"early_stopping": True}
            if len(target) >= 500 and rarest >= 20
            else {"early_stopping": False, "max_iter": rounds}
        )

    return adapt


_C = {"low": 0.01, "high": 100.0, "log": True}
_LEAF = {"low": 1, "high": 20, "log": True}
_FOREST: dict[str, Any] = {
    "style": FOREST,
    "space": {"min_samples_leaf": _LEAF, "max_features": ["sqrt", 0.3, 0.6, 1.0]},
    "balanced": "class_weight",
}
# what LightGBM takes beyond the signature of its scikit-learn classes
_LIGHTGBM = (
    "min_data_in_leaf",
    "feature_fraction",
    "bagging_fraction",
    "bagging_freq",
    "lambda_l1",
    "lambda_l2",
    "min_gain_to_split",
    "min_sum_hessian_in_leaf",
    "max_bin",
    "extra_trees",
    "path_smooth",
    "linear_tree",
    "cat_smooth",
    "cat_l2",
    "max_cat_threshold",
    "max_cat_to_onehot",
    "min_data_per_group",
    "scale_pos_weight",
    "is_unbalance",
    "monotone_constraints",
    "interaction_constraints",
    "feature_fraction_bynode",
    "max_delta_step",
    "alpha",
    "tweedie_variance_power",
    "feature_pre_filter",
    "verbose",
    "deterministic",
    "force_row_wise",
    "force_col_wise",
)

CATALOGUE: dict[str, Row] = {
    "logistic_regression": Row(
        _sklearn("linear_model", "LogisticRegression"),
        LINEAR,
        {"C": 0.3, "max_iter": 1000},
        {"C": _C},
        "class_weight",
        adapt=_solver,
    ),
    "ridge": Row(
        _sklearn("linear_model", "", "Ridge"),
        LINEAR,
        {"alpha": 1.0},
        {"alpha": {"low": 1e-3, "high": 1e4, "log": True}},
        standard=True,
    ),
    "elastic_net": Row(
        _sklearn("linear_model", "", "ElasticNet"),
        LINEAR,
        {"alpha": 0.001, "max_iter": 5000},
        {"alpha": {"low": 1e-5, "high": 1.0, "log": True}, "l1_ratio": {"low": 0.05, "high": 1.0}},
        standard=True,
    ),
    "linear_svm": Row(
        {"classification": "keepfit.models.linear:LinearSVM", "regression": "keepfit.models.linear:LinearSVR"},
        LINEAR,
        {"C": 0.1, "tol": 1e-3, "max_iter": 10_000},
        {"C": _C},
        "class_weight",
        margins=True,
        standard=True,
    ),
    "random_forest": Row(_sklearn("ensemble", "RandomForestClassifier", "RandomForestRegressor"), **_FOREST),
    "extra_trees": Row(_sklearn("ensemble", "ExtraTreesClassifier", "ExtraTreesRegressor"), **_FOREST),
    "hist_gradient_boosting": Row(
        _sklearn("ensemble", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
        CODES,
        {"learning_rate": 0.1, "max_iter": 500},
        {
            "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
            "max_leaf_nodes": {"low": 7, "high": 63, "log": True},
            "min_samples_leaf": {"low": 5, "high": 60, "log": True},
            "l2_regularization": [0.0, 0.1, 1.0, 10.0],
        },
        "class_weight",
        categorical="categorical_features",
        adapt=_held_back(100),
    ),
    "lightgbm": Row(
        {"classification": "lightgbm:LGBMClassifier", "regression": "lightgbm:LGBMRegressor"},
        TREE,
        {
            "n_estimators": 2000,
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_child_samples": 10,
            "colsample_bytree": 0.7,
            "subsample": 0.8,
            "subsample_freq": 1,
            "n_jobs": 1,
            "verbose": -1,
            "deterministic": True,
            "force_col_wise": True,  # with one thread a fifth cheaper than by rows, for the same trees
        },
        {
            "num_leaves": {"low": 7, "high": 127, "log": True},
            "min_child_samples": {"low": 3, "high": 60, "log": True},
            "colsample_bytree": {"low": 0.4, "high": 1.0},
            "subsample": {"low": 0.5, "high": 1.0},
            "reg_lambda": {"low": 1e-3, "high": 30.0, "log": True},
        },
        "class_weight",
        stopping="keepfit.models.boosting",
        extra=_LIGHTGBM,
    ),
    "mlp": Row(
        _sklearn("neural_network", "MLPClassifier", "MLPRegressor"),
        SCALED,
        {"hidden_layer_sizes": [64], "max_iter": 200, "learning_rate_init": 0.003},
        {
            "alpha": {"low": 1e-5, "high": 1e-1, "log": True},
            "learning_rate_init": {"low": 3e-4, "high": 1e-2, "log": True},
            "hidden_layer_sizes": [[32], [64], [128], [64, 32]],
        },
        standard=True,
        adapt=_held_back(200),
    ),
    "nb_linear": Row(
        {"classification": "keepfit.models.linear:NaiveBayesLinear"},
        TERMS,
        {},
        {"C": {"low": 0.3, "high": 30.0, "log": True}, "power": {"low": 0.0, "high": 1.0}},
        "class_weight",
        margins=True,
    ),
    "convolutional_network": Row(
        {
            "classification": "keepfit.models.networks:ConvolutionalNetwork",
            "regression": "keepfit.models.networks:ConvolutionalRegressor",
        },
        PIXELS,
        balanced="class_weight",
        stopping="keepfit.models.networks",
        costly=1,
        pictures="pictures",
    ),
    "fine_tuned": Row(
        {
            "classification": "keepfit.models.fine_tuned:FineTuned",
            "regression": "keepfit.models.fine_tuned:FineTunedRegressor",
        },
        PIXELS,
        balanced="class_weight",
        stopping="keepfit.models.networks",
        costly=50,  # maps are many cells, and are seen a few times
        pictures="pictures",
        options={"upper": ("image", "upper")},
        asked={"image": "keepfit.models.fine_tuned:options"},
    ),
    "dummy": Row(_sklearn("dummy", "DummyClassifier", "DummyRegressor"), TREE),
    "seasonal_naive": _series("seasonal_naive"),
    "theta": _series("theta", "dynamic"),
    "ces": _series("ces"),
    "auto_ets": _series("auto_ets", "forms"),
    "auto_arima": _series("auto_arima", "max_order", "max_p", "max_q"),
    "boosted_lags": _series(
        "boosted_lags", "horizon", "rows", "n_estimators", "learning_rate", "num_leaves", "min_child_samples"
    ),
}
ALIASES = {"naive_bayes_linear": "nb_linear"}


def row(name: str, task: str) -> Row:
    """The row of a name of the catalogue or of a user's `module:Class`, for a task."""
    name = ALIASES.get(name, name)
    if name not in CATALOGUE:
        if ":" in name:
            return Row({task: name}, SCALED)
        known = sorted(["auto", *CATALOGUE, *ALIASES])
        raise ConfigError(f"{KEY}: unknown name '{name}'. {nearest(name, known)}Known: {', '.join(known)}")
    found = CATALOGUE[name]
    if task not in found.factory:
        can = sorted(other for other, row in CATALOGUE.items() if task in row.factory)
        raise ConfigError(f"{KEY}: '{name}' does not do {task}. These do: {', '.join(can)}")
    return found


def asked(name: str) -> Mapping[str, str]:
    """Role → the function to an estimator's own options of its features, see `Row.asked`."""
    name = ALIASES.get(name, name)
    return CATALOGUE[name].asked if name in CATALOGUE else {}


def factory(name: str, task: str) -> Any:
    """The class of an estimator; a user's own is looked at for fit and predict."""
    target = row(name, task).factory[task]
    made = load(target, KEY)
    lacking = [method for method in ("fit", "predict") if not callable(getattr(made, method, None))]
    if lacking or not callable(made):
        what = f"has no {' and no '.join(lacking)}" if lacking else "cannot be called"
        raise ConfigError(f"{KEY}: {target} {what}. An estimator is a class with fit(X, y) and predict(X).")
    return made


def known(name: str, task: str) -> list[str] | None:
    """The parameters that an estimator takes, or None when its signature takes any."""
    signature = inspect.signature(factory(name, task)).parameters.values()
    extra = row(name, task).extra
    if any(p.kind is p.VAR_KEYWORD for p in signature) and not extra:
        return None
    named = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [*named, *extra]


def check(name: str, task: str, parameters: Mapping[str, Any], key: str = "model") -> None:
    """Raises ConfigError for a parameter that the estimator does not take."""
    takes = known(name, task)
    for parameter in parameters:
        if takes is not None and parameter not in takes:
            near = nearest(parameter, takes)
            raise ConfigError(
                f"{key}.{parameter}: {name} takes no such parameter. {near}It takes: {', '.join(sorted(takes))}"
            )


def shared(parameters: Mapping[str, Any], names: Collection[str], task: str) -> dict[str, dict[str, Any]]:
    """Of `type: auto`: which of the parameters beside it each of `names` takes.

    Raises ConfigError for one that none of them takes.
    """
    taken = {name: {k: v for k, v in parameters.items() if k in (known(name, task) or ())} for name in names}
    everywhere = set().union(*(known(name, task) or () for name in names))
    for parameter in parameters:
        if not any(parameter in some for some in taken.values()):
            raise ConfigError(
                f"model.{parameter}: none of the estimators that 'type: auto' tries takes it "
                f"({', '.join(names)}). {nearest(parameter, everywhere)}Drop it, or name one estimator as model.type."
            )
    return taken


def build(name: str, task: str, parameters: Mapping[str, Any], seed: int, balanced: bool = False) -> Any:
    """An unfitted estimator: the row's defaults, the parameters over them, the seed."""
    found = row(name, task)
    takes = known(name, task) or []
    given: dict[str, Any] = {"random_state": seed} if "random_state" in takes else {}
    given |= {key: value for key, value in found.defaults.items() if key in takes}
    if balanced and found.balanced in takes:
        given[found.balanced] = "balanced"
    return factory(name, task)(**{**given, **parameters})
