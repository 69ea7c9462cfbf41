"""What `type: auto` tries to forecast with, cheap first; the seasonal naive forecast is always among them.

Recursions go through time a period at a time, over all series at once; trees take rows. So what is cheap depends on
how long the series are: over a year of hours (8,759 periods, five folds) theta took 32 s, CES 12 s and trees 3 s, and
trees were the best of them.
"""

from __future__ import annotations

import numpy as np

from keepfit.data import rhythm as calendar
from keepfit.models.job import Candidate, Job

ORDER = ("seasonal_naive", "theta", "ces", "boosted_lags", "auto_ets")
ORDER_OF_LONG = ("seasonal_naive", "boosted_lags", "ces", "theta", "auto_ets")
WITH_SHORTEST = ("seasonal_naive", "theta")  # cost little beside what they may gain
LONG = 2_000  # periods from the first to the last; theta then takes 7 s, and a run has 60


def candidates(job: Job) -> list[Candidate]:
    """The members to try, in order; with several seasons, two of them with the shortest alone too."""
    season = job.schema.rhythm.season if job.schema.rhythm else ()
    return [found for name in order(_span(job)) for found in _seasons(name, season)]


def order(span: float) -> tuple[str, ...]:
    """The members by their cost, where `span` periods are to be gone through."""
    return ORDER_OF_LONG if span >= LONG else ORDER


def _seasons(name: str, season: tuple[int, ...]) -> list[Candidate]:
    short = len(season) > 1 and name in WITH_SHORTEST
    alone = [Candidate(name, {"season": season[:1]}, f"{name} (season {season[0]})")] if short else []
    return [*alone, Candidate(name)]


def _span(job: Job) -> float:
    """Periods from the first row to the last."""
    rhythm = job.schema.rhythm
    if rhythm is None:
        return 0.0
    found = calendar.periods(rhythm, job.columns.values[rhythm.time])
    return float(np.ptp(found[np.isfinite(found)])) + 1 if np.isfinite(found).any() else 0.0
