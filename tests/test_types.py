"""The nouns: what an empty Verdict means, and that each noun survives being written down."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.types import Check, Column, Decision, Schema, Verdict, plain, read

names = st.text(min_size=1, max_size=8)
columns = st.builds(
    Column,
    name=names,
    role=st.sampled_from(["number", "category", "text", "date", "id", "target"]),
    missing=st.floats(0, 1),
    distinct=st.integers(0, 10**9),
    levels=st.lists(names, max_size=3).map(tuple),
    low=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    formats=st.lists(names, max_size=2).map(tuple),
    hook=st.none() | names,
)
schemas = st.builds(
    Schema,
    columns=st.lists(columns, max_size=4).map(tuple),
    task=st.sampled_from(["classification", "regression"]),
    target=st.none() | names,
    classes=st.lists(names, max_size=3).map(tuple),
)


@given(schemas)
def test_a_schema_survives_json(schema: Schema) -> None:
    assert read(Schema, json.loads(json.dumps(plain(schema)))) == schema


def test_a_decision_survives_json_with_its_evidence() -> None:
    verdict = Verdict("gate", (Check("accuracy", "failed", 0.8, ">= 0.9"),))
    decision = Decision("refused", "churn", "missed its goal", verdict, version="3")
    assert read(Decision, json.loads(json.dumps(plain(decision)))) == decision


def test_fields_of_a_newer_version_are_left_out() -> None:
    assert read(Check, {"name": "a", "outcome": "passed", "later": 1}) == Check("a", "passed")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((), "not checked"),
        (("not checked",), "not checked"),
        (("passed", "not checked"), "passed"),
        (("passed", "failed"), "failed"),
        (("not checked", "failed"), "failed"),
    ],
)
def test_the_outcome_of_a_verdict(outcomes: tuple[str, ...], expected: str) -> None:
    verdict = Verdict("x", tuple(Check(str(i), o) for i, o in enumerate(outcomes)))  # type: ignore[arg-type]
    assert verdict.outcome == expected
    assert bool(verdict) is (expected == "passed")


def test_a_warning_does_not_stop() -> None:
    verdict = Verdict("x", (Check("a", "failed", severity="warning"), Check("b", "passed")))
    assert verdict
    assert [c.name for c in verdict.warnings] == ["a"]


def test_the_features_are_the_columns_that_are_not_set_aside() -> None:
    schema = Schema(
        (Column("age", "number"), Column("id", "id"), Column("y", "target"), Column("ratio", "number", hook="ratio")),
        "regression",
        "y",
    )
    assert [c.name for c in schema.features] == ["age", "ratio"]
    assert [c.name for c in schema.inputs] == ["age"]
    assert schema["age"].role == "number"
    with pytest.raises(KeyError):
        schema["height"]
