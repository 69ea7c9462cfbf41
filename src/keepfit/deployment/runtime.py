"""A bundle as a function: columns or rows in, answers out.

`load` verifies the folder, reads the features' tables and opens each model file once. `RUNTIMES`
says by the kind of a file how it is opened. numpy is all that a linear model and boosted trees need;
other ONNX brings onnxruntime; only `python` brings scikit-learn. Nothing that stands in a bundle is
run as code: a bundle made with the user's features.py names the file's hash, and the caller brings
the file.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keepfit import engine, features
from keepfit.data.parse import Problem
from keepfit.deployment import linear_rows, tree_rows, wishes
from keepfit.errors import BundleError
from keepfit.extras import load as load_target
from keepfit.features import rows as requests
from keepfit.features.direct import direct
from keepfit.features.values import Columns
from keepfit.models import bundle as bundles
from keepfit.models.fitted import Floats, Output, answer, combine, link
from keepfit.models.scores import SCORES, spread
from keepfit.types import Bundle, Schema

Matrix = Any  # float32 (rows, width) or Sparse
Raw = Callable[[Matrix], Floats]  # a model file: matrix → (rows, outputs)
Rows = Callable[[Sequence[Mapping[str, Any]]], tuple[Output, list[Problem]]]
Quick = Callable[[Sequence[Mapping[str, Any]]], Floats | None]  # None where the long way is to be taken

# kind of a model file → how it is opened: function(path, entry, schema, trusted, threads) → Raw
RUNTIMES: dict[str, str] = {
    "linear": "keepfit.deployment.runtime_linear:load",
    "layers": "keepfit.deployment.runtime_linear:layers",
    "onnx": "keepfit.deployment.runtime_trees:load",
    "series": "keepfit.deployment.runtime_series:load",
    "network": "keepfit.deployment.runtime_onnx:network",
    "python": "keepfit.deployment.runtime_python:load",
}


@dataclass(frozen=True)
class Runtime:
    """A loaded bundle. `rows` takes mappings (column → value) and also tells what is wrong with them."""

    schema: Schema
    bundle: Bundle
    predict: Callable[[Columns], Output]
    rows: Rows
    hooks: Mapping[str, Callable[[Any], Any]]
    models: Sequence[Raw] = ()  # the model files, opened
    faults: Callable[[Columns], list[Problem]] = lambda columns: []  # what only came to light by `predict`
    wish: wishes.Known | None = None  # makes rows of what a request asks for otherwise
    after: Callable[[Sequence[Mapping[str, Any]]], Runtime] | None = None  # the bundle's model, told observed rows
    further: Callable[[Sequence[Mapping[str, Any]]], Runtime] | None = None  # this runtime, told later rows
    base: Runtime | None = None  # as it was before it was told any
    taken: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # observations that it was told, by their keys
    held: Mapping[str, str] = field(default_factory=dict)  # observations that are not believed, by id, and why
    judged: Any = None  # all observations as they were judged: for who goes on from there


def load(
    folder: Path | Bundle, hooks: Path | None = None, trusted: Sequence[str] = (), threads: int = 1, later: bool = True
) -> Runtime:
    """The runtime of a bundle's folder; or of a Bundle that was read, and so verified, just now.

    Args:
        hooks: the project's features.py, if the bundle was made with one.
        trusted: types of `runtime: python` that may be rebuilt besides keepfit's own list.
        threads: that trees are scored in, 0 for one a core; 1 is best for single rows.
        later: should forecasts go on from what was observed after the training?

    Raises BundleError if the folder is damaged, foreign or too new, or does not fit `hooks`.
    """
    bundle = folder if isinstance(folder, Bundle) else bundles.read(Path(folder))
    functions = _hooks(bundle, hooks)
    found = _predictor(bundle, bundle.schema, trusted, threads or engine.cores(), later)
    return _runtime(bundle, functions, found, found.after)


def _runtime(
    bundle: Bundle, functions: Mapping[str, Any], found: Predictor, told: Callable[[Columns], Predictor] | None
) -> Runtime:
    schema = bundle.schema
    faults = features.faults(schema)
    read = _read(schema, functions)
    after = None if told is None else lambda rows: _runtime(bundle, functions, told(read(rows)[0]), told)
    own = found.after
    further = None if own is None else lambda rows: _runtime(bundle, functions, own(read(rows)[0]), told)
    rows = _rows(schema, read, found, faults, quick=not functions)
    return Runtime(schema, bundle, found.predict, rows, functions, found.models, faults, found.wish, after, further)


def _predictor(bundle: Bundle, schema: Schema, trusted: Sequence[str], threads: int, later: bool) -> Predictor:
    manifest = bundle.manifest
    learned = [features.load(bundle.path / name) for name in manifest["features"]]
    folds = [_folded(bundle, entry, learned) for entry in manifest["models"]]
    needed = {entry["features"] for entry, fold in zip(manifest["models"], folds, strict=True) if fold is None}
    states = [(place, features.compiled(state)) for place, state in enumerate(learned) if place in needed]
    models = [
        (entry["features"], _opened(bundle, entry, trusted, threads, later)) if fold is None else (None, fold.scores)
        for entry, fold in zip(manifest["models"], folds, strict=True)
    ]
    return _assembled(schema, learned, dict(states), models, _finish(manifest, schema), folds)


def _assembled(
    schema: Schema, learned: Sequence[Mapping[str, Any]], states: Mapping[int, Callable[[Columns], Matrix]],
    models: Sequence[tuple[int | None, Raw]], finish: Callable[[list[Floats]], Output], folds: Sequence[Any],
) -> Predictor:  # fmt: skip
    def predict(columns: Columns) -> Output:
        matrices = {place: state(columns) for place, state in states.items()}
        return finish([model(columns if place is None else matrices[place]) for place, model in models])

    def after(columns: Columns) -> Predictor:
        matrices = {place: state(columns) for place, state in states.items()}
        moved = [(place, model if place is None else _after(model, matrices[place])) for place, model in models]
        return _assembled(schema, learned, states, moved, finish, folds)

    opened = [model for _, model in models]
    wish = wishes.reader(schema, opened, learned)
    moves = after if any(hasattr(model, "after") for model in opened) else None
    return Predictor(predict, finish, _quick(schema, learned, models, folds), opened, wish, moves)


def _quick(
    schema: Schema, learned: Sequence[Mapping[str, Any]], models: Sequence[tuple[int | None, Raw]], folds: Sequence[Any]
) -> Quick | None:
    """The raw output of the only model from rows, where it is one that needs no columns."""
    if len(models) != 1:
        return None
    if folds[0]:
        return linear_rows.rows(schema, folds[0])
    (place, model), *_ = models
    trees = getattr(model, "trees", None)
    said = direct(learned[place or 0]) if trees else None
    return tree_rows.rows(schema, said, trees) if trees and said else None


def _after(model: Any, matrix: Matrix) -> Raw:
    """A model that observations move on, told those of a matrix; another as it is."""
    found: Raw = model.after(matrix) if hasattr(model, "after") else model
    return found


class Predictor(NamedTuple):
    """`predict`; its last step, from raw outputs to answers; all models; and the only one from rows (`_quick`)."""

    predict: Callable[[Columns], Output]
    finish: Callable[[list[Floats]], Output]
    quick: Quick | None
    models: Sequence[Raw]
    wish: wishes.Known | None
    after: Callable[[Columns], Predictor] | None = None


def _folded(bundle: Bundle, entry: Mapping[str, Any], learned: Sequence[Mapping[str, Any]]) -> Any:
    """A linear model with one output as a function of columns, where its features allow it."""
    if entry["kind"] != "linear":
        return None
    return linear_rows.folded(bundle.path / entry["file"], learned[entry["features"]])


def _finish(manifest: Mapping[str, Any], schema: Schema) -> Callable[[list[Floats]], Output]:
    """The function from all models' raw outputs to answers."""
    task, classes = schema.task, schema.classes
    groups = _groups(manifest["members"], len(classes))
    weights, parts = [weight for weight, _ in groups], [part for _, part in groups]
    calibration, threshold, interval = (manifest[key] for key in ("calibration", "threshold", "interval"))
    tables = {key: [*map(np.asarray, calibration[key])] for key in ("x", "y") if key in calibration}
    calibration = {**calibration, **tables}  # not from lists anew for each batch

    def finish(raw: list[Floats]) -> Output:
        with np.errstate(over="ignore"):  # exp of an extreme score is infinite, and stays so
            scores = [part(raw) for part in parts]
        blended = scores[0] if len(scores) == 1 else combine(weights, scores)
        return answer(task, blended, classes, calibration, threshold, interval)

    return finish


