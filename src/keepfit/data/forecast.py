"""The Schema of a forecast: which columns tell the series apart, which holds the times, and their rhythm.

    series   what tells the series apart: forecast.series
    moment   the times: data.time, else the one column of dates, else one that counts up within each series
    past     the target: a row with it is an observation, a row without is to be forecast

All other columns keep their usual roles. They are covariates: those of forecast.past are known up to the last
observation only, all others have to be known ahead. Columns that only go on with the times (a second clock), stay
the same throughout each series or mark a split say nothing ahead, and are ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Data, Forecast
from keepfit.data import clock, conform, decimal, parse, roles, season
from keepfit.data import rhythm as calendar
from keepfit.data.columns import Facts, look, split_name
from keepfit.data.series import numbered
from keepfit.errors import ConfigError, DataError
from keepfit.extras import nearest
from keepfit.types import NOT_FEATURES, Column, Rhythm, Schema

PARTS = frozenset({"train", "training", "test", "testing", "valid", "validation", "val", "dev", "holdout"})
Floats = NDArray[np.float64]
NO_HOOKS: Mapping[str, str] = {}
TWICE = 0.2  # share of rows whose time came before, from which there are several series
LOST = "forecast.past names it, but it is left out: "  # begins why a column is so


def columns(
    frame: pl.DataFrame, data: Data, forecast: Forecast, hooks: Mapping[str, str] = NO_HOOKS
) -> list[Column | None]:
    """The Columns of `frame` in the roles of a forecast; None at the place of the target.

    `hooks` maps columns that functions made to these. Raises ConfigError or DataError for names that are not
    there, for times that cannot be found or read, and for several series that nothing tells apart.
    """
    check_names(frame, forecast, data)
    time, why = clock.column(frame, data, forecast)
    moment = clock.moment(frame[time], data, why)
    others = _others(frame, data, forecast, time, hooks)
    made: list[Column | None] = []
    for series in frame.iter_columns():
        if series.name == data.target:
            made.append(None)
        elif series.name == time:
            made.append(moment)
        elif series.name in forecast.series:
            facts = look(series, data.missing)
            made.append(roles.describe(facts, "series", "forecast.series: tells the series apart", data.missing))
        else:
            made.append(others[series.name])
    return made


def check_names(frame: pl.DataFrame, forecast: Forecast, data: Data) -> None:
    """Raises ConfigError for columns of forecast.series and past that are not there, or are something else too."""
    mistakes = []
    taken = {data.target: "the target", data.time: "the time (data.time)"}
    placed = taken | dict.fromkeys(forecast.series, "one of forecast.series")
    for key, names, others in (("series", forecast.series, taken), ("past", forecast.past, placed)):
        for name in names:
            if name not in frame.columns:
                hint = nearest(name, frame.columns)
                told = f"{hint}Columns: {clock.named(frame)}"
                mistakes.append(f"  forecast.{key}: the data have no column '{name}'. {told}")
            elif name in others:
                mistakes.append(f"  forecast.{key}: '{name}' is {others[name]}")
    if mistakes:
        raise ConfigError("The config and the data do not fit together:\n" + "\n".join(mistakes))


# --- the other columns


def _others(
    frame: pl.DataFrame, data: Data, forecast: Forecast, time: str, hooks: Mapping[str, str]
) -> dict[str, Column]:
    """Covariates in their usual roles, but for second clocks and columns that mark a split."""
    taken = {data.target, time, *forecast.series}
    kept = {None: "", data.group: "data.group", data.known_at: "data.known_at"}
    numbers, _ = numbered(frame, tuple(forecast.series))
    found = {}
    for series in frame.iter_columns():
        if series.name in taken or series.name in kept:
            continue
        column = roles.column(series, data.missing, data.columns.get(series.name))
        declared = series.name in data.columns or series.name in forecast.past or series.name in hooks
        said = "" if declared else _says_nothing(series, column, numbers)
        found[series.name] = (
            dataclasses.replace(column, role="ignore", why=said)
            if said
            else _covariate(column, forecast, hooks.get(series.name))
        )
    for name, key in kept.items():
        if name is not None and name in frame.columns and name not in taken:
            role = "group" if key == "data.group" else "time"
            lost = LOST if name in forecast.past else ""
            found[name] = roles.describe(look(frame[name], data.missing), role, f"{lost}{key}", data.missing)
    return found


def _covariate(column: Column, forecast: Forecast, hook: str | None) -> Column:
    """The column, with whether it counts as known ahead."""
    if column.role in NOT_FEATURES:
        lost = LOST if column.name in forecast.past else ""
        return dataclasses.replace(column, why=f"{lost}{column.why}", hook=hook)
    known = "past only" if column.name in forecast.past else "known ahead"
    return dataclasses.replace(column, why=f"{known}: {column.why}", hook=hook)


def _says_nothing(series: pl.Series, column: Column, numbers: NDArray[np.int64]) -> str:
    if column.role == "category" and {level.lower() for level in column.levels} <= PARTS and column.levels:
        return "marks a split; the last periods of each series are the test"
    if (
        column.role in ("number", "date", "id")
        and column.dtype in ("int", "float", "date")
        and _ticks(series, column, numbers)
    ):
        return "goes on with the times: a second clock"
    if column.role not in NOT_FEATURES and _stays(series, numbers):
        return "the same throughout each series, whose name says as much; declare its role to have it looked at"
    return ""


def _stays(series: pl.Series, numbers: NDArray[np.int64]) -> bool:
    """Has each of several series one value alone?"""
    values = pl.DataFrame({"number": numbers, "value": series}).filter(pl.col("number") >= 0)
    counts = values.group_by("number").agg(pl.col("value").drop_nulls().n_unique())["value"]
    return len(counts) > 1 and bool((counts <= 1).all())


def _ticks(series: pl.Series, column: Column, numbers: NDArray[np.int64]) -> bool:
    """Do values rise from each row of a series to its next, in even steps (an eighth more or less, as months)?"""
    role = "date" if column.dtype == "date" else "number"
    told = Schema((dataclasses.replace(column, role=role),), "none")
    values = conform.conform(series.to_frame(), told)[0].to_series().fill_null(float("nan")).to_numpy()
    there = np.flatnonzero(np.isfinite(values) & (numbers >= 0))
    sort = there[np.argsort(numbers[there], kind="stable")]
    steps = np.diff(values[sort])[np.diff(numbers[sort]) == 0]
    return len(steps) > 0 and bool((np.abs(steps / max(np.median(steps), 1e-300) - 1) < 0.125).mean() > 0.99)


# --- target and rhythm


def target(facts: Facts) -> str:
    """Why the target is what it is; DataError where it cannot be forecast."""
    name = f"'{facts.name}'"
    if facts.kind == "empty" or facts.known == 0:
        raise DataError(f"The target {name} has no values at all: every row is missing it.")
    if facts.kind not in ("int", "float", "bool"):
        what = "dates" if facts.kind == "date" else "texts" if facts.kind == "str" else facts.kind
        raise DataError(
            f"task: forecast needs numbers, but the target {name} holds {what} such as {parse.shown(facts.example)}. "
            f"{decimal.hint(facts.texts)}Name another data.target."
        )
    return f"set by the task of the config; {name} holds {facts.distinct:,} different values"


def complete(frame: pl.DataFrame, schema: Schema, data: Data, forecast: Forecast) -> Schema:
    """The schema with its rhythm: frequency and season of the rows, unless the config says them.

    Times with a distance to UTC are read as UTC; where periods are days or longer, as the date that is written.
    Raises DataError for times without a frequency, and where times repeat for want of forecast.series.
    """
    [time] = schema.role("moment")
    moments, numbers, seen = _timed(frame, schema, forecast)
    _check_series(moments, numbers, frame, data, time, forecast.series)
    frequency = _frequency(moments, numbers, seen, schema[time], forecast)
    zoned = clock.zoned(frame[time]) and parse.LOCAL not in schema[time].formats
    if zoned and calendar.length(frequency) >= calendar.DAY:
        told = dataclasses.replace(schema[time], formats=(*schema[time].formats, parse.LOCAL))
        every = tuple(told if column.name == time else column for column in schema.columns)
        return complete(frame, dataclasses.replace(schema, columns=every), data, forecast)
    past = tuple(column.name for column in schema.features if column.name in forecast.past)
    origin = calendar.origin(moments, frequency, seen)
    zone = "Z" if zoned else ""
    rhythm = Rhythm(time, frequency, origin, forecast.horizon, tuple(forecast.series), past=past, zone=zone)
    rhythm = dataclasses.replace(rhythm, season=_season(frame, schema, rhythm, forecast))
    return dataclasses.replace(schema, columns=tuple(_told(c, rhythm) for c in schema.columns), rhythm=rhythm)


def _told(column: Column, rhythm: Rhythm) -> Column:
    """The column of times tells of its rhythm."""
    if column.name != rhythm.time:
        return column
    season = f"season {' and '.join(map(str, rhythm.season))}" if rhythm.season else "no season"
    return dataclasses.replace(column, why=f"{column.why}: every {calendar.named(rhythm)}, {season}")


def _frequency(
    moments: Floats, numbers: NDArray[np.int64], seen: NDArray[np.bool_], time: Column, forecast: Forecast
) -> str:
    sort = np.lexsort((moments, numbers))
    if forecast.frequency == "auto":
        found = calendar.frequency(moments[sort], numbers[sort], time.dtype == "date", seen[sort])
        return found or _no_frequency(moments[sort], numbers[sort], time.name, forecast.series)
    if calendar.dated(forecast.frequency) != (time.dtype == "date"):
        kind = "dates" if time.dtype == "date" else "numbers"
        raise ConfigError(f"forecast.frequency: {forecast.frequency} does not fit '{time.name}', which holds {kind}.")
    return forecast.frequency


def _timed(
    frame: pl.DataFrame, schema: Schema, forecast: Forecast
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Time and series of each row that has both, and whether something was observed."""
    [name] = schema.role("moment")
    moments = _read(frame, schema[name])
    numbers, _ = numbered(_read_series(frame, schema, forecast.series), tuple(forecast.series))
    kept = np.isfinite(moments) & (numbers >= 0)
    if not kept.any():
        raise DataError(f"No row has a time in '{name}' and a series: there is nothing to forecast.")
    return moments[kept], numbers[kept], np.isfinite(_values(frame, schema))[kept]


