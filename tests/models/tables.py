"""Real tables that ship with scikit-learn, as Columns, target, Schema and folds."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import KFold, StratifiedKFold

from keepfit.config import parse
from keepfit.features.values import Columns
from keepfit.models import train
from keepfit.types import Column, Schema


def table(matrix, y):
    """Numbers (n, d) and a target of labels or numbers."""
    names = [f"x{i}" for i in range(matrix.shape[1])]
    labels = y.dtype == object
    schema = Schema(
        (*(Column(name, "number", "float") for name in names), Column("y", "target")),
        "classification" if labels else "regression",
        "y",
        tuple(sorted(set(y.tolist()))) if labels else (),
    )
    return Columns({name: matrix[:, i].astype(float) for i, name in enumerate(names)}, len(y)), y, schema


def _labels(data):
    return np.array([str(data.target_names[k]) for k in data.target], dtype=object)


def iris():
    data = load_iris()
    return table(data.data, _labels(data))


def cancer():
    data = load_breast_cancer()
    return table(data.data, _labels(data))


def diabetes():
    data = load_diabetes()
    return table(data.data, data.target)


def folds(y, count=5, seed=0):
    kind = StratifiedKFold if y.dtype == object and np.unique(y, return_counts=True)[1].min() >= count else KFold
    return list(kind(count, shuffle=True, random_state=seed).split(np.zeros(len(y)), y))


def config(**sections):
    return parse({"data": {"source": "made"}, **sections})


def fit(rows, cuts=None, stop=None, progress=None, **sections):
    columns, y, schema = rows
    return train.train(columns, y, schema, config(**sections), cuts or folds(y), 7, progress, stop)
