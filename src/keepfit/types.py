"""The nouns: the seven frozen values that pass from one stage to the next.

A `Dataset` is split into a `Split`, training turns it into a `Bundle` (a folder), and every
question "is this good enough?" is answered by a `Verdict` made of `Check`s. A Verdict that moved
something is a `Decision`. `Schema` says what the columns mean and travels with all of them.

This module imports nothing of keepfit, and nothing heavy: a frame is only named in annotations.

>>> verdict = Verdict("goals", (Check("accuracy", "passed", 0.93, ">= 0.9"),))
>>> verdict.outcome, bool(verdict)
('passed', True)
>>> Verdict("goals").outcome  # nothing was looked at, so nothing passed
'not checked'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

Outcome = Literal["passed", "failed", "not checked"]
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Column:
    """What one column means.

    `role` is a key of ROLES (number, category, text, date, …) or one of `id`, `time`, `group`,
    `target`, `ignore`; only the former become features. `dtype` is how the values are stored:
    `float`, `int`, `bool`, `str` or `date`. `levels` are a category's known values, most frequent
    first; `low` and `high` a number's range in the training rows; `formats` a date's strptime
    formats. `missing` is a share between 0 and 1. `hook` names the function of `features.py`
    that makes the column, for columns that are not part of the input.
    """

    name: str
    role: str
    dtype: str = "str"
    why: str = ""
    missing: float = 0.0
    distinct: int = 0
    example: str = ""
    levels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    formats: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()  # strings that mean "missing" in this column
    hook: str | None = None

    @property
    def dated(self) -> bool:
        """Whether values are dates: seconds since 1970 UTC, once they are read."""
        return self.role == "date" or (self.role in ("time", "moment") and self.dtype == "date")


@dataclass(frozen=True)
class Rhythm:
    """How the rows of a forecast follow each other.

    `time` names the column of the times and `series` those that tell the series apart (none: there is
    one). `frequency` is a period in polars' words (15m, 1h, 1d, 1mo, …), "1b" of business days, "1i" where
    times are plain numbers. `origin` is the time of period 0: seconds since 1970 UTC, or the number; of business
    days it begins a working week. `season` holds the periods of a season, shortest first; `horizon` is how
    many periods ahead is asked. `past` names the covariates that are known up to the last observation only:
    all others are known ahead. `zone` is what is written after a time with a clock: "Z" where the data tell
    their distance to UTC.
    """

    time: str
    frequency: str
    origin: float
    horizon: int
    series: tuple[str, ...] = ()
    season: tuple[int, ...] = ()
    past: tuple[str, ...] = ()
    zone: str = ""


NOT_FEATURES = frozenset({"id", "time", "group", "target", "ignore"})


@dataclass(frozen=True)
class Schema:
    """Column → role and type, and the task. Saved with everything that is made from the data."""

    columns: tuple[Column, ...]
    task: str
    target: str | None = None
    classes: tuple[str, ...] = ()  # sorted labels as text; empty for regression
    why_task: str = ""
    rhythm: Rhythm | None = None  # of a forecast

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that features are made of, those made by hooks included."""
        return tuple(c for c in self.columns if c.role not in NOT_FEATURES)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The features' columns that a caller has to bring."""
        return tuple(c for c in self.features if c.hook is None)

    @property
    def required(self) -> tuple[Column, ...]:
        """The inputs that every row has to have: a question leaves out what only observations tell."""
        free = {self.target, *(self.rhythm.past if self.rhythm else ())}
        return tuple(c for c in self.inputs if c.name not in free)

    @property
    def observes(self) -> bool:
        """Whether the target is an input too: a row that has it is an observation."""
        return any(column.name == self.target for column in self.inputs)

    def role(self, role: str) -> tuple[str, ...]:
        """Names of the columns that have `role`."""
        return tuple(c.name for c in self.columns if c.role == role)


@dataclass(frozen=True)
class Check:
    """One question with its answer. A warning that failed does not fail its Verdict."""

    name: str
    outcome: Outcome
    value: Any = None
    limit: Any = None
    detail: str = ""
    severity: Severity = "error"


@dataclass(frozen=True)
class Verdict:
    """The one answer to "is this good enough?"."""

    subject: str
    checks: tuple[Check, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """failed if an error-level check failed, passed if at least one check was made."""
        if self.failures:
            return "failed"
        return "passed" if any(c.outcome != "not checked" for c in self.checks) else "not checked"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks that stop."""
        return tuple(c for c in self.checks if c.outcome == "failed" and c.severity == "error")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The failed checks that only warn."""
        return tuple(c for c in self.checks if c.outcome == "failed" and c.severity == "warning")

    def __bool__(self) -> bool:
        return self.outcome == "passed"

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(self.subject, self.checks + other.checks)


@dataclass(frozen=True)
class Decision:
    """A Verdict that moved something (or refused to): who, what, when and why. Append-only."""

    # promoted | refused | rolled_back | on_trial | retrained | alarmed | resolved | undelivered
    kind: str
    subject: str  # the registered model
    reason: str
    verdict: Verdict
    version: str | None = None
    previous: str | None = None
    by: str = ""
    when: str = ""  # ISO 8601, UTC
    run: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A frame, what its columns mean, its version and where it came from."""

    frame: pl.DataFrame
    schema: Schema
    version: str  # content hash, "sha256:…"
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """Train and test rows of one Dataset; validation is cross-validation inside train."""

    train: Dataset
    test: Dataset
    how: str = ""


@dataclass(frozen=True)
class Bundle:
    """A folder with all that serving and monitoring ever need; `manifest` is its `bundle.json`."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def schema(self) -> Schema:
        schema: Schema = read(Schema, self.manifest["schema"])
        return schema


def plain(value: Any) -> Any:
    """A noun as dicts, lists, strings and numbers: what is written to JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def read(noun: type[Any], values: Mapping[str, Any]) -> Any:
    """A noun from what `plain` made of it. Fields a newer version added are left out.

    >>> import json
    >>> schema = Schema((Column("age", "number", "int"),), "regression", "price")
    >>> read(Schema, json.loads(json.dumps(plain(schema)))) == schema
    True
    """
    inner = {"columns": Column, "checks": Check, "verdict": Verdict, "rhythm": Rhythm}
    kept = {f.name: values[f.name] for f in dataclasses.fields(noun) if f.name in values}
    for name, value in kept.items():
        if isinstance(value, list):
            part = inner.get(name)
            kept[name] = tuple(read(part, v) if part else v for v in value)
        elif name in inner and isinstance(value, Mapping):
            kept[name] = read(inner[name], value)
    return noun(**kept)
