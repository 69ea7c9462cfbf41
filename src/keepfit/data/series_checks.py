"""Are the series of a forecast sane, and what was done where they are not? Each check names series and counts.

    data.times.…    of single rows: without a time, twice at one time, off the grid, in the future, clock changes
    data.series.…   of whole series: gaps, too short for the season, constant, zero, spoiled by single values

Only values that contradict each other stop; all else is told with what was done.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Data
from keepfit.data import rhythm as calendar
from keepfit.data import series, zones
from keepfit.data.clock import zoned
from keepfit.data.expectations import where
from keepfit.data.forecast import LOST
from keepfit.data.outliers import spikes
from keepfit.data.rhythm import DAY
from keepfit.data.series import SHOWN, Grid, listed
from keepfit.types import Check, Rhythm, Schema

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
PLACED = ("series", "moment", "past")  # roles of columns that are no covariates
OFF = 0.01  # of a period: how far a time may be from its place
SUNDAY, NIGHT = 6, 4  # when clocks are changed: on a Sunday, before this hour
YEAR = 365.0 * DAY
HOUR = 3600.0


class Seen(NamedTuple):
    """Rows of a frame as series: where they stand, when, and what was observed (NaN: nothing)."""

    rhythm: Rhythm
    grid: Grid
    moments: Floats
    values: Floats

    @property
    def observed(self) -> Mask:
        return self.grid.placed & np.isfinite(self.values)

    @property
    def outside(self) -> Mask:
        """Rows with a time and a series, but in no period: on days of rest."""
        return (self.grid.numbers >= 0) & calendar.outside(self.rhythm, self.moments)


def _seen(typed: pl.DataFrame, schema: Schema) -> Seen:
    rhythm = series.rhythm_of(schema)
    moments, values = (typed[name].fill_null(float("nan")).to_numpy() for name in (rhythm.time, str(schema.target)))
    return Seen(rhythm, series.grid(typed, schema), moments, values)


def times(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema, data: Data) -> list[Check]:
    """What is wrong with the rows of a frame, as it was read and conformed, before any is left out."""
    seen = _seen(typed, schema)
    return [
        _unplaced(seen),
        _unobserved(seen),
        *_twice(seen, schema, data, frame),
        _off(seen),
        _future(seen),
        _order(seen),
        *_zone(seen, frame),
    ]


def _unplaced(seen: Seen) -> Check:
    rows = np.flatnonzero(~seen.grid.placed & ~seen.outside).tolist()
    if not rows:
        return Check("data.times.missing", "passed", 0, 0)
    there = set(seen.grid.numbers[seen.grid.placed].tolist())
    gone = np.array([number for number in range(len(seen.grid.names)) if number not in there], np.intp)
    lost = f"; nothing is left of {len(gone):,} series: {listed(seen.grid.names, gone)}" if len(gone) else ""
    what = f"no time in '{seen.rhythm.time}'" + (" or no series" if seen.rhythm.series else "")
    detail = f"{len(rows):,} of {len(seen.moments):,} rows have {what} and are left out: {where(rows)}{lost}"
    return Check("data.times.missing", "failed", len(rows), 0, detail, "warning")


def _unobserved(seen: Seen) -> Check:
    names, there = seen.grid.names, seen.grid.placed | seen.outside
    every, known = (np.bincount(seen.grid.numbers[rows], minlength=len(names)) for rows in (there, seen.observed))
    gone = np.flatnonzero((every > 0) & (known == 0))
    detail = f"{len(gone):,} of {len(names):,} series have no value that can be used and are left out: "
    return Check(
        "data.series.unobserved", "failed" if len(gone) else "passed", len(gone), 0,
        detail + listed(names, gone) if len(gone) else "", "warning",
    )  # fmt: skip


# --- several rows of one period


def _twice(seen: Seen, schema: Schema, data: Data, frame: pl.DataFrame) -> list[Check]:
    rows = np.flatnonzero(seen.observed)
    sort = rows[np.lexsort((seen.grid.periods[rows], seen.grid.numbers[rows]))]
    again = series.same(seen.grid, sort)
    first, second = sort[:-1][again], sort[1:][again]
    if not len(first):
        return [Check("data.times.duplicates", "passed", 0, 0)]
    differ = seen.values[first] != seen.values[second]
    checks = []
    if not differ.all():
        detail = f"{int((~differ).sum()):,} rows repeat an earlier one of their series and period, with the same value"
        checks.append(Check("data.times.duplicates", "failed", int((~differ).sum()), 0, detail, "warning"))
    if differ.any():
        checks.append(_conflict(seen, first[differ], second[differ], data, frame[seen.rhythm.time]))
    return checks


def _conflict(seen: Seen, first: NDArray[np.intp], second: NDArray[np.intp], data: Data, stamps: pl.Series) -> Check:
    """Different values for one period: versions of it, an hour that the clocks went back, or a contradiction."""
    count = len(first)
    shown = "; ".join(_pair(seen, a, b) for a, b in zip(first[:SHOWN], second[:SHOWN], strict=True))
    shown += f" and {count - SHOWN:,} more" if count > SHOWN else ""
    if data.known_at is not None:
        detail = f"{count:,} periods have several versions; the last by '{data.known_at}' is used: {shown}"
        return Check("data.times.versions", "passed", count, None, detail)
    if _went_back(seen, second, stamps):
        detail = (
            f"{count:,} values are of an hour that came twice, when the clocks went back ('{seen.rhythm.time}' is "
            f"local time); the later one is used: {shown}"
        )
        return Check("data.times.clock", "failed", count, 0, detail, "warning")
    snapped = int((seen.moments[first] != seen.moments[second]).sum())
    near = f" ({snapped:,} of them at different times within one period of {seen.rhythm.frequency})" if snapped else ""
    detail = (
        f"{count:,} periods have two different values{near}: {shown}. Take one out, add them up, or name what else "
        "tells the series apart in forecast.series; data.known_at tells which version is the last"
    )
    return Check("data.times.conflicts", "failed", count, 0, detail)


def _pair(seen: Seen, first: int, second: int) -> str:
    return f"{_value(seen, first)} and {seen.values[second]:g}"


def _went_back(seen: Seen, rows: NDArray[np.intp], stamps: pl.Series) -> bool:
    """Are all these rows of an hour that clocks showed twice, told by a zone's name if there is one?"""
    if not zoned(stamps):
        return _clock_change(seen, rows)
    written = zip(stamps.gather(rows).to_list(), seen.moments[rows].tolist(), strict=True)
    return stamps.dtype == pl.String and all(zones.twice(*one) for one in written)


