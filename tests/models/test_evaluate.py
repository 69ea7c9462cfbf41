import json
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from keepfit.config import Evaluation
from keepfit.errors import ConfigError
from keepfit.features.values import Columns
from keepfit.models import evaluate, plots, tasks, train
from keepfit.models.fitted import Output
from keepfit.types import Column, Schema
from tests.models.tables import cancer, diabetes, fit, iris

SCHEMA = Schema(
    (Column("age", "number"), Column("plan", "category", distinct=2), Column("id", "id"), Column("y", "target")),
    "classification", "y", ("no", "yes"),
)  # fmt: skip


NOTHING = pl.DataFrame()


def trivial(y, schema):
    """What the trivial baseline that learned from `y` answers for as many rows."""
    return tasks.baseline(Columns({}, len(y)), y, Columns({}, len(y)), schema)


def judged(rows=600, **settings):
    """A model that is right in nine of ten rows, but only in half of those with the plan 'pro'."""
    random = np.random.default_rng(0)
    plan = np.where(random.random(rows) < 0.25, "pro", "free")
    y = np.where(random.random(rows) < 0.4, "yes", "no").astype(object)
    wrong = random.random(rows) < np.where(plan == "pro", 0.5, 0.1)
    said = np.where(wrong, np.where(y == "yes", "no", "yes"), y).astype(object)
    p = np.where(said == "yes", 0.8, 0.2)
    frame = pl.DataFrame({"age": random.normal(size=rows), "plan": plan, "id": np.arange(rows)})
    output = Output(said, np.column_stack([1 - p, p]))
    return (
        evaluate.evaluate(y, output, SCHEMA, trivial(y, SCHEMA), frame, Evaluation(bootstrap=200, **settings), 0),
        y,
        said,
    )


def test_each_metric_has_an_interval_and_the_baseline_beside_it():
    found, y, said = judged()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["value"] == np.mean(y == said)
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["baseline"] == np.mean(y == "no")
    assert found["metrics"]["roc_auc"]["baseline"] == 0.5
    assert (found["rows"], found["resamples"], found["confidence"]) == (600, 200, 0.95)


def test_the_weakest_slice_is_named_with_its_own_interval():
    found, _, _ = judged()
    first = found["slices"][0]
    assert (first["column"], first["group"], first["metric"]) == ("plan", "pro", "accuracy")
    assert first["low"] < first["value"] < first["high"] < found["metrics"]["accuracy"]["low"]
    assert all(one["column"] != "id" for one in found["slices"])
    assert judged(slices=["age"])[0]["slices"] == []


def test_a_small_slice_is_not_named():
    assert all(one["rows"] >= evaluate.SLICE_ROWS for one in judged(rows=100)[0]["slices"])


def test_a_slice_of_an_unknown_column_is_an_error():
    with pytest.raises(ConfigError, match=r"evaluation.slices: no column 'plam'. Did you mean 'plan'"):
        judged(slices=["plam"])


def test_confusion_counts_rows():
    found, y, said = judged()
    counts = found["confusion"]["counts"]
    assert found["confusion"]["classes"] == ["no", "yes"]
    assert counts[1][0] == np.sum((y == "yes") & (said == "no"))
    assert np.sum(counts) == 600


def test_numbers_and_dates_are_cut_into_quarters():
    dates = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 4, 9), "1d", eager=True)
    frame = pl.DataFrame({"n": [float(k) for k in range(99)] + [None], "d": dates, "few": [1, 2] * 50})
    named, counts = np.unique(evaluate.groups(frame, "n", SCHEMA).astype(str), return_counts=True)
    assert dict(zip(named.tolist(), counts.tolist(), strict=True)) == {
        "(missing)": 1, "<= 24": 25, "> 24, <= 49": 25, "> 49, <= 73": 24, "> 73": 25,
    }  # fmt: skip
    assert len(set(evaluate.groups(frame, "d", SCHEMA))) == 4
    assert set(evaluate.groups(frame, "few", SCHEMA)) == {"1", "2"}
    constant = pl.DataFrame({"n": [1.0] * 95 + [2.0, 3.0, 4.0, 5.0, 6.0]})
    assert set(evaluate.groups(constant, "n", SCHEMA)) == {"<= 1", "> 1"}


def test_regression_is_judged_by_its_own_metrics():
    columns, y, schema = diabetes()
    output = train.predict(fit((columns, y, schema), model={"type": "ridge"}, tuning={"trials": 0}), columns)
    frame = pl.DataFrame(dict(columns.values))
    found = evaluate.evaluate(y, output, schema, trivial(y, schema), frame, Evaluation(bootstrap=100), 0)
    assert set(found["metrics"]) == {"mae", "rmse", "r2", "mape", "interval_coverage"}
    assert found["metrics"]["r2"]["baseline"] == pytest.approx(0)
    assert found["metrics"]["interval_coverage"]["baseline"] is None
    assert found["confusion"] is None
    assert all(one["value"] > found["metrics"]["rmse"]["value"] for one in found["slices"])


@pytest.mark.parametrize("rows", [cancer, iris, diabetes])
def test_plots_are_small_and_the_same_each_time(rows, tmp_path):
    columns, y, schema = rows()
    kind = "ridge" if rows is diabetes else "logistic_regression"
    output = train.predict(fit((columns, y, schema), model={"type": kind}, tuning={"trials": 0}), columns)
    first, second = (plots.draw(y, output, schema, tmp_path / name, NOTHING, NOTHING) for name in ("one", "two"))
    names = ["predicted", "residuals"] if rows is diabetes else ["confusion", "roc", "precision_recall", "calibration"]
    assert [path.stem for path in first] == names
    for path, again in zip(first, second, strict=True):
        assert path.stat().st_size < 100_000
        assert path.read_bytes() == again.read_bytes()
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_labels_alone_have_a_confusion_matrix_alone(tmp_path):
    truth = np.array(["no", "yes"] * 10, object)
    assert [path.stem for path in plots.draw(truth, Output(truth), SCHEMA, tmp_path, NOTHING, NOTHING)] == ["confusion"]
