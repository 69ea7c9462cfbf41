"""The Featurizer in scikit-learn pipelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from keepfit.errors import DataError
from keepfit.features.pipeline import Featurizer
from keepfit.features.values import Columns

RNG = np.random.default_rng(0)
AGE = RNG.normal(40, 10, 200).round(1)
FRAME = pl.DataFrame(
    {"age": [None if i % 11 == 0 else a for i, a in enumerate(AGE)], "plan": RNG.choice(["free", "pro"], 200)}
)
Y = np.where((AGE > 40) | (FRAME["plan"] == "pro").to_numpy(), "yes", "no")
LINEAR = {"number": {"impute": "median", "scale": True, "flag": True, "bins": 4}}


@pytest.mark.parametrize(
    "convert", [lambda f: f, lambda f: f.to_pandas(), lambda f: f.to_arrow(), lambda f: f.to_dict(as_series=False)]
)
def test_any_frame_gives_the_same_matrix(convert):
    expected = Featurizer(options=LINEAR).fit_transform(FRAME, Y)
    featurizer = Featurizer(options=LINEAR).fit(convert(FRAME), Y)
    np.testing.assert_array_equal(featurizer.transform(convert(FRAME)), expected)
    assert featurizer.get_feature_names_out().tolist()[0] == "age"
    assert list(featurizer.feature_names_in_) == ["age", "plan"]


def test_in_cross_validation():
    model = make_pipeline(Featurizer(options=LINEAR), LogisticRegression())
    assert cross_val_score(model, FRAME.to_pandas(), Y, cv=3).mean() > 0.9


def test_text_gives_compressed_rows():
    frame = pd.DataFrame(
        {
            "note": [
                f"a rather long text about the {word} of things number {i}"
                for i, word in enumerate(["good", "bad"] * 30)
            ]
        }
    )
    found = Featurizer().fit_transform(frame, ["g", "b"] * 30)
    assert sparse.issparse(found)
    assert LogisticRegression().fit(found, ["g", "b"] * 30).score(found, ["g", "b"] * 30) == 1


def test_columns_need_a_schema():
    columns = Columns({"age": AGE}, 200)
    with pytest.raises(DataError, match="needs a schema"):
        Featurizer().fit(columns)
    schema = Featurizer().fit(FRAME.select(pl.col("age").fill_null(0.0)), Y).schema_
    assert Featurizer(schema).fit_transform(columns).shape == (200, 1)


def test_parameters_survive_a_clone():
    assert clone(Featurizer(options=LINEAR, seed=3)).get_params()["seed"] == 3


def test_before_fit():
    with pytest.raises(NotFittedError):
        Featurizer().transform(FRAME)


def test_what_is_no_frame():
    with pytest.raises(DataError, match=r"numpy.ndarray, which is no frame"):
        Featurizer().fit(np.ones((3, 2)))
