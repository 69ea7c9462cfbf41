"""A model behind FastAPI as people write it: checked rows, a data frame, the pipeline.

MODEL=model.joblib uvicorn fastapi_server:app
"""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

model = joblib.load(os.environ["MODEL"])


def row_type() -> type[BaseModel]:
    """The columns that the pipeline was trained on; names with dashes are aliases."""
    numbers = set(next((columns for name, _, columns in model[0].transformers_ if name != "remainder"), []))
    names = list(model.feature_names_in_)
    if names == ["text"]:
        numbers = set()
    fields: dict[str, Any] = {
        f"column{at}": (float if name in numbers else str, Field(alias=name)) for at, name in enumerate(names)
    }
    return create_model("Row", **fields)


Row = row_type()
app = FastAPI()


@app.post("/predict")
def predict(rows: list[Row]) -> dict[str, list[str]]:  # type: ignore[valid-type]
    frame = pd.DataFrame([row.model_dump(by_alias=True) for row in rows])  # type: ignore[attr-defined]
    return {"predictions": [str(value) for value in model.predict(frame)]}
