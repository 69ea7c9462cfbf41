"""The data of a forecast's retraining: the source's series, gone on with by what was observed.

    one row        a series and period; of several observations the last told counts
    the source     is the record: where it has a value, no observation replaces it
    judged on      the newest `forecast.horizon` periods of each series, as in every run; the champion, which
                   held out a horizon too, was trained on none of them, and is told what came before
    left out       batches of observations on another scale than their series (`quarantine.rescaled`), and those
                   of times that were still to come when they were told, unless confirmed: a slip in a year

There is no anchor: the source's own test rows are training rows by now, as a forecast is to go on from them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import show
from keepfit.config import Config
from keepfit.data import observations, series, split, version
from keepfit.data import rhythm as calendar
from keepfit.data.conform import conform
from keepfit.pipeline import gathering, live, quarantine, ready
from keepfit.pipeline.gathering import Gathered
from keepfit.types import Check, Dataset, Schema, Split, Verdict

Mask = NDArray[np.bool_]


class Told(NamedTuple):
    """Observations, oldest told first: when, the rows in canonical types, which the source has, which are new, and
    which their tellers confirmed."""

    at: pl.Series
    frame: pl.DataFrame
    there: Mask
    new: Mask
    sure: Mask

    def only(self, kept: Mask) -> Told:
        masks = (mask[kept] for mask in (self.there, self.new, self.sure))
        return Told(self.at.filter(kept), self.frame.filter(kept), *masks)


def gather(
    config: Config, project: Path, base: Split, verdict: Verdict, now: datetime, trust: bool, by_hand: bool
) -> Gathered:
    """See `gathering.gather`."""
    schema = base.train.schema
    known = pl.concat([live.canonical(part.frame, schema) for part in (base.train, base.test)], how="diagonal_relaxed")
    rows = live.known(config, project, now, schema)
    if rows.is_empty():
        return Gathered(base, None, verdict)
    before = gathering.memory(config, project)
    told = _told(rows, known, base, before)
    told, early = _come(told, schema, trust)
    told, spans, found = _sound(told, known, schema, before, trust)
    verdict = verdict + early + found
    least = gathering.least(config, schema)
    verdict += gathering.enough(least, int(told.new.sum()), bool(told.new.any()), verdict, by_hand)
    fresh = told.frame.filter(~told.there)
    every, why = _within(config, project, pl.concat([known, fresh], how="diagonal_relaxed"), schema, now)
    log = {
        "until": _newest(told.at), "labels_until": _newest(rows["label_time"]), "rows": fresh.height,
        "quarantined": spans, "source": [base.train.version, base.test.version],
    }  # fmt: skip
    made = _split(config, project, base, every, {**base.train.origin, "log": log})
    return Gathered(made, None, dataclasses.replace(verdict + Verdict("window", (why,)), subject="data"))


def _told(rows: pl.DataFrame, known: pl.DataFrame, base: Split, before: Mapping[str, Any]) -> Told:
    """The observations as rows, without what an earlier training left out."""
    schema = base.train.schema
    values = zip(rows["row"].to_list(), rows["value"].to_list(), strict=True)
    raw = [{**json.loads(row), str(schema.target): value} for row, value in values]
    names = [column.name for column in schema.inputs]
    frame = live.canonical(pl.DataFrame({name: _column(name, raw) for name in names}), schema)
    there = _there(frame, known, schema)
    new = np.ones(len(rows), bool)
    if before.get("labels_until"):
        new = (rows["label_time"] > gathering.moment(before["labels_until"])).to_numpy()
    if before.get("source") in (None, [base.train.version, base.test.version]):
        new &= ~there  # the source is as it was, so the champion knew these
    sure = np.array([row.get(observations.CONFIRMED) is True for row in raw], bool)
    told = Told(rows["at"], frame, there, new, sure)
    left = np.zeros(len(new), bool)
    for span in before.get("quarantined", ()):
        within = told.at.is_between(gathering.moment(span["since"]), gathering.moment(span["until"]))
        left |= within.to_numpy() & ~new
    return told.only(~left)


def _column(name: str, raw: list[dict[str, Any]]) -> pl.Series:
    return pl.Series(name, [row.get(name) for row in raw], strict=False)


def _there(frame: pl.DataFrame, known: pl.DataFrame, schema: Schema) -> Mask:
    """Which rows are of a series and period that `known` has."""
    both = pl.concat([known, frame], how="diagonal_relaxed")
    found = series.grid(conform(both, schema)[0], schema)
    keys = pl.DataFrame({"series": found.numbers, "period": found.periods})
    before = keys[: known.height].unique().with_columns(there=True)
    there = keys[known.height :].join(before, on=["series", "period"], how="left", maintain_order="left")
    return np.asarray(there["there"].fill_null(False).to_numpy())


def _come(told: Told, schema: Schema, trust: bool) -> tuple[Told, Verdict]:
    """The observations without those of times that were to come when they were told, and a Check of these."""
    rhythm = series.rhythm_of(schema)
    periods = series.grid(conform(told.frame, schema)[0], schema).periods
    seconds = told.at.dt.epoch("us").to_numpy() / 1e6
    early = observations.to_come(rhythm, periods, seconds) & ~told.sure
    if not early.any():
        return told, Verdict("quarantine", ())
    count, first = int(early.sum()), calendar.written(rhythm, periods[early])[0]
    verb = "taken in all the same" if trust else "left out"
    detail = f"{show.counted(count, 'row')} {verb}: {first} was still to come when it was told"
    check = Check("quarantine: times to come", "failed", count, 0, detail, "warning")
    return (told if trust else told.only(~early)), Verdict("quarantine", (check,))


def _sound(
    told: Told, known: pl.DataFrame, schema: Schema, before: Mapping[str, Any], trust: bool
) -> tuple[Told, list[dict[str, Any]], Verdict]:
    """The observations without batches that are on another scale; those; and a Check of each."""
    trusted = pl.concat([known, told.frame.filter(~told.new)], how="diagonal_relaxed")
    at = told.at.to_list()
    left, spans, checks = np.zeros(len(told.new), bool), [], []
    for time in dict.fromkeys(at):
        batch = np.array([moment == time for moment in at]) & told.new
        why = quarantine.rescaled(told.frame.filter(batch), trusted, schema) if batch.any() else ""
        if not why:
            continue
        rows, verb = int(batch.sum()), "are taken in all the same" if trust else "are left out"
        name = f"quarantine: observed {time.isoformat()[:19]}"
        checks.append(Check(name, "failed", rows, 0, f"{rows:,} rows {verb}: {why}", "warning"))
        if not trust:
            left |= batch
            spans.append({"since": time.isoformat(), "until": time.isoformat(), "rows": rows, "why": why})
    looked = Check("quarantine", "passed", 0, 0, f"{int(told.new.sum()):,} new observations were looked at")
    spans = [*before.get("quarantined", ()), *spans]
    return told.only(~left), spans, Verdict("quarantine", tuple(checks) or (looked,))


def _within(
    config: Config, project: Path, rows: pl.DataFrame, schema: Schema, now: datetime
) -> tuple[pl.DataFrame, Check]:
    """The rows within `retraining.window`, by their own times where those are dates."""
    [time] = schema.role("moment")
    begin = gathering.window(config, project, now)
    if begin is None or not schema[time].dated:
        return rows, Check("window", "passed", rows.height, detail="all rows that are known")
    kept = rows.filter(pl.col(time) >= begin.replace(tzinfo=None))
    told = f"since {begin.isoformat()[:19]}: {kept.height:,} of {rows.height:,} rows"
    least = gathering.least(config, schema)
    if kept.height >= least:
        return kept, Check("window", "passed", kept.height, least, told)
    detail = f"{told}; too few, so all rows that are known"
    return rows, Check("window", "failed", kept.height, least, detail, "warning")


def _newest(times: pl.Series) -> str:
    newest = times.max()
    assert isinstance(newest, datetime)
    return newest.isoformat()


def _split(config: Config, project: Path, base: Split, every: pl.DataFrame, origin: Mapping[str, Any]) -> Split:
    """The newest periods of each series for judging, all before for training."""
    whole = dataclasses.replace(base.train, frame=every)
    typed = ready.typed(config, project, whole).frame
    order = split.order(typed, base.train.schema, config.data)
    typed, every = typed[order], every[order]
    late, how = split.split(typed, base.train.schema, config.data)
    schema = ready.of_training(base.train.schema, typed.filter(~late))
    parts = (every.filter(~late), every.filter(late))
    learn, judge = (Dataset(part, schema, version.fingerprint(part), origin) for part in parts)
    return Split(learn, judge, f"{how}, of the source and of {origin['log']['rows']:,} observed rows")
