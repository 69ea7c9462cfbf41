"""What was known of the series of labelled forecasts: see `keepfit.monitoring.seasons.Before`.

The usual season is that of the rows that the model was trained on; the value of a season ago may have been observed
since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Config
from keepfit.data import series
from keepfit.data.conform import conform
from keepfit.deployment import plausible
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.wishes import Known
from keepfit.extras import load as load_target
from keepfit.models.series import seasons
from keepfit.models.series.panel import Floats, Ints
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.seasons import Before
from keepfit.pipeline.loading import load
from keepfit.types import Bundle, Schema

BEFORE: Mapping[str, str] = {"forecast": "keepfit.pipeline.histories:of_forecasts"}  # task → what was known


def before(config: Config, project: Path, made: Bundle, known: Labelled) -> Before | None:
    """What was known before of labelled rows; None for a task whose rows have no history, and where there are none."""
    name = BEFORE.get(made.schema.task)
    if name is None or not len(known):
        return None
    found: Callable[..., Before | None] = load_target(name, "task")
    return found(config, project, made, known)


def of_forecasts(config: Config, project: Path, made: Bundle, known: Labelled) -> Before | None:
    """None where the log does not say which series and time was asked about."""
    schema, ahead = made.schema, known.output.ahead
    rhythm = series.rhythm_of(schema)
    if ahead is None or not {rhythm.time, *rhythm.series} <= {*known.inputs.columns}:
        return None
    served = load(config, project, made.path)
    trained, now = load(config, project, made.path, later=False).wish, served.wish
    if trained is None or trained.memory is None or now is None or now.memory is None:
        return None
    typed, season = _typed(known.inputs, schema), (rhythm.season or (1,))[0]
    places, periods = placed(now, typed, schema)
    ago = seasons.ago(now.memory, places, periods, np.asarray(ahead.step, np.float64), season)
    usual = seasons.pattern(trained.memory, *placed(trained, typed, schema), season)
    return Before(places, ago, usual, held(served, known, places, periods))


def held(served: Runtime, known: Labelled, places: Ints, periods: Floats) -> NDArray[np.bool_]:
    """Of labelled rows and the series and periods that they are of (n,): whether the server does not believe the label.

    One judgement for both. A label by id that was replaced since, by what was told of its period otherwise, is judged
    by how far it is.
    """
    schema, wish, judged = served.schema, served.wish, served.judged.found if served.judged else ()
    found = np.abs(plausible.distances(known.output, known.y)) > 1
    if wish is None or not (found.any() or any(one.why for one in judged)):
        return np.asarray(found)
    names = (*series.rhythm_of(schema).series, series.rhythm_of(schema).time)
    rows = pl.DataFrame({name: pl.Series([one.told.row[name] for one in judged], strict=False) for name in names})
    at = zip(*map(np.ndarray.tolist, placed(wish, _typed(rows, schema), schema)), strict=True)
    told = dict(zip(at, judged, strict=True))
    for row, key in enumerate(zip(places.tolist(), periods.tolist(), strict=True)):
        if key in told and math.isclose(told[key].told.value, known.y[row], rel_tol=1e-9):
            found[row] = bool(told[key].why)
    return np.asarray(found)


def _typed(inputs: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Logged inputs as far as they tell series and time, in the types of the schema."""
    rhythm = series.rhythm_of(schema)
    bare = Schema(tuple(schema[name] for name in (*rhythm.series, rhythm.time)), schema.task, None, rhythm=rhythm)
    return conform(inputs, bare)[0]


def placed(known: Known, typed: pl.DataFrame, schema: Schema) -> tuple[Ints, Floats]:
    """Of each row of a conformed frame (n,): the place of its series in the model's memory, -1 for none; its period."""
    found = series.grid(typed, schema)
    numbers = found.numbers
    _, first = np.unique(numbers, return_index=True)
    places = np.full(int(numbers.max(initial=-1)) + 2, -1, np.int64)  # one more for rows without a series
    for row in typed[first].with_columns(n=pl.Series(numbers[first])).to_dicts():
        if row["n"] >= 0:
            places[row["n"]] = known.places.get(known.key(row), -1)
    return places[numbers], found.periods