def _clock_change(seen: Seen, rows: NDArray[np.intp]) -> bool:
    """Are all these rows in the first hours of a Sunday, one Sunday a year?"""
    if not calendar.dated(seen.rhythm.frequency) or calendar.length(seen.rhythm.frequency) > HOUR:
        return False
    days = _nights(seen.moments[rows])
    distinct = np.unique(days)
    years = distinct.astype("M8[D]").astype("M8[Y]")
    return bool((days >= 0).all()) and len(np.unique(years)) == len(distinct)


def _nights(moments: Floats) -> NDArray[np.int64]:
    """The day of each time in the first hours of a Sunday; -1 for other times (and before 1970)."""
    days = np.floor(moments / DAY).astype(np.int64)
    night = ((days + 3) % 7 == SUNDAY) & (moments - days * DAY < NIGHT * HOUR)
    return np.where(night, days, -1)


# --- the grid of the times


def _off(seen: Seen) -> Check:
    """Times that were moved to their period, and values on days of rest, which have none."""
    away = calendar.away(seen.rhythm, seen.moments[seen.grid.placed])
    off = int((away > OFF).sum())
    rest = np.flatnonzero(seen.outside & np.isfinite(seen.values)).tolist()
    told = []
    if off:
        told.append(
            f"{off:,} of {len(away):,} times are not in step with {seen.rhythm.frequency}: each is put into the "
            f"nearest period, at most {away.max():.0%} of a period away"
        )
    if rest:
        told.append(
            f"{len(rest):,} of {int(np.isfinite(seen.values).sum()):,} values have a time that "
            f"{calendar.at_rest(seen.rhythm)}: they are left out: {where(rest)}. forecast.frequency: 1d keeps them"
        )
    found, detail = off + len(rest), "; ".join(told)
    return Check("data.times.irregular", "failed" if found else "passed", found, 0, detail, "warning")


def _future(seen: Seen) -> Check:
    name = "data.times.future"
    if not calendar.dated(seen.rhythm.frequency):
        return Check(name, "not checked", detail="times are plain numbers")
    late = np.flatnonzero(seen.observed & (seen.moments > datetime.now(UTC).timestamp() + DAY)).tolist()
    if not late:
        return Check(name, "passed", 0, 0)
    detail = f"{len(late):,} rows have a value, but a time that is still to come: {where(late)}. Are the dates right?"
    return Check(name, "failed", len(late), 0, detail, "warning")


