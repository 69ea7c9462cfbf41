"""Trees over the columns themselves: rows lead to the very scores that their columns and their matrix lead to."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier

from keepfit import features
from keepfit.data.rows import Table
from keepfit.deployment import runtime, tree_rows
from keepfit.features.direct import direct
from keepfit.features.rows import from_rows
from keepfit.features.values import Columns
from keepfit.models import bundle
from keepfit.models.fitted import Fitted, Member
from keepfit.types import Column, Schema
from tests.models import fits

SCHEMA = Schema(
    (
        Column("age", "number", tokens=("?",), distinct=80),  # its values are remembered
        Column("plan", "category", tokens=("?",)),
        Column("income", "number"),
        Column("town", "category"),
        Column("idle", "category"),  # no tree asks these two
        Column("still", "number"),
        Column("y", "target"),
    ),
    "classification",
    "y",
    ("no", "yes"),
)
BOOST = {"n_estimators": 30, "num_leaves": 15, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}
MODELS = {
    "sets": lambda *given, at: LGBMClassifier(**BOOST).fit(*given, categorical_feature=at),
    "order": lambda *given, at: LGBMClassifier(**BOOST).fit(*given),
    "zero is missing": lambda *given, at: LGBMClassifier(**BOOST, zero_as_missing=True).fit(*given),
    "histograms": lambda *given, at: HistGradientBoostingClassifier(max_iter=20, categorical_features=at).fit(*given),
}
NAMES = [column.name for column in SCHEMA.inputs]


@pytest.fixture(scope="module", params=MODELS)
def loaded(request, tmp_path_factory):
    columns, signal = fits.rows()
    still = {"idle": columns.values["plan"][np.zeros(len(columns), int)], "still": np.full(len(columns), 3.0)}
    columns = Columns({**columns.values, **still}, len(columns))
    y = np.digitize(signal, [0.3])
    state, matrix = features.fit_apply(columns, SCHEMA, np.array(SCHEMA.classes, object)[y], fits.STYLES["codes"])
    at = [k for k, feature in enumerate(direct(state)) if feature.codes is not None and feature.column != "idle"]
    member = Member("trees", 1.0, state, MODELS[request.param](matrix, y, at=at))
    model = Fitted("classification", SCHEMA.classes, (member,))
    folder = tmp_path_factory.mktemp("trees") / "b"
    return runtime.load(bundle.write(folder, model, SCHEMA, fits.ABOUT, **fits.REST).path)


def rows(count, texts=True):
    random = np.random.default_rng(3)
    towns = ["town 3", "town 39", "nowhere", None, 7, 7.0, "TRUE", " town 3 "]
    ages = [41, 41.5, None, math.nan, 10**30, -3.0, 0, -0.0, 1e-40, 1e300, 2**80, 50]
    plans = ["pro", " pro", "?", None, "max", "never", np.str_("max"), True, date(2020, 1, 1)]
    incomes = [0, 1e12, 2_000.5, 30_000, None]
    ages += [*ages, "41", " 4e1 ", True, Decimal("3.5"), np.float32(2.5)] if texts else []
    found = [
        {"age": ages[a % len(ages)], "plan": plans[p % 9], "income": incomes[i % 5], "town": towns[t % 8]}
        for a, p, i, t in random.integers(0, 1000, (count, 4)).tolist()
    ]
    return [{**row, "idle": "free", "still": 3, "more": k} for k, row in enumerate(found)]


@pytest.mark.parametrize("texts", [True, False], ids=["some numbers are texts", "all numbers are numbers"])
def test_rows_alone_a_few_and_many_are_answered_to_the_last_bit_alike(loaded, texts):
    asked = rows(400, texts)
    columns, problems = from_rows(asked, SCHEMA)
    assert problems == []
    wanted = loaded.predict(columns)
    assert len({*wanted.probabilities[:, 1].tolist()}) > 20
    for step in (1, 2, 9, 400):
        answers = [loaded.rows(asked[at : at + step]) for at in range(0, 400, step)]
        assert [problem for _, told in answers for problem in told] == []
        assert np.concatenate([part.probabilities for part, _ in answers]).tobytes() == wanted.probabilities.tobytes()
        assert [value for part, _ in answers for value in part.values] == wanted.values.tolist()


def test_rows_need_no_columns(loaded, monkeypatch):
    monkeypatch.setattr(Columns, "__init__", None)
    asked = rows(200, texts=False)
    assert len(loaded.rows(asked)[0]) == 200
    assert len(loaded.rows(asked[:1])[0]) == 1
    table = Table({name: [row[name] for row in asked] for name in NAMES}, frozenset({"age", "income", "still"}))
    assert loaded.rows(table)[0].probabilities.tobytes() == loaded.rows(asked)[0].probabilities.tobytes()


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("column", ["age", "income", "still", "plan", "idle"])
@pytest.mark.parametrize("value", [math.inf, 10**400, [1], {"a": 1}, float], ids=str)
def test_what_is_no_value_of_its_column_is_told_whether_trees_ask_it_or_not(loaded, count, column, value):
    good = rows(count, texts=False)
    asked = [*good[:-1], {**good[-1], column: value}]
    _, expected = from_rows(asked, SCHEMA)
    output, problems = loaded.rows(asked)
    assert problems == expected
    assert len(output) == count


@pytest.mark.parametrize("count", [1, 30])
def test_rows_without_a_column_or_that_are_none(loaded, count):
    good = rows(count, texts=False)
    _, problems = loaded.rows([*good[1:], {"age": 1}])
    assert {(p.row, p.column) for p in problems} == {(count - 1, name) for name in NAMES if name != "age"}
    _, problems = loaded.rows([*good[1:], "no row"])
    assert [(p.row, p.column) for p in problems] == [(count - 1, "")]


def test_other_columns_and_features_have_no_such_form(loaded):
    state = features.load(loaded.bundle.path / "features/0")
    other = Schema(SCHEMA.columns[1:], "classification", "y", SCHEMA.classes)
    assert tree_rows.rows(other, direct(state), None) is None
    columns, signal = fits.rows()
    for style in ("linear", "tree", "codes"):  # there are dates, too
        made = features.fit(columns, fits.schema("two", False), (signal > 0).astype(object), fits.STYLES[style])
        assert direct(made) is None
