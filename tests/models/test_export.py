"""Every kind of estimator is stored so that the bundle answers like the trained model, and parity can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC, SVR, LinearSVR

from keepfit import features
from keepfit.deployment import runtime
from keepfit.errors import BundleError, ModelError
from keepfit.features.values import Columns
from keepfit.models import bundle, export, objects
from keepfit.models.export import parity
from keepfit.models.fitted import Fitted, Member, Output
from keepfit.models.linear import LinearSVM, NaiveBayesLinear
from keepfit.models.train import predict
from tests.models import fits

BOOST = {"n_estimators": 15, "num_leaves": 7, "verbose": -1, "n_jobs": 1}
MLP = {"max_iter": 20, "hidden_layer_sizes": [8, 4], "random_state": 0}


def written(folder, model, kind, text=False, columns=None, **options):
    """The bundle of a model, and the Verdicts of its proofs on `columns`."""
    columns = columns or fits.rows(1200, text, seed=7)[0]
    proofs = []

    def prove(path):
        proofs.append(parity(model, runtime.load(path).predict, columns))
        return proofs[-1]

    found = bundle.write(folder, model, fits.schema(kind, text), fits.ABOUT, prove=prove, **{**fits.REST, **options})
    return found, proofs


CASES = {
    "logistic regression": ([LogisticRegression()], "two", "linear", False, ["linear"]),
    "logistic, three classes": ([LogisticRegression()], "three", "linear", False, ["linear"]),
    "linear on sparse text": ([NaiveBayesLinear(), LinearSVM()], "two", "linear", True, ["linear", "linear"]),
    "margins, three classes": ([LinearSVM()], "three", "linear", True, ["linear"]),
    "linear regressions": ([Ridge(), ElasticNet(), LinearSVR(max_iter=20)], "values", "linear", False, ["linear"] * 3),
    "a bag is one file": ([LGBMClassifier(**BOOST) for _ in range(3)], "two", "tree", False, ["onnx"]),
    "boosting, three classes, text": ([LGBMClassifier(**BOOST)], "three", "tree", True, ["onnx"]),
    "boosted and mean values": ([LGBMRegressor(**BOOST), ExtraTreesRegressor(9)], "values", "tree", False, ["onnx"]),
    "shares and sets of categories": (
        [RandomForestClassifier(9), HistGradientBoostingClassifier(max_iter=9, categorical_features=[2, 3])],
        "three", "codes", False, ["onnx", "onnx"],
    ),
    "network and linear": ([MLPClassifier(**MLP), LogisticRegression()], "two", "linear", False, ["layers", "linear"]),
    "network, three classes": ([MLPClassifier(**MLP, activation="tanh")], "three", "linear", False, ["layers"]),
    "network of values": ([MLPRegressor(**MLP, activation="logistic")], "values", "linear", False, ["layers"]),
    "network on sparse text": ([MLPClassifier(**MLP)], "two", "linear", True, ["layers"]),
    "baseline of classes": ([DummyClassifier()], "three", "tree", False, ["linear"]),
    "baseline of values": ([DummyRegressor()], "values", "tree", False, ["linear"]),
    "through skl2onnx": ([SVR()], "values", "linear", False, ["onnx"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bundles_answer_like_the_trained_model(tmp_path, case):
    estimators, kind, style, text, kinds = CASES[case]
    model = fits.fitted(estimators, kind, style, text)
    found, (verdict,) = written(tmp_path / "bundle", model, kind, text)
    assert verdict.outcome == "passed", verdict.failures
    assert [entry["kind"] for entry in found.manifest["models"]] == kinds
    assert found.manifest["runtime"] == "onnx"
    assert all(check.outcome == "passed" for check in verdict.checks)


def test_links_calibration_threshold_and_interval_are_kept(tmp_path):
    columns, _ = fits.rows(50, seed=3)
    two = fits.fitted(
        [LogisticRegression()], threshold=0.8, calibration={"method": "sigmoid", "slope": 2.0, "offset": 0.5}
    )
    found, (verdict,) = written(tmp_path / "two", two, "two")
    assert verdict
    assert found.manifest["threshold"] == 0.8
    got = runtime.load(tmp_path / "two").predict(columns)
    assert ((got.probabilities[:, 1] >= 0.8) == (got.values == "yes")).all()
    values = fits.fitted([Ridge()], "values", interval=7.5)
    values = replace(values, members=tuple(replace(m, link="expm1") for m in values.members))
    values.members[0].estimator.coef_ = values.members[0].estimator.coef_ / 1000
    values.members[0].estimator.intercept_ = 2.0
    assert written(tmp_path / "values", values, "values")[1][0]
    got = runtime.load(tmp_path / "values").predict(columns)
    np.testing.assert_allclose(got.high - got.low, 15.0)
    np.testing.assert_allclose(got.values, predict(values, columns).values, rtol=1e-5)  # training sums in float32


def test_a_member_that_never_saw_a_class_gives_it_nothing(tmp_path):
    model = fits.fitted([LogisticRegression(), LGBMClassifier(**BOOST)], "three")
    state, made = (
        model.members[0].features,
        fits.csr(fits.features.apply(dict(model.members[0].features), fits.rows()[0])),
    )
    y = fits.target("three", fits.rows()[1])
    some = y != 1
    half = Member("partial", 0.5, state, LogisticRegression().fit(made[some], y[some]))
    found, (verdict,) = written(tmp_path / "b", replace(model, members=(*model.members, half)), "three")
    assert verdict
    assert found.manifest["members"][2]["classes"] == [0, 2]


def test_what_onnx_gets_wrong_is_stored_as_it_is_and_says_so(tmp_path):
    """Distances of large numbers overflow in float32, where scikit-learn computes in float64."""
    columns, signal = fits.rows()
    columns.values["income"][:] *= 1e20
    state, made = features.fit_apply(columns, fits.schema("two"), signal > 0, fits.RAW)
    model = KNeighborsClassifier().fit(made, fits.target("two", signal))
    fitted = Fitted("classification", fits.CLASSES["two"], (Member("knn", 1.0, state, model),))
    found, proofs = written(tmp_path / "b", fitted, "two", columns=columns)
    assert [proof.outcome for proof in proofs] == ["failed", "passed"]
    assert found.manifest["runtime"] == "python"
    assert found.manifest["why_python"] == [check.name for check in proofs[0].failures]
    told = json.loads((found.path / "parity.json").read_text())
    assert told["outcome"] == "passed"
    assert told["refused"][0]["checks"][0]["outcome"] == "failed"
    assert "Runtime: python" in (found.path / "card.md").read_text()
    assert "\nscikit-learn==" in (found.path / "environment.txt").read_text()


def test_estimators_without_probabilities_are_stored_as_they_are(tmp_path):
    found, (verdict,) = written(tmp_path / "b", fits.fitted([SVC()], "two"), "two")
    assert verdict
    assert [entry["kind"] for entry in found.manifest["models"]] == ["python"]


class Own(LogisticRegression):
    """A user's estimator: what it inherits is no reason to take it for its parent."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


