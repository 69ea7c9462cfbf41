"""Features: what the values of columns become before a model sees them.

The role of a column picks its file in `ROLES`; each has

    DEFAULTS                                          its options
    fit(values, target, options, seed) -> (state, matrix of the rows it was fitted on)
    compiled(state) -> function(values) -> matrix     the same function in training, batch and serving
    names(state) -> one name a feature
    watch(values of one column, memory) -> (signals for monitoring, memory), see `watch`

where `values` maps the role's columns to their values (see `features.values`; roles that share a
file are one role here), `target` is a float matrix (n, k), and a matrix is float32 (n, width) or
`Sparse`. A state is a dict of plain arrays, strings, numbers, lists and dicts: `save` writes it as
JSON and npz. Nothing here needs more than numpy; what needs scikit-learn (`features.selection`,
`features.reduction`) is loaded by `fit` only.

>>> import numpy as np
>>> from keepfit.types import Column, Schema
>>> from keepfit.features.values import Coded, Columns
>>> schema = Schema((Column("age", "number"), Column("plan", "category")), "classification")
>>> columns = Columns({"age": np.array([20.0, np.nan]), "plan": Coded(np.array([0, 1], np.int32), ["pro", "free"])}, 2)
>>> state = fit(columns, schema, None, {"number": {"impute": "median", "flag": True}})
>>> names(state)
['age', 'age is missing', 'plan=free', 'plan=pro']
>>> apply(state, columns).tolist()
[[20.0, 0.0, 0.0, 1.0], [20.0, 1.0, 1.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.data.parse import Problem
from keepfit.errors import ConfigError, ModelError
from keepfit.extras import load as load_target
from keepfit.extras import nearest, pick
from keepfit.features import sparse
from keepfit.features.storage import load, save
from keepfit.features.values import Columns, Sparse
from keepfit.types import Schema

__all__ = ["ROLES", "apply", "compiled", "faults", "fit", "fit_apply", "load", "names", "save", "watch"]

Matrix = NDArray[np.float32] | Sparse
State = dict[str, Any]
ROLES: dict[str, str] = {
    "series": "keepfit.features.series",  # these three come first, and make one block
    "moment": "keepfit.features.series",
    "past": "keepfit.features.series",
    "number": "keepfit.features.number",
    "category": "keepfit.features.category",
    "date": "keepfit.features.date",
    "text": "keepfit.features.text",
    "image": "keepfit.features.image",
}
SELECT = "keepfit.features.select"
# role → function(values) → {row: problem}: what nobody can know of a value before it is worked on
FAULTS: dict[str, str] = {"image": "keepfit.features.image:faults"}


def fit(
    columns: Columns,
    schema: Schema,
    y: NDArray[Any] | None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    select: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> State:
    """The state that `apply` needs, learned from these rows alone. See `fit_apply`."""
    return fit_apply(columns, schema, y, options, select, seed)[0]


def fit_apply(
    columns: Columns,
    schema: Schema,
    y: NDArray[Any] | None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    select: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> tuple[State, Matrix]:
    """State, and the matrix that a model is to be fitted on.

    Args:
        columns: values of `schema.features`, n rows.
        y: (n,) labels of any type, or numbers for a regression; None if nothing needs them.
        options: role → options of the role's file; what is left out has the role's defaults.
        select: None, or {"method": a key of `features.select.METHODS`, "keep": number, share or None}.

    The matrix is that of `apply(state, columns)`, except for target means, which are cross-fitted:
    a row's own answer is not in them. Raises ConfigError for an unknown role, option or method.
    """
    given = options or {}
    target = None if y is None else targets(y, schema)
    state: State = {"blocks": [], "select": None, "categorical": [], "pictures": [], "width": 0}
    parts = []
    for kept, past in _groups(schema):
        before = state["width"]
        for role, values in _by_role(columns, kept).items():
            options = _options(role, given.get(role, {}), schema)
            block, matrix = pick(ROLES, role, "role").fit(values, target, options, seed)
            _add(state, role, block)
            parts.append(matrix)
        if past and state["width"] > before:
            state["past"] = state["width"] - before  # of the matrix's last columns
    matrix = sparse.join(parts) if parts else np.empty((len(columns), 0), np.float32)
    if select is not None:
        matrix = _select(state, matrix, target, select, schema, seed)
    return state, matrix


def _groups(schema: Schema) -> Iterator[tuple[Schema, bool]]:
    """The schema in two: all columns but those of `rhythm.past`, and those, which come last; whether they are those."""
    names = schema.rhythm.past if schema.rhythm else ()
    for past in (False, True):
        kept = tuple(column for column in schema.columns if (column.name in names) is past)
        yield replace(schema, columns=kept), past


def _by_role(columns: Columns, schema: Schema) -> dict[str, dict[str, Any]]:
    """Role → its columns' values; roles in the order of ROLES, columns in that of the schema.

    Roles with one file are one role here, the first of them.
    """
    first = {file: role for role, file in reversed(ROLES.items())}
    found: dict[str, dict[str, Any]] = {role: {} for role, file in ROLES.items() if first[file] == role}
    for column in schema.features:
        role = first.get(ROLES.get(column.role, ""), column.role)
        found.setdefault(role, {})[column.name] = columns.values[column.name]
    return {role: values for role, values in found.items() if values}


def _options(role: str, given: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    defaults: dict[str, Any] = pick(ROLES, role, "role").DEFAULTS
    for name in given:
        if name not in defaults:
            known = f"{nearest(name, defaults)}Known: {', '.join(sorted(defaults))}"
            raise ConfigError(f"features of role {role}: unknown option '{name}'. {known}")
    told = {"rhythm": schema.rhythm} if "rhythm" in defaults else {}
    return {**defaults, **given, **told}


def _add(state: State, role: str, block: State) -> None:
    shift = state["width"]
    state["categorical"] += [[place + shift, levels] for place, levels in block.get("categorical", ())]
    state["pictures"] += [[place + shift, *shape] for place, *shape in block.get("pictures", ())]
    state["blocks"].append({"role": role, "state": block})
    state["width"] = shift + block["width"]


def targets(y: NDArray[Any], schema: Schema) -> NDArray[np.float64]:
    """The target as a matrix: the number itself, 0/1 for the second of two classes, or one 0/1 column a class.

    >>> targets(np.array(["no", "yes", "no"]), Schema((), "classification")).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    if schema.task != "classification":
        return np.asarray(y, np.float64).reshape(-1, 1)
    labels = y.tolist()
    classes = sorted(set(labels))
    codes = np.array([*map({label: code for code, label in enumerate(classes)}.__getitem__, labels)], np.int64)
    if len(classes) <= 2:
        return np.asarray(codes == 1, np.float64).reshape(-1, 1)
    return np.asarray(codes[:, None] == np.arange(len(classes)), np.float64)


