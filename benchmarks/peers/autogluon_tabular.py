"""AutoGluon's side, run by its own environment: fit on train.csv, predict test.csv, write the predictions.

    python autogluon_tabular.py FOLDER TARGET METRIC SECONDS OUTPUT

Writes OUTPUT.csv (one row a test row: `prediction`, or a probability a class under its name) and
OUTPUT.json (the models that were fitted in time).
"""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
from autogluon.tabular import TabularDataset, TabularPredictor


def main(folder: str, target: str, metric: str, seconds: str, output: str) -> None:
    told = {"rmse": "root_mean_squared_error"}.get(metric, metric)
    with tempfile.TemporaryDirectory() as work:
        predictor = TabularPredictor(label=target, eval_metric=told, path=work, verbosity=0)
        train = TabularDataset(f"{folder}/train.csv")
        predictor.fit(train, presets="medium_quality", time_limit=float(seconds))
        rows = TabularDataset(f"{folder}/rows.csv")
        if predictor.problem_type == "regression":
            answers = pd.DataFrame({"prediction": predictor.predict(rows)})
        else:
            answers = predictor.predict_proba(rows)
        fitted = predictor.model_names()
    answers.to_csv(f"{output}.csv", index=False)
    Path(f"{output}.json").write_text(json.dumps({"problem": predictor.problem_type, "models": fitted}))


if __name__ == "__main__":
    main(*sys.argv[1:])
