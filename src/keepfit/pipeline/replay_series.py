"""Forecasts made anew from the same knowledge: each version is told what was observed up to a row's origin, not later.

    a row        a series, the time that was asked about, and the origin: the last period that was known then; of
                 several requests with the same three one counts
    knowledge    the history of the newest version, and what was observed since
    covariates   of rows that are asked about, those of the log; of what was known, those of the feedback and of
                 data.source, which is the record where both have a value
    left out     rows that a version cannot forecast from that origin: it was trained on later ones, or does not know
                 the series

A version is told each row once: from origin to origin its states go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Config
from keepfit.data import rhythm as calendar
from keepfit.data import series
from keepfit.data.conform import asking, conform
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.wishes import Key, Known
from keepfit.features.frame import from_frame
from keepfit.features.prepare import prepare
from keepfit.models import evaluate
from keepfit.models.fitted import Ahead, Output
from keepfit.models.series import seasons
from keepfit.pipeline import champion, histories, live, observed, ready
from keepfit.pipeline.loading import load
from keepfit.pipeline.replay import Replayed
from keepfit.types import Schema

ORIGINS = 100  # that are looked at, at most: neighbours err alike
Floats = NDArray[np.float64]
Told = list[tuple[float, Mapping[str, Any]]]  # observed rows by period, the oldest first


class Asked(NamedTuple):
    """n rows: as a frame with the truth, conformed to `schema`, and where they lie."""

    frame: pl.DataFrame
    typed: pl.DataFrame
    periods: Floats
    origins: Floats

    def only(self, rows: NDArray[np.intp]) -> Asked:
        return Asked(self.frame[rows], self.typed[rows], self.periods[rows], self.origins[rows])


def replay(config: Config, project: Path, rows: pl.DataFrame, schema: Schema, versions: Sequence[str]) -> Replayed:
    """See `replay.replay`. The baseline is the seasonal naive forecast from the same origins."""
    folders = [champion.folder(config, project, version) for version in versions]
    trained = [load(config, project, folder, later=False) for folder in folders]
    now = load(config, project, folders[0]).wish
    asked = _asked(config, rows, schema, trained[0])
    told = _told(config, project, schema, now, [made.wish for made in trained])
    outputs = [_said(made, asked, told) for made in trained]
    naive = _naive(now, asked, schema)
    y = asked.typed[str(schema.target)].to_numpy()
    known = np.isfinite(y) & np.isfinite(naive) & np.all([_alike(output, asked) for output in outputs], axis=0)
    kept = np.flatnonzero(known)
    said = tuple(output[kept] for output in outputs)
    return Replayed(y[kept], said, Output(naive[kept], ahead=said[0].ahead), _together(asked.only(kept), schema))


def _asked(config: Config, rows: pl.DataFrame, schema: Schema, made: Runtime) -> Asked:
    """The rows that were forecast, each series, time and origin once, of the newest origins."""
    frame = live.columns(config, rows, schema)
    typed, _ = prepare(frame, made.schema, made.hooks)
    grid = series.grid(typed, schema)
    step = rows["step"].fill_null(0.0).to_numpy()
    there = np.flatnonzero(grid.placed & (step >= 1))
    keys = np.column_stack([grid.numbers, grid.periods, step])[there]
    once = there[np.sort(np.unique(keys, axis=0, return_index=True)[1])]
    asked = Asked(frame[once], typed[once], grid.periods[once], (grid.periods - step)[once])
    newest = np.unique(asked.origins)[-ORIGINS:]
    return asked.only(np.flatnonzero(asked.origins >= newest.min(initial=np.inf)))


def _told(
    config: Config, project: Path, schema: Schema, now: Known | None, trained: Sequence[Known | None]
) -> Told:  # fmt: skip
    """What was observed after the training of the version that knows least, series by series."""
    assert now is not None
    since = {key: min((one.ends.get(key, end) for one in trained if one), default=end) for key, end in now.ends.items()}
    beside = _beside(config, project, schema, now, min(since.values(), default=0))
    found: Told = []
    for key, end in now.ends.items():
        past = now.past(key, end - since[key]) if end > since[key] else {}
        times = calendar.written(now.rhythm, np.array(list(past), np.float64)) if past else []
        named = dict(zip(now.rhythm.series, key, strict=True))
        for (period, value), time in zip(past.items(), times, strict=True):
            row = {**beside.get((key, period), {}), **named, now.rhythm.time: time, now.target: value}
            found.append((period, row))
    return sorted(found, key=lambda each: each[0])


def _beside(
    config: Config, project: Path, schema: Schema, now: Known, since: int
) -> Mapping[tuple[Key, int], Mapping[str, Any]]:  # fmt: skip
    """Rows with covariates by series and period, of periods after `since`; none where no column is a covariate."""
    if not now.ahead and not now.rhythm.past:
        return {}
    split, _ = ready.examine(config, project)
    frames = [live.canonical(part.frame, schema) for part in (split.train, split.test)]
    source = pl.concat(frames, how="diagonal_relaxed")
    place = series.grid(conform(source, schema)[0], schema)
    late = place.placed & (place.periods > since)
    found: dict[tuple[Key, int], Mapping[str, Any]] = {}
    for row in (*observed.rows(config, project, schema), *source.filter(late).to_dicts()):
        key = (now.key(row), now.period(row, 0))
        found[key] = {**found.get(key, {}), **{name: value for name, value in row.items() if value is not None}}
    return found


def _said(made: Runtime, asked: Asked, told: Told) -> Output:
    """What a version forecasts for each row, from its origin."""
    frame, _ = prepare(asked.frame, made.schema, made.hooks)
    typed, rows, parts = asking(frame, made.schema), [], []
    for origin, then in _moments(made, np.unique(asked.origins).tolist(), told):
        here = np.flatnonzero(asked.origins == origin)
        rows.append(here)
        parts.append(then.predict(from_frame(typed[here], made.schema)))
    if not parts:
        return made.predict(from_frame(typed, made.schema))
    return _joined(parts)[np.argsort(np.concatenate(rows))]


def _moments(made: Runtime, origins: Sequence[float], told: Told) -> Iterator[tuple[float, Runtime]]:
    """A version as it was at each origin, the oldest first."""
    left = iter([*told, (math.inf, {})])
    period, row = next(left)
    for origin in origins:
        news = []
        while period <= origin:
            news.append(row)
            period, row = next(left)
        made = made.further(news) if news and made.further else made
        yield origin, made


def _joined(parts: Sequence[Output]) -> Output:
    """The rows of several Outputs of forecasts."""
    aheads = [part.ahead for part in parts if part.ahead is not None]
    ahead = Ahead(np.concatenate([one.scale for one in aheads]), np.concatenate([one.step for one in aheads]))
    low, high = (_column([getattr(part, name) for part in parts]) for name in ("low", "high"))
    return Output(np.concatenate([part.values for part in parts]), None, low, high, ahead)


def _column(parts: Sequence[Any]) -> Any:
    return None if any(part is None for part in parts) else np.concatenate(parts)


def _alike(output: Output, asked: Asked) -> NDArray[np.bool_]:
    """(n,) True where the version forecast from the row's origin, and from no other."""
    assert output.ahead is not None
    same = output.ahead.step == asked.periods - asked.origins
    return np.asarray(same & np.isfinite(np.asarray(output.values, np.float64)), np.bool_)


def _naive(now: Known | None, asked: Asked, schema: Schema) -> Floats:
    assert now is not None
    assert now.memory is not None
    places, periods = histories.placed(now, asked.typed, schema)
    season = (now.rhythm.season or (1,))[0]
    return seasons.ago(now.memory, places, periods, asked.periods - asked.origins, season)


def _together(asked: Asked, schema: Schema) -> NDArray[np.intp]:
    """(n,) units: whole series, or where there are few, stretches as long as the errors of a horizon are alike."""
    numbers = series.grid(asked.typed, schema).numbers
    if numbers.max(initial=-1) + 1 < evaluate.FEW_SERIES and len(numbers):
        steps = asked.periods - asked.origins
        stretch = np.floor(asked.periods / max(1.0, float(steps.mean())))
        numbers = np.unique(np.column_stack([numbers, stretch]), axis=0, return_inverse=True)[1].ravel()
    return np.asarray(np.unique(numbers, return_inverse=True)[1], np.intp)
