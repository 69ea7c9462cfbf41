"""Declared expectations of a column (`checks:` of the config), each as one Check.

>>> from keepfit.config import Expectation
>>> check, = expect(pl.Series("age", ["41", "-3", "170"]), Column("age", "number"), Expectation(max=120))
>>> check.name, check.outcome, check.value, check.limit
('checks.age.max', 'failed', 170.0, 120.0)
>>> check.detail
"1 cell is above 120: row 2 ('170')"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from keepfit.config import Expectation
from keepfit.data import conform, parse
from keepfit.errors import ConfigError
from keepfit.types import Check, Column

SHOWN = 5  # rows named in a detail


@dataclass(frozen=True)
class Finding:
    """What was measured, and the rows that break the expectation (None: as good as all)."""

    value: Any
    broken: pl.Series
    what: str


def expect(series: pl.Series, column: Column, expectation: Expectation) -> list[Check]:
    """One Check for each thing that is expected of the column, named by its config key."""
    checks = []
    for key, rule in RULES.items():
        limit = getattr(expectation, key)
        if limit is None or limit is False:
            continue
        found = rule(series, column, limit)
        rows = found.broken.fill_null(False).arg_true().to_list()
        failed = found.value > limit if key == "nulls" else bool(rows)
        detail = describe(rows, found.what, series) if failed else ""
        name = f"checks.{column.name}.{key}"
        checks.append(Check(name, "failed" if failed else "passed", found.value, limit, detail, severity(expectation)))
    return checks


def severity(expectation: Expectation) -> Any:
    """How bad it is to break the expectation."""
    return "error" if expectation.action == "stop" else "warning"


def describe(rows: list[int], what: str, series: pl.Series | None = None) -> str:
    """`2 cells are above 120: rows 3 (170), 8 (121)`; rows are counted from 0."""
    count = "1 cell is" if len(rows) == 1 else f"{len(rows):,} cells are"
    return f"{count} {what}: {where(rows, series)}"


def where(rows: list[int], series: pl.Series | None = None) -> str:
    """The first rows, with their values."""
    shown = [str(row) if series is None else f"{row} ({_short(series[row])})" for row in rows[:SHOWN]]
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {', '.join(shown)}{more}"


def _short(value: Any) -> str:
    return parse.shown(value) if isinstance(value, str) else str(value)[:40]


def _numbers(series: pl.Series, column: Column, key: str) -> pl.Series:
    values, _ = conform.numbers(series, column)
    if values.null_count() == len(values) and column.role not in ("number", "ignore"):
        raise ConfigError(f"checks.{column.name}.{key} needs numbers, but '{column.name}' is of role {column.role}")
    return values


def _min(series: pl.Series, column: Column, limit: float) -> Finding:
    values = _numbers(series, column, "min")
    return Finding(values.min(), values < limit, f"below {limit:g}")


def _max(series: pl.Series, column: Column, limit: float) -> Finding:
    values = _numbers(series, column, "max")
    return Finding(values.max(), values > limit, f"above {limit:g}")


def _nulls(series: pl.Series, column: Column, limit: float) -> Finding:
    gone = missing(series, column)
    share = int(gone.sum()) / max(1, len(gone))
    return Finding(share, gone, f"missing, {share:.2%} where {limit:.2%} are allowed")


def missing(series: pl.Series, column: Column) -> pl.Series:
    """True where the value is missing; NaN, blanks and the column's tokens are."""
    if series.dtype.is_float():
        return series.is_null() | series.is_nan().fill_null(False)
    return (conform.texts(series, column)[0] if series.dtype == pl.String else series).is_null()


def _values(series: pl.Series, column: Column, limit: list[Any]) -> Finding:
    read, _ = conform.levels(series, column)
    allowed = [level for value in limit if (level := parse.level(value)) is not None]
    broken = ~read.is_in(allowed)
    return Finding(broken.sum(), broken, f"none of {', '.join(parse.shown(value) for value in allowed[:8])}")


def _unique(series: pl.Series, column: Column, limit: bool) -> Finding:
    read, _ = conform.levels(series, column)
    again = ~read.is_first_distinct() & read.is_not_null()
    return Finding(again.sum(), again, "repeated")


def _pattern(series: pl.Series, column: Column, limit: str) -> Finding:
    try:
        pattern = re.compile(limit)
    except re.error as error:
        raise ConfigError(f"checks.{column.name}.pattern: '{limit}' is no regular expression: {error}") from error
    read = conform.levels(series, column)[0] if series.dtype != pl.String else series.str.strip_chars()
    wrong = [value for value in read.drop_nulls().unique().to_list() if not pattern.fullmatch(value)]
    broken = read.is_in(wrong) & ~missing(series, column)
    return Finding(broken.sum(), broken, f"not of the pattern {limit}")


RULES: Mapping[str, Callable[[pl.Series, Column, Any], Finding]] = {
    "min": _min,
    "max": _max,
    "nulls": _nulls,
    "values": _values,
    "unique": _unique,
    "pattern": _pattern,
}
