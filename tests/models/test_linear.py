from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from keepfit import features
from keepfit.features.text import tokens
from keepfit.features.values import Columns
from keepfit.models import linear
from keepfit.models.catalogue import TERMS
from keepfit.models.crossfit import matrix
from keepfit.types import Column, Schema
from tests.models.tables import cancer, iris


def words(rows=600, classes=2, seed=0):
    """Documents as counts of 3,000 terms; each class prefers terms of its own."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    rates = np.full((classes, 3000), 0.03)
    for k in range(classes):
        rates[k, 40 * k : 40 * (k + 1)] = 0.12
    return sparse.csr_matrix(random.poisson(rates[y]).astype(np.float32)), y


def reviews(folder, count=1500):
    """Film reviews as weighted n-grams: matrices and labels of training and test documents."""
    frame = pl.read_csv(folder / "imdb" / "imdb_reviews.csv.gz").filter(pl.col("id") < count)
    schema = Schema((Column("text", "text"),), "classification", classes=("neg", "pos"))
    train = (frame["split"] == "train").to_numpy()
    y = (frame["label"] == "pos").to_numpy()
    columns = Columns({"text": tokens(frame["text"].to_list())}, len(frame))
    state, made = features.fit_apply(columns[train], schema, None, TERMS)
    return matrix(made), y[train], matrix(features.apply(state, columns[~train])), y[~train]


def test_naive_bayes_weights_help_a_linear_machine_on_reviews(shared_data):
    X, y, asked, truth = reviews(shared_data)
    plain = linear.LinearSVM(random_state=0).fit(X, y)
    weighed = linear.NaiveBayesLinear(random_state=0).fit(X, y)
    hits = [(machine.predict(asked) == truth).mean() for machine in (plain, weighed)]
    assert hits[1] > max(hits[0], 0.86)


@pytest.mark.parametrize("classes", [2, 4])
def test_each_class_has_weights_of_its_own(classes):
    X, y = words(classes=classes)
    fitted = linear.NaiveBayesLinear(random_state=0).fit(X, y)
    assert (fitted.predict(X) == y).mean() > 0.95
    assert fitted.coef_.shape == (1 if classes == 2 else classes, 3000)
    assert fitted.intercept_.shape == (len(fitted.coef_),)


def test_dense_and_sparse_give_the_same_model():
    X, y = words()
    one, other = (linear.NaiveBayesLinear(random_state=0).fit(given, y) for given in (X, X.toarray()))
    assert np.allclose(one.coef_, other.coef_, atol=1e-6)


def test_the_answer_is_the_coefficients_alone():
    X, y = words(classes=3)
    fitted = linear.NaiveBayesLinear(random_state=0).fit(X, y)
    margins = X @ fitted.coef_.T + fitted.intercept_
    assert np.allclose(fitted.decision_function(X), margins)
    assert (fitted.predict(X) == margins.argmax(axis=1)).all()
    assert np.allclose(fitted.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("rows", [cancer, iris])
def test_calibrated_margins_are_probabilities(rows):
    columns, y, schema = rows()
    X = np.column_stack(list(columns.values.values()))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    codes = np.searchsorted(schema.classes, y.astype(str))
    fitted = linear.LinearSVM(C=0.01, random_state=0).fit(X[::2], codes[::2])
    slope, offset = linear.scale(fitted.decision_function(X[1::2]), codes[1::2])
    honest = linear.calibrated(fitted, slope, offset)
    assert np.allclose(honest.decision_function(X), slope * fitted.decision_function(X) + offset)
    assert np.allclose(honest.predict_proba(X), linear.probabilities(slope * fitted.decision_function(X) + offset))

    def loss(machine):
        return -np.log(machine.predict_proba(X[1::2])[np.arange(len(codes[1::2])), codes[1::2]]).mean()

    assert loss(honest) < loss(fitted)


@pytest.mark.parametrize("machine", [linear.LinearSVM, linear.LinearSVR])
def test_fits_side_by_side_are_the_same_as_one_after_the_other(machine):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(3000, 50))
    target = (matrix[:, 0] + random.normal(size=3000) > 0).astype(int)
    fit = lambda seed: machine(C=0.01, tol=0.1, random_state=seed).fit(matrix, target).coef_
    alone = [fit(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, range(12)))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))