def _order(seen: Seen) -> Check:
    grid, rows = seen.grid, np.flatnonzero(seen.grid.placed)
    by = rows[np.argsort(grid.numbers[rows], kind="stable")]
    back = int(((np.diff(grid.numbers[by]) == 0) & (np.diff(seen.moments[by]) < 0)).sum())
    detail = f"{back:,} rows come after a later one of their series: sorted" if back else ""
    return Check("data.times.order", "passed", back, None, detail)


def _zone(seen: Seen, frame: pl.DataFrame) -> list[Check]:
    if not zoned(frame[seen.rhythm.time]):
        return []
    days = calendar.length(seen.rhythm.frequency) >= DAY
    detail = "dates are kept as they are written" if days else "converted to UTC"
    return [Check("data.times.zone", "passed", detail=f"'{seen.rhythm.time}' tells its distance to UTC: {detail}")]


# --- whole series


def history(typed: pl.DataFrame, schema: Schema) -> list[Check]:
    """What is to be known of the series to learn from: rows that are used, in their order."""
    seen = _seen(typed, schema)
    numbers, names = seen.grid.numbers, seen.grid.names
    counts = np.bincount(numbers, minlength=len(names))
    return [
        _lengths(seen, counts),
        *_covariates(schema),
        *_gaps(seen, counts),
        _short(seen, counts),
        _ended(seen, counts),
        *_flat(seen, names, counts),
        _spoiled(seen),
    ]


def _lengths(seen: Seen, counts: NDArray[np.intp]) -> Check:
    rhythm, long = seen.rhythm, counts[counts > 0]
    season = " and ".join(map(str, rhythm.season)) or "none found"
    size = f"{long.min():,}" if long.min() == long.max() else f"{long.min():,} to {long.max():,}"
    detail = (
        f"{len(long):,} series of {size} values; frequency {calendar.named(rhythm)}, season {season}, "
        f"{rhythm.horizon} periods ahead"
    )
    return Check("data.series", "passed", len(long), 1, detail)


def _covariates(schema: Schema) -> list[Check]:
    """The values of which covariates count as known, and when; nothing where there are none."""
    rhythm = series.rhythm_of(schema)
    names = [column.name for column in schema.features if column.role not in PLACED]
    ahead = ", ".join(name for name in names if name not in rhythm.past)
    parts = [f"known {rhythm.horizon} periods ahead: {ahead}"] if ahead else []
    if rhythm.past:
        parts.append(f"known up to the last observation only (forecast.past): {', '.join(rhythm.past)}")
    found = [Check("data.covariates", "passed", len(names), None, "; ".join(parts))] if names else []
    lost = [f"'{c.name}' ({c.role}: {c.why.removeprefix(LOST)})" for c in schema.columns if c.why.startswith(LOST)]
    if not lost:
        return found
    detail = (
        f"forecast.past names columns that no model looks at: {', '.join(lost)}. Declare what they are in "
        "data.columns (number, category, date, text), or take them out of forecast.past"
    )
    return [*found, Check("data.covariates.unused", "failed", len(lost), 0, detail, "warning")]


def _gaps(seen: Seen, counts: NDArray[np.intp]) -> list[Check]:
    numbers, periods = seen.grid.numbers, seen.grid.periods
    within = np.flatnonzero(np.diff(numbers) == 0)
    steps = np.diff(periods)[within]
    missing = np.bincount(numbers[within], steps - 1, len(counts))
    total, spans = int(missing.sum()), int(missing.sum() + counts.sum())
    if not total:
        return [Check("data.series.gaps", "passed", 0, 0)]
    worst = np.argsort(-missing, kind="stable")[: int((missing > 0).sum())]
    detail = (
        f"{total:,} of {spans:,} periods have no value, in {len(worst):,} series: they stay unknown. "
        f"Most in {listed(seen.grid.names, worst)}{_clocks(seen, within[steps > 1])}"
    )
    checks = [Check("data.series.gaps", "failed", total, 0, detail, "warning")]
    size = calendar.length(seen.rhythm.frequency)
    wide = within[(steps - 1) * size >= max(YEAR, 3 * size)] if calendar.dated(seen.rhythm.frequency) else within[:0]
    if len(wide):
        lost = np.unique(numbers[wide])
        when = ", ".join(f"{a} to {b}" for a, b in zip(*(_when(seen, wide[:SHOWN] + at) for at in (0, 1)), strict=True))
        detail = f"{len(lost):,} series have a gap of a year or more ({when}): {listed(seen.grid.names, lost)}"
        checks.append(Check("data.series.years_without", "failed", len(lost), 0, detail, "warning"))
    return checks


