"""Folded terms say what the matrix of features times the coefficients says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit import features
from keepfit.features.fold import fold, product
from keepfit.features.text import tokens
from keepfit.features.values import Coded, Columns
from keepfit.types import Column, Schema

ROLES = {"n": "number", "m": "number", "c": "category", "d": "date", "t": "text"}
SCHEMA = Schema(tuple(Column(name, role) for name, role in ROLES.items()), "regression")
STYLES = {
    "ramps": {"number": {"impute": "median", "flag": True, "bins": 5, "linear": False}},
    "scaled": {"number": {"impute": "mean", "flag": True, "scale": True}},
    "both": {"number": {"impute": "median", "scale": True, "bins": 4}},
    "plain": {"number": {"impute": "median"}},
    "means": {"number": {"impute": "median"}, "category": {"encode": "target", "smooth": 2.0}},
}


def table(rows, seed=0, words=True):
    random = np.random.default_rng(seed)
    gap = random.random(rows) < 0.2
    values = {
        "n": np.where(gap, np.nan, random.lognormal(3, 2, rows)),
        "m": np.where(random.random(rows) < 0.5, 0.0, random.normal(size=rows) * 1e6),
        "c": Coded(random.integers(-1, 4, rows).astype(np.int32), ["a", "b", "c", "d"]),
        "d": random.uniform(1.4e9, 1.6e9, rows),
        "t": tokens([" ".join(random.choice(["good", "bad", "film"], 3)) if words else None for _ in range(rows)]),
    }
    return Columns(values, rows)


def learned(style, roles, select=None):
    schema = Schema(tuple(c for c in SCHEMA.columns if c.role in roles), "regression")
    columns = table(300)
    y = np.random.default_rng(1).normal(size=300)
    dates = {"date": STYLES[style]["number"]}
    state = features.fit(columns, schema, y, {**dates, **STYLES[style]}, select)
    return state, np.random.default_rng(2).normal(size=state["width"])


def total(terms, columns):
    return sum(part for term in terms for part in term.many(columns.values))


@pytest.mark.parametrize("roles", [("number", "category"), ("number", "category", "date", "text")], ids=len)
@pytest.mark.parametrize("style", STYLES)
def test_terms_add_up_to_the_product(style, roles):
    state, weights = learned(style, roles)
    columns = table(200, seed=5)
    columns.values["c"].levels[3] = "never seen"
    matrix = features.apply(state, columns)
    expected = product(matrix, weights)
    np.testing.assert_allclose(total(fold(state, weights), columns), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["mutual_information", "auto"])
def test_features_that_were_not_chosen_add_nothing(method):
    state, weights = learned("both", ("number", "category"), {"method": method, "keep": 5})
    columns = table(100, seed=6)
    found = total(fold(state, weights), columns)
    np.testing.assert_allclose(found, product(features.apply(state, columns), weights), rtol=1e-5, atol=1e-5)


def test_what_has_no_such_form():
    components, weights = learned("scaled", ("number",), {"method": "pca", "keep": 2})
    assert fold(components, weights) is None
    codes = {"blocks": [{"role": "category", "state": {"encode": "codes", "width": 1}}], "select": None}
    assert fold(codes, np.ones(1)) is None
    gaps = features.fit(table(50), Schema((Column("n", "number"),), "regression"), None)
    assert fold(gaps, np.ones(1)) is None
    apart, weights = learned("ramps", ("number",))
    apart["blocks"][0]["state"]["bin_low"] += np.linspace(0, 1, len(apart["blocks"][0]["state"]["bin_low"]))
    assert fold(apart, weights) is None


@pytest.mark.parametrize("style", STYLES)
@given(values=st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=9))
def test_one_number_is_its_row_to_the_last_bit(style, values):
    state, weights = LEARNED[style]
    array = np.array([np.nan if value is None else value for value in values])
    [term] = [term for term in fold(state, weights) if "n" in term.columns]
    assert set(term.columns) == {"n", "m"}
    found = term.many({"n": array, "m": array[::-1]})
    for name, one, part in zip(term.columns, term.one, found, strict=True):
        assert [one(value) for value in (values if name == "n" else values[::-1])] == part.tolist()


LEARNED = {style: learned(style, ("number", "category")) for style in STYLES}


@pytest.mark.parametrize("style", ["plain", "means"])
def test_one_level_is_its_row(style):
    state, weights = LEARNED[style]
    [term] = [term for term in fold(state, weights) if term.columns == ("c",)]
    column = Coded(np.array([0, 1, 2, -1], np.int32), ["a", "d", "new"])
    expected = [one(level) for one in term.one for level in ("a", "d", "new", None)]
    [found] = term.many({"c": column})
    assert found.tolist() == expected
    assert len(set(expected)) == 4


def test_extremes_stay_finite():
    for style in STYLES:
        state, weights = LEARNED[style]
        columns = table(6)
        columns.values["m"][:] = [1e308, -1e308, 1e30, -1e-300, 0.0, 16_777_217.0]
        assert np.isfinite(total(fold(state, weights), columns)).all()


def test_no_rows():
    state, weights = learned("both", ("number", "category", "date", "text"))
    assert total(fold(state, weights), table(20)[np.zeros(0, np.intp)]).shape == (0,)


def test_documents_without_words():
    state, weights = learned("plain", ("text",))
    assert total(fold(state, weights), table(3, words=False)).tolist() == [0.0, 0.0, 0.0]
