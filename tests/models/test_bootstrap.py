"""bootstrap.py: rows that belong together are drawn together."""

from __future__ import annotations

import numpy as np

from keepfit.models import bootstrap, metrics
from keepfit.models.fitted import Output


def test_units_are_drawn_whole() -> None:
    together = np.repeat([0, 1, 2, 3], [5, 1, 3, 11])
    for weights in np.concatenate(list(bootstrap.draw(20, 50, 0, together))):
        each = [set(weights[together == unit].tolist()) for unit in range(4)]
        assert all(len(found) == 1 for found in each)
        assert sum(min(found) for found in each) == 4


def test_the_interval_of_rows_that_repeat_each_other_is_as_wide_as_that_of_one_of_them() -> None:
    random = np.random.default_rng(0)
    y, guess = random.normal(size=60), random.normal(size=60)
    copies, together = 20, np.repeat(np.arange(60), 20)
    few = metrics.samples(y, Output(guess), (), ["mae"], 400)["mae"]
    many = np.repeat(y, copies), Output(np.repeat(guess, copies))
    apart = metrics.samples(*many, (), ["mae"], 400)["mae"]
    whole = metrics.samples(*many, (), ["mae"], 400, together=together)["mae"]
    assert abs(whole.std() / few.std() - 1) < 0.15
    assert apart.std() < whole.std() / 3


def test_more_units_than_are_drawn_are_rescaled(monkeypatch) -> None:
    random = np.random.default_rng(0)
    y, together = random.normal(size=4000), np.repeat(np.arange(2000), 2)
    drawn = metrics.samples(y, Output(np.zeros(4000)), (), ["mae"], 200, together=together)["mae"]
    monkeypatch.setattr(bootstrap, "ROWS", 200)
    fewer = metrics.samples(y, Output(np.zeros(4000)), (), ["mae"], 200, together=together)["mae"]
    assert abs(fewer.std() / drawn.std() - 1) < 0.25
