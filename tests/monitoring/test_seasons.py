"""Forecasts beside what was a season ago; and whether the season that they count on still comes true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keepfit.models.fitted import Ahead
from keepfit.models.metrics import Answers
from keepfit.monitoring import seasons
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.measures import Units
from keepfit.monitoring.seasons import Before

SEASON, SERIES, PERIODS = 12, 20, 18
NUMBERS = np.repeat(np.arange(SERIES), PERIODS)
TIMES = np.tile(np.arange(PERIODS), SERIES)
UNITS = Units(np.arange(len(TIMES)), NUMBERS)


def usual(moved: float = 0.0) -> Any:
    return 3 * np.sin(2 * np.pi * (TIMES / SEASON + moved + NUMBERS / 7))


def rows(truth: Any, seed: int = 0, scale: float = 2.0) -> tuple[Answers, Before]:
    """Forecasts that get the usual season right, of what is `truth` and noise; in units of `scale`."""
    noise = np.random.default_rng(seed).normal(size=len(TIMES))
    ahead = Ahead(np.full(len(TIMES), scale), np.ones(len(TIMES)))
    before = Before(NUMBERS, scale * (usual() + 4 * noise), scale * usual())
    return Answers(truth + noise, usual(), 0, ahead=ahead), before


def shifted(truth: Any, seed: int = 0, **options: Any) -> Finding:
    given, before = rows(truth, seed, **options)
    [found] = seasons.findings(given, before, UNITS)
    assert (found.subject, found.test) == ("season", "shifted")
    return found


def test_a_season_that_comes_true_is_no_alarm() -> None:
    chances = [shifted(usual(), seed).p or 0.0 for seed in range(40)]
    assert min(chances) > 1e-4
    assert 0.1 < np.mean(chances) < 0.9
    assert all(shifted(usual(), seed).check(1.0).outcome == "passed" for seed in range(5))  # no trifle fails


@pytest.mark.parametrize(
    ("truth", "share"),
    [(usual(0.25), 1.0), (2 * usual(), -1.0), (0 * usual(), 1.0), (usual(0.5), 2.0)],
    ids=["moved by a quarter", "doubled", "gone", "turned round"],
)
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_a_season_that_moved_grew_or_went_is(truth: Any, share: float, scale: float) -> None:
    found = shifted(truth, scale=scale)
    assert found.value == pytest.approx(share, abs=0.15)
    assert found.check(1e-5).outcome == "failed"
    assert found.detail.startswith("the season is larger" if share < 0 else "the season is smaller, or has moved")


def test_a_level_that_moved_is_no_season() -> None:
    assert shifted(usual() + 20).check(1e-3).outcome == "passed"


def test_rows_of_the_same_series_and_time_are_no_new_evidence() -> None:
    given, before = rows(usual(0.25))
    [once] = seasons.findings(given, before, UNITS)
    ahead = Ahead(np.full(4 * len(TIMES), 2.0), np.ones(4 * len(TIMES)))
    four = Answers(np.tile(given.truth, 4), np.tile(given.picked, 4), 0, ahead=ahead)
    [again] = seasons.findings(four, before[np.tile(UNITS.of, 4)], Units(np.tile(UNITS.of, 4), NUMBERS))
    assert again.value == pytest.approx(once.value)
    assert again.p == pytest.approx(once.p)


def test_series_without_a_season_are_not_asked_and_one_place_tells_nothing() -> None:
    given, before = rows(usual())
    assert [*seasons.findings(given, None, UNITS)] == []
    assert [*seasons.findings(given, Before(NUMBERS, before.ago, np.full(len(TIMES), np.nan)), UNITS)] == []
    ahead = Ahead(np.ones(SERIES), np.ones(SERIES))
    first = np.flatnonzero(TIMES == 0)
    few = Answers(given.truth[first], given.picked[first], 0, ahead=ahead)
    [found] = seasons.findings(few, before[first], UNITS.only(first))
    assert found.check(1.0).outcome == "not checked"
    assert "lie at one place of the season" in found.unknown


def test_beside_seasonal_naive_on_the_same_rows() -> None:
    given, before = rows(usual())
    told = {one["metric"]: one for one in seasons.figures(given, before)["naive"]}
    assert list(told) == ["mase", "rmsse", "smape"]
    noise = np.abs(given.truth - usual()).mean()
    assert told["mase"]["value"] == pytest.approx(noise)
    assert told["mase"]["naive"] == pytest.approx(3 * noise, rel=0.01)  # it lies 4 noises above the usual
    assert seasons.naive(given, before) == told["mase"]["naive"]
    half = Before(NUMBERS, np.where(NUMBERS < SERIES // 2, before.ago, np.nan), before.pattern)
    assert seasons.figures(given, half)["naive"][0]["rows"] == len(TIMES) // 2
    nothing = Before(NUMBERS, np.full(len(TIMES), np.nan), before.pattern)
    assert (seasons.figures(given, nothing), seasons.naive(given, nothing)) == ({}, None)
    assert seasons.figures(given, None) == {}
