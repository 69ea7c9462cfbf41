"""What `type: auto` tries to forecast with, cheap first; the seasonal naive forecast is always among them."""

from __future__ import annotations

from keepfit.models.crossfit import Candidate, Job

ORDER = ("seasonal_naive", "theta")


def candidates(job: Job) -> list[Candidate]:
    """The members to try, in order."""
    return [Candidate(name) for name in ORDER]
