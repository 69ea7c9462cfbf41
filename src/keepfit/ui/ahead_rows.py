"""Rows of forecasts as CSV text: those that are to be asked about, and those that were answered."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keepfit.data import rhythm as calendar
from keepfit.deployment.wishes import Key, Known


def begun(known: Known, needed: Sequence[str], keys: Sequence[Key], steps: int, longest: int) -> str:
    """The rows that come after the last ones of known series, as a CSV whose columns of `needed` are empty.

    Of more than `longest` characters the last series are left out.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*known.rhythm.series, known.rhythm.time, *needed, known.target])
    for key in keys:
        before = out.tell()
        periods = np.arange(1, steps + 1) + known.ends.get(key, max(known.ends.values(), default=0))
        for time in calendar.written(known.rhythm, periods):
            writer.writerow([*key, time, *[""] * len(needed), ""])
        if out.tell() > longest:
            return out.getvalue()[:before]
    return out.getvalue()


def written(answers: Sequence[Mapping[str, Any]]) -> str:
    """The forecasts as a CSV, as `keepfit predict` names its columns, with the ids that feedback needs.

    >>> print(written([{"id": "a", "day": 3, "step": 1, "prediction": 2.5, "interval": [2, 3]}]), end="")
    prediction_id,day,step,prediction,prediction_low,prediction_high
    a,3,1,2.5,2,3
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = [key for key in answers[0] if key not in ("id", "interval")]
    ends = ["prediction_low", "prediction_high"] if "interval" in answers[0] else []
    writer.writerow(["prediction_id", *first, *ends])
    writer.writerows([row["id"], *(row[key] for key in first), *row.get("interval", ())] for row in answers)
    return out.getvalue()
