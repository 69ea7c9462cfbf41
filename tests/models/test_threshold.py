import numpy as np
import pytest

from keepfit.errors import ConfigError
from keepfit.models import threshold


@pytest.fixture
def rare():
    random = np.random.default_rng(0)
    p = random.beta(1, 6, 4000)
    return p, random.random(4000) < p


def choose(rare, setting="auto", costs=None, metric="log_loss"):
    return threshold.choose(*rare, setting, costs, metric)


def test_one_half_unless_there_is_a_reason(rare):
    assert choose(rare)[0] == 0.5
    assert choose(rare, metric="accuracy")[0] == 0.5
    assert choose(rare, 0.3)[0] == 0.3


def test_a_metric_that_a_threshold_moves_chooses_it(rare):
    found, why = choose(rare, metric="f1")
    assert found < 0.4
    assert why["value"] > why["at_half"]
    assert choose(rare, "f1") == (found, why)
    assert why["value"] == pytest.approx(
        2 * (rare[1] & (rare[0] >= found)).sum() / (rare[1].sum() + (rare[0] >= found).sum())
    )


def test_costs_choose_the_cheapest(rare):
    found, why = choose(rare, costs={"false_positive": 1, "false_negative": 9})
    assert found == pytest.approx(0.1, abs=0.03)
    assert why["cost_per_row"] < why["at_half"]


def test_where_probabilities_are_wrong_the_rows_decide(rare):
    p, positive = rare
    found, _why = choose((p / 2, positive), costs={"false_positive": 1, "false_negative": 9})
    assert found == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("setting", "costs", "message"),
    [
        ("f_1", None, "model.threshold: 'f_1' chooses none. Did you mean 'f1'"),
        (1.5, None, "model.threshold: 1.5 is no probability"),
        ("auto", {"false_positive": -1.0}, "model.costs: costs are at least 0"),
    ],
)
def test_what_cannot_choose_is_an_error(rare, setting, costs, message):
    with pytest.raises(ConfigError, match=message):
        choose(rare, setting, costs)
