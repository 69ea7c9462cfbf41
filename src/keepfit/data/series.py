"""The rows of a forecast: which series and period each is, and how they are split.

The last `horizon` periods of each series are for testing, and each fold of cross-validation goes another
horizon back: its model learns what was known then, and is judged by the periods that came next. Series end
when they end, so each is counted back from its own last observation.

>>> from keepfit.types import Column
>>> rhythm = Rhythm("day", "1d", 0.0, 2, ("shop",))
>>> columns = (Column("shop", "series"), Column("day", "moment"), Column("sold", "past"))
>>> schema = Schema(columns, "forecast", "sold", rhythm=rhythm)
>>> days = pl.DataFrame({"shop": ["a"] * 7, "day": [86400.0 * day for day in range(7)], "sold": [1.0] * 7})
>>> late, how = split(days, schema)
>>> late.tolist(), how
([False, False, False, False, False, True, True], 'the last 2 periods of each series')
>>> [(learn.tolist(), judge.tolist()) for learn, judge in folds(days.filter(~late), schema, 5)]
[([0, 1, 2], [3, 4])]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import rhythm as calendar
from keepfit.errors import DataError
from keepfit.types import Check, Rhythm, Schema

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
HISTORY = 3  # periods without which a series is not tested on
SHOWN = 5  # series named in a detail


class Grid(NamedTuple):
    """Row by row: the number of its series (-1: it has none), its period (NaN: it has none), and the series' names."""

    numbers: NDArray[np.int64]
    periods: Floats
    names: list[str]

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Rows that have both."""
        return (self.numbers >= 0) & np.isfinite(self.periods)


def rhythm_of(schema: Schema) -> Rhythm:
    """The rhythm of a forecast's schema; DataError where it has none."""
    if schema.rhythm is None:
        raise DataError("The schema has no rhythm, so it is not that of a forecast. Set task: forecast.")
    return schema.rhythm


def numbered(frame: pl.DataFrame, columns: tuple[str, ...]) -> tuple[NDArray[np.int64], list[str]]:
    """The series of each row, 0 … in the order of the alphabet, and their names; -1 where one part is missing.

    >>> numbers, names = numbered(pl.DataFrame({"shop": ["b", "a", None], "item": ["x", "y", "x"]}), ("shop", "item"))
    >>> numbers.tolist(), names
    ([1, 0, -1], ['a, y', 'b, x'])
    """
    if not columns:
        return np.zeros(frame.height, np.int64), [""]
    keys = frame.select(columns).unique().drop_nulls().sort(columns)
    if not keys.height:
        return np.full(frame.height, -1, np.int64), []
    known = keys.with_row_index("number of the series")
    joined = frame.select(columns).join(known, on=list(columns), how="left", maintain_order="left")
    numbers = joined["number of the series"].cast(pl.Int64).fill_null(-1).to_numpy()
    return numbers, [", ".join(map(str, row)) for row in keys.iter_rows()]


def grid(typed: pl.DataFrame, schema: Schema) -> Grid:
    """Series and period of each row of a conformed frame."""
    rhythm = rhythm_of(schema)
    numbers, names = numbered(typed, rhythm.series)
    moments = typed[rhythm.time].fill_null(float("nan")).to_numpy()
    return Grid(numbers, calendar.periods(rhythm, moments), names)


def order(typed: pl.DataFrame, schema: Schema, known_at: str | None = None) -> Rows:
    """The rows that are used, series by series and in the order of time.

    Of several rows of one period the last is used, by `known_at` if that is told; rows without series or time are
    left out.
    """
    found = grid(typed, schema)
    rows = np.flatnonzero(found.placed)
    if known_at is not None and known_at in typed.columns:
        known = typed[known_at].fill_null(-np.inf).to_numpy()[rows]
        rows = rows[np.argsort(known, kind="stable")]
    sort = rows[np.lexsort((found.periods[rows], found.numbers[rows]))]
    again = np.zeros(len(sort), bool)
    again[:-1] = same(found, sort)
    return np.asarray(sort[~again], np.intp)


def same(found: Grid, sort: Rows) -> NDArray[np.bool_]:
    """True for each of sorted rows (but the last) that is of the series and period of the next (n - 1,)."""
    numbers, periods = found.numbers[sort], found.periods[sort]
    return np.asarray((numbers[1:] == numbers[:-1]) & (periods[1:] == periods[:-1]))


class Spans(NamedTuple):
    """Of each series (S,): its last observed period, and for each row (n,) how many periods it lies before that."""

    ends: Floats
    before: Floats


