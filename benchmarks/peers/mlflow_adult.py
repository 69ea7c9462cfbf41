"""A scikit-learn pipeline kept as an MLflow model in the ordinary way; the peer of batch scoring.

python mlflow_adult.py TRAIN.csv TARGET FOLDER
"""

import sys

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def main(train_file: str, target: str, folder: str) -> None:
    rows = pd.read_csv(train_file)
    labels = rows.pop(target)
    numbers = make_column_selector(dtype_include="number")
    categories = make_column_selector(dtype_exclude="number")
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), categories))
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(rows, labels)
    signature = infer_signature(rows, model.predict(rows))
    mlflow.sklearn.save_model(model, folder, signature=signature, serialization_format="cloudpickle")


if __name__ == "__main__":
    main(*sys.argv[1:])