def _values(frame: pl.DataFrame, schema: Schema) -> Floats:
    return _read(frame, dataclasses.replace(schema[str(schema.target)], role="past"))


def _read(frame: pl.DataFrame, column: Column) -> Floats:
    typed, _ = conform.conform(frame.select(column.name), Schema((column,), "none"))
    return typed.to_series().fill_null(float("nan")).to_numpy()


def _read_series(frame: pl.DataFrame, schema: Schema, names: Sequence[str]) -> pl.DataFrame:
    if not names:
        return frame.select(pl.nth(0))
    return conform.conform(frame.select(names), Schema(tuple(schema[name] for name in names), "none"))[0]


def _check_series(
    moments: Floats, numbers: NDArray[np.int64], frame: pl.DataFrame, data: Data, time: str, given: Sequence[str]
) -> None:
    """Raises DataError where many times come again in their series, with other values."""
    sort = np.lexsort((moments, numbers))
    twice = int(((np.diff(moments[sort]) == 0) & (np.diff(numbers[sort]) == 0)).sum())
    alike = frame.height - frame.n_unique()  # rows that repeat another are no series
    if twice - alike <= TWICE * len(moments):
        return
    if given and frame.select(time, *given).is_duplicated().sum() <= TWICE * frame.height:
        raise DataError(
            f"{twice:,} of {len(moments):,} rows have a time in '{time}' that their series has already. Names that are "
            f"written in two ways, as 12 and 12.0 or True and true, are one series: give those of {', '.join(given)} "
            "other names, or make one series of their rows."
        )
    names = suggested(frame, data, time)
    told = f"Set 'forecast: {{series: [{', '.join(names)}]}}'" if names else "Name them in forecast.series"
    raise DataError(
        f"{twice:,} of {len(moments):,} rows have a time in '{time}' that their series has already: there are more "
        f"series than the config says. {told}, the columns that tell them apart."
    )


