"""Live rows whose label has come, answered anew by several versions: what a trial and a probation compare.

What was answered then may have been answered by any of them; here each answers all rows, and knows what was known
when they were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Config
from keepfit.extras import load
from keepfit.models import tasks
from keepfit.models.fitted import Output
from keepfit.pipeline import live
from keepfit.types import Schema


class Replayed(NamedTuple):
    """n rows: what was true, what each version answers, the trivial baseline, and the units that rows belong to."""

    y: NDArray[Any]
    outputs: tuple[Output, ...]
    baseline: Output | None
    together: NDArray[np.intp] | None = None


Way = Callable[[Config, Path, pl.DataFrame, Schema, Sequence[str]], Replayed]
# task → what replays, where rows do not stand for themselves
WAYS: Mapping[str, str] = {"forecast": "keepfit.pipeline.replay_series:replay"}


def replay(config: Config, project: Path, rows: pl.DataFrame, schema: Schema, versions: Sequence[str]) -> Replayed:
    """Labelled rows (`live.labelled`) asked again of `versions`, the newest first.

    `schema` is that of the first. The baseline knows how often each label is, of these very rows.
    """
    if schema.task in WAYS:
        way: Way = load(WAYS[schema.task], "task")
        return way(config, project, rows, schema, versions)
    frame = live.columns(config, rows, schema).filter(pl.col(str(schema.target)).is_not_null())
    known = frame[str(schema.target)]
    y = np.array(known.to_list(), object) if schema.classes else known.to_numpy()
    outputs = tuple(live.said(config, project, version, frame) for version in versions)
    return Replayed(y, outputs, tasks.within(y, schema))
