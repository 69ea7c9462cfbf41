"""Fitted trees as ONNX give the library's own scores, up to the order of float64 sums."""

from __future__ import annotations

import lightgbm
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from keepfit.errors import ModelError
from keepfit.models import tree_graph, trees

BOOST = {"n_estimators": 30, "num_leaves": 15, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}


def scores(forests, matrix):
    session = onnxruntime.InferenceSession(
        tree_graph.graph(forests).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["scores"], {"features": matrix})[0]


def same(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def data():
    """A matrix with numbers on a coarse grid (so that rows meet thresholds), categories and holes."""
    random = np.random.default_rng(0)
    matrix = (random.integers(-40, 40, (3000, 6)) / 10).astype(np.float32)
    matrix[:, 3] = random.integers(0, 90, 3000)
    matrix[:, 4] = random.integers(0, 6, 3000)
    matrix[random.random(matrix.shape) < 0.07] = np.nan
    known = np.nan_to_num(matrix)
    target = known[:, 0] * known[:, 1] + 2 * np.sin(known[:, 3]) + (known[:, 4] == 2) + random.normal(size=3000) / 3
    return matrix, target


@pytest.fixture(scope="module")
def asked(data):
    """The rows again, and with holes, unseen codes, extremes and the zeros' neighbours in them."""
    random = np.random.default_rng(1)
    odd = data[0].copy()
    values = [np.nan, -1, 0, 1e-35, -1e-35, 1.1e-35, 1e-38, 63, 64, 89, 90, 200, 1e30, -1e30]
    places = random.random(odd.shape) < 0.3
    odd[places] = random.choice(np.array(values, np.float32), places.sum())
    odd[:, 3:5] = np.trunc(odd[:, 3:5])  # codes are whole numbers
    return np.concatenate([data[0], odd])


@pytest.mark.parametrize("categories", [[], [3], [3, 4]], ids=str)
@pytest.mark.parametrize("options", [{}, {"use_missing": False}, {"zero_as_missing": True}], ids=str)
def test_lightgbm_is_exact(data, asked, categories, options):
    matrix, target = data
    model = lightgbm.LGBMClassifier(**BOOST, **options).fit(matrix, target > 0, categorical_feature=categories)
    expected = model.predict(asked, raw_score=True)
    same(scores([trees.read(model)], asked)[:, 0], expected)


def test_a_bag_is_one_graph_and_several_classes_are_side_by_side(data, asked):
    matrix, target = data
    bag = [lightgbm.LGBMClassifier(**BOOST, random_state=k, subsample=0.7, subsample_freq=1) for k in range(3)]
    classes = np.digitize(target, [-1, 1])
    bag = [model.fit(matrix, classes, categorical_feature=[3]) for model in bag]
    got = scores([trees.read(model) for model in bag], asked)
    assert got.shape == (len(asked), 9)
    for k, model in enumerate(bag):
        same(got[:, 3 * k : 3 * k + 3], model.predict(asked, raw_score=True))


@pytest.mark.parametrize(
    ("options", "score"),
    [
        ({"objective": "regression"}, "identity"),
        ({"objective": "poisson"}, "exp"),
        ({"objective": "regression", "reg_sqrt": True}, "signed_square"),
        ({"objective": "regression", "boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1}, "identity"),
    ],
)
def test_lightgbm_regression(data, asked, options, score):
    matrix, target = data
    model = lightgbm.LGBMRegressor(**BOOST, **options).fit(matrix, np.abs(target) * 1e4)
    read = trees.read(model.booster_)
    assert read.score == score
    averaged = options.get("boosting_type") == "rf"  # its raw score is a sum, its prediction the mean
    same(scores([read], asked)[:, 0], model.predict(asked, raw_score=not averaged))


def test_lightgbm_early_stopping_keeps_the_best_trees(data, asked):
    matrix, target = data
    train = lightgbm.Dataset(matrix[:2000], target[:2000])
    valid = lightgbm.Dataset(matrix[2000:], target[2000:], reference=train)
    stop = lightgbm.early_stopping(3, verbose=False)
    options = {"learning_rate": 0.5, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, train, 200, valid_sets=[valid], callbacks=[stop])
    assert 0 < booster.best_iteration < 200
    same(scores([trees.read(booster)], asked)[:, 0], booster.predict(asked))


@pytest.mark.parametrize("model", [RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier])
@pytest.mark.parametrize("limits", [[0], [-1, 0, 1]], ids=["two classes", "four classes"])
def test_classifiers_of_shares(data, asked, model, limits):
    matrix, target = data
    model = model(random_state=0, min_samples_leaf=3).fit(matrix, np.digitize(target, limits))
    got = scores([trees.read(model)], asked)
    np.testing.assert_allclose(got, model.predict_proba(asked)[:, :-1], atol=1e-7)


@pytest.mark.parametrize("model", [ExtraTreesRegressor, DecisionTreeRegressor])
def test_regressors_of_means(data, asked, model):
    model = model(random_state=0).fit(*data)
    same(scores([trees.read(model)], asked)[:, 0], model.predict(asked))


@pytest.mark.parametrize("categories", [None, [4], [3, 4]], ids=str)
def test_histogram_boosting(data, asked, categories):
    matrix, target = data
    options = {"max_iter": 20, "categorical_features": categories, "random_state": 0}
    two = HistGradientBoostingClassifier(**options).fit(matrix, target > 0)
    same(scores([trees.read(two)], asked)[:, 0], two.decision_function(asked))
    three = HistGradientBoostingClassifier(**options).fit(matrix, np.digitize(target, [-1, 1]))
    same(scores([trees.read(three)], asked), three.decision_function(asked))
    values = HistGradientBoostingRegressor(**options).fit(matrix, target)
    same(scores([trees.read(values)], asked)[:, 0], values.predict(asked))


def test_a_constant_model_is_a_single_leaf(data):
    matrix, _ = data
    model = DecisionTreeRegressor().fit(matrix, np.full(len(matrix), 7.5))
    assert (scores([trees.read(model)], matrix) == 7.5).all()
    boosted = lightgbm.LGBMRegressor(**BOOST).fit(matrix, np.full(len(matrix), 2.0))
    same(scores([trees.read(boosted)], matrix)[:, 0], boosted.predict(matrix))
    shares = DecisionTreeClassifier(max_depth=1).fit([[0.0], [1.0], [2.0]], [2, 0, 1])
    ask = np.array([[0], [3]], np.float32)
    np.testing.assert_allclose(scores([trees.read(shares)], ask), shares.predict_proba(ask)[:, :2], atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8, unique=True))
def test_float32_neighbours_of_every_threshold_go_where_they_went(thresholds):
    """A threshold is a double: the float32 values next to it must not change sides."""
    values = np.sort(np.array(thresholds))
    tree = DecisionTreeRegressor().fit(np.repeat(values[:, None], 2, axis=1), np.arange(len(values)))
    cuts = tree.tree_.threshold[tree.tree_.children_left >= 0].astype(np.float32)
    ask = np.concatenate([cuts, np.nextafter(cuts, np.float32(np.inf)), np.nextafter(cuts, np.float32(-np.inf))])
    if len(ask):
        ask = np.repeat(ask[:, None], 2, axis=1)
        same(scores([trees.read(tree)], ask)[:, 0], tree.predict(ask))


def test_what_has_no_exact_form_is_refused(data):
    matrix, target = data
    with pytest.raises(ModelError, match="LogisticRegression is no tree ensemble"):
        trees.read(LogisticRegression())
    linear = lightgbm.LGBMRegressor(**BOOST, linear_tree=True).fit(matrix, target)
    with pytest.raises(ModelError, match="linear_tree has no ONNX form"):
        trees.read(linear)
    own = lightgbm.LGBMRegressor(**BOOST, objective=lambda y, p: (p - y, np.ones_like(y))).fit(matrix, target)
    with pytest.raises(ModelError, match="objective 'none' has no ONNX form"):
        trees.read(own)
    several = DecisionTreeRegressor().fit(matrix, np.column_stack([target, target]))
    with pytest.raises(ModelError, match="several targets"):
        trees.read(several)
