"""Which new rows are too broken to learn from? Looked at in slices of time, before any training.

    empty          rows that are more than half empty, or a column that has gone missing
    units          a number column on another scale: most values beyond what training has seen, the
                   middle of them five times as large or as small; not of a column that grows with
                   time, a clock or a counter, which leaves every range by itself
    repeated       rows that come again and again
    constant       several columns that have one value alone, and had many: a join that lost its key
    contradiction  labels that the champion is worse at than chance: flipped, or joined to other rows

A slice is compared with rows that are trusted: those that the champion was trained on. Contradiction
is looked for in slices that are joined two by two as well, because a weak one shows in many rows only;
what is broken by itself is taken out before. A real change makes a model useless, which is no
contradiction: it is worse than chance only where labels are turned round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import hashes
from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.types import Schema

ROWS = 100  # of a slice, at least
SLICES = 64  # at most
EMPTY = 0.2  # share of nearly empty rows, beyond the trusted rows', that is no accident
GONE = 0.3  # likewise of a column's missing values
SCALE = 5.0  # times that the middle of a column moves
LEAST = 5  # values that tell a scale
USUAL = "usual size of the series"
GROWS = 0.9  # rank correlation of a column with the order of its rows that makes it a clock
BEYOND = 0.5  # share of values outside of the trusted range
AGAIN = 0.4  # share of repeated rows beyond the trusted rows'
SAME, VARIED = 0.98, 0.5  # share of a column's commonest value in a slice; and at most among trusted rows
FROZEN = 0.1  # share of the columns that are constant all at once, two at least: one alone may be so in truth
AGREES = 1.0  # standard errors above chance: a slice of any use to the champion has more
SURE = -4.0  # standard errors below chance: once in 30,000 slices
Mask = NDArray[np.bool_]


class Slice(NamedTuple):
    """Neighbouring rows, from place `start` up to `end`, and what is wrong with them: kind → in words."""

    start: int
    end: int
    why: Mapping[str, str]


class Given(NamedTuple):
    """Rows in the order of time: conformed, and with labels (n,) and what the champion answers, where there is one."""

    typed: pl.DataFrame
    y: NDArray[Any]
    output: Output | None


def broken(given: Given, trusted: pl.DataFrame, schema: Schema) -> list[Slice]:
    """The slices of `given` that are broken, oldest first; `trusted` is a conformed frame."""
    if not len(given.y):
        return []
    edges = np.linspace(0, len(given.y), _count(len(given.y)) + 1).astype(int)
    blocks = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    why: dict[int, dict[str, str]] = {}
    for number, (start, end) in enumerate(blocks):
        found = dict(_faults(given.typed[start:end], trusted, schema))
        if found:
            why[number] = found
    if given.output is not None:
        _contradictions(given.y, given.output, schema.classes, blocks, why)
    return _joined([Slice(*blocks[number], why[number]) for number in sorted(why)])


def _joined(found: list[Slice]) -> list[Slice]:
    """Neighbours with the same kinds of faults as one slice; what is told is of the first."""
    joined: list[Slice] = []
    for part in found:
        if joined and joined[-1].end == part.start and joined[-1].why.keys() == part.why.keys():
            joined[-1] = joined[-1]._replace(end=part.end)
        else:
            joined.append(part)
    return joined


def _count(rows: int) -> int:
    return max(1, min(SLICES, rows // ROWS))


def _contradictions(
    y: NDArray[Any],
    output: Output,
    classes: tuple[str, ...],
    blocks: list[tuple[int, int]],
    why: dict[int, dict[str, str]],
) -> None:
    """Add the slices whose labels contradict; first each alone, then what is left of two, of four, …"""
    gains = agreement(y, output, classes)
    width = 1
    while width < 2 * len(blocks):
        for first in range(0, len(blocks), width):
            left = [n for n in range(first, min(first + width, len(blocks))) if n not in why]
            rows = np.concatenate([np.arange(*blocks[n]) for n in left]) if left else np.zeros(0, int)
            z = _errors(gains(rows)) if len(rows) else 0.0
            if z < SURE:
                told = f"the labels contradict the champion: {-z:.1f} standard errors worse than chance"
                why.update({n: {"contradiction": told} for n in left})
        width *= 2
    found = {n: why[n]["contradiction"] for n in why if "contradiction" in why[n]}
    for step in (1, -1):  # a batch has no gaps: neighbours that do not agree with the champion belong to it
        for first in sorted(found, reverse=step < 0):
            n = first + step
            while 0 <= n < len(blocks) and n not in why and _errors(gains(np.arange(*blocks[n]))) < AGREES:
                why[n] = {"contradiction": found[first]}
                n += step


def agreement(y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> Any:
    """A function of rows (indices): how much more each agrees with its label than with another row's.

    For classes it is the probability of the true class less what the rows' labels get on average; for
    numbers the product of the centred ranks. Its mean is 0 for a model that knows nothing.
    """
    if not classes:
        return lambda rows: _ranks(output.values[rows]) * _ranks(np.asarray(y, np.float64)[rows])
    codes = metrics.codes(y, classes)
    shares = output.probabilities
    if shares is None:
        shares = np.eye(len(classes))[metrics.codes(output.values, classes)]

    def gains(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        rows = rows[codes[rows] >= 0]
        usual = np.bincount(codes[rows], minlength=len(classes)) / max(len(rows), 1)
        return np.asarray(shares[rows, codes[rows]] - shares[rows] @ usual, np.float64)

    return gains


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks, equal values alike, centred and of spread 1."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[place]
    spread = float(ranks.std())
    return np.asarray((ranks - ranks.mean()) / spread if spread else ranks * 0, np.float64)


def _errors(gains: NDArray[np.float64]) -> float:
    """How many standard errors the mean is from 0."""
    if len(gains) < ROWS or not gains.std():
        return 0.0
    return float(gains.mean() / gains.std() * np.sqrt(len(gains)))


def _faults(part: pl.DataFrame, trusted: pl.DataFrame, schema: Schema) -> Iterator[tuple[str, str]]:
    """What is wrong with rows by themselves: each kind, and in words."""
    names = [c.name for c in schema.inputs if c.name in part.columns and c.name in trusted.columns]
    hollow = list(_empty(part, trusted, names))
    yield from hollow
    for column in schema.inputs:
        if column.role == "number" and column.name in names:
            yield from _rescaled(column.name, _sizes(part[column.name]), _sizes(trusted[column.name]))
    yield from _frozen(part, trusted, names)
    if not hollow:  # empty rows are alike
        yield from _repeated(part, trusted, names, schema)


def _empty(part: pl.DataFrame, trusted: pl.DataFrame, names: list[str]) -> Iterator[tuple[str, str]]:
    now, usual = _hollow(part, names), _hollow(trusted, names)
    if now - usual > EMPTY:
        yield "empty", f"{now:.0%} of the rows are more than half empty; {usual:.1%} were"
        return
    gone, were = (_missing(frame, names) for frame in (part, trusted))
    for name in names:
        if gone[name] - were[name] > GONE:
            yield f"empty {name}", f"'{name}' is missing in {gone[name]:.0%} of the rows; {were[name]:.1%} were"


def _hollow(frame: pl.DataFrame, names: list[str]) -> float:
    share = pl.mean_horizontal(pl.col(name).is_null() for name in names)
    return float(frame.select((share > 0.5).mean()).item() or 0.0)


def _missing(frame: pl.DataFrame, names: list[str]) -> dict[str, float]:
    return {name: frame[name].null_count() / max(frame.height, 1) for name in names}


def _sizes(values: pl.Series) -> NDArray[np.float64]:
    """The sizes of the values that are neither missing nor zero."""
    numbers = np.abs(values.drop_nulls().to_numpy().astype(np.float64))
    return np.asarray(numbers[numbers > 0])


def _rescaled(name: str, now: NDArray[np.float64], were: NDArray[np.float64]) -> Iterator[tuple[str, str]]:
    if len(now) < 5 or len(were) < 5:
        return
    beyond = float(((now < were.min()) | (now > were.max())).mean())
    times = float(np.median(now) / np.median(were))
    if beyond > BEYOND and not 1 / SCALE < times < SCALE and not _grows(were):
        told = f"'{name}' is {times:.3g} times as large as it was, {beyond:.0%} of it out of range: another unit?"
        yield f"units {name}", told


def rescaled(told: pl.DataFrame, trusted: pl.DataFrame, schema: Schema) -> str:
    """Why observations of series are on another scale than these were; empty where they are not.

    Each value is divided by the median size of its own series first, and so is what is trusted: a batch may be one
    row. Series that are new, or were 0 all along, have no scale.
    """
    rhythm = schema.rhythm
    target, both = str(schema.target), [*(rhythm.series if rhythm else ())]
    size = pl.col(target).abs()
    usual = trusted.filter(size > 0).group_by(both or pl.lit(0).alias("one")).agg(size.median().alias(USUAL))
    on = both or ["one"]
    known, now = (
        (part if both else part.with_columns(one=pl.lit(0))).join(usual, on=on).select(size / pl.col(USUAL)).to_series()
        for part in (trusted, told)
    )
    found, were = (values.drop_nulls().to_numpy() for values in (now, known))
    found, were = found[found > 0], were[were > 0]
    if not len(found) or len(were) < LEAST:
        return ""
    beyond = float(((found < were.min()) | (found > were.max())).mean())
    times = float(np.median(found))
    recent = float(np.median(were[-LEAST:]))
    if beyond <= BEYOND or 1 / SCALE < times / recent < SCALE:
        return ""
    return (
        f"'{target}' is {times / recent:.3g} times as large as it was, {beyond:.0%} of it out of range: another unit?"
    )


def _grows(values: NDArray[np.float64]) -> bool:
    """Whether values in the order of time go up, or down, all along."""
    return abs(float((_ranks(values) * _ranks(np.arange(len(values)))).mean())) > GROWS


def _frozen(part: pl.DataFrame, trusted: pl.DataFrame, names: list[str]) -> Iterator[tuple[str, str]]:
    """Neighbouring trusted rows count too: what follows the calendar stands still among them as well."""
    near = trusted.tail(len(part))
    found = [
        name
        for name in names
        if _commonest(part[name]) >= SAME and max(_commonest(trusted[name]), _commonest(near[name])) <= VARIED
    ]
    if len(found) >= max(2, FROZEN * len(names)):
        yield "constant", f"{', '.join(found[:5])} have one value each, and had many: a join that lost its key?"


def _commonest(values: pl.Series) -> float:
    """The share of the commonest value, among all rows; missing ones are none."""
    known = values.drop_nulls()
    return float(known.unique_counts().max()) / len(values) if len(known) else 0.0  # type: ignore[arg-type]


def _repeated(part: pl.DataFrame, trusted: pl.DataFrame, names: list[str], schema: Schema) -> Iterator[tuple[str, str]]:
    labelled = [*names, str(schema.target)]
    now, usual = (float(hashes.repeated(hashes.rows(f, labelled)).mean()) for f in (part, trusted.tail(len(part))))
    if now - usual > AGAIN:
        yield "repeated", f"{now:.0%} of the rows repeat others of the same time; {usual:.1%} did"