def _when(seen: Seen, rows: NDArray[np.intp]) -> list[str | float]:
    return calendar.written(seen.rhythm, seen.grid.periods[rows])


def _clocks(seen: Seen, before: NDArray[np.intp]) -> str:
    """How many gaps are hours that the clocks left out in spring; `before` are the rows before the gaps."""
    size = calendar.length(seen.rhythm.frequency)
    if seen.rhythm.zone or not calendar.dated(seen.rhythm.frequency) or size > HOUR:
        return ""
    hours = before[np.diff(seen.moments)[before] == HOUR + size]
    days = _nights(seen.moments[hours] + size)
    months = days[days >= 0].astype("M8[D]").astype("M8[M]").astype(np.int64) % 12
    spring = int(np.isin(months, (2, 3, 8, 9)).sum())  # March, April; September and October in the south
    return f"; {spring:,} gaps are the hour that clocks leave out in spring" if spring else ""


def _short(seen: Seen, counts: NDArray[np.intp]) -> Check:
    longest = max(seen.rhythm.season, default=1)
    short = np.flatnonzero((counts < 2 * longest) & (counts > 0))
    if longest == 1 or not len(short):
        return Check("data.series.short", "passed", 0, 0)
    detail = (
        f"{len(short):,} of {len(counts):,} series are shorter than two seasons of {longest} periods: they are kept, "
        f"but no season is learned from them: {listed(seen.grid.names, short)}"
    )
    return Check("data.series.short", "failed", len(short), 0, detail, "warning")


def _ended(seen: Seen, counts: NDArray[np.intp]) -> Check:
    """Series that end more than a year, and more than a horizon, before the last one."""
    name = "data.series.ended"
    ends = np.full(len(counts), -np.inf)
    np.maximum.at(ends, seen.grid.numbers, seen.grid.periods)
    size = calendar.length(seen.rhythm.frequency)
    if not calendar.dated(seen.rhythm.frequency):
        return Check(name, "not checked", detail="times are plain numbers")
    old = np.flatnonzero((counts > 0) & ((ends.max() - ends) * size > max(YEAR, seen.rhythm.horizon * size)))
    if not len(old):
        return Check(name, "passed", 0, 0)
    last, first = (calendar.written(seen.rhythm, np.array([end]))[0] for end in (ends.max(), ends[old].min()))
    detail = (
        f"{len(old):,} of {int((counts > 0).sum()):,} series end a year or more before the last one ({last}), the "
        f"earliest at {first}: each is forecast from its own end: {listed(seen.grid.names, old)}"
    )
    return Check(name, "failed", len(old), 0, detail, "warning")


def _flat(seen: Seen, names: list[str], counts: NDArray[np.intp]) -> list[Check]:
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(low, seen.grid.numbers, seen.values)
    np.maximum.at(high, seen.grid.numbers, seen.values)
    flat = (low == high) & (counts > 1)
    told = {"zeros": (flat & (low == 0), "are zero throughout"), "constant": (flat & (low != 0), "never change")}
    checks = []
    for name, (which, what) in told.items():
        found = np.flatnonzero(which)
        detail = f"{len(found):,} of {len(names):,} series {what}: {listed(names, found)}" if len(found) else ""
        checks.append(
            Check(f"data.series.{name}", "failed" if len(found) else "passed", len(found), 0, detail, "warning")
        )
    return checks


def _spoiled(seen: Seen) -> Check:
    name, season = "data.series.outliers", seen.rhythm.season[0] if seen.rhythm.season else 1
    rows = spikes(seen.grid.numbers, seen.grid.periods, seen.values, season)
    if not len(rows):
        return Check(name, "passed", 0, 0)
    shown = "; ".join(_value(seen, row) for row in rows[:SHOWN])
    shown += f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    detail = (
        f"{len(rows):,} values in {len(np.unique(seen.grid.numbers[rows])):,} series are so far from those around them "
        f"that they spoil the forecasts, and the units in which their errors are told: {shown}. Correct them, or leave "
        "them empty"
    )
    return Check(name, "failed", len(rows), 0, detail, "warning")


def _value(seen: Seen, row: int) -> str:
    name = seen.grid.names[seen.grid.numbers[row]]
    when = calendar.written(seen.rhythm, seen.grid.periods[[row]])[0]
    return f"{f'{name!r} at ' if name else ''}{when}: {seen.values[row]:g}"
