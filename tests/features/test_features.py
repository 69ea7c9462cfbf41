"""The whole of features: one state for all roles, the same in training, batch and serving."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from keepfit import features
from keepfit.errors import ConfigError, ModelError
from keepfit.extras import load
from keepfit.features import select
from keepfit.features.rows import coded
from keepfit.features.text import tokens
from keepfit.features.values import Columns, Documents, Sparse
from keepfit.types import Column, Schema

RNG = np.random.default_rng(0)
N = 120
SCHEMA = Schema(
    (Column("note", "text"), Column("plan", "category"), Column("age", "number"), Column("since", "date"),
     Column("key", "id"), Column("paid", "target")),
    "classification", "paid", ("no", "yes"),
)  # fmt: skip
COLUMNS = Columns(
    {
        "age": np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(40, 9, N)),
        "plan": coded([*RNG.choice(["free", "pro", "max"], N - 1), None]),
        "since": RNG.uniform(1e9, 1.6e9, N),
        "note": tokens([*RNG.choice(["good and cheap", "bad", "not good", "dear!"], N - 1), None]),
    },
    N,
)
Y = RNG.choice(["no", "yes"], N)
LINEAR = {
    "number": {"impute": "median", "scale": True, "flag": True, "bins": 4},
    "date": {"impute": "median", "scale": True},
    "text": {"ngrams": [1, 2]},
}
TREE = {"category": {"encode": "codes"}, "text": {"svd": 3}}
TARGET = {"category": {"encode": "target"}, "text": {"svd": 3}}


def dense(matrix):
    if not isinstance(matrix, Sparse):
        return matrix
    full = np.zeros((len(matrix.indptr) - 1, matrix.width), np.float32)
    full[np.repeat(np.arange(len(full)), np.diff(matrix.indptr)), matrix.indices] = matrix.data
    return full


@pytest.mark.parametrize("options", [LINEAR, TREE, TARGET], ids=["linear", "tree", "target"])
@pytest.mark.parametrize("method", [None, "auto", "mutual_information", "importance", "pca"])
def test_a_state_saved_and_read_serves_single_rows_alike(options, method, tmp_path):
    chosen = None if method is None else {"method": method, "keep": 3}
    state, fitted = features.fit_apply(COLUMNS, SCHEMA, Y, options, chosen)
    whole = features.apply(state, COLUMNS)
    assert dense(whole).shape == dense(fitted).shape == (N, len(features.names(state))) == (N, state["width"])
    if options is not TARGET:
        np.testing.assert_array_equal(dense(whole), dense(fitted))
    features.save(state, tmp_path)
    serve = features.compiled(features.load(tmp_path))
    for i in range(0, N, 7):
        one = dense(serve(COLUMNS[np.array([i])]))
        np.testing.assert_allclose(one[0], dense(whole)[i], rtol=1e-5, atol=1e-6)
    assert dense(whole).dtype == np.float32


def test_states_and_names_are_the_same_again():
    for options in (LINEAR, TREE, TARGET):
        first, matrix = features.fit_apply(COLUMNS, SCHEMA, Y, options, {"method": "importance", "keep": 0.5}, 7)
        second, again = features.fit_apply(COLUMNS, SCHEMA, Y, options, {"method": "importance", "keep": 0.5}, 7)
        assert features.names(first) == features.names(second)
        np.testing.assert_array_equal(dense(matrix), dense(again))


def test_a_fold_learns_from_its_rows_alone():
    half = np.arange(0, N, 2)
    other = Columns({name: values[half] for name, values in COLUMNS.values.items()}, len(half))
    changed = dict(COLUMNS.values)
    changed["age"] = np.where(np.arange(N) % 2 == 0, COLUMNS.values["age"], 1e9)
    for columns in (COLUMNS, Columns(changed, N)):
        found = features.apply(features.fit(columns[half], SCHEMA, Y[half], LINEAR), other)
        np.testing.assert_array_equal(dense(found), dense(features.fit_apply(other, SCHEMA, Y[half], LINEAR)[1]))


def test_the_state_says_which_features_are_codes():
    state = features.fit(COLUMNS, SCHEMA, Y, TREE)
    [[place, levels]] = state["categorical"]
    assert (features.names(state)[place], levels) == ("plan", 3)
    chosen = features.fit(COLUMNS, SCHEMA, Y, TREE, {"method": "importance", "keep": 4})
    names = features.names(chosen)
    assert [names[i] for i, _ in chosen["categorical"]] == [n for n in names if n == "plan"]
    assert features.fit(COLUMNS, SCHEMA, Y, TREE, {"method": "pca"})["categorical"] == []


@pytest.mark.parametrize("y", [np.array([1, 2] * 60), np.array([True, False] * 60), np.array(["a", "b"] * 60, object)])
def test_labels_of_any_type(y):
    assert features.targets(y, SCHEMA)[:2, 0].tolist() in ([0, 1], [1, 0])
    assert features.fit(COLUMNS, SCHEMA, y, TARGET)["width"] > 0


def test_no_feature_columns():
    schema = Schema((Column("paid", "target"),), "classification", "paid")
    state, matrix = features.fit_apply(Columns({}, 3), schema, None)
    assert matrix.shape == features.apply(state, Columns({}, 5)[np.arange(3)]).shape == (3, 0)


def test_a_missing_column_is_named():
    state = features.fit(COLUMNS, SCHEMA, Y, LINEAR)
    with pytest.raises(ModelError, match="needs the column 'age', which is not there"):
        features.apply(state, Columns({"plan": COLUMNS.values["plan"]}, N))


def test_an_unknown_role_and_an_unknown_option():
    with pytest.raises(ConfigError, match=r"role: unknown name 'texts'. Did you mean 'text'\?"):
        features.fit(COLUMNS, Schema((Column("note", "texts"),), "regression"), None)
    with pytest.raises(ConfigError, match=r"role number: unknown option 'bin'. Did you mean 'bins'\?"):
        features.fit(COLUMNS, SCHEMA, Y, {"number": {"bin": 3}})


def test_every_signal_has_one_value_a_row_and_later_rows_the_same_signals():
    note = Documents(["a Good film 7!", None, *["so good"] * (N - 2)])
    columns = Columns({**COLUMNS.values, "note": note}, N)
    signals, memory = features.watch(columns, SCHEMA)
    assert set(signals) == {"note", "plan", "age", "since"}
    assert all(len(values) == N for found in signals.values() for values in found.values())
    later, kept = features.watch(columns[np.arange(3)], SCHEMA, json.loads(json.dumps(memory)))
    assert {name: [*found] for name, found in later.items()} == {name: [*found] for name, found in signals.items()}
    assert kept == memory
    assert not features.steady("date")
    assert features.steady("number")


def test_every_row_of_the_tables_can_be_loaded():
    for target in [*features.ROLES.values(), *select.METHODS.values()]:
        assert load(target, "test") is not None
    for target in features.ROLES.values():
        role = load(target, "test")
        assert all(hasattr(role, name) for name in ("DEFAULTS", "fit", "compiled", "names", "watch"))


def test_applying_needs_numpy_only(tmp_path):
    state = features.fit(COLUMNS, SCHEMA, Y, TREE, {"method": "importance", "keep": 4})
    features.save(state, tmp_path)
    code = f"""
import sys
from pathlib import Path
from keepfit import features
from keepfit.features.rows import reader
from keepfit.types import Column, Schema
roles = {{"note": "text", "plan": "category", "age": "number", "since": "date"}}
schema = Schema(tuple(Column(name, role) for name, role in roles.items()), "classification")
columns, problems = reader(schema)([{{"note": "good", "plan": "pro", "age": 3, "since": "2020-01-01"}}])
assert features.compiled(features.load(Path({str(tmp_path)!r})))(columns).shape == (1, 4) and not problems
heavy = {{"polars", "pandas", "sklearn", "scipy", "yaml", "pydantic"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
