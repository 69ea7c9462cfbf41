"""A network on the way of all models: cross-validated, chosen, stored, proved; and pictures in `model.type: auto`."""

import gzip
import importlib.util
import re
import threading

import numpy as np
import pytest

from keepfit.data.pictures import encoded
from keepfit.deployment import runtime
from keepfit.errors import ModelError
from keepfit.features.values import Columns, Pictures
from keepfit.models import bundle, crossfit, networks, portfolio, train
from keepfit.models.export import parity
from keepfit.types import Column, Schema
from tests.models import fits
from tests.models.tables import config, folds
from tests.models.test_networks import bars

pytest.importorskip("torch")
MODEL = {"type": "convolutional_network", "epochs": 12, "width": 8}


@pytest.fixture
def one_fold(monkeypatch):
    """Even small data count as large."""
    monkeypatch.setattr(crossfit, "LARGE", 1000)


def album(count=120, seed=0, values=False, beside=False):
    """Columns with drawn pictures, a few missing; a target; the Schema."""
    X, y = bars(count, seed)
    drawn = (X.reshape(-1, 8, 8) * 255).clip(0, 255).astype(np.uint8)
    data = [None if k % 40 == 39 else encoded(picture) for k, picture in enumerate(drawn)]
    columns, roles = {"photo": Pictures(data)}, [Column("photo", "image")]
    if beside:
        columns["light"] = X.mean(axis=1).astype(float)
        columns["light"][::7] = np.nan
        roles.append(Column("light", "number", "float"))
    target = np.where(y == "a", 100.0, 150.0) + np.arange(count) % 7 if values else y
    task, classes = ("regression", ()) if values else ("classification", ("a", "b"))
    return Columns(columns, count), target, Schema((*roles, Column("y", "target")), task, "y", classes)


def fit(rows, progress=None, stop=None, **sections):
    columns, y, schema = rows
    return train.train(columns, y, schema, config(**sections), folds(y), 7, progress, stop)


def job(rows):
    columns, y, schema = rows
    return train._job(columns, y, schema, config(), folds(y), 7, None, None)


@pytest.mark.parametrize("shape", ["classes", "values", "with a number beside"])
def test_a_bundle_answers_like_the_trained_network(tmp_path, one_fold, shape):
    rows = album(values=shape == "values", beside=shape == "with a number beside")
    model = fit(rows, model=MODEL)
    proofs = []

    def prove(path):
        proofs.append(parity(model, runtime.load(path).predict, rows[0]))
        return proofs[-1]

    found = bundle.write(tmp_path / "bundle", model, rows[2], fits.ABOUT, prove=prove, **fits.REST)
    assert [verdict.outcome for verdict in proofs] == ["passed"], proofs[0].failures
    assert {entry["kind"] for entry in found.manifest["models"]} == {"network"}
    assert found.manifest["runtime"] == "onnx"
    values = runtime.load(tmp_path / "bundle").predict(rows[0]).values
    if shape == "values":
        assert np.corrcoef(values, rows[1])[0, 1] > 0.8
    else:
        assert (values == rows[1]).mean() > 0.8


def test_a_file_that_answers_otherwise_is_not_packaged(tmp_path, one_fold, monkeypatch):
    rows = album()
    model, other = (fit(rows, model={**MODEL, "epochs": epochs}) for epochs in (2, 1))
    wrong = networks.graph(other.members[0].estimator, int(other.members[0].features["width"]), True)
    monkeypatch.setattr(networks, "graph", lambda *given: wrong)
    prove = lambda path: parity(model, runtime.load(path).predict, rows[0])
    with pytest.raises(ModelError, match="does not answer like the trained one"):
        bundle.write(tmp_path / "bundle", model, rows[2], fits.ABOUT, prove=prove, **fits.REST)


def test_on_few_pixels_the_folds_networks_are_a_bag():
    model = fit(album(), model=MODEL)
    assert len(model.members) == 5
    assert model.report["leaderboard"][0]["folds"] == 5


def test_on_many_pixels_one_fold_is_fitted_and_kept(one_fold, monkeypatch):
    fitted = []
    real = crossfit.fit
    monkeypatch.setattr(crossfit, "fit", lambda *given, **named: fitted.append(real(*given, **named)) or fitted[-1])
    model = fit(album(), model=MODEL)
    assert len(fitted) == 1
    assert [member.estimator for member in model.members] == fitted
    assert model.report["leaderboard"][0]["folds"] == 1


