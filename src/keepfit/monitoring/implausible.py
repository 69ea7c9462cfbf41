"""Observations that the server does not believe: too far from what was forecast.

One value that was sent in another unit would be most of the error of a window, and hide the rest. So what the server
does not go on from does not count in what is measured, and is told: any is a warning, and more than 1 % of them,
beyond chance, an error of the data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from keepfit import show
from keepfit.monitoring import performance
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.seasons import Before
from keepfit.types import Schema

OFTEN = 0.01  # share of the observations up to which it is a slip
SHOWN = 3  # observations that are named


def apart(
    known: Labelled, before: Before | None, schema: Schema, window: float
) -> tuple[Labelled, Before | None, list[Finding]]:
    """Labelled rows without those of observations that are held back; and what those of the window come to.

    `window` in seconds. No findings where nothing is known of what was observed.
    """
    units = performance.about(known.inputs, schema)
    if before is None or before.held is None or units is None:
        return known, before, []
    newest, sound = performance.window(known.times, window), ~before.held
    found = _findings(known.inputs, units.of, newest & before.held, newest, schema)
    return known[sound], before[sound], found


def _findings(
    inputs: pl.DataFrame, of: NDArray[np.intp], held: NDArray[np.bool_], newest: NDArray[np.bool_], schema: Schema
) -> list[Finding]:
    numbers, first = np.unique(of[held], return_index=True)
    count, rows, target = len(numbers), len(np.unique(of[newest])), str(schema.target)
    told = f"{count:,} of {show.counted(rows, 'observation')}"
    named = _named(inputs.filter(held)[first], schema)
    detail = f"{told} cannot be believed and are left out of what is measured{named}"
    often = float(special.bdtrc(count - 1, rows, OFTEN)) if count else 1.0
    given = f"{told} cannot be believed; {OFTEN:.0%} may be slips"
    return [
        Finding("quality", target, "implausible", None, count, None, count, rows, 1, detail, "warning"),
        Finding("quality", target, "often implausible", often, count / rows, None, count / rows, rows, OFTEN, given),
    ]


def _named(rows: pl.DataFrame, schema: Schema) -> str:
    """The first few by series and time."""
    if not rows.height or schema.rhythm is None:
        return ""
    names: Sequence[str] = [*schema.rhythm.series, schema.rhythm.time]
    told = [" ".join(map(_shown, row)) for row in rows.select(names).head(SHOWN).rows()]
    return f": {', '.join(told)}{' …' if rows.height > SHOWN else ''}"


def _shown(value: object) -> str:
    """A name, a number or a time; of a date no more than that."""
    return str(value).removesuffix("+00:00").removesuffix(" 00:00:00")
