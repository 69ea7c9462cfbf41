"""The files of an MLflow model, as MLflow itself reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from mlflow.models import Model
from mlflow.types import DataType

from keepfit.tracking import mlmodel
from keepfit.types import Column, Schema

PLAIN = Schema((Column("a", "number", "float"),), "regression")
COLUMNS = (
    (Column("a", "number", "float"), DataType.double, True),
    (Column("b", "number", "float", missing=0.2), DataType.double, False),
    (Column("c", "number", "int"), DataType.long, True),
    (Column("d", "number", "int", missing=0.2), DataType.double, False),
    (Column("e", "category", "bool"), DataType.boolean, True),
    (Column("f", "category", "bool", missing=0.2), DataType.string, False),
    (Column("g", "date", "date", formats=("%Y-%m-%d",)), DataType.string, True),
    (Column("h", "date", "date"), DataType.datetime, True),
    (Column("i", "text", "str"), DataType.string, True),
)


def test_mlflow_reads_the_signature_back(tmp_path: Path) -> None:
    made_by_a_hook = Column("j", "number", "float", hook="ratio")
    schema = Schema((*(c for c, _, _ in COLUMNS), made_by_a_hook, Column("y", "target")), "regression", "y")
    mlmodel.write(tmp_path, schema, {}, "run", {"target": "y"})
    model = Model.load(str(tmp_path))
    assert [(c.name, c.type, c.required) for c in model.signature.inputs] == [(c.name, t, r) for c, t, r in COLUMNS]
    assert model.signature.outputs.input_types() == [DataType.double]
    assert model.metadata == {"target": "y"}


def test_a_classification_gives_text() -> None:
    schema = Schema((Column("a", "number", "float"),), "classification", "y", ("no", "yes"))
    assert json.loads(mlmodel.signature(schema, {})["outputs"])[0]["type"] == "string"


def test_dates_are_declared_as_they_come() -> None:
    schema = Schema((Column("sold", "date", "date", why="dates written as ISO 8601"),), "regression", "price")

    def declared(values: list[object]) -> str:
        return str(json.loads(mlmodel.signature(schema, {"sold": values})["inputs"])[0]["type"])

    assert declared([None, "20141013T000000"]) == "string"  # a frame that pandas read from a CSV file holds text too
    assert declared([datetime(2014, 10, 13, tzinfo=UTC)]) == "datetime"


def test_requirements_are_pinned_and_nothing_is_guessed(tmp_path: Path) -> None:
    mlmodel.write(tmp_path, PLAIN, {}, "run", {})
    requirements = (tmp_path / "requirements.txt").read_text().split()
    assert {r.partition("==")[0] for r in requirements} == set(mlmodel.PACKAGES)
    assert all("==" in r for r in requirements)
    assert yaml.safe_load((tmp_path / "conda.yaml").read_text())["dependencies"][2]["pip"] == requirements
    assert "-r requirements.txt" in yaml.safe_load((tmp_path / "python_env.yaml").read_text())["dependencies"]


def test_the_input_example_keeps_missing_values(tmp_path: Path) -> None:
    example = {"a": [1.5, float("nan")], "plan": ["größe", None]}
    mlmodel.write(tmp_path, PLAIN, example, "run", {})
    loaded = Model.load(str(tmp_path)).load_input_example(str(tmp_path))
    assert list(loaded.columns) == ["a", "plan"]
    assert loaded["plan"][0] == "größe"
    assert loaded.isna().iloc[1].all()


def test_columns_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        mlmodel.write(tmp_path, PLAIN, {"a": [1, 2], "b": [1]}, "run", {})
