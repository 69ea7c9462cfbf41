import numpy as np
import pytest
import sklearn.metrics as sk

from keepfit.errors import ConfigError
from keepfit.models import bootstrap, metrics
from keepfit.models.calibrate import softmax
from keepfit.models.fitted import Output, labels


def answers(classes, rows=800, digits=2):
    """Truth and output with many equal probabilities."""
    random = np.random.default_rng(classes)
    names = tuple(f"c{k:02d}" for k in range(classes))
    y = random.integers(0, classes, rows)
    p = np.round(softmax(random.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[y]), digits) + 1e-3
    p /= p.sum(axis=1, keepdims=True)
    return y, np.array(names, object)[y], Output(labels(p, names, None), p), names


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_metrics_are_those_of_scikit_learn(classes):
    y, truth, output, names = answers(classes)
    p, picked, average = (
        output.probabilities,
        output.probabilities.argmax(axis=1),
        "binary" if classes == 2 else "macro",
    )
    score = p[:, 1] if classes == 2 else p
    found = metrics.point(truth, output, names)
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(y, picked),
            "balanced_accuracy": sk.balanced_accuracy_score(y, picked),
            "precision": sk.precision_score(y, picked, average=average),
            "recall": sk.recall_score(y, picked, average=average),
            "f1": sk.f1_score(y, picked, average=average),
            "roc_auc": sk.roc_auc_score(y, score, multi_class="ovr"),
            "pr_auc": sk.average_precision_score(y, score),
            "log_loss": sk.log_loss(y, p),
            "brier": np.mean(((p - np.eye(classes)[y]) ** 2).sum(axis=1)) / (2 if classes == 2 else 1),
        },
        abs=1e-9,
    )


def test_regression_metrics_are_those_of_scikit_learn():
    random = np.random.default_rng(1)
    y = random.lognormal(12, 1, 500)
    guess = y * random.lognormal(0, 0.3, 500)
    found = metrics.point(y, Output(guess, low=guess * 0.8, high=guess * 1.2), ())
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, guess))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, guess))
    assert found["r2"] == pytest.approx(sk.r2_score(y, guess))
    assert found["mape"] == pytest.approx(sk.mean_absolute_percentage_error(y, guess))
    assert found["interval_coverage"] == np.mean((guess * 0.8 <= y) & (y <= guess * 1.2))


def test_resamples_are_the_metrics_of_the_drawn_rows():
    """Each weighting gives what the metric gives on rows that are there so many times."""
    _, truth, output, names = answers(3, 120)
    drawn = metrics.samples(truth, output, names, resamples=4, seed=5)
    for k, weights in enumerate(np.concatenate(list(bootstrap.draw(120, 4, 5)))):
        rows = np.repeat(np.arange(120), weights.astype(int))
        assert len(rows) == 120
        again = metrics.point(truth[rows], output[rows], names)
        assert {name: drawn[name][k] for name in again} == pytest.approx(again, rel=1e-4)


def test_the_same_seed_draws_the_same_rows_so_that_differences_are_paired():
    _, truth, output, names = answers(2)
    first, second = (metrics.samples(truth, output, names, ["accuracy"], 50, seed=3)["accuracy"] for _ in range(2))
    assert (first == second).all()
    assert (first != metrics.samples(truth, output, names, ["accuracy"], 50, seed=4)["accuracy"]).any()


def test_an_interval_covers_the_value_and_shrinks_with_rows(monkeypatch):
    _, truth, output, names = answers(2, 2000)
    value = metrics.point(truth, output, names, ["roc_auc"])["roc_auc"]
    low, high = bootstrap.interval(metrics.samples(truth, output, names, ["roc_auc"], 300)["roc_auc"], 0.95)
    assert low < value < high
    # rows beyond the limit are not drawn, yet the interval is as wide as with all of them
    monkeypatch.setattr(bootstrap, "ROWS", 500)
    fewer = bootstrap.interval(metrics.samples(truth, output, names, ["roc_auc"], 300)["roc_auc"], 0.95)
    assert fewer[1] - fewer[0] == pytest.approx(high - low, rel=0.25)


def test_what_is_not_defined_is_not_a_number():
    one = np.array(["a"] * 4, object)
    output = Output(one, np.array([[0.9, 0.1]] * 4))
    found = metrics.point(one, output, ("a", "b"))
    assert np.isnan(found["roc_auc"])
    assert found["accuracy"] == 1
    assert np.isnan(metrics.point(np.ones(3), Output(np.ones(3)), ())["r2"])
    assert all(np.isnan(bootstrap.interval(np.array([np.nan]), 0.95)))


def test_a_label_that_the_model_does_not_know_is_a_wrong_answer():
    truth = np.array(["a", "new"], object)
    output = Output(np.array(["a", "a"], object), np.array([[0.8, 0.2], [0.8, 0.2]]))
    found = metrics.point(truth, output, ("a", "b"))
    assert found["accuracy"] == 0.5
    assert found["log_loss"] > 10


def test_labels_alone_give_the_metrics_of_labels():
    truth = np.array(["a", "b"], object)
    assert "log_loss" not in metrics.point(truth, Output(truth), ("a", "b"))


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"tuning.metric: no metric 'acuracy' .*Did you mean 'accuracy'"):
        metrics.named("acuracy", "classification", "tuning.metric")
