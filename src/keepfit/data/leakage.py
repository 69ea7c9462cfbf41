"""Does the test tell the truth? What a model could know in the test that it will not know later.

`data.leakage` says of each kind whether it stops the run, warns, or is not looked at:

    duplicates     rows of the test whose features are also in the training rows
    groups         entities of data.group on both sides
    known_later    test rows older than training rows (data.time), training rows that became known
                   only after the test began (data.known_at), dates later than their own row
    target_alone   a column that tells the target nearly alone (see `keepfit.data.single`)
    ids            an id that carries signal; a category that names single entities and predicts
    near_duplicates  pictures of the test that nearly are one of training: cut, resized, saved again

Certain leaks stop, suspects warn: whatever the config says, an error is made of the certain ones
only. Repeated rows are certain when more than 5 % of the test rows are in the training rows beyond
the share that repeats within the training rows themselves. Tables of a few categories repeat by
nature, and official test sets overlap a little (Adult 0.16 %, IMDB 0.5 %, both no more than within
training): those are counted in a warning, and `seen` marks the rows, so that metrics can also be
stated without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Action, Data
from keepfit.data import gallery, hashes, series, series_leakage
from keepfit.data.single import scores
from keepfit.types import Check, Schema, Verdict

CERTAIN = 0.05  # share of repeated test rows, beyond chance, that is no accident
ID_SIGNAL = 0.5  # score of an id that is worth a warning
ENTITY_SIGNAL = 0.8  # score of a category whose levels are nearly single entities
ENTITY_SHARE = 0.1  # distinct levels per row from which a category names entities
NEAR_SHOWN = 5  # pairs of pictures that are named
LUCK = 0.15  # of a score: about this over the root of the number of rows

Named = tuple[pl.DataFrame, pl.DataFrame]


def leakage(train: pl.DataFrame, test: pl.DataFrame, schema: Schema, data: Data, named: Named | None = None) -> Verdict:
    """The Verdict on a split; `train` and `test` are conformed frames, `named` the same rows as they were read.

    Takes the columns' roles from `schema` and what to do from `data.leakage`. A kind set to
    `ignore` is left out; a kind that cannot be looked at (no group, no time) is not checked.
    """
    actions = data.leakage
    kinds: Mapping[str, tuple[Action, Callable[[], list[Check]]]] = {
        "duplicates": (actions.duplicates, lambda: _duplicates(train, test, schema)),
        "groups": (actions.groups, lambda: _groups(train, test, data)),
        "known_later": (actions.known_later, lambda: _known_later(train, test, schema, data)),
        "target_alone": (actions.target_alone, lambda: _target_alone(train, schema, actions.threshold)),
        "ids": (actions.ids, lambda: _ids(train, schema)),
        "near_duplicates": (actions.near_duplicates, lambda: _near(train, test, schema, named or (train, test))),
    }
    found: list[Check] = []
    own = OWN.get(schema.task, {})
    for kind, (action, look) in kinds.items():
        if action != "ignore":
            checks = own[kind](train, test, schema, data) if kind in own else look()
            found += [_softened(check) if action == "warn" else check for check in checks]
    return Verdict("leakage", tuple(found))


def _softened(check: Check) -> Check:
    return Check(check.name, check.outcome, check.value, check.limit, check.detail, "warning")


def seen(train: pl.DataFrame, test: pl.DataFrame, schema: Schema) -> NDArray[np.bool_]:
    """True for each test row whose features are exactly those of a training row."""
    return np.isin(_hashed(test, schema), _hashed(train, schema))


def _hashed(frame: pl.DataFrame, schema: Schema) -> hashes.Hashes:
    there = set(frame.columns)
    return hashes.rows(frame, [c.name for c in schema.features if c.name in there])


def _labelled(found: hashes.Hashes, frame: pl.DataFrame, schema: Schema) -> hashes.Hashes:
    """The hashes with the target mixed in."""
    return hashes.mix(found ^ hashes.values(frame[schema.target])) if schema.target in frame.columns else found


def _duplicates(train: pl.DataFrame, test: pl.DataFrame, schema: Schema) -> list[Check]:
    ours, theirs = _hashed(train, schema), _hashed(test, schema)
    again = np.isin(theirs, ours)
    count, share = int(again.sum()), float(again.mean()) if len(again) else 0.0
    _, at, times = np.unique(ours, return_inverse=True, return_counts=True)
    chance = float((times[at] > 1).mean()) if len(ours) else 0.0
    name, limit = "leakage.duplicates", CERTAIN + chance
    if not count:
        return [Check(name, "passed", 0, limit)]
    same = int(np.isin(_labelled(theirs, test, schema), _labelled(ours, train, schema)).sum())
    shown = ", ".join(str(row) for row in np.flatnonzero(again)[:5])
    detail = (
        f"{count:,} of {len(test):,} test rows ({share:.2%}) have the features of a training row, {same:,} of them "
        f"its target too; within training {chance:.2%} of the rows are repeated. First: test rows {shown}."
    )
    if share > limit:
        return [Check(name, "failed", share, limit, f"{detail} The test is no test of new rows: take them out of it.")]
    return [Check(name, "failed", share, limit, f"{detail} No more than chance explains.", "warning")]


def _near(train: pl.DataFrame, test: pl.DataFrame, schema: Schema, named: Named) -> list[Check]:
    checks = []
    for column in (name for name in schema.role("image") if name in train.columns and name in test.columns):
        pairs, looked = gallery.near(train[column], test[column])
        ours, theirs = map(gallery.paths, named)
        shown = ", ".join(f"{theirs[a]} is like {ours[b]}" for a, b in pairs[:NEAR_SHOWN])
        of = f"{looked:,} of {len(test):,} test pictures" if looked < len(test) else f"{looked:,} test pictures"
        detail = f"{len(pairs):,} of {of} nearly are one of training, but for its size, quality or edges: {shown}"
        outcome = Check(f"leakage.near_duplicates.{column}", "passed", 0, 0, f"{of} looked at")
        checks.append(replace(outcome, outcome="failed", value=len(pairs), detail=detail) if pairs else outcome)
    return checks


def _groups(train: pl.DataFrame, test: pl.DataFrame, data: Data) -> list[Check]:
    if data.group is None:
        return [Check("leakage.groups", "not checked", detail="no data.group is set")]
    both = sorted(set(train[data.group].drop_nulls()) & set(test[data.group].drop_nulls()))
    shown = ", ".join(repr(level) for level in both[:5])
    detail = f"{len(both):,} of '{data.group}' are in training and test, such as {shown}" if both else ""
    return [Check("leakage.groups", "failed" if both else "passed", len(both), 0, detail)]


def _known_later(train: pl.DataFrame, test: pl.DataFrame, schema: Schema, data: Data) -> list[Check]:
    checks = [_older(train, test, data), _corrected(train, test, data)]
    for part in (c.name for c in schema.features if c.role == "date"):
        checks += _late_column(train, part, data)
    return checks


def _older(train: pl.DataFrame, test: pl.DataFrame, data: Data) -> Check:
    name = "leakage.known_later.time"
    if data.time is None:
        return Check(name, "not checked", detail="no data.time is set")
    newest = _high(train[data.time])
    older = (test[data.time] < newest).fill_null(False).arg_true().to_list() if newest is not None else []
    if not older or newest is None:
        return Check(name, "passed", 0, 0)
    detail = (
        f"{len(older):,} of {len(test):,} test rows are older than the newest training row ({_day(newest)}), "
        f"first: test row {older[0]}. Training looks into the future of the test."
    )
    return Check(name, "failed", len(older), 0, detail)


def known_too_late(train: pl.DataFrame, test: pl.DataFrame, data: Data) -> NDArray[np.bool_]:
    """True for each training row that became known (data.known_at) only after the test begins.

    Such rows, corrections mostly, have to be left out of training; none without data.time.
    """
    start = _low(test[data.time]) if data.time is not None else None
    if data.known_at is None or start is None:
        return np.zeros(len(train), dtype=bool)
    return np.asarray((train[data.known_at] > start).fill_null(False).to_numpy())


def _corrected(train: pl.DataFrame, test: pl.DataFrame, data: Data) -> Check:
    name = "leakage.known_later.known_at"
    if data.known_at is None or data.time is None:
        return Check(name, "not checked", detail="data.time and data.known_at are not both set")
    late = np.flatnonzero(known_too_late(train, test, data))
    if not len(late):
        return Check(name, "passed", 0, 0)
    detail = (
        f"{len(late):,} of {len(train):,} training rows became known ('{data.known_at}') only after the test begins "
        f"({_day(_low(test[data.time]) or 0.0)}), first: training row {late[0]}. They could not have been learned from."
    )
    return Check(name, "failed", len(late), 0, detail)


def _late_column(train: pl.DataFrame, column: str, data: Data) -> list[Check]:
    """A date that lies after its row: certain if after known_at, a suspect if after the row's time,
    because dates can be planned ahead."""
    certain = data.known_at is not None
    against = data.known_at or data.time
    if against is None or column not in train.columns:
        return []
    late = int((train[column] > train[against]).sum())
    if not late:
        return []
    detail = (
        f"'{column}' is later than '{against}' in {late:,} of {len(train):,} training rows: "
        f"it is not known yet when the prediction is made. Set data.columns: {{{column}: ignore}}, if so."
    )
    severity = "error" if certain else "warning"
    return [Check(f"leakage.known_later.{column}", "failed", late, 0, detail, severity)]  # type: ignore[arg-type]


def _target_alone(
    train: pl.DataFrame, schema: Schema, threshold: float, roles: tuple[str, ...] | None = None
) -> list[Check]:
    found = scores(train, schema, roles)
    if not found:
        return [Check("leakage.target_alone", "not checked", detail="too few rows with a target")]
    limit = min(0.999, threshold + LUCK / np.sqrt(min(len(train), 10_000)))
    measure = "2·AUC − 1" if schema.task == "classification" else "R² of ranks"
    checks = []
    for name in (name for name, score in found.items() if score >= limit):
        detail = (
            f"'{name}' alone tells the target with a score of {found[name]:.3f} ({measure} on held-out rows; "
            f"1 is perfect). If it is not known before the target, set data.columns: {{{name}: ignore}}."
        )
        checks.append(Check(f"leakage.target_alone.{name}", "failed", found[name], limit, detail))
    best = max(found, key=lambda name: found[name])
    return checks or [Check("leakage.target_alone", "passed", found[best], limit, f"the best column alone is '{best}'")]


def _ids(train: pl.DataFrame, schema: Schema) -> list[Check]:
    checks = []
    for name, score in scores(train, schema, ("id",)).items():
        if score >= ID_SIGNAL:
            detail = (
                f"the id '{name}' is left out of the features, yet its order tells the target with a score of "
                f"{score:.3f}: the rows are numbered by something that depends on the target."
            )
            checks.append(Check(f"leakage.ids.{name}", "failed", score, ID_SIGNAL, detail))
    entities = [c.name for c in schema.features if c.role == "category" and c.distinct > ENTITY_SHARE * len(train)]
    levels = scores(train, schema, ("category",)) if entities else {}
    for name in entities:
        if levels.get(name, 0.0) >= ENTITY_SIGNAL:
            detail = (
                f"'{name}' names single entities ({schema[name].distinct:,} in {len(train):,} rows) and alone tells "
                f"the target with a score of {levels[name]:.3f}: they are learned by heart. Set data.group: {name}."
            )
            checks.append(Check(f"leakage.ids.{name}", "failed", levels[name], ENTITY_SIGNAL, detail))
    return checks or [Check("leakage.ids", "passed", 0, 0)]


def _high(series: pl.Series) -> float | None:
    return None if series.null_count() == len(series) else float(series.max())  # type: ignore[arg-type]


def _low(series: pl.Series) -> float | None:
    return None if series.null_count() == len(series) else float(series.min())  # type: ignore[arg-type]


def _day(seconds: float) -> str:
    """A moment as a date; numbers that are no epoch seconds stay as they are."""
    if not 1e8 <= seconds <= 1e11:
        return f"{seconds:g}"
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "minutes").removesuffix("+00:00")


def _known_ahead(schema: Schema) -> Schema:
    """Without the covariates of which no value of a row's own time is looked at."""
    past = series.rhythm_of(schema).past
    return replace(schema, columns=tuple(column for column in schema.columns if column.name not in past))


COVARIATES = ("number", "category", "date", "text", "image")
# task → kind of leak → what is looked at instead: the rows of a series follow each other, and its past is known
OWN: Mapping[str, Mapping[str, Callable[[pl.DataFrame, pl.DataFrame, Schema, Data], list[Check]]]] = {
    "forecast": {
        "groups": lambda train, test, schema, data: [],
        "known_later": lambda train, test, schema, data: series_leakage.later(
            train, test, schema, data.test is not None
        ),
        "target_alone": lambda train, test, schema, data: (
            _target_alone(train, _known_ahead(schema), data.leakage.threshold, COVARIATES)
            if any(column.role in COVARIATES for column in _known_ahead(schema).features)
            else []
        ),
        "ids": lambda train, test, schema, data: [],
    }
}
