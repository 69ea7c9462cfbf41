"""A model behind BentoML with its adaptive batching, as its documentation recommends.

MODEL=model.joblib bentoml serve bentoml_service:Model
"""

import os

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60})
class Model:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api(batchable=True, batch_dim=0)
    def predict(self, rows: list[dict]) -> list[str]:  # type: ignore[type-arg]
        return [str(value) for value in self.model.predict(pd.DataFrame(rows))]