def test_types_that_nobody_trusts_are_not_loaded(tmp_path):
    with pytest.raises(BundleError, match=r"not trusted: \S*Own\.\s.*model: \{trusted: \[\S*Own\]\}"):
        written(tmp_path / "b", fits.fitted([Own()]), "two")
    assert not (tmp_path / "b").exists()
    assert list(tmp_path.iterdir()) == []


def test_types_that_the_config_trusts_are_loaded(tmp_path):
    model, name = fits.fitted([Own()]), f"{Own.__module__}.Own"
    columns, _ = fits.rows(80, seed=2)
    bundle.write(tmp_path / "b", model, fits.schema("two"), fits.ABOUT, **fits.REST)
    loaded = runtime.load(tmp_path / "b", trusted=[name])
    assert parity(model, loaded.predict, columns)


def test_an_estimator_that_is_no_data_is_refused(tmp_path):
    model = fits.fitted([LogisticRegression()])
    model.members[0].estimator.function = (n for n in range(3))
    with pytest.raises(ModelError, match=r"cannot be stored: .*plain attributes"):
        export.export(model, tmp_path, "python")


def test_a_damaged_object_file_is_an_error(tmp_path):
    (tmp_path / "0.skops").write_bytes(b"no zip at all")
    with pytest.raises(BundleError, match=r"0\.skops cannot be loaded"):
        objects.load(tmp_path / "0.skops")


