"""The loader of MLflow's python_function flavor: a bundle as `mlflow.pyfunc.load_model` wants it.

MLflow calls `_load_pyfunc` with the bundle's folder; nothing here imports MLflow. A bundle that was
trained with the user's functions finds their file in the folders that Python imports from (the
current one among them), by name and by hash.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keepfit.deployment import batch, runtime
from keepfit.deployment.protocols import beside, keys
from keepfit.errors import DataError
from keepfit.models import bundle

METHODS = ("predict", "predict_proba", "all")


class Model:
    """What MLflow holds. `predict` takes a pandas frame and gives what scikit-learn flavors give."""

    def __init__(self, loaded: runtime.Runtime) -> None:
        self.runtime = loaded

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """The labels or values of the rows, as a Series called `prediction`; of a forecast a DataFrame with series,
        time, step, prediction and the interval's ends.

        `params` {"method": "predict_proba"} gives a DataFrame with a column a class, {"method":
        "all"} every column of `deployment.batch`. Raises DataError for absent columns, for cells
        that cannot be read, and for another method.
        """
        method = (params or {}).get("method", "predict")
        if method not in METHODS:
            raise DataError(f"params.method: unknown method '{method}'. Known: {', '.join(METHODS)}")
        given = _frame(model_input, self.runtime)
        found, names = batch.scored(self.runtime, given)
        placed = keys(self.runtime.schema)
        told = {name: given[key].array for name, key in zip(beside(placed), placed, strict=True)}
        told |= {name: found[own].to_numpy() for name, own in names.items()}
        answers = pd.DataFrame(told, index=given.index)
        if method == "all" or (placed and method == "predict"):
            return answers
        if method == "predict":
            return answers["prediction"]
        classes = self.runtime.schema.classes
        if not classes:
            raise DataError("params.method: 'predict_proba' is for classes; this model predicts a value.")
        return answers[[f"probability_{name}" for name in classes]].set_axis(list(classes), axis=1)

    def predict_proba(self, model_input: Any) -> Any:
        """Probabilities, a column a class."""
        return self.predict(model_input, {"method": "predict_proba"})


def _frame(given: Any, loaded: runtime.Runtime) -> pd.DataFrame:
    """MLflow hands over what it was given: a frame, a dict, a list of rows, a matrix of the inputs."""
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, dict):
        return pd.DataFrame({name: np.atleast_1d(values) for name, values in given.items()})
    if isinstance(given, (list, pd.Series)) and len(given) and isinstance(next(iter(given)), dict):
        return pd.DataFrame(list(given))
    names = [column.name for column in loaded.schema.inputs]
    matrix = np.atleast_2d(np.asarray(given))
    if matrix.shape[1] != len(names):
        raise DataError(f"The input has {matrix.shape[1]} columns; the model needs {len(names)}: {', '.join(names)}")
    return pd.DataFrame(matrix, columns=names)


def _load_pyfunc(path: str) -> Model:
    """The entry point that MLmodel names."""
    folder = Path(path)
    wanted = bundle.read(folder).manifest.get("hooks")
    return Model(runtime.load(folder, hooks=_hooks(wanted["file"]) if wanted else None))


def _hooks(name: str) -> Path | None:
    """The user's file in the folders of sys.path, if it is there; `runtime.load` checks its hash."""
    folders = [Path(place or ".") for place in ["", *sys.path]]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