def _opened(bundle: Bundle, entry: Mapping[str, Any], trusted: Sequence[str], threads: int, later: bool) -> Raw:
    """A model file as a function. The kinds are the rows of RUNTIMES and nothing else: no name of a
    bundle is ever imported."""
    if entry["kind"] not in RUNTIMES:
        raise BundleError(
            f"{bundle.path} has a model file of kind '{entry['kind']}'. Known: {', '.join(RUNTIMES)}. Update keepfit."
        )
    opened: Raw = load_target(RUNTIMES[entry["kind"]], "model.type")(
        bundle.path / entry["file"], bundle.schema, trusted, threads
    )
    path = bundle.path / bundles.LATER
    if not later or not hasattr(opened, "after") or not path.is_file():
        return opened
    with np.load(path, allow_pickle=False) as told:
        moved: Raw = opened.after(told[str(entry["features"])])
    return moved


def _groups(members: Sequence[Mapping[str, Any]], count: int) -> list[tuple[float, Callable[[list[Floats]], Floats]]]:
    """Weights, and functions from all models' raw outputs to scores: one for each run of like members.

    The members of a bag lie side by side in one output, so that one pass answers for all of them.
    """
    alike = ("model", "score", "classes", "link")
    runs = [list(run) for _, run in itertools.groupby(members, lambda entry: [entry[key] for key in alike])]
    return [(sum(float(entry["weight"]) for entry in run), _bag(run, count)) for run in runs]