# --- parity can fail ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return fits.fitted([LogisticRegression()], text=True)


def failed(verdict):
    assert verdict.outcome == "failed"
    return {check.name for check in verdict.failures}


def test_a_tampered_model_fails(tmp_path, model):
    columns, _ = fits.rows(300, True, seed=4)
    whole = tmp_path / "whole"
    written(whole, model, "two", True)
    with np.load(whole / "models/0.npz") as stored:
        arrays = dict(stored)
    arrays["coef"][0, 3] += 0.05
    np.savez(whole / "models/0.npz", **arrays)
    with pytest.raises(BundleError, match=r"models/0\.npz changed since"):
        runtime.load(whole)
    bundle._seal(whole)
    assert "difference on real rows" in failed(parity(model, runtime.load(whole).predict, columns))


def test_labels_that_differ_are_counted_and_shown(model):
    def turned(columns):
        answer = predict(model, columns)
        values = answer.values.copy()
        values[7:8] = np.where(values[7:8] == "yes", "no", "yes")
        return replace(answer, values=values)

    verdict = parity(model, turned, fits.rows(40, True, seed=4)[0])
    assert failed(verdict) == {"labels on real rows", "labels on made rows"}
    assert verdict.failures[0].value == 1
    assert verdict.failures[0].detail.startswith("row 7: trained 'no', stored 'yes'; probabilities [0.")


def test_differences_on_hard_rows_alone_are_found(model):
    """A runtime that is right on all real rows, and wrong where a number is missing."""

    def forgets(columns):
        values = {n: np.nan_to_num(v, nan=50.0) if n == "income" else v for n, v in columns.values.items()}
        return predict(model, Columns(values, len(columns)))

    assert failed(parity(model, forgets, fits.rows(300, True, seed=4)[0])) >= {"difference on made rows"}
    assert "difference on real rows" not in failed(parity(model, forgets, fits.rows(300, True, seed=4)[0]))


def test_a_runtime_that_looks_at_other_rows_is_found(model):
    def mixes(columns):
        answer = predict(model, columns)
        return answer if len(columns) > 1 else replace(answer, probabilities=answer.probabilities + 0.01)

    assert failed(parity(model, mixes, fits.rows(300, True, seed=4)[0])) == {"rows alone and together"}


def test_nan_is_no_agreement(model):
    def nothing(columns):
        answer = predict(model, columns)
        return replace(answer, probabilities=np.full_like(answer.probabilities, np.nan))

    verdict = parity(model, nothing, fits.rows(30, True)[0])
    assert verdict.checks[0].value == np.inf
    assert verdict.checks[0].outcome == "failed"


def test_values_are_compared_relative_to_their_size():
    expected, got = (
        Output(np.array(v), low=np.array(v), high=np.array(v)) for v in ([1e9, 0.0, 5.0], [1e9 + 1, 1e-5, 5.0])
    )
    np.testing.assert_allclose(export.parity.__globals__["differences"](expected, got), [1e-9, 2e-6, 0.0], rtol=1e-6)
    without = Output(got.values)
    assert export.parity.__globals__["differences"](expected, without)[0] == np.inf


def test_no_rows_prove_nothing(model):
    none = fits.rows(10, True)[0][np.zeros(0, np.intp)]
    assert parity(model, lambda columns: predict(model, columns), none).outcome == "not checked"


def test_unproved_models_are_not_packaged(tmp_path, model):
    """A model that no runtime reproduces: its estimator answers differently every time."""
    shaky = fits.fitted([DummyClassifier(strategy="stratified")], style="tree")
    with pytest.raises(ModelError, match="does not answer like the trained one: difference on real rows"):
        written(tmp_path / "b", shaky, "two")
    assert list(Path(tmp_path).iterdir()) == []


def test_a_second_write_takes_the_place_of_the_first(tmp_path, model):
    first, _ = written(tmp_path / "b", model, "two", True)
    made = first.manifest["created"]
    second, _ = written(tmp_path / "b", model, "two", True)
    assert second.manifest["created"] >= made
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
