"""A widget a role: what its field shows, and what its text means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui")

from keepfit import features
from keepfit.data.parse import PARSE
from keepfit.types import Column
from keepfit.ui import field

NUMBERS = {"edges": [1.0, 5.0, 9.0], "counts": [3, 4], "missing": 0, "low": 1.0, "high": 9.0, "mean": 5.0}
LEVELS = {"levels": {"a": 1, "b": 5}, "distinct": 2, "missing": 0, "other": 0}


def test_every_role_of_a_feature_has_a_widget() -> None:
    assert field.WIDGETS.keys() == features.ROLES.keys()


@pytest.mark.parametrize(
    ("column", "value", "written", "meaning"),
    [
        (Column("x", "number"), 5.0, "5", 5),
        (Column("x", "number"), "1e5", "100000", 100000),
        (Column("x", "number"), 0.1, "0.1", 0.1),
        (Column("c", "category", "int"), 4, "4", "4"),
        (Column("d", "date", formats=("%Y%m%dT%H%M%S",)), "20141013T000000", "2014-10-13", "2014-10-13"),
        (Column("d", "date"), "2014-10-13 12:30", "2014-10-13T12:30:00", "2014-10-13T12:30:00"),
        (Column("t", "text"), " so ", " so ", " so "),
    ],
)
def test_what_is_shown_means_what_it_was(column: Column, value: Any, written: str, meaning: Any) -> None:
    assert field.text(column, value) == written
    assert field.value(column, written) == meaning
    parse = PARSE[column.role]
    assert parse(meaning, column) == parse(value, column)


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_value_is_an_empty_field(value: Any) -> None:
    for role in field.WIDGETS:
        assert field.text(Column("x", role), value) is None
        assert field.value(Column("x", role), None) is None


def test_text_that_is_no_number_stays_text_for_the_model_to_refuse() -> None:
    assert [field.value(Column("x", "number"), text) for text in ("4,1", "1_000", "inf", "?")] == [
        "4,1", "1_000", "inf", "?",
    ]  # fmt: skip


def test_a_number_is_shown_with_what_training_saw() -> None:
    props = field.WIDGETS["number"].props(Column("x", "number"), NUMBERS)
    assert (props["hint"], props["low"], props["high"]) == ("1 to 9", 1.0, 9.0)
    assert props["quarters"][0] <= props["quarters"][1] <= props["quarters"][2]
    nothing = field.WIDGETS["number"].props(Column("x", "number"), {"edges": [], "counts": [], "missing": 9})
    assert nothing == {"hint": "no value in training"}


def test_a_category_offers_its_levels_the_most_frequent_first() -> None:
    props = field.WIDGETS["category"].props(Column("c", "category"), LEVELS)
    assert (props["levels"], props["few"]) == (["b", "a"], True)
    many = {"levels": {str(n): 1 for n in range(99)}, "distinct": 500, "missing": 0}
    props = field.WIDGETS["category"].props(Column("c", "category"), many)
    assert (props["few"], props["hint"]) == (False, "500 values in training")
    assert props["unseen"] == ""  # of the others we do not know whether they were seen


def test_days_and_moments_are_asked_for_by_what_training_had() -> None:
    widget, column = field.WIDGETS["date"], Column("d", "date")
    days = {"edges": [0.0, 86_400.0 * 31], "counts": [2], "low": 0.0, "high": 86_400.0 * 31}
    assert widget.kind(column, days) == "date"
    assert widget.kind(column, {**days, "edges": [0.0, 3_600.0]}) == "time"
    assert widget.props(column, days)["hint"] == "1970-01-01 to 1970-02-01"


def test_the_roles_of_old_bundles_have_fields() -> None:
    folder = Path(__file__).parents[1] / "bundles" / "format1"
    for name in ("iris", "prices", "reviews"):
        columns = json.loads((folder / name / "bundle.json").read_text())["schema"]["columns"]
        reference = json.loads((folder / name / "reference.json").read_text())
        for told in columns:
            if told["name"] in reference:
                column = Column(told["name"], told["role"], told["dtype"])
                assert (
                    "hint" in field.WIDGETS[column.role].props(column, reference[column.name]) or told["role"] == "text"
                )