def _bag(run: Sequence[Mapping[str, Any]], count: int) -> Callable[[list[Floats]], Floats]:
    """The weighted mean of the scores of members that differ in weight and place only."""
    first, many = run[0], len(run)
    model, places, name, score = int(first["model"]), first["classes"], first["link"], SCORES[first["score"]]
    start, end = first["columns"][0], run[-1]["columns"][1]
    shares = np.array([float(entry["weight"]) for entry in run])
    shares /= shares.sum()

    width = (end - start) // many

    def scores(raw: list[Floats]) -> Floats:
        mine = raw[model][:, start:end]
        each: Floats = np.asarray(score(mine.reshape(len(mine) * many, width)), np.float64)
        each = spread(each, places, count) if count else link(name, each)
        if many == 1:
            return each
        together = each.reshape(len(mine), many, *each.shape[1:])
        return np.asarray(shares @ together if together.ndim > 2 else together @ shares)

    return scores


# --- hooks --------------------------------------------------------------------------------------


def _hooks(bundle: Bundle, path: Path | None) -> Mapping[str, Callable[[Any], Any]]:
    """The user's functions, from the file that the caller brings. Never from the bundle."""
    wanted = bundle.manifest.get("hooks")
    if not wanted:
        return {}
    if path is None:
        raise BundleError(
            f"The model in {bundle.path} needs the functions of {wanted['file']} to make its features, and a bundle "
            f'carries no code. Load it with that file of your project: hooks=".../{wanted["file"]}".'
        )
    try:
        found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"The file of functions {path} cannot be read: {error.strerror}.") from error
    if found != wanted["sha256"]:
        raise BundleError(
            f"{path} is not the file that the model in {bundle.path} was trained with: its sha256 is {found[:12]}…, "
            f"the model's {wanted['sha256'][:12]}…. Take the version of commit "
            f"{bundle.manifest['code'].get('commit') or '(unknown)'}, or train again."
        )
    functions: Mapping[str, Callable[[Any], Any]] = load_target("keepfit.features.hooks:load", "features.code")(path)
    return functions


Read = Callable[[Sequence[Mapping[str, Any]]], tuple[Columns, list[Problem]]]


def _read(schema: Schema, functions: Mapping[str, Any]) -> Read:
    made: Read = (
        load_target("keepfit.deployment.hooked:reader", "features.code")(schema, functions)
        if functions
        else requests.reader(schema)
    )
    return made


def _rows(
    schema: Schema, read: Read, found: Predictor, faults: Callable[[Columns], list[Problem]], quick: bool
) -> Rows:
    at_once = found.quick if quick else None

    def rows(asked: Sequence[Mapping[str, Any]]) -> tuple[Output, list[Problem]]:
        if at_once and asked:
            scores = at_once(asked)
            if scores is not None:
                return found.finish([scores]), []
        columns, problems = read(asked)
        output = found.predict(columns)
        rhythm = schema.rhythm
        gone = wishes.unanswered(rhythm, columns.values[rhythm.time], output, problems) if rhythm else ()
        if late := [*faults(columns), *gone]:
            problems = sorted({*problems, *late}, key=lambda p: (p.row, p.column))
        return output, problems

    return rows