def _select(state: State, matrix: Matrix, target: Any, select: Mapping[str, Any], schema: Schema, seed: int) -> Matrix:
    chosen = load_target(SELECT, "features.select")
    terms_from = sum(block["state"]["width"] for block in state["blocks"] if block["role"] != "text")
    found = chosen.fit(matrix, target, select, schema.task == "classification", terms_from, seed)
    if found is None:
        return matrix
    state["select"], state["width"] = found, chosen.width(found)
    places = {old: new for new, old in enumerate(found.get("keep", np.empty(0)).tolist())}
    state["categorical"] = [[places[place], size] for place, size in state["categorical"] if place in places]
    state["pictures"] = []  # what is left of one has no shape any more
    kept: Matrix = chosen.compiled(found)(matrix)
    return kept


def compiled(state: State) -> Callable[[Columns], Matrix]:
    """`apply` for one state with all its tables looked up before: for serving single rows."""
    blocks = [pick(ROLES, block["role"], "role").compiled(block["state"]) for block in state["blocks"]]
    select = load_target(SELECT, "features.select").compiled(state["select"]) if state["select"] else None
    join = sparse.join

    def transform(columns: Columns) -> Matrix:
        values = columns.values
        matrix = join([block(values) for block in blocks]) if blocks else np.empty((len(columns), 0), np.float32)
        return matrix if select is None else select(matrix)

    def checked(columns: Columns) -> Matrix:
        try:
            return transform(columns)
        except KeyError as error:
            if error.args and error.args[0] in columns.values:
                raise
            raise ModelError(f"The model needs the column '{error.args[0]}', which is not there.") from error

    return checked


def faults(schema: Schema) -> Callable[[Columns], list[Problem]]:
    """The function from columns that a model has answered to the problems that only then came to light."""
    late = [(c.name, load_target(FAULTS[c.role], "role")) for c in schema.features if c.role in FAULTS]
    return lambda columns: [
        Problem(row, name, told) for name, find in late for row, told in find(columns.values[name]).items()
    ]


def apply(state: State, columns: Columns) -> Matrix:
    """The matrix of `columns`: float32 (n, width), or Sparse if a text column has sparse terms.

    Raises ModelError if a column of the state is missing.
    """
    return compiled(state)(columns)


def names(state: State) -> list[str]:
    """One name for each feature, in the order of the matrix's columns."""
    found = [name for block in state["blocks"] for name in pick(ROLES, block["role"], "role").names(block["state"])]
    if not state["select"]:
        return found
    chosen: list[str] = load_target(SELECT, "features.select").names(state["select"], found)
    return chosen


def watch(
    columns: Columns, schema: Schema, memory: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """What monitoring looks at: column → name of a signal → one value a row; and each column's memory.

    A signal is (n,) float64, NaN = missing, or `Coded`; "" is the column itself. Without `memory` the
    rows are those of training, and what has to be handed back with later rows is learned: a plain dict
    for each column. Columns that are not there are left out.
    """
    signals, learned = {}, {}
    for column in schema.features:
        if column.name in columns.values:
            told = None if memory is None else memory.get(column.name, {})
            found = pick(ROLES, column.role, "role").watch(columns.values[column.name], told)
            signals[column.name], learned[column.name] = found
    return signals, learned


def steady(role: str) -> bool:
    """Whether values of a role may be expected to stay as they were in training; dates go on."""
    return bool(getattr(pick(ROLES, role, "role"), "STEADY", True))
