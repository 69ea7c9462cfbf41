"""Is the data what was expected, and is it sane? Every violation at once.

Declared expectations are named after their line of the config (`checks.age.max`), what is looked at
in any data set `data.…`. Rows are counted from 0, the first row of data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from keepfit.config import Data, Expectation
from keepfit.data import gallery, hashes, parse, series_checks
from keepfit.data.conform import conform, levels
from keepfit.data.expectations import expect, severity, where
from keepfit.data.parse import Problem
from keepfit.extras import nearest
from keepfit.types import Check, Column, Schema, Verdict

MANY_DUPLICATES = 0.1  # share of repeated rows that is worth a warning
FEW_ROWS = 50
CALLED = {"past": "number", "moment": "time"}  # what cells of a role are, where it is not what it is called
RARE = 2  # rows of a class below which it cannot be in both training and test
Conformed = tuple[pl.DataFrame, list[Problem]]


def validate(
    frame: pl.DataFrame,
    schema: Schema,
    checks: Mapping[str, Expectation],
    data: Data,
    conformed: Conformed | None = None,
) -> Verdict:
    """The Verdict on `frame` as it was read (not conformed).

    `conformed` is what `conform(frame, schema)` gave, if the caller has it already. Raises
    ConfigError for expectations that make no sense, such as a pattern that is none.
    """
    typed, problems = conformed or conform(frame, schema)
    found = [check for name, expectation in checks.items() for check in _declared(frame, schema, name, expectation)]
    found += [check for look in SANITY for check in look(frame, typed, problems, schema)]
    return Verdict("data", (*found, *target_problems(frame, typed, schema, data)))


def left_out(origin: Mapping[str, Any]) -> Verdict:
    """What the reader had to leave out of the source: a warning, where it did. What it took for no data is a note."""
    found = origin.get("found", {})
    told, others = found.get("left_out"), found.get("other_files")
    left = (Check("data.left_out", "failed", None, None, told, "warning"),) if told else ()
    return Verdict(
        "data", (*left, Check("data.pictures.other_files", "passed", None, None, others)) if others else left
    )


def _declared(frame: pl.DataFrame, schema: Schema, name: str, expectation: Expectation) -> list[Check]:
    if name not in frame.columns:
        if not expectation.required:
            return [Check(f"checks.{name}", "not checked", detail="the column is not there, and need not be")]
        detail = f"the data have no column '{name}'. {nearest(name, frame.columns)}".strip()
        return [Check(f"checks.{name}", "failed", "absent", "required", detail, severity(expectation))]
    try:
        column = schema[name]
    except KeyError:
        column = Column(name, "ignore")
    made = expect(frame[name], column, expectation)
    return made or [Check(f"checks.{name}", "passed", "present", "required")]


def _unreadable(frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema) -> list[Check]:
    """Cells that are not what their column's role says, and infinite values, column by column."""
    by: dict[tuple[str, str], list[Problem]] = {}
    told = {*schema.role("image")}  # by `gallery.checks`, with their paths
    for problem in (problem for problem in problems if problem.column not in told):
        by.setdefault(("infinite" if problem.problem == "infinite" else "unreadable", problem.column), []).append(
            problem
        )
    checks = []
    for kind in ("infinite", "unreadable"):
        columns = [column for found, column in by if found == kind]
        checks += [_cells(kind, column, by[kind, column], schema) for column in columns]
        checks += [] if columns else [Check(f"data.{kind}", "passed", 0, 0)]
    return checks


def _cells(kind: str, column: str, problems: list[Problem], schema: Schema) -> Check:
    rows = [problem.row for problem in problems]
    count = "1 cell is" if len(rows) == 1 else f"{len(rows):,} cells are"
    role = CALLED.get(schema[column].role, schema[column].role)
    reason = "infinite" if kind == "infinite" else f"no {role} ({problems[0].problem})"
    fate = "its rows are left out" if column == schema.target else "read as missing"
    return Check(f"data.{kind}.{column}", "failed", len(rows), 0, f"{count} {reason}: {where(rows)}; {fate}", "warning")


def _without_use(frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema) -> list[Check]:
    """Columns that are constant or empty; and that there is something to learn from at all."""
    kinds = {"data.empty_columns": "all values are missing", "data.constant_columns": "constant: always"}
    checks = []
    for name, why in kinds.items():
        found = [c.name for c in schema.columns if c.role == "ignore" and c.why.startswith(why)]
        shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        checks.append(_warn(name, len(found), 0, f"left out: {shown}"))
    if not schema.features:
        checks.append(Check("data.features", "failed", 0, 1, nothing(schema)))
    return checks


def nothing(schema: Schema) -> str:
    """Why there is nothing to learn from."""
    why = "; ".join(f"{c.name}: {c.role}, {c.why}" for c in schema.columns[:10])
    return f"no column is left to learn from: {why}"


def _mixed(frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema) -> list[Check]:
    """Categories of which most levels are numbers: a column that lost its type."""
    checks = []
    for column in schema.columns:
        if column.role != "category" or column.dtype != "str" or len(column.levels) <= 20:
            continue
        text = pl.Series(column.levels)
        number = text.cast(pl.Float64, strict=False).is_not_null() & ~text.str.contains(r"^[+-]?0\d")
        if 0.5 <= (share := float(number.sum() / len(text))) < 1:
            example = text.filter(~number)[0]
            detail = f"{share:.0%} of its values are numbers, others are not, such as '{example}'"
            checks.append(Check(f"data.mixed.{column.name}", "failed", share, 0, detail, "warning"))
    return checks or [Check("data.mixed", "passed", 0, 0)]


