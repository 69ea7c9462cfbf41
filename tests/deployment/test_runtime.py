"""A loaded bundle: what it imports, what it answers, whose code it runs."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from keepfit.data.parse import Problem
from keepfit.deployment import runtime
from keepfit.errors import BundleError, DataError
from keepfit.extras import load
from keepfit.features.frame import from_frame
from keepfit.features.prepare import prepare
from keepfit.features.rows import from_rows
from keepfit.models import bundle
from keepfit.models.train import predict
from keepfit.types import Column, Schema
from tests.models import fits

HEAVY = ("sklearn", "mlflow", "pandas", "polars", "scipy", "lightgbm", "pydantic", "onnx", "skl2onnx", "skops", "yaml",
         "numpy.ma")  # fmt: skip
BOOST = {"n_estimators": 10, "verbose": -1, "n_jobs": 1}
ROW = {"age": "41", "income": 20000, "plan": "pro", "town": "town 7", "since": "2020-01-05", "note": "good film"}
FRESH = """
import json, pathlib, sys
from keepfit.deployment import runtime
loaded = runtime.load(pathlib.Path(sys.argv[1]))
output, problems = loaded.rows([json.loads(sys.argv[2])])
print(json.dumps([list(sys.modules), list(output.values), problems]))
"""


def write(folder, model, kind="two", text=False):
    return bundle.write(folder, model, fits.schema(kind, text), fits.ABOUT, **fits.REST).path


@pytest.mark.parametrize(
    ("estimator", "style", "text", "allowed"),
    [
        (LogisticRegression(), "linear", True, set()),
        (LGBMClassifier(**BOOST), "tree", True, set()),
        (ExtraTreesClassifier(5), "tree", True, {"onnxruntime"}),
    ],
    ids=["linear", "boosting", "deep trees"],
)
def test_a_fresh_process_imports_nothing_heavy(tmp_path, estimator, style, text, allowed):
    folder = write(tmp_path / "b", fits.fitted([estimator], style=style, text=text), text=text)
    done = subprocess.run([sys.executable, "-c", FRESH, str(folder), json.dumps(ROW)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules, values, problems = json.loads(done.stdout)
    assert values[0] in ("no", "yes")
    assert problems == []
    assert {name for name in (*HEAVY, "onnxruntime") if name in modules} == allowed


@pytest.mark.parametrize("target", runtime.RUNTIMES.values())
def test_every_row_of_the_table_is_there(target):
    assert callable(load(target, "test"))


def test_rows_and_columns_are_answered_alike(tmp_path):
    model = fits.fitted([LogisticRegression()])
    loaded = runtime.load(write(tmp_path / "b", model))
    output, problems = loaded.rows([ROW, {**ROW, "age": None, "plan": "never seen"}])
    assert problems == []
    columns, _ = from_rows([ROW, {**ROW, "age": None, "plan": "never seen"}], fits.schema("two"))
    np.testing.assert_allclose(output.probabilities, predict(model, columns).probabilities, atol=1e-7)
    assert output.probabilities.sum(axis=1) == pytest.approx([1, 1])


def test_what_is_wrong_with_rows_is_told(tmp_path):
    loaded = runtime.load(write(tmp_path / "b", fits.fitted([LogisticRegression()])))
    _, problems = loaded.rows([ROW, {key: value for key, value in ROW.items() if key != "plan"} | {"age": "old"}])
    assert problems == [
        Problem(1, "age", "not a number: 'old'"),
        Problem(1, "plan", "is not there; send null if the value is unknown"),
    ]


def test_a_bag_and_a_stranger_are_weighted(tmp_path):
    """Members that lie side by side are averaged in one pass; the result is the weighted mean all the same."""
    trees = [LGBMRegressor(**BOOST, random_state=k) for k in range(3)]
    model = fits.fitted([*trees, Ridge(), LGBMRegressor(**BOOST, max_depth=2)], "values", "linear")
    for member, weight in zip(model.members, (0.1, 0.4, 0.2, 1.0, 2.0), strict=True):
        object.__setattr__(member, "weight", weight)
    columns, _ = fits.rows(100, seed=9)
    loaded = runtime.load(write(tmp_path / "b", model, "values"))
    assert [entry["kind"] for entry in loaded.bundle.manifest["models"]] == ["linear", "onnx"]
    np.testing.assert_allclose(loaded.predict(columns).values, predict(model, columns).values, rtol=1e-6)


def test_python_needs_scikit_learn_and_answers(tmp_path):
    model = fits.fitted([SVC()])
    loaded = runtime.load(write(tmp_path / "b", model))
    columns, _ = fits.rows(40, seed=2)
    assert (loaded.predict(columns).values == predict(model, columns).values).all()


def test_no_rows_give_no_answers(tmp_path):
    for estimator, style in ((LogisticRegression(), "linear"), (LGBMClassifier(**BOOST), "tree")):
        loaded = runtime.load(write(tmp_path / style, fits.fitted([estimator], style=style)))
        assert len(loaded.predict(fits.rows(5)[0][np.zeros(0, np.intp)])) == 0
        assert len(loaded.rows([])[0]) == 0


def test_threads_do_not_change_the_answer(tmp_path):
    folder = write(tmp_path / "b", fits.fitted([LGBMClassifier(**BOOST)], style="tree"))
    columns, _ = fits.rows(23_000, seed=2)
    one, two = (runtime.load(folder, threads=n).predict(columns).probabilities for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_a_damaged_onnx_file_is_an_error(tmp_path):
    folder = write(tmp_path / "b", fits.fitted([LGBMClassifier(**BOOST)], style="tree"))
    (folder / "models/0.onnx").write_bytes(b"nonsense")
    bundle._seal(folder)
    with pytest.raises(BundleError, match=r"0\.onnx cannot be opened by onnxruntime"):
        runtime.load(folder)


def test_a_numpy_file_with_objects_is_not_unpickled(tmp_path):
    """numpy would run code for an array of objects: it is told not to."""
    folder = write(tmp_path / "b", fits.fitted([LogisticRegression()]))
    np.savez(folder / "models/0.npz", coef=np.array([{"a": 1}], object), intercept=np.zeros(1))
    bundle._seal(folder)
    with pytest.raises(BundleError, match=r"0\.npz holds no model that can be read"):
        runtime.load(folder)


# --- the user's functions -----------------------------------------------------------------------

HOOKS = """import polars as pl