def told_apart(frame: pl.DataFrame, data: Data) -> list[str]:
    """The columns that tell the series apart, where times come again and again and nobody has said why; else none.

    Where no time comes twice but there is no frequency, the column within whose series there is one.
    """
    found = clock.found(frame, data, Forecast())
    if found is None or data.target is None:
        return []
    return suggested(frame, data, found[0]) or in_step(frame, data, found[0])


def in_step(frame: pl.DataFrame, data: Data, time: str) -> list[str]:
    """The column that tells apart series whose times have a frequency, where those of all rows have none; else none."""
    moments = _read(frame, clock.moment(frame[time], data, ""))

    def rhythmic(*names: str) -> bool:
        numbers, _ = numbered(frame, names)
        kept = np.isfinite(moments) & (numbers >= 0)
        sort = np.lexsort((moments[kept], numbers[kept]))
        return calendar.frequency(moments[kept][sort], numbers[kept][sort], True) is not None

    if clock.moment(frame[time], data, "").dtype != "date" or rhythmic():
        return []
    return next(([name] for name in _apart(frame, data, time) if rhythmic(name)), [])


def _apart(frame: pl.DataFrame, data: Data, time: str) -> list[str]:
    """Columns that may name series: texts and whole numbers that come three times and more."""
    return [
        name
        for name in frame.columns
        if name not in (time, data.target) and 1 < frame[name].n_unique() <= frame.height / 3
        and (column := roles.column(frame[name], data.missing)).role in ("category", "id", "number")
        and column.dtype != "float"
    ]  # fmt: skip


