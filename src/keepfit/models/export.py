"""From a trained model to files that predict without scikit-learn.

`EXPORTERS` says by class how an estimator is stored: its coefficients (`linear`, `layers`,
`constant`), as ONNX by our own writer (`trees`) or by torch's (`network`), or as the histories and
states of forecasts (`series`). Everything else goes through skl2onnx, and what that cannot do is
stored by skops and needs scikit-learn to predict (`python`). Members on the same features whose
trees can stand side by side share one graph, so that a bag over folds is one call; forecasts of the
same series share a file.

`parity` is the proof that the files say what the trained model says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keepfit import features
from keepfit.errors import ModelError
from keepfit.extras import load
from keepfit.features.values import Columns
from keepfit.models.fitted import Fitted, Member
from keepfit.models.parity import parity

__all__ = ["EXPORTERS", "export", "parity"]

# class → how it is stored
EXPORTERS: Mapping[str, str] = {
    **dict.fromkeys(
        ("keepfit.LinearSVM", "keepfit.LinearSVR", "keepfit.NaiveBayesLinear", "sklearn.LogisticRegression"), "linear"
    ),
    **dict.fromkeys(
        (f"sklearn.{name}" for name in (
            "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lasso", "LassoCV", "LinearRegression", "LinearSVR",
            "LogisticRegressionCV", "Ridge", "RidgeCV", "SGDRegressor",
        )),
        "linear",
    ),
    **dict.fromkeys(("sklearn.MLPClassifier", "sklearn.MLPRegressor"), "layers"),
    **dict.fromkeys(("sklearn.DummyClassifier", "sklearn.DummyRegressor"), "constant"),
    **dict.fromkeys(
        (f"sklearn.{name}{kind}" for kind in ("Classifier", "Regressor") for name in (
            "DecisionTree", "ExtraTree", "ExtraTrees", "HistGradientBoosting", "RandomForest",
        )),
        "trees",
    ),
    **dict.fromkeys(
        (f"keepfit.{name}" for name in (
            "ConvolutionalNetwork", "ConvolutionalRegressor", "FineTuned", "FineTunedRegressor",
        )),
        "network",
    ),
    **dict.fromkeys(("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", "lightgbm.Booster"), "trees"),
    "keepfit.Forecaster": "series",
}  # fmt: skip

Entry = dict[str, Any]
Group = Sequence[tuple[int, Member]]  # members on the same features, with their numbers
KEY = "model.type"  # the config key that errors of loading name


@dataclass(frozen=True)
class _File:
    """One model file: the members that it answers for, each with its outputs and their meaning."""

    kind: str  # linear | onnx | network | series | python: a key of deployment.runtime.RUNTIMES
    suffix: str
    write: Callable[[Path], Any]
    answers: tuple[tuple[int, int, str], ...]  # (member's number, outputs, name of the score)


def export(fitted: Fitted, folder: Path, runtime: str = "onnx") -> Entry:
    """Write the members' features and models under `folder`; what the manifest says of them.

    `runtime` "python" stores the estimators themselves. The entry has `runtime` ("python" if any
    file needs it), `features` (folders), `models` ({kind, file, features}) and `members` ({name,
    weight, link, model, columns, score, classes, parameters}), where `columns` are a member's part
    of its model's outputs. Raises ModelError for an estimator that cannot be stored as data.
    """
    (folder / "models").mkdir(parents=True, exist_ok=True)
    models: list[Entry] = []
    members: list[Entry] = [{} for _ in fitted.members]
    states = list({id(member.features): member.features for member in fitted.members}.values())
    for place, state in enumerate(states):
        features.save(state, folder / "features" / str(place))
        group = [(number, member) for number, member in enumerate(fitted.members) if member.features is state]
        for file in _files(group, int(state["width"]), fitted.classes, runtime):
            name = f"models/{len(models)}.{file.suffix}"
            file.write(folder / name)
            _place(file, len(models), fitted, members)
            models.append({"kind": file.kind, "file": name, "features": place})
    return {
        "runtime": "python" if any(model["kind"] == "python" for model in models) else "onnx",
        "features": [f"features/{place}" for place in range(len(states))],
        "models": models,
        "members": members,
    }


def later(fitted: Fitted, columns: Columns) -> dict[str, Any]:
    """What a bundle's LATER holds: later observations as a matrix of each features state, by its place."""
    states = list({id(member.features): member.features for member in fitted.members}.values())
    return {str(place): features.apply(dict(state), columns) for place, state in enumerate(states)}


def _place(file: _File, model: int, fitted: Fitted, members: list[Entry]) -> None:
    """Fill in the entries of the members that `file` answers for."""
    start = 0
    for number, outputs, score in file.answers:
        member = fitted.members[number]
        members[number] = {
            "name": member.name,
            "weight": float(member.weight),
            "link": member.link,
            "model": model,
            "columns": [start, start + outputs],
            "score": score,
            "classes": _known(member.estimator, fitted.classes)
            if file.kind != "python"
            else [*range(len(fitted.classes))],
            "parameters": dict(member.parameters),
        }
        start += outputs


def _known(estimator: Any, classes: tuple[str, ...]) -> list[int]:
    """The places in `classes` of the classes that the estimator saw."""
    return [int(code) for code in getattr(estimator, "classes_", range(len(classes)))] if classes else []


