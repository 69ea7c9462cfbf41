import json
import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from keepfit import engine
from keepfit.errors import ConfigError, ModelError
from keepfit.features.text import tokens
from keepfit.features.values import Columns
from keepfit.models import boosting, crossfit, metrics, train
from keepfit.models.calibrate import sigmoid
from keepfit.types import Column, Schema
from tests.models.tables import cancer, diabetes, fit, folds, iris, table

QUICK = {"tuning": {"trials": 0}}


class Centroid(ClassifierMixin, BaseEstimator):
    """A user's own estimator, without probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.centres = np.array([X[y == k].mean(axis=0) for k in self.classes_])
        return self

    def predict(self, X):
        return self.classes_[((X[:, None] - self.centres) ** 2).sum(axis=2).argmin(axis=1)]


def answers(model, columns):
    output = train.predict(model, columns)
    return output.probabilities if output.probabilities is not None else output.values


def test_auto_blends_and_beats_its_members_out_of_fold():
    columns, y, schema = cancer()
    model = fit((columns, y, schema))
    board = model.report["leaderboard"]
    assert model.report["score"] <= min(line["score"] for line in board)
    assert sum(member.weight for member in model.members) == pytest.approx(1)
    assert {line["name"] for line in board} >= {"lightgbm", "logistic_regression (C 1)"}
    found = metrics.point(y, train.predict(model, columns), schema.classes)
    assert found["accuracy"] > 0.97


def test_a_bag_shares_one_feature_state():
    model = fit(diabetes(), model={"type": "lightgbm"}, **QUICK)
    assert len(model.members) == 5
    assert len({id(member.features) for member in model.members}) == 1
    assert [member.weight for member in model.members] == [0.2] * 5


def test_selection_is_made_in_each_fold_and_ends_the_sharing():
    """Noise alone: were features selected on all rows, held-out rows would look predictable."""
    random = np.random.default_rng(0)
    rows = table(random.normal(size=(120, 200)), np.array(["a", "b"], object)[random.integers(0, 2, 120)])
    for kind in ("logistic_regression", "lightgbm"):
        model = fit(rows, model={"type": kind}, features={"select": "mutual_information", "keep": 10}, **QUICK)
        assert model.report["score"] > 0.64  # that of knowing nothing is 0.69
        assert len(model.members) == 1
        assert model.members[0].features["width"] == 10


@pytest.mark.parametrize("rows", [iris, cancer, diabetes])
def test_the_same_arguments_give_the_same_model(rows):
    data = rows()
    first, second = (answers(fit(data), data[0]) for _ in range(2))
    assert (first == second).all()


def test_a_search_is_seeded_and_no_worse_than_the_defaults():
    data = iris()
    asked = {"model": {"type": "logistic_regression"}, "tuning": {"trials": 6}}
    first, second = fit(data, **asked), fit(data, **asked)
    assert first.report["trials"][0]["parameters"] == {}
    assert [t["parameters"] for t in first.report["trials"]] == [t["parameters"] for t in second.report["trials"]]
    assert (answers(first, data[0]) == answers(second, data[0])).all()
    assert first.report["score"] <= first.report["trials"][0]["score"]


@pytest.mark.parametrize("search", ["random", "grid"])
def test_other_searches(search):
    asked = {"trials": 4, "search": search, "space": {"C": {"low": 0.001, "high": 1000.0, "log": True}}}
    model = fit(iris(), model={"type": "logistic_regression"}, tuning=asked)
    tried = [t["parameters"].get("C") for t in model.report["trials"]]
    assert len(tried) == 5
    assert search != "grid" or tried[1:] == pytest.approx([0.001, 1000**-0.5, 1.0, 1000**0.5])


@pytest.mark.parametrize("kind", ["linear_svm", "hist_gradient_boosting", "extra_trees", "mlp", "nb_linear", "dummy"])
def test_estimators_of_the_catalogue_learn(kind):
    columns, y, schema = cancer()
    model = fit(
        (columns, y, schema), model={"type": kind, **({"n_estimators": 20} if kind == "extra_trees" else {})}, **QUICK
    )
    loss = metrics.point(y, train.predict(model, columns), schema.classes, ["log_loss"])["log_loss"]
    assert loss < (0.7 if kind == "dummy" else 0.25)


@pytest.mark.parametrize(
    "kind", ["ridge", "elastic_net", "linear_svm", "random_forest", "mlp", "hist_gradient_boosting"]
)
def test_regressors_of_the_catalogue_learn_on_the_targets_own_scale(kind):
    columns, y, schema = diabetes()
    large = 1e6 * y + 1e8
    few = {"n_estimators": 20} if kind == "random_forest" else {}
    model = fit((columns, large, schema), model={"type": kind, **few}, **QUICK)
    assert metrics.point(large, train.predict(model, columns), ())["r2"] > 0.4


def test_a_users_estimator_is_trained_like_any_other():
    columns, y, schema = iris()
    model = fit((columns, y, schema), model={"type": f"{__name__}:Centroid"}, tuning={"metric": "accuracy"})
    assert (train.predict(model, columns).values == y).mean() > 0.8
    assert model.members[0].name.endswith(":Centroid")


def test_margins_are_calibrated_out_of_fold():
    columns, y, schema = cancer()
    model = fit((columns, y, schema), model={"type": "linear_svm"}, **QUICK)
    assert model.report["score"] < 0.15
    member = model.members[0]
    made = crossfit.matrix(train.features.apply(dict(member.features), columns))
    probabilities = sigmoid(made @ member.estimator.coef_[0] + member.estimator.intercept_[0])
    assert np.allclose(probabilities, answers(model, columns)[:, 1])


def test_the_interval_covers_nine_of_ten_new_rows():
    columns, y, schema = diabetes()
    known, new = np.arange(0, 442, 2), np.arange(1, 442, 2)
    model = fit((columns[known], y[known], schema), model={"type": "ridge"}, **QUICK)
    output = train.predict(model, columns[new])
    assert model.report["interval"] == model.interval
    assert 0.83 < metrics.point(y[new], output, ())["interval_coverage"] < 0.97


def test_a_skewed_target_is_learned_on_its_logarithm():
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 3))
    y = np.exp(2 * X[:, 0] + X[:, 1] + random.normal(size=600) / 5)
    columns, _, schema = table(X, y)
    model = fit((columns, y, schema))
    assert any(member.link == "exp" for member in model.members)
    assert (train.predict(model, columns).values > 0).mean() > 0.9


def test_rare_classes_are_weighed_where_the_metric_wants_it():
    random = np.random.default_rng(0)
    X = random.normal(size=(1500, 4))
    y = np.where(random.random(1500) < sigmoid(2 * X[:, 0] - 3.5), "rare", "usual").astype(object)
    columns, _, schema = table(X, y)
    asked = {"model": {"type": "logistic_regression"}, "tuning": {"trials": 0}}
    plain = fit((columns, y, schema), **asked).report["imbalance"]
    assert plain["method"] == "none"
    assert plain["measured"]["none"] < plain["measured"]["balanced"]
    forced = fit((columns, y, schema), model={"type": "logistic_regression", "imbalance": "balanced"}, **QUICK)
    assert forced.report["imbalance"] == {
        "method": "balanced", "rarest_share": forced.report["imbalance"]["rarest_share"], "why": "model.imbalance"
    }  # fmt: skip
    assert (
        forced.report["calibration"]["method"] != "none"
    )  # weights make probabilities dishonest, calibration mends it


def test_the_threshold_follows_costs_and_metric():
    data = cancer()
    asked = {"type": "logistic_regression", "costs": {"false_positive": 10.0, "false_negative": 1.0}}
    model = fit(data, model=asked, **QUICK)
    assert model.threshold > 0.6
    assert model.report["threshold"]["why"] == "model.costs"
    assert fit(data, model={"type": "logistic_regression", "threshold": 0.2}, **QUICK).threshold == 0.2
    with pytest.raises(ConfigError, match=r"model.costs is for two classes; the target has 3"):
        fit(iris(), model=asked, **QUICK)


def test_text_alone_goes_to_the_weighted_linear_model(shared_data):
    import polars as pl

    frame = pl.read_csv(shared_data / "imdb" / "imdb_reviews.csv.gz").filter(pl.col("id") < 250)
    columns = Columns({"text": tokens(frame["text"].to_list())}, len(frame))
    y = np.array(frame["label"].to_list(), object)
    schema = Schema((Column("text", "text"), Column("label", "target")), "classification", "label", ("neg", "pos"))
    model = fit((columns, y, schema))
    assert [member.name for member in model.members] == ["nb_linear"]
    assert model.report["leaderboard"][0]["score"] < 0.55
    assert model.members[0].estimator.coef_.shape == (1, model.members[0].features["width"])


def test_the_report_is_plain_and_tells_everything():
    told = []
    model = fit(cancer(), progress=lambda *what: told.append(what))
    report = json.loads(json.dumps(model.report, allow_nan=False))
    assert set(report) == {
        "metric", "score", "folds", "why", "leaderboard", "trials", "imbalance", "budget", "interrupted", "select",
        "calibration", "threshold", "seconds",
    }  # fmt: skip
    assert set(report["leaderboard"][0]) == {
        "name", "type", "score", "sd", "folds", "seconds", "parameters", "link", "weight", "converged",
    }  # fmt: skip
    assert all(done <= total for done, total, *_ in told if total)
    assert any(best and best.startswith("log_loss ") for *_, best in told)


def test_the_time_budget_cuts_and_says_so():
    model = fit(cancer(), tuning={"time_budget": 1e-6})
    assert "time budget" in model.report["budget"]["left_out"].values()
    searched = fit(iris(), model={"type": "logistic_regression"}, tuning={"time_budget": 1e-6})
    assert searched.report["budget"]["search_ended"] == "time budget"
    assert len(searched.report["trials"]) == 1


@pytest.mark.parametrize("kind", ["auto", "logistic_regression"])
def test_stopping_keeps_the_best_so_far(kind):
    columns, y, schema = cancer()
    stop = threading.Event()
    seen = []

    def progress(done, total, message, best):
        seen.append(best)
        if best:
            stop.set()

    model = fit((columns, y, schema), stop=stop, progress=progress, model={"type": kind})
    assert model.report["interrupted"] is True
    assert len(model.report["leaderboard"]) == 1
    assert (train.predict(model, columns).values == y).mean() > 0.95


def test_ctrl_c_while_the_winner_is_refitted_keeps_the_folds_models():
    columns, y, schema = diabetes()

    def progress(done, total, message, best):
        if message.startswith("fitting"):
            raise KeyboardInterrupt

    model = fit((columns, y, schema), progress=progress, model={"type": "ridge"}, **QUICK)
    assert model.report["interrupted"] is True
    assert len(model.members) == 5
    assert metrics.point(y, train.predict(model, columns), ())["r2"] > 0.4


def test_with_nothing_finished_the_interruption_goes_on():
    stop = threading.Event()
    stop.set()
    for kind in ("auto", "lightgbm"):
        with pytest.raises(KeyboardInterrupt):
            fit(cancer(), stop=stop, model={"type": kind})


def test_a_stopped_booster_does_not_pass_for_a_finished_one():
    stop = threading.Event()
    estimator = crossfit.catalogue.build("lightgbm", "regression", {}, 0)
    stop.set()
    with pytest.raises(engine.Stopped):
        boosting.fit(estimator, np.eye(30), np.arange(30.0), None, [], stop, float("inf"))


def test_a_booster_keeps_its_trees_when_time_is_up():
    columns, y, _schema = diabetes()
    X = np.column_stack(list(columns.values.values()))
    estimator = crossfit.catalogue.build("lightgbm", "regression", {}, 0)
    boosting.fit(estimator, X, y, (X, y), [], threading.Event(), 0.0)
    assert boosting.rounds(estimator) == 1


@pytest.mark.parametrize("kind", ["auto", "random_forest", "lightgbm", "nb_linear", "hist_gradient_boosting", "mlp"])
def test_a_label_seen_once_and_few_rows(kind):
    columns, y, schema = iris()
    y = y.copy()
    y[0] = "once"
    classes = tuple(sorted(set(y.tolist())))
    some = np.r_[0:12, 50:62, 100:112]
    rows = (columns[some], y[some], Schema(schema.columns, "classification", "y", classes))
    small = {"n_estimators": 10} if kind == "random_forest" else {}
    model = fit(rows, folds(y[some], 3), model={"type": kind, **small}, **QUICK)
    output = train.predict(model, columns)
    assert output.probabilities.shape == (150, 4)
    assert np.allclose(output.probabilities.sum(axis=1), 1)


def test_twelve_rows():
    columns, y, schema = diabetes()
    model = fit((columns[np.arange(12)], y[:12], schema), folds(y[:12], 3))
    assert np.isfinite(train.predict(model, columns).values).all()


def test_nothing_to_learn_from_is_not_an_accident():
    _, y, _ = diabetes()
    rows = table(np.full((442, 3), np.nan), y)
    assert train.predict(fit(rows), rows[0]).values == pytest.approx(y.mean(), rel=0.1)
    columns, _, schema = diabetes()
    assert train.predict(fit((columns, np.full(442, 3.0), schema)), columns).values == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (["a"] * 150, ("a",), "only the label 'a'"),
        (["a", "z"] * 75, ("a", "b"), "the label 'z', which is none of a, b"),
    ],
)
def test_targets_that_cannot_be_learned(labels, classes, message):
    columns, _, schema = iris()
    y = np.array(labels, object)
    with pytest.raises(ModelError, match=message):
        fit((columns, y, Schema(schema.columns, "classification", "y", classes)), folds(y, 3))


def test_no_features_and_no_folds():
    columns, y, schema = iris()
    with pytest.raises(ModelError, match="No column is left to learn from"):
        fit((columns, y, Schema((Column("y", "target"),), "classification", "y", schema.classes)))
    with pytest.raises(ModelError, match="150 training rows give no fold"):
        train.train(columns, y, schema, fit.__globals__["config"](), [], 0)


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        (
            {"model": {"type": "random_forest", "max_depth": -3}},
            ModelError,
            "random_forest could not be fitted: .*max_depth",
        ),
        ({"model": {"type": "random_forest", "max_iter": 9}}, ConfigError, "model.max_iter"),
        ({"tuning": {"metric": "rmse"}}, ConfigError, "tuning.metric: no metric 'rmse' for classification"),
    ],
)
def test_mistakes_in_the_config(sections, error, message):
    with pytest.raises(error, match=message):
        fit(iris(), **sections)


@pytest.mark.slow
def test_two_thousand_columns():
    random = np.random.default_rng(0)
    X = random.normal(size=(1000, 2000))
    y = np.where(X[:, 0] + X[:, 1] + random.normal(size=1000) > 0, "yes", "no").astype(object)
    rows = table(X, y)
    model = fit(rows, tuning={"time_budget": 5, "cv": 2})
    assert metrics.point(y, train.predict(model, rows[0]), rows[2].classes)["accuracy"] > 0.75
