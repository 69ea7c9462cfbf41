import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from keepfit.models import calibrate


@pytest.fixture
def drawn():
    """Honest probabilities and labels drawn from them."""
    random = np.random.default_rng(0)
    honest = calibrate.sigmoid(random.normal(size=6000) * 2)
    return honest, (random.random(6000) < honest).astype(int)


def pair(positive):
    return np.column_stack([1 - positive, positive])


def loss(probabilities, codes):
    return calibrate.row_losses(probabilities, codes).mean()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_overconfident_probabilities_become_honest(drawn, method):
    honest, codes = drawn
    bold = pair(calibrate.sigmoid(3 * calibrate.logit(honest)))
    learned = json.loads(json.dumps(calibrate.fit(method, bold[::2], codes[::2])))
    fixed = calibrate.apply(learned, bold[1::2])
    assert np.allclose(fixed.sum(axis=1), 1)
    assert loss(fixed, codes[1::2]) < loss(bold[1::2], codes[1::2]) - 0.05
    assert np.abs(fixed[:, 1] - honest[1::2]).mean() < 0.03


def test_auto_takes_the_better_one_and_only_when_it_is_better(drawn):
    honest, codes = drawn
    found, losses = calibrate.choose(pair(honest), codes, seed=0)
    assert found == {}
    assert set(losses) == {"none", "sigmoid", "isotonic"}
    found, losses = calibrate.choose(pair(calibrate.sigmoid(3 * calibrate.logit(honest))), codes, seed=0)
    assert found["method"] == "sigmoid"
    assert losses["sigmoid"] < losses["none"]


def test_more_classes_are_calibrated_by_temperature():
    random = np.random.default_rng(1)
    scores = random.normal(size=(4000, 4)) * 1.5
    honest = calibrate.softmax(scores)
    codes = (honest.cumsum(axis=1) > random.random((4000, 1))).argmax(axis=1)
    learned = calibrate.fit("sigmoid", calibrate.softmax(scores * 2.5), codes)
    assert learned["method"] == "temperature"
    assert learned["scale"] == pytest.approx(1 / 2.5, rel=0.1)
    tables = calibrate.fit("isotonic", calibrate.softmax(scores * 2.5), codes)
    fixed = calibrate.apply(tables, calibrate.softmax(scores * 2.5))
    assert np.allclose(fixed.sum(axis=1), 1)
    assert loss(fixed, codes) < loss(calibrate.softmax(scores * 2.5), codes)


def test_the_isotonic_table_is_that_of_scikit_learn(drawn):
    honest, codes = drawn
    x, y = calibrate.isotonic(honest, codes == 1)
    reference = IsotonicRegression(out_of_bounds="clip").fit(honest, codes).predict(honest)
    assert len(x) <= calibrate.KNOTS
    assert (np.diff(y) >= 0).all()
    assert y.min() > 0
    assert y.max() < 1
    assert np.abs(np.interp(honest, x, y) - reference).mean() < 0.03


def test_certain_probabilities_stay_finite():
    sure = pair(np.array([0.0, 1.0, 0.0, 1.0]))
    for method in ("sigmoid", "isotonic"):
        fixed = calibrate.apply(calibrate.fit(method, sure, np.array([0, 1, 1, 0])), sure)
        assert np.isfinite(np.log(fixed)).all()


def test_separable_margins_have_a_finite_positive_slope():
    slope, offset = calibrate.platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert 0 < slope < 100
    assert abs(offset) < 1e-6
