"""On real tables and reviews: a row alone, as text from a request, gets the features of the whole frame."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from keepfit import features
from keepfit.config import Data
from keepfit.data.conform import conform
from keepfit.data.schema import infer
from keepfit.features.frame import from_frame
from keepfit.features.rows import reader
from keepfit.features.values import Sparse

LINEAR = {"number": {"impute": "median", "scale": True, "flag": True, "bins": "auto"}, "text": {"ngrams": [1, 3]}}
TREE = {"category": {"encode": "codes"}}
TARGET = {"category": {"encode": "target"}}
TABLES = {
    "telco_churn/Telco-Customer-Churn.csv": "Churn",
    "california_housing/housing.csv": "median_house_value",
    "king_county_houses/kc_house_data.csv": "price",
}


def dense(matrix):
    if not isinstance(matrix, Sparse):
        return matrix
    full = np.zeros((len(matrix.indptr) - 1, matrix.width), np.float32)
    full[np.repeat(np.arange(len(full)), np.diff(matrix.indptr)), matrix.indices] = matrix.data
    return full


@pytest.mark.parametrize("file", TABLES)
@pytest.mark.parametrize("options", [LINEAR, TREE, TARGET], ids=["linear", "tree", "target"])
def test_rows_of_a_table(shared_data, file, options):
    raw = pl.read_csv(shared_data / file, infer_schema=False)  # everything is text, as in a form
    schema = infer(raw, Data(source=file, target=TABLES[file]))
    typed, _ = conform(raw, schema)
    columns = from_frame(typed, schema)
    y = typed[TABLES[file]].to_numpy()
    state = features.fit(columns, schema, y, options, {"method": "auto"})
    whole = features.apply(state, columns)
    assert whole.shape == (raw.height, len(features.names(state)))
    assert np.isfinite(whole).all() or options is not LINEAR
    read, serve = reader(schema), features.compiled(state)
    some = range(0, raw.height, raw.height // 200)
    for i in some:
        one, problems = read([raw.row(i, named=True)])
        assert problems == []
        np.testing.assert_array_equal(serve(one)[0], whole[i])
    many, _ = read([raw.row(i, named=True) for i in some])
    np.testing.assert_array_equal(features.apply(state, many), whole[list(some)])


def test_reviews(shared_data):
    raw = pl.read_csv(shared_data / "imdb" / "imdb_reviews.csv.gz").sample(2000, seed=0)
    schema = infer(raw.select("text", "label"), Data(source="imdb", target="label"))
    columns = from_frame(conform(raw, schema)[0], schema)
    train = np.arange(1000)
    state = features.fit(columns[train], schema, raw["label"].to_numpy()[:1000], LINEAR)
    whole = features.apply(state, columns)
    assert whole.width > 20_000
    read, serve = reader(schema), features.compiled(state)
    for i in range(0, 2000, 20):
        one = serve(read([{"text": raw["text"][i]}])[0])
        there = slice(whole.indptr[i], whole.indptr[i + 1])
        np.testing.assert_array_equal(one.indices, whole.indices[there])
        np.testing.assert_array_equal(one.data, whole.data[there])
