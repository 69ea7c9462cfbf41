"""The whole model as one ONNX graph: it answers what the model answers, or it is not written."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from keepfit import features
from keepfit.data import pictures
from keepfit.features.values import Columns, Pictures
from keepfit.models import fused, train
from keepfit.models.fitted import Fitted, Member
from keepfit.types import Column, Schema
from tests.images import backbone, colours

DATA = colours(60)
COLUMNS = Columns({"photo": Pictures(DATA)}, 60)
LIGHT = np.array([pictures.pixels(one, 4, 4).mean() for one in DATA])


def model(estimator, classes=("dark", "light"), calibration=None, data=DATA, **options) -> tuple[Fitted, Columns]:
    task = "classification" if classes else "regression"
    schema = Schema((Column("photo", "image"),), task)
    columns = Columns({"photo": Pictures(data)}, len(data))
    state, matrix = features.fit_apply(columns, schema, None, {"image": {"backbone": backbone(), **options}})
    y = np.digitize(LIGHT, np.quantile(LIGHT, np.linspace(0, 1, len(classes) + 1)[1:-1])) if classes else LIGHT
    member = Member("x", 1.0, state, estimator.fit(matrix, y))
    threshold = 0.5 if len(classes) == 2 else None
    return Fitted(task, classes, (member,), calibration or {}, threshold, interval=None if classes else 1.0), columns


def asked(path, data=DATA, how="squash", part=(1.0, 1.0)):
    session = onnxruntime.InferenceSession(path)
    seen = np.stack([pictures.pixels(one, 8, 8, "RGB", how, part) for one in data])
    return session.run(None, {"pictures": seen})[0]


THREE = ("dark", "light", "lighter")


@pytest.mark.parametrize(
    ("estimator", "classes", "calibration", "options"),
    [
        (LogisticRegression(), ("dark", "light"), None, {}),
        (LogisticRegression(), ("dark", "light"), None, {"augment": "none", "normalise": False}),
        (LogisticRegression(), ("dark", "light"), {"method": "sigmoid", "slope": 1.7, "offset": -0.3}, {}),
        (LogisticRegression(), THREE, {"method": "temperature", "scale": 0.6}, {}),
        (LogisticRegression(), THREE, None, {"backbone": backbone(layout="NHWC")}),
        (LogisticRegression(), THREE, None, {"backbone": backbone(number="uint8")}),
        (MLPClassifier([5, 4], activation="tanh", max_iter=20, random_state=0), THREE, None, {}),
        (Ridge(), (), None, {}),
        (LogisticRegression(), THREE, None, {"backbone": None, "size": 8}),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_graph_answers_what_the_model_answers(tmp_path, estimator, classes, calibration, options):
    fitted, columns = model(estimator, classes, calibration, **options)
    said = train.predict(fitted, columns)
    path = fused.write(fitted, columns, said, tmp_path / "model.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    expected = said.probabilities if classes else said.values
    assert np.allclose(asked(path), expected, atol=1e-5 * np.abs(expected).max())
    told = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(told["classes"]) == list(classes)
    assert told["how"] == "squash"


def test_the_frame_is_told_and_rows_are_as_many_as_pictures(tmp_path):
    cut = {**backbone(), "frame": [12, 10], "how": "crop"}
    fitted, columns = model(LogisticRegression(), backbone=cut)
    said = train.predict(fitted, columns)
    path = fused.write(fitted, columns, said, tmp_path / "model.onnx")
    cut = {"how": "crop", "part": (8 / 10, 8 / 12)}
    assert np.allclose(asked(path, **cut), said.probabilities, atol=1e-5)
    assert asked(path, DATA[:1], **cut).shape == (1, 2)
    told = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert (told["how"], told["frame"]) == ("crop", "[12, 10]")


def test_a_column_with_missing_pictures_gives_a_graph_for_those_that_are_there(tmp_path):
    fitted, columns = model(LogisticRegression(), data=[None, *DATA[1:]])
    said = train.predict(fitted, columns)
    path = fused.write(fitted, columns, said, tmp_path / "model.onnx")
    assert np.allclose(asked(path, DATA[1:]), said.probabilities[1:], atol=1e-5)


def test_models_of_another_form_have_no_graph():
    linear, _ = model(LogisticRegression())
    assert fused.graph(linear) is not None
    assert fused.graph(dataclasses.replace(linear, members=linear.members * 2)) is None
    assert fused.graph(dataclasses.replace(linear, calibration={"method": "isotonic", "x": [], "y": []})) is None
    assert fused.graph(model(SVC())[0]) is None
    assert fused.graph(model(LogisticRegression(), backbone=backbone(batch=1))[0]) is None
    assert fused.graph(model(LogisticRegression(), backbone=None, components=2)[0]) is None
    logarithmic = dataclasses.replace(model(Ridge(), ())[0].members[0], link="exp")
    assert fused.graph(Fitted("regression", (), (logarithmic,))) is None


def test_a_graph_that_says_something_else_is_not_written(tmp_path):
    fitted, columns = model(LogisticRegression())
    said = train.predict(fitted, columns)
    other = dataclasses.replace(said, probabilities=said.probabilities[:, ::-1])
    assert fused.write(fitted, columns, other, tmp_path / "model.onnx") is None
    nothing = Columns({"photo": Pictures([None])}, 1)
    assert fused.write(fitted, nothing, train.predict(fitted, nothing), tmp_path / "model.onnx") is None
    assert not list(tmp_path.iterdir())
