"""A bundle as MLflow loads and serves it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression, Ridge

from keepfit.deployment import batch, pyfunc
from keepfit.errors import BundleError, DataError
from keepfit.models import bundle
from tests.models import fits

FRAME = pd.DataFrame(
    {
        "age": [20, 40, None, 70],
        "income": [1e4, 2e4, 3e4, 4e4],
        "plan": ["free", "pro", "pro", "never seen"],
        "town": ["town 1", "town 2", None, "town 3"],
        "since": pd.to_datetime(["2020-01-01", "2021-02-03", "2021-02-03", "2022-05-05"]),
    },
    index=[10, 20, 30, 40],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = fits.fitted([LogisticRegression()])
    return bundle.write(
        tmp_path_factory.mktemp("b") / "bundle", model, fits.schema("two"), fits.ABOUT, **fits.REST
    ).path


@pytest.fixture(scope="module")
def model(folder):
    return pyfunc._load_pyfunc(str(folder))


def test_labels_with_the_index_of_the_input(model):
    found = model.predict(FRAME)
    assert found.name == "prediction"
    assert list(found.index) == [10, 20, 30, 40]
    assert found.tolist() == batch.frame(model.runtime, FRAME)["prediction"].tolist()


def test_probabilities_a_column_a_class(model):
    found = model.predict(FRAME, params={"method": "predict_proba"})
    assert list(found.columns) == ["no", "yes"]
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert model.predict_proba(FRAME).equals(found)


def test_all_columns_and_names_that_are_taken(model):
    found = model.predict(FRAME.assign(prediction="theirs"), params={"method": "all"})
    assert list(found.columns) == ["prediction", "confidence", "probability_no", "probability_yes"]
    assert found["prediction"].tolist() == model.predict(FRAME).tolist()


@pytest.mark.parametrize("given", [FRAME.to_dict("list"), FRAME.to_dict("records"), FRAME.to_numpy(object)])
def test_what_else_is_handed_over(model, given):
    assert model.predict(given).tolist() == model.predict(FRAME).tolist()


def test_errors_are_told(model, tmp_path):
    with pytest.raises(DataError, match=r"unknown method 'proba'\. Known: predict, predict_proba, all"):
        model.predict(FRAME, params={"method": "proba"})
    with pytest.raises(DataError, match=r"lack 1 column.*'plan'"):
        model.predict(FRAME.drop(columns="plan"))
    with pytest.raises(DataError, match="The input has 2 columns; the model needs 5: age, income"):
        model.predict(np.zeros((3, 2)))
    values = fits.fitted([Ridge()], "values")
    made = bundle.write(tmp_path / "b", values, fits.schema("values"), fits.ABOUT, **fits.REST)
    with pytest.raises(DataError, match="this model predicts a value"):
        pyfunc._load_pyfunc(str(made.path)).predict_proba(FRAME)
    assert pyfunc._load_pyfunc(str(made.path)).predict(FRAME).dtype == float


def test_functions_are_found_by_name_and_hash(tmp_path, monkeypatch):
    file = tmp_path / "project" / "features.py"
    file.parent.mkdir()
    file.write_text("def twice(frame):\n    return frame['age'] * 2\n")
    model = fits.fitted([LogisticRegression()])
    made = bundle.write(tmp_path / "b", model, fits.schema("two"), fits.ABOUT, hooks=file, **fits.REST).path
    with pytest.raises(BundleError, match=r"needs the functions of features\.py"):
        pyfunc._load_pyfunc(str(made))
    monkeypatch.chdir(file.parent)
    assert pyfunc._load_pyfunc(str(made)).predict(FRAME).isin(["no", "yes"]).all()
    file.write_text("raise SystemExit('another file')\n")
    with pytest.raises(BundleError, match="is not the file that the model"):
        pyfunc._load_pyfunc(str(made))


def test_mlflow_loads_it(tmp_path, folder):
    pyfuncs = pytest.importorskip("mlflow.pyfunc")
    (tmp_path / "bundle").symlink_to(folder)
    flavor = {"loader_module": "keepfit.deployment.pyfunc", "data": "bundle", "python_version": "3.11.0"}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavor}}))
    loaded = pyfuncs.load_model(str(tmp_path))
    assert loaded.predict(FRAME).tolist() == pyfunc._load_pyfunc(str(folder)).predict(FRAME).tolist()
