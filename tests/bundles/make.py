"""Makes the bundles that every later keepfit must be able to read: `python tests/bundles/make.py`.

Run once for a format, then kept for ever: a change that makes these fail needs a new format number,
a new folder here, and a reader for the old one. What is there already is not written over.

    format1/iris       three classes: logistic regression, boosting, a forest, a network; calibrated
    format1/reviews    text, number, category and date; two classes with a threshold
    format1/prices     values: boosting on native categories, ridge on a log target, with an interval
    format1/*.json     rows, and what the bundle answered to them
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from keepfit import features
from keepfit.deployment import runtime
from keepfit.features.rows import from_rows
from keepfit.models import bundle, export
from keepfit.models.catalogue import CODES, LINEAR, SCALED, TERMS, TREE
from keepfit.models.crossfit import matrix
from keepfit.models.fitted import Fitted, Member
from keepfit.models.linear import NaiveBayesLinear
from keepfit.models.train import predict
from keepfit.types import Column, Schema

HERE = Path(__file__).parent / f"format{bundle.FORMAT}"
BOOST = {"n_estimators": 8, "num_leaves": 5, "min_child_samples": 5, "verbose": -1, "n_jobs": 1, "deterministic": True}
GROUPS = {"min_data_per_group": 5, "cat_smooth": 1.0, "max_cat_to_onehot": 1}  # so that few rows split by sets
COMPONENTS = TREE | {"text": {"svd": 2, "min_count": 1}}
Rows = list[dict[str, Any]]


def member(
    rows: Rows, schema: Schema, y: NDArray[Any], style: Any, estimator: Any, weight: float, link: str = "identity"
) -> Member:
    """One fitted member; `y` is the encoded target."""
    columns, problems = from_rows(rows, schema)
    if problems:
        raise SystemExit(f"bad rows: {problems}")
    labels = np.array(schema.classes, object)[y] if schema.classes else y
    state, made = features.fit_apply(columns, schema, labels, style)
    given = (
        {"categorical_feature": [at for at, _ in state["categorical"]]} if isinstance(estimator, LGBMRegressor) else {}
    )
    target = np.log(y) if link == "exp" else y
    return Member(type(estimator).__name__, weight, state, estimator.fit(matrix(made), target, **given), link=link)


def iris() -> tuple[Fitted, Schema, Rows]:
    """150 flowers; the rows asked have missing and far-off measures."""
    data = load_iris()
    names = [name.removesuffix(" (cm)") for name in data.feature_names]
    kinds = tuple(str(name) for name in data.target_names)
    schema = Schema(
        (*(Column(name, "number", "float") for name in names), Column("kind", "target")),
        "classification",
        "kind",
        kinds,
    )
    rows = [dict(zip(names, map(float, values), strict=True)) for values in data.data]
    make = lambda *rest: member(rows, schema, data.target, *rest)
    members = (
        make(LINEAR, LogisticRegression(C=0.1), 0.4),
        make(TREE, LGBMClassifier(**BOOST, random_state=1), 0.3),
        make(TREE, RandomForestClassifier(5, max_depth=4, random_state=1), 0.2),
        make(SCALED, MLPClassifier([5], max_iter=30, random_state=1), 0.1),
    )
    fitted = Fitted("classification", kinds, members, {"method": "temperature", "scale": 1.25})
    odd = [{**rows[0], names[0]: None}, {**rows[80], names[2]: 1e6}, dict.fromkeys(names)]
    return fitted, schema, rows[::10] + odd


GOOD = (
    "a good film",
    "very good, and fun!",
    "Großartig – so good",
    "I loved it",
    "not bad at all, really fun",
    "good plot, good cast",
)
BAD = (
    "a bad film",
    "not good",
    "dull and very bad",
    "I hated it...",
    "no plot, no fun",
    "bad cast; bad plot <br /> awful",
)


def reviews() -> tuple[Fitted, Schema, Rows]:
    """Short reviews with the reader's age, country and date."""
    schema = Schema(
        (
            Column("text", "text"),
            Column("age", "number", "float"),
            Column("country", "category"),
            Column("written", "date", "date", formats=("%d/%m/%Y",)),
            Column("label", "target"),
        ),
        "classification", "label", ("neg", "pos"),
    )  # fmt: skip
    random = np.random.default_rng(3)
    y = random.integers(0, 2, 240)
    rows = [
        {
            "text": " ".join(random.choice(GOOD if good else BAD, 2)),
            "age": None if k % 9 == 0 else int(random.integers(16, 80)),
            "country": ["DE", "FR", "日本", None][int(random.integers(4))],
            "written": f"{1 + k % 28:02d}/{1 + k % 12:02d}/20{10 + k % 12}",
        }
        for k, good in enumerate(y)
    ]
    fitted = Fitted(
        "classification", schema.classes,
        (member(rows, schema, y, TERMS, NaiveBayesLinear(random_state=0), 1.0),
         member(rows, schema, y, COMPONENTS, LGBMClassifier(**BOOST, random_state=2), 0.5)),
        {"method": "sigmoid", "slope": 1.5, "offset": -0.1}, 0.45,
    )  # fmt: skip
    odd: Rows = [
        {"text": None, "age": None, "country": None, "written": None},
        {"text": "", "age": -1e9, "country": "never seen", "written": "1969-12-31"},
        {"text": "GOOD good unknownword 😀", "age": "41", "country": " DE ", "written": "31/12/2029"},
    ]
    return fitted, schema, rows[:12] + odd


def prices() -> tuple[Fitted, Schema, Rows]:
    """Prices by size and town."""
    schema = Schema(
        (Column("size", "number", "float"), Column("town", "category"), Column("price", "target")),
        "regression",
        "price",
    )
    random = np.random.default_rng(4)
    rows: Rows = [{"size": float(random.integers(30, 200)), "town": f"town {random.integers(45)}"} for _ in range(400)]
    y = np.array([row["size"] * (1000 + 20 * (int(row["town"][5:]) * 7 % 45)) for row in rows])
    fitted = Fitted(
        "regression", (),
        (member(rows, schema, y, CODES, LGBMRegressor(**BOOST, **GROUPS, random_state=3), 2.0),
         member(rows, schema, y, LINEAR, Ridge(), 1.0, "exp")),
        interval=12_345.5,
    )  # fmt: skip
    return fitted, schema, [*rows[:12], {"size": None, "town": None}, {"size": 1e4, "town": "never seen"}]


def write(name: str, fitted: Fitted, schema: Schema, rows: Rows) -> None:
    """The bundle, and beside it the rows with the answers of the model that was trained."""
    columns, _ = from_rows(rows, schema)
    made = bundle.write(
        HERE / name, fitted, schema,
        {"name": name, "data": {"version": "", "origin": {"source": "tests/bundles/make.py"}}, "code": {}, "seed": 0},
        metrics={}, reference={}, config={"data": {"source": "make.py"}},
        prove=lambda path: export.parity(fitted, runtime.load(path).predict, columns),
    )  # fmt: skip
    answer = predict(fitted, columns)
    parts = {part: getattr(answer, part) for part in ("values", "probabilities", "low", "high")}
    told = {"rows": rows, **{part: None if values is None else values.tolist() for part, values in parts.items()}}
    (HERE / f"{name}.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(name, sum(path.stat().st_size for path in made.path.rglob("*") if path.is_file()), "bytes")


if __name__ == "__main__":
    for make in (iris, reviews, prices):
        if (HERE / make.__name__).exists():
            sys.exit(f"{HERE / make.__name__} is there, and stays as it is.")
    HERE.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make in (iris, reviews, prices):
            write(make.__name__, *make())
