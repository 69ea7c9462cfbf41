"""The files that make a bundle an MLflow model: MLmodel, requirements, environment, input example.

Written here as plain YAML and JSON, in the layout of MLflow's model format: `log_model` would
load the model, guess its requirements in a subprocess and take seconds for the same few files.

    model/MLmodel                the python_function flavor, the signature
          bundle/…               the bundle, as it is
          requirements.txt, conda.yaml, python_env.yaml, input_example.json
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from keepfit.types import Column, Schema, plain

LOADER = "keepfit.deployment.pyfunc"
PACKAGES = ("keepfit", "numpy", "onnxruntime", "pandas", "mlflow-skinny")  # what a scoring process imports


def write(
    folder: Path, schema: Schema, example: Mapping[str, Iterable[Any]], run_id: str, about: Mapping[str, Any]
) -> None:
    """Write all files but the bundle itself into `folder`.

    `example` has a few rows as column → values; `about` is kept as the model's metadata.
    """
    (folder / "MLmodel").write_text(_yaml(_mlmodel(schema, run_id, about, example)), encoding="utf-8")
    requirements = [f"{name}=={metadata.version(name)}" for name in PACKAGES]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    python = platform.python_version()
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(_yaml(environment), encoding="utf-8")
    conda = {
        "name": "keepfit",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
    }
    (folder / "conda.yaml").write_text(_yaml(conda), encoding="utf-8")
    if example:
        (folder / "input_example.json").write_text(json.dumps(_split(example), ensure_ascii=False), encoding="utf-8")


def _mlmodel(
    schema: Schema, run_id: str, about: Mapping[str, Any], example: Mapping[str, Iterable[Any]]
) -> dict[str, Any]:
    now = datetime.now(UTC).replace(tzinfo=None)
    flavor = {
        "loader_module": LOADER,
        "data": "bundle",
        "python_version": platform.python_version(),
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    }
    made = {
        "artifact_path": "model",
        "run_id": run_id,
        "utc_time_created": str(now),
        "mlflow_version": metadata.version("mlflow-skinny"),
        "flavors": {"python_function": flavor},
        "signature": signature(schema, example),
        "metadata": plain(about),
    }
    if example:
        made["saved_input_example_info"] = {
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        }
    return made


def signature(schema: Schema, example: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """MLflow's signature of a model: the columns that a caller brings, and the prediction.

    A column that had missing values is optional, and so is what only observations tell. The types are those that
    MLflow takes as they come from a CSV file and from a data frame (see `_type`); `example` tells whether dates come
    as text.
    """
    texts = {name for name, values in example.items() if any(isinstance(value, str) for value in values)}
    needed = [c.name for c in schema.required if c.missing == 0]
    inputs = [{"type": _type(c, c.name in texts), "name": c.name, "required": c.name in needed} for c in schema.inputs]
    outputs = _outputs(schema, texts)
    params = [{"name": "method", "type": "string", "default": "predict", "shape": None}]  # see deployment.pyfunc
    return {
        "inputs": json.dumps(inputs, ensure_ascii=False),
        "outputs": json.dumps(outputs),
        "params": json.dumps(params),
    }


def _outputs(schema: Schema, texts: Collection[str]) -> list[dict[str, Any]]:
    """The prediction; of a forecast also what it is of, and the interval's ends."""
    predicted = {"type": "string" if schema.classes else "double", "name": "prediction", "required": True}
    if schema.rhythm is None:
        return [predicted]
    names = (*schema.rhythm.series, schema.rhythm.time)
    placed = [{"type": _type(schema[name], name in texts), "name": name, "required": True} for name in names]
    ends = [{"type": "double", "name": f"prediction_{end}", "required": False} for end in ("low", "high")]
    return [*placed, {"type": "long", "name": "step", "required": True}, predicted, *ends]


def _type(column: Column, text: bool) -> str:
    """The MLflow type of a column.

    MLflow refuses int64 where a double is declared, and a double where a long is. Whole numbers
    come as int64 unless some are missing, when pandas makes them doubles. A boolean with missing
    values must not be declared as one: MLflow would read JSON's null as False. Dates that were
    text are sent as text again.
    """
    if column.dtype == "int":
        return "double" if column.missing else "long"
    if column.dtype == "bool":
        return "string" if column.missing else "boolean"
    if column.dtype == "date":
        return "string" if text or column.formats else "datetime"
    return "double" if column.dtype == "float" else "string"


def _split(example: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    columns = [list(values) for values in example.values()]
    rows = [[_json(v) for v in row] for row in zip(*columns, strict=True)]
    return {"columns": list(example), "data": rows}


def _json(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
