"""How often an alarm is raised when nothing has changed, and how soon when something has.

A population (normal, heavy-tailed, zero-inflated, whole numbers, categories of 2 to 3,000 levels, missing
values; columns bound together by a common factor) gives several references, and each reference windows
that are drawn anew. keepfit's share of windows with any alarm of data quality or drift is held against
what the budget allows these two families; Evidently and NannyML get the same windows with their defaults,
any alarm being any column that they call drifted (`half`: half of the columns, which is when Evidently
calls the data drifted). They take fewer windows, as they take longer.

A budget of one alarm a month leaves a window a chance of 0.0005: a thousand windows show little. So the
same windows are judged with a budget of one in twenty windows too, where a wrong threshold would show.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binomtest

from benchmarks import environments, measure
from benchmarks.results import Claim, Options, Result
from keepfit.features.values import Coded
from keepfit.monitoring import budget, drift, findings, quality, signals
from keepfit.monitoring.budget import Thresholds
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.reference import Reference
from keepfit.sections import Monitoring

PROMISE = "no more windows without any change raise an alarm than the budget of false alarms allows"
SIZES, WIDTHS = (200, 1_000, 10_000), (15, 200)
REFERENCES = 20
PEERS = {"evidently": "drift_evidently.py", "nannyml": "drift_nannyml.py"}
BOTH = budget.SHARES["quality"] + budget.SHARES["drift"]  # of the level: what is measured here
STRICT = Monitoring()  # 1 per month, every hour
LOOSE = Monitoring(false_alarms=0.05 / BOTH / 3600)  # one in twenty windows for the two families
LEVELS = [f"level {i}" for i in range(3000)]
KINDS: dict[str, int] = {  # kind → levels, 0 for numbers
    **{"normal": 0, "lognormal": 0, "cauchy": 0, "zeros": 0, "whole": 0},
    **{"two": 2, "five": 5, "many": 200, "most": 3000, "equal": 1000},
}
POWER_SIZES, POWER_WINDOWS, ROWS = (200, 1_000, 5_000), 60, 5_000
Values = NDArray[np.float64] | Coded


@dataclass(frozen=True)
class Field:
    """A column of the population: its kind, the share of missing values, its weight on the common factor."""

    name: str
    kind: str
    missing: float
    weight: float


def population(width: int, seed: int) -> tuple[Field, ...]:
    random = np.random.default_rng([width, seed])
    kinds = list(KINDS)
    return tuple(
        Field(f"c{i}", kinds[i % len(kinds)], float(random.uniform(0, 0.1)) if i % 3 == 0 else 0.0, random.normal())
        for i in range(width)
    )


def drawn(fields: Sequence[Field], rows: int, random: np.random.Generator) -> dict[str, Values]:
    """So many rows of the population."""
    common = random.normal(size=rows)
    found: dict[str, Values] = {}
    for field in fields:
        normal = (field.weight * common + random.normal(size=rows)) / np.hypot(1, field.weight)
        values = _values(field.kind, normal)
        found[field.name] = _without(values, random.random(rows) < field.missing) if field.missing else values
    return found


def _values(kind: str, normal: NDArray[np.float64]) -> Values:
    size = KINDS[kind]
    if not size:
        return NUMBERS[kind](normal)
    share = np.ones(size) if kind == "equal" else 1 / np.arange(1, size + 1) ** 1.2
    ends = np.cumsum([0.995, 0.005] if kind == "two" else share / share.sum())
    return Coded(np.minimum(np.searchsorted(ends, ndtr(normal)), size - 1).astype(np.int32), LEVELS[:size])


NUMBERS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "normal": lambda z: z,
    "lognormal": lambda z: np.exp(2 * z),
    "cauchy": lambda z: np.tan(np.pi * (ndtr(z) - 0.5)),
    "zeros": lambda z: np.where(ndtr(z) < 0.9, 0.0, np.exp(3 * z)),
    "whole": lambda z: np.floor(ndtr(z) * 7),
}


def _without(values: Values, missing: NDArray[np.bool_]) -> Values:
    if isinstance(values, Coded):
        return Coded(np.where(missing, -1, values.codes).astype(np.int32), values.levels)
    return np.where(missing, np.nan, values)


# --- keepfit --------------------------------------------------------------------------------------


def reference(values: dict[str, Values], rows: int) -> Reference:
    made = tuple(signals.learn(name, name, "", column) for name, column in values.items())
    return Reference(rows, made, {}, None, np.empty(0, np.uint64))


def alarms(known: Reference, values: dict[str, Values], rows: int, limits: Sequence[Thresholds]) -> list[list[Finding]]:
    """The findings that fail, for each of several budgets, the surest first."""
    cells = {
        s.name: np.bincount(signals.place(s, values[s.name]), minlength=len(s.counts)).astype(np.int64)
        for s in known.signals
    }
    counts = Counts(rows, cells, np.empty(0, np.uint64))
    found = {
        "quality": quality.findings(known, counts, STRICT),
        "drift": drift.findings(known, counts, STRICT),
    }
    return [[each for family in found for each in _failed(found[family], limit)] for limit in limits]


def _failed(found: list[Finding], limit: Thresholds) -> list[Finding]:
    """As `findings.verdict` finds them."""
    level = limit.of(found[0].family, sum(each.p is not None for each in found))
    failed = [
        each for each in found if each.check(level, limit.min_rows if each.p is not None else 0).outcome == "failed"
    ]
    if len(failed) != sum(c.outcome == "failed" for c in findings.verdict(found[0].family, found, limit).checks):
        raise AssertionError("the benchmark does not judge as keepfit does")
    return failed


# --- without change -------------------------------------------------------------------------------


def windows(
    width: int, rows: int, references: int, each: int
) -> Iterator[tuple[int, dict[str, Values], Iterator[Any]]]:
    """(number, reference's values, its windows), each time the same."""
    for number in range(references):
        fields, random = population(width, number), np.random.default_rng([width, rows, number])
        values = drawn(fields, known_rows(rows), random)
        yield number, values, (drawn(fields, rows, random) for _ in range(each))


def known_rows(rows: int) -> int:
    """Rows of a reference: five windows, as NannyML needs several, and at least 5,000."""
    return max(ROWS, 5 * rows)


def ours(width: int, rows: int, each: int) -> dict[str, Any]:
    """How many windows, and how many with an alarm under each budget."""
    strict = loose = count = 0
    for _, values, some in windows(width, rows, REFERENCES, each):
        known = reference(values, known_rows(rows))
        limits = [budget.thresholds(known, rows, monitoring) for monitoring in (STRICT, LOOSE)]
        for window in some:
            found = alarms(known, window, rows, limits)
            strict, loose, count = strict + bool(found[0]), loose + bool(found[1]), count + 1
    return {"windows": count, "strict": strict, "loose": loose}


def theirs(peer: str, width: int, rows: int, references: int, each: int) -> list[int]:
    """For each window the number of columns that a peer, in its own environment, calls drifted."""
    with tempfile.TemporaryDirectory() as folder:
        for number, values, some in windows(width, rows, references, each):
            frame(values).write_parquet(Path(folder) / f"{number}-reference.parquet")
            for i, window in enumerate(some):
                frame(window).write_parquet(Path(folder) / f"{number}-window-{i:04}.parquet")
        script = Path(__file__).parent / "peers" / PEERS[peer]
        told = measure.measure([environments.python(peer), script, folder]).text
    found: list[int] = json.loads(told.splitlines()[-1])
    return found


def frame(values: dict[str, Values]) -> pl.DataFrame:
    return pl.DataFrame({name: _series(column) for name, column in values.items()})


def _series(column: Values) -> pl.Series:
    if not isinstance(column, Coded):
        return pl.Series(column)
    return pl.Series([None if code < 0 else column.levels[code] for code in column.codes.tolist()], dtype=pl.String)


# --- with a change --------------------------------------------------------------------------------


def _plus(values: Values, random: np.random.Generator) -> Values:
    return values + 0.25 if not isinstance(values, Coded) else values


def _times(values: Values, random: np.random.Generator) -> Values:
    return values * 100 if not isinstance(values, Coded) else values


def _tripled(values: Values, random: np.random.Generator) -> Values:
    return _without(values, random.random(len(values)) < 0.041)  # 2 % are missing already


def _recoded(code: int, share: float) -> Callable[[Values, np.random.Generator], Values]:
    def change(values: Values, random: np.random.Generator) -> Values:
        if not isinstance(values, Coded):
            raise TypeError("a change of categories needs categories")
        codes = np.where(random.random(len(values.codes)) < share, code, values.codes).astype(np.int32)
        return Coded(codes, [*values.levels, "brand new"])

    return change


CHANGES: dict[str, tuple[str, float, Callable[[Values, np.random.Generator], Values]]] = {
    "mean + 0.25 sd": ("normal", 0.0, _plus),
    "unit × 100": ("lognormal", 0.0, _times),
    "missing 2 % → 6 %": ("normal", 0.02, _tripled),
    "a category's share + 5 points": ("five", 0.0, _recoded(2, 0.06)),
    "a new category, 1 %": ("five", 0.0, _recoded(5, 0.01)),
}


def power(name: str, rows: int) -> dict[str, Any]:
    """Share of windows in which the change was an alarm, and in which its column was named first."""
    kind, missing, change = CHANGES[name]
    seen = first = 0
    for number in range(4):
        random = np.random.default_rng([rows, number])
        fields = (*population(14, number), Field("changed", kind, missing, 0.5))
        known = reference(drawn(fields, ROWS, random), ROWS)
        limits = [budget.thresholds(known, rows, STRICT)]
        for _ in range(POWER_WINDOWS // 4):
            window = drawn(fields, rows, random)
            found = alarms(known, window | {"changed": change(window["changed"], random)}, rows, limits)[0]
            seen += any(each.subject == "changed" for each in found)
            first += bool(found) and min(found, key=lambda each: each.p or 0.0).subject == "changed"
    return {"change": name, "rows": rows, "detected": seen / POWER_WINDOWS, "named first": first / POWER_WINDOWS}


# --- all of it ------------------------------------------------------------------------------------


def run(options: Options) -> Result:
    """`--runs N`: N × 200 windows (default 5: 1,000); `--only 15 200`: widths; `--peers` as elsewhere."""
    each = options.runs * 200 // REFERENCES
    widths = [width for width in WIDTHS if not options.only or str(width) in options.only]
    rows, claims, notes = [], [], []
    for width in widths:
        for size in SIZES:
            row, claim = _null(width, size, each, options, notes)
            rows.append(row)
            claims += claim
    rows += [power(name, size) for name in CHANGES for size in POWER_SIZES]
    return Result("monitoring-null", PROMISE, tuple(rows), tuple(claims), notes=tuple(dict.fromkeys(notes)))


def _null(width: int, size: int, each: int, options: Options, notes: list[str]) -> tuple[dict[str, Any], list[Claim]]:
    found = ours(width, size, each)
    row: dict[str, Any] = {"columns": width, "rows": size, "windows": found["windows"]}
    claims = []
    for name, monitoring in (("strict", STRICT), ("loose", LOOSE)):
        allowed = budget.level(monitoring.false_alarms, monitoring.every) * BOTH
        p = float(binomtest(found[name], found["windows"], allowed, "greater").pvalue)
        share = found[name] / found["windows"]
        row |= {f"allowed {name}": allowed, f"keepfit {name}": share, f"p {name}": p}
        what = f"{width} columns, {size:,} rows: share of windows with an alarm"
        claims.append(Claim(what, share, "<=", allowed, unclear=p > 0.01))
    few = (2, 20) if width < 100 else (2, 5)
    for peer in PEERS if options.peer != "cached" else ():
        if options.peers and peer not in options.peers:
            continue
        try:
            columns = np.array(theirs(peer, width, size, *few))
            row |= {peer: float((columns > 0).mean()), f"{peer} half": float((columns >= width / 2).mean())}
            row |= {f"{peer} windows": len(columns)}
        except (environments.PeerError, measure.CommandError) as error:
            notes.append(f"{peer}: {str(error)[-300:]}")
    return row, claims
