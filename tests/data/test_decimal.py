"""Decimal commas: read where the config says so, warned of where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from keepfit import Project
from keepfit.config import Data
from keepfit.data import decimal, read, schema
from keepfit.errors import DataError
from tests.projects import project, table

TEXT = "price;weight;when;left\n1.234,56;3,5;01.02.2024;yes\n-7,25;1.000;12.03.2024;no\n"


def comma(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def german(rows: int) -> pl.DataFrame:
    frame = table(rows)
    return frame.with_columns(spend=pl.Series([comma(value * 100) for value in frame["spend"]]))


def test_numbers_are_read_as_declared_whole_and_in_batches(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TEXT)
    data = Data(source="a.csv", decimal=",")
    frame, _ = read.read(data, tmp_path)
    assert frame.rows() == [("1234.56", "3.5", "01.02.2024", "yes"), ("-7.25", "1000", "12.03.2024", "no")]
    assert pl.concat(read.batches(data, tmp_path / "a.csv", 1)).equals(frame)
    assert read.read(Data(source="a.csv"), tmp_path)[0]["weight"].to_list() == ["3,5", "1.000"]


@pytest.mark.parametrize(
    ("values", "suspect"),
    [
        (["3,5", "1.234,56", "7", "?"], True),
        (["1,234", "2,500"], False),  # thousands as well
        (["3.5", "1"], False),
        (["Berlin, 3", "a,5"], False),
        (["3,5", "about four"], False),
        ([None, ""], False),
    ],
)
def test_columns_that_look_like_it_are_warned_of(values: list[str | None], suspect: bool) -> None:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=pl.String)})
    (told,) = decimal.suspects(frame, Data(source="a.csv"))
    assert (told.outcome == "failed") == suspect
    assert not suspect or "'a' (3,5)" in told.detail
    assert not list(decimal.suspects(frame, Data(source="a.csv", decimal=",")))
    assert next(decimal.suspects(frame, Data(source="a.csv", columns={"a": "category"}))).outcome == "passed"


def test_check_names_the_column_and_the_key_and_the_key_makes_it_a_number(tmp_path: Path) -> None:
    folder = project(tmp_path, german(150))
    found, verdict = Project(folder).check()
    (told,) = [c for c in verdict.warnings if c.name == "data.decimal"]
    assert "'spend'" in told.detail
    assert "data.decimal: ','" in told.detail
    found, verdict = Project(folder, ["data.decimal=','"]).check()
    assert found["spend"].role == "number"
    assert found["spend"].high == pytest.approx(float(np.max(table(150)["spend"].to_numpy()) * 100), rel=0.2)
    assert not [c for c in verdict.checks if c.name == "data.decimal"]


@pytest.mark.parametrize("task", ["regression", "forecast"])
def test_a_target_with_a_decimal_comma_names_the_key(task: str) -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    frame = pl.DataFrame({"day": days, "sold": [f"{day},5" for day in range(30)]})
    with pytest.raises(
        DataError, match=r"such as '0,5'\. They look like numbers with a decimal comma: set data\.decimal: ','"
    ):
        schema.infer(frame, Data(source="a.csv", target="sold"), task)
    with pytest.raises(DataError, match="needs numbers") as told:
        schema.infer(frame.with_columns(sold=pl.col("day") + " or so"), Data(source="a.csv", target="sold"), task)
    assert "decimal" not in str(told.value)


def test_many_labels_with_a_decimal_comma_are_asked_about(tmp_path: Path) -> None:
    texts = [f"{number},5" for number in range(30)]
    with pytest.raises(
        DataError, match=r"'0,5'\. They look like .* data\.decimal: ',' .* Else set task: classification"
    ):
        schema.infer(pl.DataFrame({"sold": texts}), Data(source="a.csv", target="sold"))
    few = schema.infer(pl.DataFrame({"sold": texts[:3] * 10}), Data(source="a.csv", target="sold"))
    asked = schema.infer(pl.DataFrame({"sold": texts}), Data(source="a.csv", target="sold"), "classification")
    assert (few.task, asked.task) == ("classification", "classification")
