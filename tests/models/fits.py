"""Small trained models for the tests of packaging and serving."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from keepfit import features
from keepfit.features.text import tokens
from keepfit.features.values import Coded, Columns
from keepfit.models.catalogue import CODES, LINEAR, TREE
from keepfit.models.crossfit import matrix as csr
from keepfit.models.fitted import Fitted, Member
from keepfit.types import Column, Schema

WORDS = ("good", "bad", "film", "plot", "very", "not", "Ünïcode", "¡olé!")
ABOUT = {
    "name": "small",
    "data": {"version": "sha256:0", "origin": {"source": "made"}},
    "code": {"commit": "abc"},
    "seed": 1,
}
REST = {"metrics": {"metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0, "baseline": 0.5}}},
        "reference": {}, "config": {"project": {"name": "small"}}}  # fmt: skip
CLASSES = {"two": ("no", "yes"), "three": ("a", "b", "c"), "values": ()}


def schema(kind, text=False):
    columns = [
        Column("age", "number", "float"),
        Column("income", "number", "float"),
        Column("plan", "category"),
        Column("town", "category"),
        Column("since", "date", "date"),
    ]
    columns += [Column("note", "text")] if text else []
    task = "regression" if kind == "values" else "classification"
    return Schema((*columns, Column("y", "target")), task, "y", CLASSES[kind])


def rows(count=600, text=False, seed=0):
    """Columns with holes, and a signal (count,)."""
    random = np.random.default_rng(seed)
    age, income = random.integers(18, 90, count).astype(float), random.lognormal(10, 1, count)
    plan, town = random.integers(-1, 3, count).astype(np.int32), random.integers(0, 40, count).astype(np.int32)
    since = random.integers(1_500_000_000, 1_700_000_000, count).astype(float)
    signal = (age - 50) / 20 + np.log(income) - 10 + (plan == 1) + np.sin(town) + random.normal(size=count) / 4
    age[random.random(count) < 0.1] = np.nan
    values = {"age": age, "income": income, "plan": Coded(plan, ["free", "pro", "max"]),
              "town": Coded(town, [f"town {k}" for k in range(40)]), "since": since}  # fmt: skip
    if text:
        documents = [" ".join(random.choice(WORDS, random.integers(0, 9))) for _ in range(count)]
        signal = signal + np.array([d.count("good") - d.count("bad") for d in documents])
        values["note"] = tokens(documents)
    return Columns(values, count), signal


def target(kind, signal):
    """What estimators are fitted to."""
    cuts = {"two": [0.3], "three": [-0.5, 1.0]}
    return np.digitize(signal, cuts[kind]) if kind in cuts else signal * 1000 + 5000


RAW = {"number": {"impute": "median"}, "date": {"impute": "median"}}
STYLES = {"linear": LINEAR, "tree": TREE, "codes": CODES, "raw": RAW}


def fitted(estimators, kind="two", style="linear", text=False, **rest):
    """A Fitted of estimators on the same features, each with an equal weight."""
    columns, signal = rows(text=text)
    y = target(kind, signal)
    labels = np.array(CLASSES[kind], object)[y] if CLASSES[kind] else y
    state, made = features.fit_apply(columns, schema(kind, text), labels, STYLES[style])
    matrix = csr(made)
    members = []
    for k, estimator in enumerate(estimators):
        chosen = np.random.default_rng(k).random(len(y)) < 0.8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # how good they are does not matter here
            estimator.fit(matrix[chosen], y[chosen])
        members.append(Member(type(estimator).__name__, 1 / len(estimators), state, estimator))
    task = "classification" if CLASSES[kind] else "regression"
    return Fitted(task, CLASSES[kind], tuple(members), **rest)
