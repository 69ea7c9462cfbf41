"""A scikit-learn pipeline kept as an MLflow model in the ordinary way; the peer of batch scoring.

    python mlflow_pipeline.py TRAIN.csv TARGET FOLDER KIND [TREES …]

KIND is `linear`, `boosted` (LightGBM; one model for each number of TREES, their probabilities averaged)
or `text` (words and bigrams of the column `text`).
"""

import sys

import mlflow
import pandas as pd
from lightgbm import LGBMClassifier
from mlflow.models import infer_signature
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

NUMBERS, OTHERS = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")


def linear(trees):
    columns = make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), OTHERS))
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def boosted(trees):
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer(("passthrough", NUMBERS), (codes, OTHERS))
    models = [(str(k), LGBMClassifier(n_estimators=n, random_state=k, verbose=-1)) for k, n in enumerate(trees)]
    return make_pipeline(columns, VotingClassifier(models, voting="soft") if len(models) > 1 else models[0][1])


def text(trees):
    words = make_column_transformer((TfidfVectorizer(ngram_range=(1, 2)), "text"))
    return make_pipeline(words, LogisticRegression(max_iter=1000))


def main(train_file: str, target: str, folder: str, kind: str, *trees: str) -> None:
    rows = pd.read_csv(train_file)
    labels = rows.pop(target)
    pipeline = {"linear": linear, "boosted": boosted, "text": text}[kind]([int(n) for n in trees])
    model = pipeline.fit(rows, labels)
    some = rows.head(1000)
    signature = infer_signature(some, model.predict(some))
    mlflow.sklearn.save_model(model, folder, signature=signature, serialization_format="cloudpickle")


if __name__ == "__main__":
    main(*sys.argv[1:])
