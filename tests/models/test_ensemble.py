import numpy as np

from keepfit.models import ensemble


def rmse(y):
    return lambda scores: float(np.sqrt(np.mean((scores - y) ** 2)))


def test_members_with_different_errors_are_blended():
    random = np.random.default_rng(0)
    y = random.normal(size=2000)
    members = [y + random.normal(size=2000) for _ in range(3)]
    weights = ensemble.select(members, rmse(y))
    assert np.allclose(weights, 1 / 3, atol=0.05)


def test_a_member_that_brings_nothing_is_not_served():
    random = np.random.default_rng(0)
    y = random.normal(size=2000)
    good, noise = y + random.normal(size=2000) / 10, random.normal(size=2000) * 9
    assert ensemble.select([noise, good, good + 1e-9], rmse(y)) in ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0])


def test_one_member_has_all_the_weight():
    assert ensemble.select([np.zeros(3)], rmse(np.ones(3))) == [1.0]


def test_a_loss_that_is_not_defined_gives_the_first_member():
    assert ensemble.select([np.zeros(3), np.ones(3)], lambda scores: float("inf")) == [1.0, 0.0]


def test_a_higher_bar_keeps_fewer():
    random = np.random.default_rng(0)
    y = random.normal(size=2000)
    good, poor = y + random.normal(size=2000) / 10, y + random.normal(size=2000) / 3
    assert sum(w > 0 for w in ensemble.select([good, poor], rmse(y))) == 2
    assert ensemble.select([good, poor], rmse(y), gain=0.2) == [1.0, 0.0]