def suggested(frame: pl.DataFrame, data: Data, time: str) -> list[str]:
    """One or two columns which tell the series apart, so that no time comes twice; none where there are no such."""
    if not frame.select(time).is_duplicated().any():
        return []
    some = _apart(frame, data, time)
    pairs: Iterable[tuple[str, ...]] = [*((name,) for name in some), *combinations(some, 2)]
    known = frame.filter(pl.col(time).is_not_null())
    fits = [names for names in pairs if known.select(time, *names).is_duplicated().mean() < 0.01]  # type: ignore[operator]
    if not fits:
        return []
    fewest = min(len(names) for names in fits)
    best = min(
        (names for names in fits if len(names) == fewest),
        key=lambda names: (not any(split_name(name) & roles.ID_WORDS for name in names), frame[names[0]].n_unique()),
    )
    return list(best)


def _no_frequency(moments: Floats, numbers: NDArray[np.int64], time: str, names: Sequence[str]) -> str:
    ahead = (np.diff(moments) > 0) & (np.diff(numbers) == 0)
    if not ahead.any():
        raise DataError(f"No series has two different times in '{time}': a forecast needs a history.")
    step = float(np.median(np.diff(moments)[ahead]))
    raise DataError(
        f"The times in '{time}' keep no rhythm: the median step is {step / calendar.DAY:.4g} days, near no unit of "
        "the calendar. Say it with 'forecast: {frequency: 1d}', and the times are put into such periods"
        + ("." if names else "; or name the columns that tell series apart in forecast.series, if there are several.")
    )


def _season(frame: pl.DataFrame, schema: Schema, rhythm: Rhythm, forecast: Forecast) -> tuple[int, ...]:
    """The season of the config, or that which the rows before the last horizon confirm."""
    if forecast.season != "auto":
        given = [forecast.season] if isinstance(forecast.season, int) else forecast.season
        return tuple(sorted({one for one in given if one > 1}))
    values = panel(frame, schema, rhythm)
    early = values[:, : -rhythm.horizon] if values.shape[1] > 2 * rhythm.horizon else values
    return season.seasons(early, rhythm.frequency)


def panel(frame: pl.DataFrame, schema: Schema, rhythm: Rhythm) -> Floats:
    """The newest values of some series, right-aligned (series, T), NaN where there is none."""
    numbers, _ = numbered(_read_series(frame, schema, rhythm.series), rhythm.series)
    values = _values(frame, schema)
    periods = calendar.periods(rhythm, _read(frame, schema[rhythm.time]))
    step = -(-(numbers.max() + 1) // season.SERIES)
    rows = np.flatnonzero((numbers >= 0) & (numbers % step == 0) & np.isfinite(periods) & np.isfinite(values))
    numbers, periods, values = numbers[rows] // step, periods[rows], values[rows]
    ends = np.full(int(numbers.max(initial=0)) + 1, -np.inf)
    np.maximum.at(ends, numbers, periods)
    back = ends[numbers] - periods
    kept = back < season.COLUMNS + rhythm.horizon
    made = np.full((len(ends), int(back[kept].max(initial=0)) + 1), np.nan)
    made[numbers[kept], made.shape[1] - 1 - back[kept].astype(np.int64)] = values[kept]
    return made
