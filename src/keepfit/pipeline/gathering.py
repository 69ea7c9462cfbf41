"""The data of a retraining: the source as known by now, and the labelled log as one source more.

    trained on   the source's training rows, labelled rows of the log, within `retraining.window`
    judged on    the newest `retraining.test_size` of the labelled rows that the champion never saw
    anchor       the source's own test rows: never trained on, so they tell what was unlearned
    left out     slices of new rows that are broken (`keepfit.pipeline.quarantine`), unless they are trusted

A row of the log is new when it happened after the rows that the champion was trained on, or got its
label later; how far that was stands in the champion's manifest, `data.origin.log`. What was left out
then stays left out, what was learned from is trusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import config as settings
from keepfit.config import Config, Leakage
from keepfit.data import hashes, leakage, version
from keepfit.errors import RefusedError
from keepfit.extras import load
from keepfit.models import bundle as bundles
from keepfit.monitoring import alarms
from keepfit.pipeline import champion, live, quarantine, ready
from keepfit.types import Check, Column, Dataset, Schema, Split, Verdict

TRUSTED = 50_000  # rows that new ones are compared with, at most
ONSET = ("performance", "estimated", "drift")  # alarms that a change begins with
MOST = 2  # times the share that is asked for: more rows of one moment are not kept together
AT = "at of the row"  # a column that no data set has
Mask = NDArray[np.bool_]


class Gathered(NamedTuple):
    """What is trained on and judged by, the anchor (None: the log brought nothing), and what was found."""

    split: Split
    anchor: Dataset | None
    verdict: Verdict


Way = Callable[[Config, Path, Split, Verdict, datetime, bool, bool], Gathered]
# task → what gathers, where rows do not stand for themselves
WAYS: Mapping[str, str] = {"forecast": "keepfit.pipeline.gathering_series:gather"}


class Log(NamedTuple):
    """Labelled rows, oldest first: as they are in the log, in canonical types, and which are new and unseen."""

    rows: pl.DataFrame
    frame: pl.DataFrame
    new: Mask  # the champion's training could not know it, or not its label
    unseen: Mask  # it happened after all that the champion was trained on

    def only(self, kept: Mask) -> Log:
        return Log(self.rows.filter(kept), self.frame.filter(kept), self.new[kept], self.unseen[kept])


def gather(config: Config, project: Path, now: datetime, trust: bool = False, by_hand: bool = False) -> Gathered:
    """The data known by `now`. `trust` takes in slices that look broken; the Verdict says so.

    Raises RefusedError where too few new labelled rows are left (see `enough`), DataError where the log lacks an input.
    """
    base, verdict = ready.examine(config, project, now)
    if base.train.schema.task in WAYS:
        way: Way = load(WAYS[base.train.schema.task], "task")
        return way(config, project, base, verdict, now, trust, by_hand)
    found = live.labelled(config, project, now, base.train.schema.task)
    if found.is_empty():
        return Gathered(base, None, verdict)
    before = memory(config, project)
    log = _log(config, found, base.train.schema, before)
    source, anchor = _apart(config, base, log, before)
    log, spans, told = _sound(config, project, log, source, base.train.schema, before, trust)
    verdict += told
    verdict += enough(least(config, base.train.schema), int(log.new.sum()), bool(log.unseen.any()), verdict, by_hand)
    late = _late(log.rows["at"], log.unseen, config.retraining.test_size)
    train, why = _train(config, project, source, log.only(~late), now)
    split = _split(config, project, base, train, log.only(late), {**_until(log, late, found), "quarantined": spans})
    verdict += _between(config, project, split) + Verdict("window", (why,))
    return Gathered(split, anchor, dataclasses.replace(verdict, subject="data"))


def memory(config: Config, project: Path) -> Mapping[str, Any]:
    """What the champion was trained on; empty where there is none.

    `version`, `source` (versions of the source's two parts), and what `gather` wrote of the log: `until`,
    `labels_until`, `rows`, `quarantined`.
    """
    found = champion.pointer(config, project)("champion")
    if found is None:
        return {}
    data = bundles.read(found.fetch()).manifest["data"]
    told = (data.get("origin") or {}).get("log") or {}
    return {"source": [data.get("version"), data.get("test_version")], **told, "version": found.version}


def fresh(rows: pl.DataFrame, before: Mapping[str, Any], tried: str | None = None) -> int:
    """How many labelled rows the champion's training did not know, and no attempt since (`tried`: its newest label)."""
    new, _ = _new(rows, before)
    if tried:
        new &= (rows["label_time"] > moment(tried)).to_numpy()
    return int(new.sum())


def _log(config: Config, rows: pl.DataFrame, schema: Schema, before: Mapping[str, Any]) -> Log:
    """The labelled rows whose label means something, without those that an earlier training left out."""
    log = Log(rows, live.columns(config, rows, schema), *_new(rows, before))
    log = log.only(log.frame[str(schema.target)].is_not_null().to_numpy())
    left = np.zeros(len(log.new), bool)
    for span in before.get("quarantined", ()):
        at = log.rows["at"].is_between(moment(span["since"]), moment(span["until"]))
        left |= at.to_numpy() & ~log.new
    return log.only(~left)


def _new(rows: pl.DataFrame, before: Mapping[str, Any]) -> tuple[Mask, Mask]:
    """Which rows are new to the champion, and which happened after all that it was trained on."""
    if not before.get("until"):
        return np.ones(len(rows), bool), np.ones(len(rows), bool)
    unseen = (rows["at"] > moment(before["until"])).to_numpy()
    told_later = (rows["label_time"] > moment(before["labels_until"])).to_numpy()
    return unseen | told_later, unseen


def moment(text: str) -> datetime:
    """A time of a record, UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# --- the source -----------------------------------------------------------------------------------


def _apart(config: Config, base: Split, log: Log, before: Mapping[str, Any]) -> tuple[pl.DataFrame, Dataset]:
    """The source's training rows in canonical types, with the time they are of where the data tell, and its test rows.

    Both without rows of the log that the source grew by since the champion was trained.
    """
    train, test = (live.canonical(part.frame, base.train.schema) for part in (base.train, base.test))
    anchor = base.test
    if before.get("source") not in (None, [base.train.version, base.test.version]):
        train = train.filter(~_taken(train, log))
        anchor = dataclasses.replace(anchor, frame=anchor.frame.filter(~_taken(test, log)))
    return train.with_columns(_times(train, config.data.time).alias(AT)), anchor


def _times(frame: pl.DataFrame, column: str | None) -> pl.Expr:
    if column is None or column not in frame.columns:
        return pl.lit(None, live.MOMENT)
    if frame[column].dtype.is_temporal():
        return pl.col(column).cast(live.MOMENT)
    return (pl.col(column) * 1e6).cast(pl.Int64).cast(live.MOMENT)


def _taken(source: pl.DataFrame, log: Log) -> Mask:
    """True for the rows that the log has too, by content: the last ones, as many as the log has; rows may be alike."""
    names = [name for name in log.frame.columns if name in source.columns]
    known = pl.DataFrame({"hash": hashes.rows(log.frame, names)}).group_by("hash").len("times")
    ours = pl.DataFrame({"hash": hashes.rows(source, names)[::-1]})
    ours = ours.with_columns(pl.int_range(pl.len()).over("hash").alias("place"))
    ours = ours.join(known, on="hash", how="left", maintain_order="left")
    return np.asarray((ours["place"] < ours["times"].fill_null(0)).to_numpy()[::-1])


# --- the log --------------------------------------------------------------------------------------


def _sound(
    config: Config, project: Path, log: Log, source: pl.DataFrame, schema: Schema, before: Mapping[str, Any],
    trust: bool,
) -> tuple[Log, list[dict[str, Any]], Verdict]:  # fmt: skip
    """The log without broken slices of new rows; those slices; and a Check of each."""
    trusted = pl.concat([source.drop(AT), log.frame.filter(~log.new)], how="diagonal_relaxed").tail(TRUSTED)
    fresh = log.only(log.new)
    y = _truth(fresh.frame, schema)
    output = champion.answers(config, project, Dataset(fresh.frame, schema, "")).output if len(y) else None
    found = quarantine.broken(quarantine.Given(fresh.frame, y, output), trusted, schema) if len(y) else []
    places, at = np.flatnonzero(log.new), fresh.rows["at"]
    left, spans, checks = np.zeros(len(log.new), bool), [], []
    for part in found:
        since, until = at[part.start].isoformat(), at[part.end - 1].isoformat()
        name, why = f"quarantine: {since[:19]} to {until[:19]}", "; ".join(part.why.values())
        rows = part.end - part.start
        told = f"{rows:,} rows are taken in all the same: {why}" if trust else f"{rows:,} rows are left out: {why}"
        checks.append(Check(name, "failed", rows, 0, told, "warning"))
        if not trust:
            left[places[part.start : part.end]] = True
            spans.append({"since": since, "until": until, "rows": rows, "why": why})
    spans = [*before.get("quarantined", ()), *spans]
    return log.only(~left), spans, Verdict("quarantine", tuple(checks) or (_no_break(len(y)),))


def _no_break(rows: int) -> Check:
    return Check("quarantine", "passed" if rows else "not checked", 0, 0, f"{rows:,} new labelled rows were looked at")


def _truth(frame: pl.DataFrame, schema: Schema) -> NDArray[Any]:
    known = frame[str(schema.target)]
    return np.array(known.to_list(), object) if schema.classes else known.to_numpy()


def least(config: Config, schema: Schema | None) -> int:
    """`retraining.min_rows`; where nobody set it, of a forecast as many rows as its horizon has periods."""
    asked = config.retraining
    if "min_rows" in asked.model_fields_set or schema is None or schema.rhythm is None:
        return asked.min_rows
    return schema.rhythm.horizon


def enough(least: int, rows: int, unseen: bool, verdict: Verdict, by_hand: bool) -> Verdict:
    """What is to be said of how many new rows there are: by hand, fewer than `least` are trained on too.

    Raises RefusedError where there are too few to train a challenger on, or none to judge it by.
    """
    few = Check("new labelled rows", "failed", rows, least, "fewer than retraining.min_rows asks for", "warning")
    if unseen and (by_hand or rows >= least):
        return Verdict("retraining", (few,) if rows < least else ())
    left = tuple(check for check in verdict.warnings if check.name.startswith("quarantine"))
    lost = sum(int(check.value) for check in left)
    told = f"{rows:,} new labelled rows" + (f" besides {lost:,} that look broken" if lost else "")
    found = "".join(f"\n  {check.name}: {check.detail}" for check in left)
    after = " Those that are right all the same are taken in by --trust." if lost else ""
    asks = f", and retraining.min_rows asks for {least:,}" if rows < least and not by_hand else ": none to judge by"
    against = Check("new labelled rows", "failed", rows, least, "retraining.min_rows")
    raise RefusedError(f"There are {told}{asks}.{after}{found}", Verdict("retraining", (against, *left)))


def _late(at: pl.Series, among: Mask, share: float) -> Mask:
    """True for the newest `share` of the rows of a mask; what happened at one moment stays together.

    Unless that moment is most of them, as where all came with one request: then rows are cut in their order.
    """
    times = at.dt.timestamp("us").to_numpy()
    ordered = np.sort(times[among])
    first = min(int(len(ordered) * (1 - share)), len(ordered) - 1)
    late = np.asarray(among & (times >= ordered[first]))
    if late.sum() <= MOST * (len(ordered) - first):
        return late
    places = np.flatnonzero(among)[np.argsort(times[among], kind="stable")]
    found = np.zeros(len(among), bool)
    found[places[first:]] = True
    return found


def _until(log: Log, late: Mask, found: pl.DataFrame) -> dict[str, Any]:
    """How far the log was used, for the manifest: `until` is the time of the newest row that was trained on."""
    earlier = log.rows.filter(~late)["at"].max()
    first = log.rows.filter(late)["at"].min()
    assert isinstance(first, datetime)
    until = earlier if isinstance(earlier, datetime) else first - timedelta(microseconds=1)
    newest = found["label_time"].max()
    assert isinstance(newest, datetime)
    return {"until": until.isoformat(), "labels_until": newest.isoformat(), "rows": int((~late).sum())}


# --- together -------------------------------------------------------------------------------------


def _train(config: Config, project: Path, source: pl.DataFrame, log: Log, now: datetime) -> tuple[pl.DataFrame, Check]:
    """The training rows within `retraining.window`, and what the window came to."""
    rows = pl.concat([source, log.frame.with_columns(log.rows["at"].alias(AT))], how="diagonal_relaxed")
    begin = window(config, project, now)
    if begin is None:
        return rows, Check("window", "passed", rows.height, detail="all rows that are known")
    inside, least = rows.filter(pl.col(AT) >= begin), config.retraining.min_rows
    told = f"since {begin.isoformat()[:19]}: {inside.height:,} of {rows.height:,} rows"
    if inside.height >= least:
        return inside, Check("window", "passed", inside.height, least, told)
    dated = rows.filter(pl.col(AT).is_not_null()).sort(AT)
    kept = dated.tail(least) if dated.height >= least else rows
    return kept, Check("window", "failed", inside.height, least, f"{told}; so the newest {kept.height:,}", "warning")


def window(config: Config, project: Path, now: datetime) -> datetime | None:
    """Where `retraining.window` begins; None for all rows, also where no change is known that it could begin with."""
    asked = config.retraining.window
    if asked == "all":
        return None
    if asked != "change":
        return now - timedelta(seconds=float(asked))
    opened = alarms.load(project / settings.WORK / "monitoring")
    since = [moment(alarm.since) for alarm in opened if alarm.family in ONSET]
    return min(since) - timedelta(seconds=config.monitoring.window) if since else None


def _split(
    config: Config, project: Path, base: Split, train: pl.DataFrame, late: Log, told: Mapping[str, Any]
) -> Split:
    """Training and test rows as Datasets with the schema of the training rows."""
    first = late.rows["at"].min()
    assert isinstance(first, datetime)
    train = _known(config, train, first)
    test = late.frame.with_columns(late.rows["at"].alias(AT))
    train, test = (_timed(config, part).drop(AT) for part in (train, test))
    schema = _meaning(config, project, base.train, train)
    told = {**told, "source": [base.train.version, base.test.version]}
    origin = {**base.train.origin, "log": told}
    how = f"the newest {test.height:,} labelled rows, since {first.isoformat()[:19]}"
    learn, judge = (Dataset(part, schema, version.fingerprint(part), origin) for part in (train, test))
    return Split(learn, judge, how)


def _known(config: Config, train: pl.DataFrame, first: datetime) -> pl.DataFrame:
    """Without rows of the source that became known (data.known_at) only after the first test row happened."""
    column = config.data.known_at
    if column is None or column not in train.columns:
        return train
    late = train.select(_times(train, column) > first).to_series().fill_null(False)
    return train.filter(~late)


def _timed(config: Config, frame: pl.DataFrame) -> pl.DataFrame:
    """data.time filled from when a row was answered, where callers do not bring it."""
    column = config.data.time
    if column is None or column not in frame.columns:
        return frame
    kind = frame[column].dtype
    at = pl.col(AT).dt.replace_time_zone(None) if kind.is_temporal() else pl.col(AT).dt.epoch("us") / 1e6
    return frame.with_columns(pl.col(column).fill_null(at.cast(kind)))


def _meaning(config: Config, project: Path, data: Dataset, train: pl.DataFrame) -> Schema:
    """The source's schema with the levels, ranges and missing shares of all training rows."""
    typed = ready.typed(config, project, dataclasses.replace(data, frame=train)).frame
    columns = tuple(_grown(column, typed) for column in data.schema.columns)
    return ready.of_training(dataclasses.replace(data.schema, columns=columns), typed)


def _grown(column: Column, typed: pl.DataFrame) -> Column:
    if column.name not in typed.columns:
        return column
    values = typed[column.name]
    share = values.null_count() / max(len(values), 1)
    if column.role != "category":
        return dataclasses.replace(column, missing=share)
    counts = values.drop_nulls().value_counts(sort=True)[column.name]
    levels = tuple(counts.head(ready.LEVELS).to_list())
    return dataclasses.replace(column, missing=share, levels=levels, distinct=len(counts))


def _between(config: Config, project: Path, split: Split) -> Verdict:
    """Are rows of the test among the training rows, beyond chance? Then it tells what was learned by heart."""
    only = Leakage(
        duplicates=config.data.leakage.duplicates, groups="ignore", known_later="ignore", target_alone="ignore",
        ids="ignore",
    )  # fmt: skip
    train, test = (ready.typed(config, project, part).frame for part in (split.train, split.test))
    found = leakage.leakage(train, test, split.train.schema, config.data.model_copy(update={"leakage": only}))
    return Verdict("leakage", tuple(dataclasses.replace(c, name=f"recent {c.name}") for c in found.checks))