def per_year(frame):
    return frame["income"] / frame["age"]

def month(frame):
    return frame["since"].dt.month()
"""
HOOKED = Schema(
    (
        Column("age", "number", "float"),
        Column("income", "number", "float"),
        Column("since", "date", "date"),
        Column("per_year", "number", "float", hook="per_year"),
        Column("month", "category", hook="month"),
        Column("y", "target"),
    ),
    "classification",
    "y",
    ("no", "yes"),
)


@pytest.fixture
def hooked(tmp_path):
    """A bundle with hooks, the project's file, and the frame it was trained on."""
    file = tmp_path / "features.py"
    file.write_text(HOOKS)
    random = np.random.default_rng(0)
    since = ["2021-03-04", "2022-11-30"] * 150
    frame = pl.DataFrame({"age": random.integers(20, 60, 300), "income": random.lognormal(9, 1, 300), "since": since})
    functions = load("keepfit.features.hooks:load", "test")(file)
    columns = from_frame(prepare(frame, HOOKED, functions)[0], HOOKED)
    y = (columns.values["per_year"] > 300).astype(int)
    state, made = fits.features.fit_apply(columns, HOOKED, y, fits.STYLES["linear"])
    member = fits.Member("logistic", 1.0, state, LogisticRegression(max_iter=500).fit(made, y))
    model = fits.Fitted("classification", HOOKED.classes, (member,))
    folder = bundle.write(tmp_path / "b", model, HOOKED, fits.ABOUT, hooks=file, **fits.REST).path
    return folder, file, frame, columns, model


def test_functions_of_the_project_run_in_serving_as_in_training(hooked):
    folder, file, frame, columns, model = hooked
    loaded = runtime.load(folder, hooks=file)
    output, problems = loaded.rows(frame.head(20).to_dicts())
    assert problems == []
    np.testing.assert_allclose(output.probabilities, predict(model, columns).probabilities[:20], atol=1e-7)
    assert list(loaded.hooks) == ["per_year", "month"]


def test_rows_with_functions_tell_the_same_problems(hooked):
    loaded = runtime.load(hooked[0], hooks=hooked[1])
    _, problems = loaded.rows(
        [{"age": "old", "income": 3}, {"age": 30, "income": None, "since": "2020-01-01"}, "no row"]
    )
    told = [(problem.row, problem.column) for problem in problems]
    assert told == [(0, "age"), (0, "since"), (2, "")]


def test_a_function_that_fails_is_told(hooked):
    loaded = runtime.load(hooked[0], hooks=hooked[1])
    broken = {**loaded.hooks, "month": lambda frame: 1 / 0}
    read = load("keepfit.deployment.hooked:reader", "test")(HOOKED, broken)
    with pytest.raises(DataError, match=r"function 'month'.*ZeroDivisionError"):
        read([{"age": 1, "income": 2, "since": "2020-01-01"}])


def test_without_the_file_there_is_no_answer(hooked):
    with pytest.raises(BundleError, match=r"needs the functions of features\.py .*carries no code.*hooks="):
        runtime.load(hooked[0])


def test_another_file_is_not_run(hooked, tmp_path):
    other = tmp_path / "features.py"
    other.write_text(HOOKS + "\nraise SystemExit('this ran')\n")
    with pytest.raises(BundleError, match=r"is not the file that the model .* was trained with: its sha256 is"):
        runtime.load(hooked[0], hooks=other)
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        runtime.load(hooked[0], hooks=tmp_path / "gone.py")
