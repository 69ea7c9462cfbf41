"""A few rows, many rows and columns: the same answers from one linear model."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from keepfit import features
from keepfit.deployment import linear_rows, runtime
from keepfit.errors import ModelError
from keepfit.features.rows import Memory, from_rows, looked_up
from keepfit.features.values import Columns
from keepfit.models import bundle
from keepfit.models.fitted import Fitted, Member
from keepfit.models.train import predict
from keepfit.types import Column, Schema
from tests.models import fits

SCHEMA = Schema(
    (
        Column("age", "number", tokens=("?",)),
        Column("plan", "category", tokens=("?",)),
        Column("income", "number"),
        Column("town", "category"),
        Column("y", "target"),
    ),
    "classification",
    "y",
    ("no", "yes"),
)


@pytest.fixture(scope="module")
def model():
    columns, signal = fits.rows()
    y = np.digitize(signal, [0.3])
    state, matrix = features.fit_apply(columns, SCHEMA, np.array(SCHEMA.classes, object)[y], fits.STYLES["linear"])
    return Fitted("classification", SCHEMA.classes, (Member("lr", 1.0, state, LogisticRegression().fit(matrix, y)),))


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear") / "b"
    return runtime.load(bundle.write(folder, model, SCHEMA, fits.ABOUT, **fits.REST).path)


def rows(count):
    random = np.random.default_rng(3)
    towns = ["town 3", "town 39", "nowhere", None, 7, 7.0, "TRUE", " town 3 "]
    ages = [41, 41.5, "41", " 4e1 ", None, "?", True, math.nan, Decimal("3.5"), np.float32(2.5), 10**30, -3.0]
    plans = ["pro", " pro", "?", None, "max", "never", np.str_("max"), True, date(2020, 1, 1)]
    incomes = [0, 1e12, 2_000.5, "3e4", None]
    return [
        {"age": ages[a % len(ages)], "plan": plans[p % 9], "income": incomes[i % 5], "town": towns[t % 8], "more": 1}
        for a, p, i, t in random.integers(0, 1000, (count, 4)).tolist()
    ]


def test_rows_alone_a_few_and_many_are_answered_to_the_last_bit_alike(loaded, model):
    asked = rows(400)
    many, problems = loaded.rows(asked)
    assert problems == []
    for step in (1, 2, linear_rows.FEW):
        parts = [loaded.rows(asked[at : at + step])[0] for at in range(0, 400, step)]
        assert np.concatenate([part.probabilities for part in parts]).tobytes() == many.probabilities.tobytes()
        assert np.concatenate([part.values for part in parts]).tolist() == many.values.tolist()
    columns, _ = from_rows(asked, SCHEMA)
    assert loaded.predict(columns).probabilities.tobytes() == many.probabilities.tobytes()
    trained = predict(model, columns)
    np.testing.assert_allclose(many.probabilities, trained.probabilities, atol=1e-6)
    assert many.values.tolist() == trained.values.tolist()


@pytest.mark.parametrize("distinct", [0, 12], ids=["values that are computed", "values that are looked up"])
def test_many_rows_need_no_columns_and_their_scores_are_the_same_to_the_last_bit(loaded, distinct):
    ages = [41, 41.5, None, math.nan, 10**30, -3.0, -0.0, 0] + (
        ["41", " 4e1 ", True, Decimal("3.5")] if distinct else []
    )
    incomes, asked = [0, 1e12, 2_000.5, None], rows(400)
    asked = [{**row, "age": ages[k % len(ages)], "income": incomes[k % 4]} for k, row in enumerate(asked)]
    schema = replace(SCHEMA, columns=(replace(SCHEMA["age"], distinct=distinct), *SCHEMA.columns[1:]))
    folder = loaded.bundle.path
    model = linear_rows.folded(folder / "models/0.npz", features.load(folder / "features/0"))
    wanted = model.scores(from_rows(asked, schema)[0])
    for step in (1, linear_rows.FEW + 1, 50, 400):
        scores = linear_rows.rows(schema, model)
        parts = [scores(asked[at : at + step]) for at in range(0, 400, step)]
        assert np.concatenate(parts).tobytes() == wanted.tobytes()
        assert [scores([*asked[:20], {**asked[0], "age": odd}]) for odd in (math.inf, "old", [1], 10**400)] == [
            None
        ] * 4
        assert scores([*asked[:20], {"age": 1}]) is None


def test_a_few_rows_need_no_columns(loaded, monkeypatch):
    monkeypatch.setattr(Columns, "__init__", None)
    assert len(loaded.rows(rows(linear_rows.FEW))[0]) == linear_rows.FEW


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.inf, "infinite"),
        (10**400, "infinite"),
        ("old", "not a number: 'old'"),
        ([1], "not a number: [1]"),
        (float, "not a number: <class 'float'>"),
    ],
    ids=str,
)
def test_what_is_no_number_is_told_and_counts_as_missing(loaded, value, problem):
    [good, _] = asked = [{**rows(1)[0], "age": None}, {**rows(1)[0], "age": value}]
    output, problems = loaded.rows(asked)
    assert [(p.row, p.column, p.problem) for p in problems] == [(1, "age", problem)]
    assert output.probabilities[1].tolist() == loaded.rows([good])[0].probabilities[0].tolist()


def test_rows_without_a_column_or_that_are_none(loaded):
    _, problems = loaded.rows([{"age": 1}])
    assert {(p.row, p.column) for p in problems} == {(0, "plan"), (0, "income"), (0, "town")}
    _, problems = loaded.rows(["no row"])
    assert [(p.row, p.column) for p in problems] == [(0, "")]


def test_columns_without_one_that_is_needed(loaded):
    columns, _ = from_rows(rows(20), SCHEMA)
    del columns.values["town"]
    with pytest.raises(ModelError, match=r"needs the column 'town', which is not there"):
        loaded.predict(columns)


def test_models_with_dates_texts_or_several_outputs_are_answered_too(tmp_path):
    row = {"age": "41", "income": 20000, "plan": "pro", "town": "town 7", "since": "2020-01-05", "note": "good film"}
    for kind, text, estimator in (("two", True, LogisticRegression()), ("three", False, LogisticRegression()),
                                  ("values", True, Ridge())):  # fmt: skip
        fitted = fits.fitted([estimator], kind, text=text)
        path = bundle.write(tmp_path / kind, fitted, fits.schema(kind, text), fits.ABOUT, **fits.REST).path
        found = runtime.load(path)
        columns, _ = from_rows([row, {**row, "age": None}], fits.schema(kind, text))
        wanted, got = predict(fitted, columns), found.rows([row, {**row, "age": None}])[0]
        if kind == "values":
            np.testing.assert_allclose(got.values, wanted.values, rtol=1e-6)
        else:
            np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-6)


def test_a_schema_with_an_input_that_the_model_does_not_use(loaded):
    model = linear_rows.folded(loaded.bundle.path / "models/0.npz", features.load(loaded.bundle.path / "features/0"))
    wider = Schema((*SCHEMA.columns, Column("more", "number")), "classification", "y", ("no", "yes"))
    assert linear_rows.rows(wider, model) is None  # its values are to be checked all the same
    assert linear_rows.rows(SCHEMA, model)(rows(2)).shape == (2, 1)


def test_what_is_looked_up_is_bounded_and_of_known_kinds():
    memory = Memory(float, 10, {int, str})
    look = looked_up(memory)
    for start in range(0, 100, 5):
        asked = [start, str(start + 1), 1.5, Decimal(start)]
        for _ in range(2):
            assert [*look(asked)] == [float(value) for value in asked]
    known = look.__closure__[0].cell_contents
    assert 0 < len(known) <= 14
    assert {*map(type, known)} <= {int, str}
    with pytest.raises(ValueError, match="float"):
        look([1, "no number"])