def test_a_class_that_a_fold_lacks_makes_one_network_of_all_rows(one_fold):
    columns, y, schema = album()
    alone = int(np.flatnonzero(y == "b")[0])
    lacking = [np.flatnonzero((y == "a") | (np.arange(len(y)) == alone))]
    y = y.copy()
    y[lacking[0][::2]], y[alone] = "c", "b"
    schema = Schema(schema.columns, "classification", "y", ("a", "b", "c"))
    rows = np.arange(len(y))
    cuts = [(rows[(y != "b") & (rows % 5 != 0)], rows[(y == "b") | (rows % 5 == 0)])]
    model = train.train(columns, y, schema, config(model=MODEL), cuts, 7)
    (member,) = model.members
    assert len(member.estimator.classes_) == 3


def test_an_interrupted_network_is_a_model(one_fold):
    stop = threading.Event()

    def progress(done, total, message, best):
        if "epoch 2 of" in message:
            stop.set()

    model = fit(album(), progress, stop, model={**MODEL, "epochs": 500})
    assert model.report["interrupted"]
    (member,) = model.members
    assert member.estimator.cut_
    assert len(member.estimator.losses_) == 2


def test_a_budget_that_ends_a_network_is_told_with_the_epochs_that_it_had(one_fold):
    endless = {**MODEL, "epochs": 100_000, "patience": 100_000}
    model = fit(album(), model=endless, tuning={"trials": 0, "time_budget": 2})
    (told,) = model.report["budget"]["cut"]
    assert re.fullmatch(r"convolutional_network after [\d,]+ of 100,000 epochs", told)


def test_what_is_told_names_the_epoch(one_fold):
    said = []
    fit(album(), lambda *told: said.append(told[2]), model=MODEL)
    assert any(line.startswith("convolutional_network: epoch 3 of 12, ") for line in said)


def test_a_table_without_pictures_has_no_network():
    columns, y, schema = album(beside=True)
    plain = Schema(schema.columns[1:], schema.task, schema.target, schema.classes)
    with pytest.raises(ModelError, match="needs a column of pictures"):
        fit((Columns({"light": columns.values["light"]}, len(y)), y, plain), model=MODEL)


# --- auto -----------------------------------------------------------------------------------------


def names(rows):
    return portfolio.names(portfolio.candidates(job(rows)))


def test_small_pictures_are_tried_by_all_kinds():
    assert names(album()) == ["logistic_regression", "lightgbm", "extra_trees", "convolutional_network"]


def test_large_ones_by_the_network_alone(monkeypatch):
    monkeypatch.setattr(portfolio, "SMALL", 1000)
    assert names(album()) == ["convolutional_network"]


def test_without_torch_others_stand_in_and_the_report_says_so(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    rows = album()
    assert names(rows) == ["logistic_regression", "lightgbm", "extra_trees", "mlp"]
    report = fit(rows, tuning={"time_budget": 0.01}).report
    assert report["budget"]["left_out"]["convolutional_network"].endswith("pip install 'keepfit[torch]'")
    monkeypatch.setattr(portfolio, "SMALL", 1000)
    assert names(rows) == ["logistic_regression", "mlp"]


def test_a_table_without_pictures_says_nothing_of_torch(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    columns, y, schema = album(beside=True)
    plain = Schema(schema.columns[1:], schema.task, schema.target, schema.classes)
    rows = Columns({"light": columns.values["light"]}, len(y)), y, plain
    assert portfolio.lacking(job(rows)) == {}


@pytest.mark.slow
def test_two_thousand_real_pictures_are_told_apart_better_than_by_straight_lines(shared_data):
    folder = shared_data / "fashion_mnist"
    if not folder.is_dir():
        pytest.skip("the data set fashion_mnist is not there")
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + 784 * 3000)[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        y = np.array([str(label) for label in file.read(8 + 3000)[8:]], object)
    columns = Columns({"photo": Pictures([encoded(picture) for picture in pixels])}, 3000)
    schema = Schema((Column("photo", "image"), Column("y", "target")), "classification", "y", tuple("0123456789"))
    right = {}
    for name, more in (("convolutional_network", {"epochs": 15}), ("logistic_regression", {})):
        model = fit(
            (columns[np.arange(2000)], y[:2000], schema),
            model={"type": name, **more}, tuning={"trials": 0, "time_budget": 600},
        )  # fmt: skip
        right[name] = float((train.predict(model, columns[np.arange(2000, 3000)]).values == y[2000:]).mean())
    assert right["convolutional_network"] > right["logistic_regression"] + 0.01
