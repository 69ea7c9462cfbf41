from importlib.util import find_spec

import pytest

from keepfit.errors import ConfigError, MissingExtraError
from keepfit.extras import load
from keepfit.models import catalogue, tune
from keepfit.models.series import MODELS


@pytest.mark.parametrize(("name", "task"), [(n, t) for n, row in catalogue.CATALOGUE.items() for t in row.factory])
def test_each_row_builds_with_its_defaults_and_knows_its_space(name, task):
    estimator = catalogue.build(name, task, {}, seed=3)
    assert hasattr(estimator, "fit")
    assert getattr(estimator, "random_state", 3) == 3
    takes = catalogue.known(name, task)
    assert set(tune.space(name, task, {}, {})) <= set(takes)
    row = catalogue.row(name, task)
    assert row.balanced is None or task == "regression" or row.balanced in takes or name == "mlp"


def test_rows_name_modules_that_exist():
    assert all(load(target, "test") for row in catalogue.CATALOGUE.values() for target in row.factory.values())


def test_the_users_parameters_win():
    estimator = catalogue.build("random_forest", "classification", {"n_estimators": 7, "random_state": 1}, seed=3)
    assert (estimator.n_estimators, estimator.random_state) == (7, 1)
    assert catalogue.build("random_forest", "classification", {}, 3, balanced=True).class_weight == "balanced"


def test_an_alias_is_the_same_row():
    assert catalogue.row("naive_bayes_linear", "classification") is catalogue.row("nb_linear", "classification")


@pytest.mark.parametrize(
    ("name", "task", "parameters", "message"),
    [
        (
            "random_forest",
            "classification",
            {"max_iter": 1000},
            "model.max_iter: random_forest takes no such parameter",
        ),
        ("random_forest", "classification", {"n_estimator": 9}, "Did you mean 'n_estimators'"),
        ("lightgbm", "regression", {"num_leafs": 9}, "Did you mean 'num_leaves'"),
        ("sklearn.neighbors:KNeighborsClassifier", "classification", {"neighbors": 3}, "Did you mean 'n_neighbors'"),
        ("ridge", "classification", {}, "'ridge' does not do classification. These do: .*logistic_regression"),
        ("math:sqrt", "classification", {}, "math:sqrt has no fit and no predict"),
        ("logistic_regresion", "classification", {}, "Did you mean 'logistic_regression'"),
    ],
)
def test_what_no_estimator_takes_is_an_error(name, task, parameters, message):
    with pytest.raises(ConfigError, match=message):
        catalogue.check(name, task, parameters)


def test_lightgbm_takes_its_own_parameter_names():
    catalogue.check("lightgbm", "classification", {"min_data_in_leaf": 5})


def test_a_missing_package_says_what_to_install():
    with pytest.raises(MissingExtraError, match="pip install"):
        catalogue.check("no_such_package_here:Model", "classification", {})


def test_auto_gives_a_parameter_to_those_that_take_it():
    names = ["logistic_regression", "lightgbm"]
    shared = catalogue.shared({"max_iter": 500, "num_leaves": 9}, names, "classification")
    assert shared == {"logistic_regression": {"max_iter": 500}, "lightgbm": {"num_leaves": 9}}
    with pytest.raises(ConfigError, match=r"model.max_itr: none of the estimators .* Did you mean 'max_iter'"):
        catalogue.shared({"max_itr": 1}, names, "classification")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"n_estimator": [1]}, "tuning.space.n_estimator: random_forest takes no such parameter"),
        ({"max_depth": 3}, "tuning.space.max_depth: 3 is no space"),
        ({"max_depth": {"low": 3, "hi": 5}}, "tuning.space.max_depth"),
        ({"max_depth": {"low": 3, "high": 5, "lg": True}}, "unknown key. Did you mean 'log'|Known: low, high, log"),
        ({"max_depth": {"low": 5, "high": 3}}, "low must be a number below high"),
    ],
)
def test_a_space_that_is_none_is_an_error(space, message):
    with pytest.raises(ConfigError, match=message):
        tune.space("random_forest", "classification", {}, space)


def test_what_the_user_fixed_is_not_searched():
    assert "C" not in tune.space("logistic_regression", "classification", {"C": 1.0}, {})
    assert tune.space("logistic_regression", "classification", {"C": 1.0}, {"C": [1, 2]}) == {"C": [1, 2]}


def test_each_forecasting_model_has_a_row_with_the_options_that_its_fit_takes():
    for name, module in MODELS.items():
        if find_spec(module) is None:
            continue
        row = catalogue.row(name, "forecast")
        assert row.defaults["model"] == name
        assert {"season", *load(module, "model.type").DEFAULTS} <= {*row.extra, row.past}
        made = catalogue.build(name, "forecast", {"season": (4,), "horizon": 3}, 7)
        (model,) = made.about.models
        assert (model.name, model.season, model.seed, made.about.horizon) == (name, (4,), 7, 3)
