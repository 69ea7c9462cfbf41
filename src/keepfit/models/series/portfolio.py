"""What `type: auto` tries to forecast with, cheap first; the seasonal naive forecast is always among them."""

from __future__ import annotations

from keepfit.models.crossfit import Candidate, Job

ORDER = ("seasonal_naive", "theta", "ces", "boosted_lags", "auto_ets")


def candidates(job: Job) -> list[Candidate]:
    """The members to try, in order; with several seasons, those that cost little with the shortest alone too."""
    season = job.schema.rhythm.season if job.schema.rhythm else ()
    found = [Candidate(name) for name in ORDER]
    if len(season) < 2:
        return found
    short = [Candidate(name, {"season": season[:1]}, f"{name} (season {season[0]})") for name in ORDER[:2]]
    return [*short, *found]