def _files(group: Group, width: int, classes: tuple[str, ...], runtime: str) -> list[_File]:
    """How the members on one features state are stored: all trees in one file, so forecasts, the others one by one."""
    series = [(number, member) for number, member in group if stored_as(member.estimator) == "series"]
    group = [(number, member) for number, member in group if stored_as(member.estimator) != "series"]
    forests = {number: _forest(member.estimator) for number, member in group} if runtime != "python" else {}
    read = [(number, forest) for number, forest in forests.items() if forest is not None]
    kinds = [[one for one in read if one[1].shared == shared] for shared in (False, True)]
    rest = [(number, member) for number, member in group if forests.get(number) is None]
    files = [_single(number, member, width, classes, runtime) for number, member in rest]
    return files + [_trees(some) for some in kinds if some] + [_series(some) for some in (series,) if some]


def _forest(estimator: Any) -> Any:
    """The estimator's trees, or None if it has none with an exact form; then it is stored in another way."""
    if stored_as(estimator) != "trees":
        return None
    try:
        return load("keepfit.models.trees:read", KEY)(estimator)
    except ModelError:
        return None


def stored_as(estimator: Any) -> str:
    """How an estimator is stored, see EXPORTERS; "" for one that is not in it."""
    kind = type(estimator)
    return EXPORTERS.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}", "")


def _trees(read: Sequence[tuple[int, Any]]) -> _File:
    graph = load("keepfit.models.tree_graph:graph", KEY)([forest for _, forest in read])
    answers = tuple((number, forest.outputs, forest.score) for number, forest in read)
    return _File("onnx", "onnx", lambda path: path.write_bytes(graph.SerializeToString()), answers)


def _series(group: Group) -> _File:
    stored = load("keepfit.models.series.stored:arrays", KEY)([member.estimator.memory for _, member in group])
    answers = tuple((number, 3, "forecast") for number, _ in group)
    return _File("series", "npz", lambda path: np.savez(path, **stored), answers)


def _single(number: int, member: Member, width: int, classes: tuple[str, ...], runtime: str) -> _File:
    """How one estimator is stored: the first of arrays, ONNX and its own parts that can be."""
    estimator, score = member.estimator, "probabilities" if classes else "identity"
    if runtime != "python" and stored_as(estimator) in ARRAYS:
        stored = ARRAYS[stored_as(estimator)](estimator, classes)
        arrays, answers = stored.arrays, ((number, stored.outputs, stored.score),)
        return _File(stored.kind, "npz", lambda path: np.savez(path, **arrays), answers)
    if stored_as(estimator) == "network":  # it has no other form
        data = load("keepfit.models.networks:graph", KEY)(estimator, width, bool(classes))
        answers = ((number, len(_known(estimator, classes)) or 1, score),)
        return _File("network", "onnx", lambda path: path.write_bytes(data), answers)
    if runtime != "python":
        try:
            graph = load("keepfit.models.convert:convert", KEY)(estimator, width, bool(classes))
            answers = ((number, len(_known(estimator, classes)) or 1, score),)
            return _File("onnx", "onnx", lambda path: path.write_bytes(graph.SerializeToString()), answers)
        except ModelError:
            pass  # no converter: the next way, which the manifest tells
    dump = load("keepfit.models.objects:dump", KEY)
    return _File("python", "skops", lambda path: dump(estimator, path), ((number, len(classes) or 1, score),))


@dataclass(frozen=True)
class _Arrays:
    kind: str
    arrays: Entry
    outputs: int
    score: str


def _linear(estimator: Any, classes: tuple[str, ...]) -> _Arrays:
    """Coefficients (outputs, features) in the type they were learned in, intercepts (outputs,)."""
    coefficients = np.atleast_2d(estimator.coef_)
    outputs = len(coefficients)
    intercept = np.broadcast_to(np.asarray(estimator.intercept_), (outputs,))
    return _Arrays("linear", {"coef": coefficients, "intercept": intercept}, outputs, _score(outputs, classes))


def _score(outputs: int, classes: tuple[str, ...]) -> str:
    return "identity" if not classes else "sigmoid" if outputs == 1 else "softmax"


def _layers(estimator: Any, classes: tuple[str, ...]) -> _Arrays:
    """A network's layers, in the type they were learned in."""
    arrays = {f"coef_{k}": layer for k, layer in enumerate(estimator.coefs_)}
    arrays |= {f"intercept_{k}": layer for k, layer in enumerate(estimator.intercepts_)}
    outputs = len(estimator.intercepts_[-1])
    return _Arrays(
        "layers", {**arrays, "activation": np.array(estimator.activation)}, outputs, _score(outputs, classes)
    )


def _constant(estimator: Any, classes: tuple[str, ...]) -> _Arrays:
    """The one answer of a dummy, whatever it is asked; no coefficients."""
    asked = np.zeros((1, 1))
    answer = estimator.predict_proba(asked) if classes else estimator.predict(asked)
    values = np.asarray(answer, np.float64).ravel()
    arrays = {"coef": np.empty((len(values), 0)), "intercept": values}
    return _Arrays("linear", arrays, len(values), "probabilities" if classes else "identity")


ARRAYS: Mapping[str, Callable[[Any, tuple[str, ...]], _Arrays]] = {
    "linear": _linear,
    "layers": _layers,
    "constant": _constant,
}