def spans(found: Grid) -> Spans:
    """Where series end. The rows are observations, placed."""
    ends = np.full(len(found.names), -np.inf)
    np.maximum.at(ends, found.numbers, found.periods)
    return Spans(ends, ends[found.numbers] - found.periods)


def split(typed: pl.DataFrame, schema: Schema) -> tuple[NDArray[np.bool_], str]:
    """True for each test row (n,): those of the last `horizon` periods of its series; and that in a few words.

    Series with fewer than `horizon` + 3 rows have none. Raises DataError if all are so short.
    """
    rhythm, found = rhythm_of(schema), grid(typed, schema)
    late = spans(found).before < rhythm.horizon
    late &= _kept(found, ~late, HISTORY)[found.numbers]
    if not late.any():
        longest = int(np.bincount(found.numbers, minlength=1).max())
        raise DataError(
            f"No series is long enough to be tested: the longest has {longest:,} periods with a value, and "
            f"forecast.horizon: {rhythm.horizon} needs {rhythm.horizon + HISTORY} at least. "
            "Bring longer series, or set a shorter horizon."
        )
    return late, f"the last {rhythm.horizon} periods of each series"


def _kept(found: Grid, learn: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """True for each series (S,) of which `least` rows are left to learn from."""
    return np.asarray(np.bincount(found.numbers[learn], minlength=len(found.names)) >= least)


def shared(late: NDArray[np.bool_], typed: pl.DataFrame, schema: Schema) -> Check:
    """Which series are in the training rows alone, because they are too short. A warning that names some."""
    found = grid(typed, schema)
    tested = np.bincount(found.numbers[late], minlength=len(found.names)) > 0
    count = int((~tested).sum())
    if not count:
        return Check("split.series", "passed", len(found.names), len(found.names))
    detail = (
        f"{count:,} of {len(found.names):,} series have fewer than {rhythm_of(schema).horizon + HISTORY} periods and "
        f"are not tested on, only learned from: {listed(found.names, np.flatnonzero(~tested))}"
    )
    return Check("split.series", "failed", len(found.names) - count, len(found.names), detail, "warning")


def listed(names: list[str], which: NDArray[np.intp]) -> str:
    """Some series by name.

    >>> listed(["a", "b"], np.array([1])), listed([""], np.array([0]))
    ("'b'", 'the one series')
    """
    if names == [""]:
        return "the one series"
    shown = ", ".join(f"'{names[at]}'" for at in which[:SHOWN])
    return shown + (f" and {len(which) - SHOWN:,} more" if len(which) > SHOWN else "")


def folds(typed: pl.DataFrame, schema: Schema, cv: int) -> list[tuple[Rows, Rows]]:
    """(training rows, held-out rows) of each fold, the newest origin first: up to `cv`, at least one.

    Fold k learns all that lies before the last k horizons of each series, and is judged by the horizon that comes
    next. The first holds out all series that leave three rows to learn from; the others those that leave two seasons
    and three rows, and there are others only while they hold out half as many series as the first. Series of a few
    rows hold out less than a horizon. Raises DataError if no series has three rows.
    """
    rhythm, found = rhythm_of(schema), grid(typed, schema)
    before = spans(found).before
    horizon = _shortened(found, rhythm.horizon)
    seasoned = 2 * max(rhythm.season, default=0) + HISTORY
    made: list[tuple[Rows, Rows]] = []
    first = 0
    for back in range(1, cv + 1):
        learn = before >= horizon * back
        judged = _kept(found, learn, seasoned if made else min(HISTORY, _least(found)))
        held = (before < horizon * back) & (before >= horizon * (back - 1)) & judged[found.numbers]
        count = len(np.unique(found.numbers[held]))
        if not count or count < first / 2:
            break
        first = first or count
        made.append((np.flatnonzero(learn), np.flatnonzero(held)))
    return made


def _least(found: Grid) -> int:
    """Rows that a series must leave to be learned from, where the longest has but a few."""
    return max(1, int(np.bincount(found.numbers).max()) - 1)


def _shortened(found: Grid, horizon: int) -> int:
    """The horizon, or what is left of it where no series leaves three rows."""
    counts = np.bincount(found.numbers, minlength=1)
    if counts.max() < HISTORY:
        raise DataError(
            f"The longest series has {int(counts.max())} training rows with a value: too few to learn from. "
            "Bring longer series, or set a shorter forecast.horizon."
        )
    before = spans(found).before
    for steps in range(horizon, 0, -1):
        if _kept(found, before >= steps, min(HISTORY, _least(found))).any():
            return steps
    return 1