def _duplicates(frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema) -> list[Check]:
    there = set(typed.columns)
    names = [c.name for c in schema.columns if c.role not in ("id", "ignore") and c.name in there]
    if not names or not len(typed):
        return []
    again = hashes.repeated(hashes.rows(typed, names))
    share = float(again.mean())
    rows = np.flatnonzero(again).tolist()
    detail = f"{len(rows):,} rows repeat an earlier one in all columns but ids: {where(rows)}"
    return [_warn("data.duplicates", share, MANY_DUPLICATES, detail)]


def _rows(frame: pl.DataFrame, typed: pl.DataFrame, problems: list[Problem], schema: Schema) -> list[Check]:
    few = len(frame) < FEW_ROWS
    detail = f"{len(frame)} rows are few: expect wide intervals and an unstable choice of model" if few else ""
    return [Check("data.rows", "failed" if few else "passed", len(frame), FEW_ROWS, detail, "warning")]


def _warn(name: str, value: float, limit: float, detail: str) -> Check:
    """A warning when `value` is above `limit`."""
    failed = value > limit
    return Check(name, "failed" if failed else "passed", value, limit, detail if failed else "", "warning")


SANITY: tuple[Callable[[pl.DataFrame, pl.DataFrame, list[Problem], Schema], list[Check]], ...] = (
    _rows,
    _unreadable,
    _without_use,
    _mixed,
    _duplicates,
    gallery.checks,
)


# --- the target


def target_problems(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema, data: Data) -> list[Check]:
    """What is wrong with the target: missing, one class only, rare or doubtful labels, a constant."""
    if schema.target is None or schema.target not in typed.columns:
        return []
    known = typed[schema.target].drop_nulls()
    checks = [_missing_target(typed[schema.target], schema.target, data)]
    if len(known) == 0:
        return [
            *checks,
            Check("data.target", "failed", 0, 1, f"no row has a value of '{schema.target}' that can be read"),
        ]
    return [*checks, *TARGETS[schema.task](frame, typed, schema, data)]


def _classes(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema, data: Data) -> list[Check]:
    name = str(schema.target)
    return [*_labels(typed[name].drop_nulls(), schema), *_strays(frame[name], schema)]


def _varies(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema, data: Data) -> list[Check]:
    known = typed[str(schema.target)].drop_nulls()
    if known.n_unique() >= 2:
        return []
    detail = f"'{schema.target}' is always {known[0]:g}: there is nothing to predict"
    return [Check("data.target.constant", "failed", 1, 2, detail)]


def _missing_target(values: pl.Series, name: str, data: Data) -> Check:
    rows = values.is_null().arg_true().to_list()
    if not rows:
        return Check("data.target.missing", "passed", 0, 0)
    fate = "left out" if data.drop_missing_target else "set data.drop_missing_target: true to leave them out"
    detail = f"'{name}' has no value that can be used in {len(rows):,} of {len(values):,}: {where(rows)}; {fate}"
    return Check(
        "data.target.missing", "failed", len(rows), 0, detail, "warning" if data.drop_missing_target else "error"
    )


def _labels(known: pl.Series, schema: Schema) -> list[Check]:
    counts = dict(known.value_counts(sort=True, name="count").iter_rows())
    if len(counts) == 1:
        detail = f"every row has the label {next(iter(counts))!r}: a classifier needs at least two"
        return [Check("data.target.classes", "failed", 1, 2, detail)]
    checks = []
    if len(counts) > max(2, 0.5 * len(known)):
        detail = f"'{schema.target}' has {len(counts):,} labels in {len(known):,} rows: a class needs several rows. "
        checks.append(
            Check("data.target.classes", "failed", len(counts), len(known) // 2, detail + "Is it an id or a text?")
        )
    else:
        checks.append(Check("data.target.classes", "passed", len(counts), 2))
    rare = [label for label, count in counts.items() if count < RARE]
    shown = ", ".join(repr(label) for label in rare[:5])
    detail = f"seen once only, so never in both training and test: {shown}" + (" …" if len(rare) > 5 else "")
    return [*checks, _warn("data.target.rare", len(rare), 0, detail)]


def _strays(raw: pl.Series, schema: Schema) -> list[Check]:
    """Labels that are read as another one, and labels that differ in their case alone."""
    written, _ = levels(raw, schema[schema.target or ""])
    counts = dict(written.drop_nulls().value_counts(name="count").iter_rows())
    same = {label: name for label, name in parse.reconcile(counts, schema.classes).items() if label != name}
    rows = sum(counts[label] for label in same)
    shown = ", ".join(f"{label!r} as {name!r}" for label, name in list(same.items())[:5])
    checks = [
        _warn("data.target.stray_labels", rows, 0, f"{rows:,} labels end with a dot or blank: {shown} are read so")
    ]
    cases: dict[str, list[str]] = {}
    for label in schema.classes:
        cases.setdefault(label.casefold(), []).append(label)
    twice = [" and ".join(repr(label) for label in found) for found in cases.values() if len(found) > 1]
    return [
        *checks,
        _warn(
            "data.target.case", len(twice), 0, f"kept apart although only their case differs: {'; '.join(twice[:5])}"
        ),
    ]


# task → what is asked of its target
TARGETS: Mapping[str, Callable[[pl.DataFrame, pl.DataFrame, Schema, Data], list[Check]]] = {
    "classification": _classes,
    "regression": _varies,
    "forecast": series_checks.times,
}
