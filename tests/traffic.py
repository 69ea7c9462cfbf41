"""Traffic for a project: rows answered by its champion as a server logs them, and labels that come later."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from keepfit import Project
from keepfit.data.log import Line, open_log
from keepfit.data.rows import values_of
from keepfit.pipeline import champion

START = datetime(2026, 3, 2, tzinfo=UTC)


def answered(
    made: Project,
    frame: pl.DataFrame,
    since: datetime | None = None,
    seconds: float = 60.0,
    role: str = "champion",
    version: str | None = None,
    keys: list[str] | None = None,
) -> list[str]:
    """Log each row as answered by `version`, one every `seconds` from `since` on (default: up to now); their ids."""
    number, runtime = champion.chosen(made.config, made.folder, version)
    begin = (since or datetime.now(UTC) - timedelta(seconds=seconds * (len(frame) + 1))).timestamp()
    rows = frame.to_dicts()
    output, _ = runtime.rows(rows)
    redact = made.config.serving.log.redact
    log = open_log(made.work / "predictions", runtime.schema, made.config.project.name, number, role, redact)
    ids = keys or log.ids(len(rows))
    names = [column.name for column in runtime.schema.columns if column.role not in ("target", "ignore")]
    inputs = values_of([name for name in names if runtime.schema[name].hook is None and name not in redact])(rows)
    shares, ahead = output.probabilities, output.ahead
    log.write([
        Line(key, begin + place * seconds, "request", None, "/predict", 0.001, values, output.values[place],
             None if shares is None else float(shares[place].max()), None if shares is None else shares[place].tolist(),
             step=None if ahead is None else float(ahead.step[place]),
             scale=None if ahead is None else float(ahead.scale[place]))
        for place, (key, values) in enumerate(zip(ids, inputs, strict=True))
    ])  # fmt: skip
    log.close()
    return ids


def labelled(made: Project, frame: pl.DataFrame, since: datetime | None = None, seconds: float = 60.0) -> list[str]:
    """Log the rows as answered, with what is true in the column of the target as feedback."""
    ids = answered(made, frame, since, seconds)
    report = made.feedback(pl.DataFrame({"id": ids, "label": frame[str(made.config.data.target)]}))
    assert report.accepted == len(ids), report
    return ids


def flipped(frame: pl.DataFrame, column: str, share: float = 1.0) -> pl.DataFrame:
    """Two classes turned round in `share` of the rows."""
    one, other = sorted(frame[column].unique())
    turned = pl.Series(np.random.default_rng(3).random(len(frame)) < share)
    swapped = pl.when(pl.col(column) == one).then(pl.lit(other)).otherwise(pl.lit(one))
    return frame.with_columns(pl.when(turned).then(swapped).otherwise(pl.col(column)).alias(column))


def soon() -> datetime:
    """A moment when all that is logged by now is known."""
    return datetime.fromtimestamp(time.time() + 1, UTC)
