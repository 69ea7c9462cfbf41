"""What init writes is explained line by line, and means what was asked."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keepfit import config
from keepfit.config import Data
from keepfit.data.schema import infer
from keepfit.data.template import template
from keepfit.types import Column, Schema

# Characters that YAML 1.1 can hold; "$" is left out, because ${VAR} is filled in when it is read.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="$", exclude_categories=["Cs"]), min_size=1, max_size=30)
NAME = TEXT.filter(lambda name: bool(name.strip()) and not {"/", ":"} & set(name))
ROLES = st.sampled_from(["number", "category", "text", "date", "id", "ignore"])
COLUMNS = st.builds(
    Column, TEXT, ROLES, why=TEXT, missing=st.floats(0, 1), levels=st.lists(TEXT, max_size=8).map(tuple),
    low=st.none() | st.floats(allow_nan=False, allow_infinity=False), high=st.none() | st.floats(-9, 9),
)  # fmt: skip
DATAS = st.builds(
    Data,
    source=TEXT,
    target=st.none() | TEXT,
    test=st.none() | TEXT,
    test_size=st.floats(0.1, 0.9),
    random_state=st.integers(0, 99),
    header=st.none() | st.lists(TEXT, max_size=4),
    columns=st.dictionaries(TEXT, ROLES, max_size=3),
    missing=st.lists(TEXT, max_size=3),
    documentation=st.dictionaries(TEXT, TEXT | st.booleans() | st.integers() | st.none(), max_size=2),
    leakage=st.builds(config.Leakage, duplicates=st.sampled_from(["stop", "warn", "ignore"])),
)


def back(text: str) -> config.Config:
    return config.parse(yaml.load(text, Loader=config.Loader))  # noqa: S506 - a safe one


@given(NAME, st.lists(COLUMNS, max_size=5), DATAS, st.sampled_from(["classification", "regression", "none"]), TEXT)
def test_it_reads_back_as_what_was_asked(name: str, columns: list[Column], data: Data, task: str, why: str) -> None:
    text = template(name, Schema(tuple(columns), task, data.target, why_task=why), data)
    asked = config.parse({"project": {"name": name}, "data": data.model_dump()})
    assert back(text).model_dump() == asked.model_dump()
    assert all("#" in line for line in text.splitlines())


def made(frame: pl.DataFrame, name: str, **data: Any) -> str:
    section = Data(**data)
    return template(name, infer(frame, section), section)


def test_telco(telco: pl.DataFrame) -> None:
    text = made(telco, "churn", source="Telco-Customer-Churn.csv", target="Churn")
    assert text.splitlines()[2:9] == [
        "version: 1                      # format of this file",
        "project:                        # names the project",
        "  name: churn                   # also the name of the registered model",
        "data:                           # where it is and what its columns are",
        "  source: Telco-Customer-Churn.csv # where the data is: path, glob, folder, URI, sklearn:NAME or "
        "python:module:function",
        "  target: Churn                 # the column to predict: classification, because 'Churn' holds 2 different "
        "labels",
        "  # test_size: 0.2              # share of the rows that the model is judged by; or test: a separate file",
    ]
    assert "#   customerID        id        0.0%     named an id, and no value repeats" in text
    assert "#   gender: {values: [Female, Male]}" in text or "#   gender: {values: [Male, Female]}" in text
    assert "missing is written blank" in text


def test_the_comments_are_yaml_when_uncommented(telco: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URL", "http://127.0.0.1:1/hook")
    text = made(telco, "churn", source="t.csv", target="Churn")
    head, _, _ = text.partition("#\n# What was found")
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and ":" in line else line for line in head.splitlines()[2:]
    ]
    lines = [line.replace("  # test_size", "  test_size").replace("  # columns", "  columns") for line in lines]
    found = back("\n".join(lines))
    assert found.goals == {"accuracy": ">= 0.90", "roc_auc": ">= 0.85"}
    assert found.checks["tenure"].max == 72
    assert found.data.columns == {"gender": "category"}
    assert (found.serving.port, found.serving.log.retention) == (8080, 90 * 86400)
    assert (found.monitoring.every, found.retraining.schedule) == (3600, "0 3 * * 1")
    assert found.alerts[0].webhook == "http://127.0.0.1:1/hook"


def test_many_columns_are_cut() -> None:
    schema = Schema(tuple(Column(f"c{i}", "number") for i in range(2000)), "none")
    assert "#   … and 1,800 more" in template("wide", schema, Data(source="x"))  # type: ignore[call-arg]


def test_pictures_are_told_of_backbones() -> None:
    photo, label = Column("photo", "image", "bytes", "pictures: JPEG"), Column("label", "target")
    asked = Data(source="photos", target="label")
    assert "#   image: {backbone: FOLDER}" in template("x", Schema((photo, label), "classification", "label"), asked)
    assert "backbone" not in template("x", Schema((label,), "classification", "label"), asked)


def test_numbers_with_dates_may_be_series() -> None:
    day, sold, seen = Column("day", "date", "date"), Column("sold", "target"), Column("seen", "number", "float")
    data = Data(source="a.csv", target="sold")
    text = template("x", Schema((day, sold), "regression", "sold"), data)
    (line,) = [line for line in text.splitlines() if line.startswith("# task: forecast")]
    assert "'day'" in line
    back(text.replace("# task: forecast", "task: forecast"))
    assert "forecast" not in template("x", Schema((seen, sold), "regression", "sold"), data)
    assert "forecast" not in template("x", Schema((day, sold), "classification", "sold"), data)
