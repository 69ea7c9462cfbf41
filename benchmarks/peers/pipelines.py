"""The scikit-learn pipelines that all model servers beside keepfit answer with.

    python pipelines.py KIND TRAIN.csv TARGET FOLDER

KIND is `linear` or `lightgbm` (a table) or `text` (one column `text`). FOLDER gets model.joblib, and where
MLflow is installed mlflow/, the same pipeline saved in the ordinary way.
"""

import importlib.util
import sys
from pathlib import Path

import joblib
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

NUMBERS = make_column_selector(dtype_include="number")
CATEGORIES = make_column_selector(dtype_exclude="number")
ONE_HOT = OneHotEncoder(handle_unknown="ignore")
CODES = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def filled(strategy: str, *then: object) -> Pipeline:
    """Missing values filled first, as in every tutorial, and as keepfit does."""
    return make_pipeline(SimpleImputer(strategy=strategy), *then)


def linear() -> Pipeline:
    numbers, categories = filled("median", StandardScaler()), filled("most_frequent", ONE_HOT)
    return make_pipeline(
        make_column_transformer((numbers, NUMBERS), (categories, CATEGORIES)), LogisticRegression(max_iter=1000)
    )


def lightgbm() -> Pipeline:
    numbers, categories = filled("median"), filled("most_frequent", CODES)
    return make_pipeline(
        make_column_transformer((numbers, NUMBERS), (categories, CATEGORIES)),
        LGBMClassifier(n_jobs=1, random_state=0, verbose=-1),
    )


def text() -> Pipeline:
    columns = make_column_transformer((TfidfVectorizer(ngram_range=(1, 2), min_df=2), "text"))
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


KINDS = {"linear": linear, "lightgbm": lightgbm, "text": text}


def main(kind: str, train_file: str, target: str, folder: str) -> None:
    rows = pd.read_csv(train_file)
    labels = rows.pop(target)
    model = KINDS[kind]().fit(rows, labels)
    Path(folder).mkdir(parents=True, exist_ok=True)
    joblib.dump(model, Path(folder) / "model.joblib")
    if importlib.util.find_spec("mlflow"):
        save(model, rows.head(100), Path(folder) / "mlflow")


def save(model: Pipeline, rows: pd.DataFrame, folder: Path) -> None:
    import mlflow  # only its own environment has it

    signature = mlflow.models.infer_signature(rows, model.predict(rows))
    mlflow.sklearn.save_model(model, str(folder), signature=signature, serialization_format="cloudpickle")


if __name__ == "__main__":
    main(*sys.argv[1:])
