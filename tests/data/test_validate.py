"""Every violation at once, each with column, rows, count, value, limit and who asked."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from keepfit.config import Data, Expectation
from keepfit.data.schema import infer
from keepfit.data.validate import validate
from keepfit.errors import ConfigError
from keepfit.types import Check, Verdict

BASE = pl.DataFrame({"age": [20.5 + i % 40 for i in range(60)], "plan": ["a", "b", "c"] * 20, "y": ["n", "j"] * 30})


def verdict(frame: pl.DataFrame, checks: dict[str, dict[str, Any]] | None = None, **data: Any) -> Verdict:
    section = Data(source="x.csv", **{"target": "y", **data})
    expectations = {name: Expectation(**expected) for name, expected in (checks or {}).items()}
    return validate(frame, infer(frame, section), expectations, section)


def named(found: Verdict, name: str) -> Check:
    return next(check for check in found.checks if check.name == name)


def with_cell(column: str, row: int, value: Any) -> pl.DataFrame:
    values = BASE[column].to_list()
    values[row] = value
    return BASE.with_columns(pl.Series(column, values, strict=False))


def test_sane_data_pass() -> None:
    found = verdict(BASE, {"age": {"min": 0, "max": 120, "nulls": 0}, "plan": {"values": ["a", "b", "c"]}})
    assert found.outcome == "passed"
    assert found.warnings == ()
    assert named(found, "checks.age.max") == Check("checks.age.max", "passed", 59.5, 120)


@pytest.mark.parametrize(
    ("expected", "name", "value", "detail"),
    [
        ({"min": 21}, "checks.age.min", 20.5, "2 cells are below 21: rows 0 (20.5), 40 (20.5)"),
        ({"max": 58}, "checks.age.max", 59.5, "2 cells are above 58: rows 38 (58.5), 39 (59.5)"),
        ({"unique": True}, "checks.age.unique", 20, "20 cells are repeated: rows 40 (20.5), 41 (21.5), 42 (22.5), 43 "
         "(23.5), 44 (24.5) and 15 more"),
        ({"pattern": r"[23]\d\.5"}, "checks.age.pattern", 20, "20 cells are not of the pattern [23]\\d\\.5: rows 20 "
         "(40.5), 21 (41.5), 22 (42.5), 23 (43.5), 24 (44.5) and 15 more"),
    ],
)  # fmt: skip
def test_declared_expectations_can_fail(expected: dict[str, Any], name: str, value: Any, detail: str) -> None:
    found = verdict(BASE, {"age": expected})
    assert found.outcome == "failed"
    check = found.failures[0]
    assert (check.name, check.value, check.limit, check.detail) == (name, value, next(iter(expected.values())), detail)


def test_nulls_and_values() -> None:
    found = verdict(with_cell("age", 3, None), {"age": {"nulls": 0.01}, "plan": {"values": ["a", "b"]}})
    assert [(c.name, c.detail) for c in found.failures] == [
        ("checks.age.nulls", "1 cell is missing, 1.67% where 1.00% are allowed: row 3 (None)"),
        (
            "checks.plan.values",
            "20 cells are none of 'a', 'b': rows 2 ('c'), 5 ('c'), 8 ('c'), 11 ('c'), 14 ('c') and 15 more",
        ),
    ]
    assert verdict(with_cell("age", 3, None), {"age": {"nulls": 0.02}}).outcome == "passed"
    assert verdict(with_cell("plan", 3, "?"), {"plan": {"nulls": 0}}).failures[0].value == 1 / 60


def test_values_may_be_numbers_or_booleans() -> None:
    frame = BASE.with_columns(n=pl.Series([0, 1] * 30), b=pl.Series(["True", "False"] * 30))
    assert verdict(frame, {"n": {"values": [0, 1]}, "b": {"values": [True, False]}}).outcome == "passed"
    assert verdict(frame, {"n": {"values": [1]}}).outcome == "failed"


def test_text_columns_of_a_csv_are_checked_as_numbers() -> None:
    text = BASE.select(pl.all().cast(pl.String))
    assert verdict(text, {"age": {"min": 21}}).failures[0].value == 20.5


def test_action_warn_warns() -> None:
    found = verdict(BASE, {"age": {"min": 21, "action": "warn"}})
    assert found.outcome == "passed"
    assert [c.name for c in found.warnings] == ["checks.age.min"]


def test_absent_columns() -> None:
    found = verdict(BASE, {"agee": {"min": 1}, "extra": {"required": False}, "plan": {}})
    assert named(found, "checks.agee").detail == "the data have no column 'agee'. Did you mean 'age'?"
    assert named(found, "checks.agee") in found.failures
    assert named(found, "checks.extra").outcome == "not checked"
    assert named(found, "checks.plan").outcome == "passed"


def test_expectations_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match=r"checks.plan.pattern: '\(' is no regular expression"):
        verdict(BASE, {"plan": {"pattern": "("}})
    with pytest.raises(ConfigError, match=r"checks.plan.min needs numbers, but 'plan' is of role category"):
        verdict(BASE, {"plan": {"min": 1}})


def test_infinite_and_unreadable_cells() -> None:
    check = named(verdict(with_cell("age", 7, math.inf)), "data.infinite.age")
    assert (check.outcome, check.severity, check.value) == ("failed", "warning", 1)
    assert check.detail == "1 cell is infinite: row 7; read as missing"
    text = with_cell("age", 7, None).with_columns(pl.col("age").cast(pl.String).fill_null("old"))
    check = named(verdict(text), "data.unreadable.age")
    assert check.detail == "1 cell is no number (not a number: 'old'): row 7; read as missing"


def test_columns_without_use_are_named() -> None:
    frame = BASE.with_columns(one=pl.lit("x"), none=pl.lit(None))
    found = verdict(frame)
    assert named(found, "data.constant_columns").detail == "left out: one"
    assert named(found, "data.empty_columns").detail == "left out: none"
    assert found.outcome == "passed"


def test_nothing_to_learn_from_stops() -> None:
    frame = pl.DataFrame({"one": ["x"] * 60, "y": ["n", "j"] * 30})
    assert "no column is left to learn from" in named(verdict(frame), "data.features").detail


def test_mixed_types() -> None:
    frame = BASE.with_columns(m=pl.Series([str(i % 30) if i % 5 else f"n{i % 3}" for i in range(60)]))
    assert "of its values are numbers, others are not, such as 'n" in named(verdict(frame), "data.mixed.m").detail


def test_duplicates_and_few_rows() -> None:
    found = verdict(pl.DataFrame({"a": [1.5, 2.5] * 10, "y": ["n", "j"] * 10}))
    assert named(found, "data.duplicates").value == 0.9
    assert named(found, "data.duplicates").detail.startswith(
        "18 rows repeat an earlier one in all columns but ids: rows 2, 3"
    )
    assert named(found, "data.rows").outcome == "failed"
    assert found.outcome == "passed"


def test_missing_targets_are_reported_and_stop_only_if_asked() -> None:
    frame = with_cell("y", 4, None)
    check = named(verdict(frame), "data.target.missing")
    assert (check.severity, check.detail) == (
        "warning",
        "'y' has no value that can be used in 1 of 60: row 4; left out",
    )
    assert verdict(frame, drop_missing_target=False).outcome == "failed"


def test_one_class_only() -> None:
    found = verdict(BASE.with_columns(y=pl.lit("n")))
    assert named(found, "data.target.classes").detail == "every row has the label 'n': a classifier needs at least two"
    assert found.outcome == "failed"


def test_constant_target_of_a_regression() -> None:
    frame = BASE.with_columns(y=pl.lit(2.5))
    section = Data(source="x", target="y")  # type: ignore[call-arg]
    found = validate(frame, infer(frame, section, "regression"), {}, section)
    assert named(found, "data.target.constant").detail == "'y' is always 2.5: there is nothing to predict"


def test_a_label_seen_once() -> None:
    check = named(verdict(with_cell("y", 4, "maybe")), "data.target.rare")
    assert (check.severity, check.value) == ("warning", 1)
    assert check.detail == "seen once only, so never in both training and test: 'maybe'"


def test_a_target_that_is_an_id() -> None:
    frame = BASE.with_columns(y=pl.Series([f"u{i}" for i in range(60)]))
    assert "a class needs several rows" in named(verdict(frame), "data.target.classes").detail


def test_labels_written_in_two_ways() -> None:
    found = verdict(with_cell("y", 4, "n."))
    assert (
        named(found, "data.target.stray_labels").detail == "1 labels end with a dot or blank: 'n.' as 'n' are read so"
    )
    assert found.outcome == "passed"
    assert "'N' and 'n'" in named(verdict(with_cell("y", 4, "N")), "data.target.case").detail


def test_adult_test_labels(adult: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    section = Data(source="x", target="income")  # type: ignore[call-arg]
    schema = infer(adult[0], section)
    train = validate(adult[0], schema, {}, section)
    assert (train.outcome, train.warnings) == ("passed", ())
    found = validate(adult[1], schema, {}, section)
    assert found.outcome == "passed"
    assert [(c.name, c.value) for c in found.warnings] == [("data.target.stray_labels", 16281)]


def test_real_sets_give_no_false_alarm(
    telco: pl.DataFrame, california: pl.DataFrame, king_county: pl.DataFrame
) -> None:
    for frame, target in ((telco, "Churn"), (california, "median_house_value"), (king_county, "price")):
        found = verdict(frame, target=target)
        assert (found.outcome, found.warnings) == ("passed", ())
