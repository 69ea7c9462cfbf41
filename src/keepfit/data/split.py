"""Which rows are for training, for testing, and for each fold of cross-validation.

Every row has a number made of its feature values and the seed (`data.hashes`); within each stratum
(class, or bin of the target) the rows with the smallest numbers are the test rows. So the split is
stratified, the same on every machine, equal rows are never on both sides, and a row stays on its
side when the data grow. With `data.group` the entity's number counts, so that an entity stays
whole; with `data.time` the last rows are the test rows, and folds look forward only.

`WAYS` says how the rows of a task are split: the above is for rows that stand for themselves, the rows of a
forecast are split by `keepfit.data.series`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Data
from keepfit.data import hashes, series, series_checks
from keepfit.errors import DataError
from keepfit.types import Check, Schema

Rows = NDArray[np.intp]
SKEWED = 0.25  # of the smaller side: how far the share may be from what was asked
BINS = 10  # of a numeric target: strata of about equal size


def split(typed: pl.DataFrame, schema: Schema, data: Data) -> tuple[NDArray[np.bool_], str]:
    """True for each test row of a conformed frame (n,), and how they were chosen, in a few words.

    Raises DataError when one of the sides would be empty.
    """
    return _way(schema).split(typed, schema, data)


def _drawn(typed: pl.DataFrame, schema: Schema, data: Data) -> tuple[NDArray[np.bool_], str]:
    if data.time:
        late, how = _latest(typed, data.time, data.test_size), f"the last {data.test_size:.0%} by '{data.time}'"
    else:
        late = _share(_numbers(typed, schema, data), _strata(typed, schema, data), data.test_size)
        how = f"{data.test_size:.0%} " + (f"of the groups '{data.group}'" if data.group else _stratified(schema))
    if late.all() or not late.any():
        raise DataError(
            f"{typed.height} rows cannot be split: {how} leaves {int(late.sum())} rows for testing. "
            "Bring more rows, another data.test_size, or a test set of its own in data.test."
        )
    return late, how


def order(typed: pl.DataFrame, schema: Schema, data: Data) -> Rows:
    """The rows of a conformed frame that are used, in the order in which they are used."""
    return _way(schema).order(typed, schema, data)


def fair(late: NDArray[np.bool_], typed: pl.DataFrame, schema: Schema, data: Data) -> Check:
    """Is the test set what was asked for? A warning that says why where it is not."""
    return _way(schema).fair(late, typed, schema, data)


def history(typed: pl.DataFrame, schema: Schema) -> list[Check]:
    """What is to be known of all rows that are not from an official test set, before they are split."""
    return _way(schema).history(typed, schema)


def shared(late: NDArray[np.bool_], data: Data) -> Check:
    """Has the test set about the share of the rows that was asked? A warning with both numbers where it has not.

    Rows that are equal, of one entity or of one moment stay together, so few of them cut coarsely.
    """
    got, asked = float(late.mean()), data.test_size
    if abs(got - asked) <= max(SKEWED * min(asked, 1 - asked), 2 / len(late)):
        return Check("split.test_size", "passed", got, asked)
    few = f"moments of '{data.time}'" if data.time else f"groups of '{data.group}'" if data.group else "feature rows"
    detail = (
        f"{got:.0%} of the rows are test rows, {asked:.0%} were asked (data.test_size): there are too few different "
        f"{few} to cut there, and equal ones are never on both sides"
    )
    return Check("split.test_size", "failed", got, asked, detail, "warning")


def _stratified(schema: Schema) -> str:
    return "of each class" if schema.task == "classification" else "of each tenth of the target"


def _numbers(typed: pl.DataFrame, schema: Schema, data: Data, seed: int | None = None) -> NDArray[np.uint64]:
    there = set(typed.columns)
    names = [data.group] if data.group else [c.name for c in schema.inputs if c.name in there]
    return hashes.rows(typed, sorted(names), data.random_state if seed is None else seed)


def _strata(typed: pl.DataFrame, schema: Schema, data: Data) -> NDArray[np.intp]:
    """(n,) the stratum of each row; groups are kept whole, so they have one stratum."""
    if data.group or schema.target is None:
        return np.zeros(typed.height, np.intp)
    target = typed[schema.target]
    if schema.task == "classification":
        return target.rank("dense").cast(pl.Int64).to_numpy().astype(np.intp)
    order = target.rank("min").to_numpy() - 1  # equal values share a bin, in whatever order they come
    return np.asarray(order.astype(np.int64) * BINS // max(typed.height, 1), np.intp)


def _share(numbers: NDArray[np.uint64], strata: NDArray[np.intp], share: float) -> NDArray[np.bool_]:
    """True for the smallest numbers of each stratum, about `share` of its rows; equal numbers stay together."""
    chosen = np.zeros(len(numbers), bool)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        distinct, counts = np.unique(numbers[rows], return_counts=True)
        if len(distinct) < 2:
            continue  # one row, or one entity: it can only be learned from
        before = np.concatenate(([0], np.cumsum(counts)))
        cut = int(np.abs(before - share * len(rows))[1:-1].argmin()) + 1
        chosen[rows] = numbers[rows] < distinct[cut]
    return chosen | np.isin(numbers, numbers[chosen])


def _latest(typed: pl.DataFrame, time: str, share: float) -> NDArray[np.bool_]:
    times = _times(typed, time)
    cut = np.sort(times)[int(len(times) * (1 - share))]
    late: NDArray[np.bool_] = times >= cut
    return late if not late.all() else times > cut


def _times(typed: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """(n,) the time of each row; a row without one counts as the oldest, so it is never tested on."""
    times = typed[name]
    if times.null_count() == len(times):
        raise DataError(
            f"data.time: no row of '{name}' holds a time that can be read, so there is no order to split by."
        )
    return np.asarray(times.fill_null(times.min()).to_numpy(), np.float64)


def folds(typed: pl.DataFrame, schema: Schema, cv: int, seed: int, data: Data) -> list[tuple[Rows, Rows]]:
    """(training rows, held-out rows) of each fold, indices into the conformed training frame.

    Stratified or grouped as `split`; in time order each fold is trained on all that came before
    what it is judged by. There are fewer than `cv` folds when there are fewer different rows,
    entities or moments than that. Raises DataError when there are not even two. Those of a forecast
    have a rolling origin, see `series.folds`.
    """
    return _way(schema).folds(typed, schema, cv, seed, data)


def _dealt(typed: pl.DataFrame, schema: Schema, cv: int, seed: int, data: Data) -> list[tuple[Rows, Rows]]:
    if data.time:
        cuts = _forward(_times(typed, data.time), cv)
    else:
        place = _places(_numbers(typed, schema, data, seed + 1), _strata(typed, schema, data), cv)
        everything = np.arange(typed.height)
        cuts = [(everything[place != k], everything[place == k]) for k in range(cv)]
    found = [(learn, judge) for learn, judge in cuts if len(learn) and len(judge)]
    if not found:
        what = f"moments of '{data.time}'" if data.time else f"groups of '{data.group}'" if data.group else "rows"
        raise DataError(
            f"The {typed.height:,} training rows cannot be cut into folds for cross-validation: "
            f"that needs two different {what} at least. Bring more data, or split in another way."
        )
    return found


def _places(numbers: NDArray[np.uint64], strata: NDArray[np.intp], cv: int) -> NDArray[np.intp]:
    """The fold of each row: equal numbers share one, and each stratum is dealt out evenly."""
    _, entity = np.unique(numbers, return_inverse=True)
    home = np.zeros(entity.max() + 1, np.intp)
    first = np.zeros(len(home), np.intp)
    first[entity[::-1]] = strata[::-1]  # an entity is dealt out with the stratum of its first row
    start = 0
    for stratum in np.unique(first):
        entities = np.flatnonzero(first == stratum)  # in the order of their numbers: random, but fixed
        home[entities] = (np.arange(len(entities)) + start) % cv
        start += len(entities)
    return home[entity]


def _forward(times: NDArray[np.float64], cv: int) -> list[tuple[Rows, Rows]]:
    cuts = np.unique(np.quantile(times, np.arange(1, cv + 1) / (cv + 1), method="higher"))
    ends = [*cuts[1:], np.inf]
    return [
        (np.flatnonzero(times < start), np.flatnonzero((times >= start) & (times < end)))
        for start, end in zip(cuts, ends, strict=True)
    ]


# --- by task


class Way(NamedTuple):
    """How rows of a task are ordered, split and cut into folds, and what is said of the split and before it."""

    order: Callable[[pl.DataFrame, Schema, Data], Rows]
    split: Callable[[pl.DataFrame, Schema, Data], tuple[NDArray[np.bool_], str]]
    folds: Callable[[pl.DataFrame, Schema, int, int, Data], list[tuple[Rows, Rows]]]
    fair: Callable[[NDArray[np.bool_], pl.DataFrame, Schema, Data], Check]
    history: Callable[[pl.DataFrame, Schema], list[Check]]


ROWS = Way(
    order=lambda typed, schema, data: np.arange(typed.height),
    split=_drawn,
    folds=_dealt,
    fair=lambda late, typed, schema, data: shared(late, data),
    history=lambda typed, schema: [],
)
WAYS: Mapping[str, Way] = {
    "forecast": Way(
        order=lambda typed, schema, data: series.order(typed, schema, data.known_at),
        split=lambda typed, schema, data: series.split(typed, schema),
        folds=lambda typed, schema, cv, seed, data: series.folds(typed, schema, cv),
        fair=lambda late, typed, schema, data: series.shared(late, typed, schema),
        history=series_checks.history,
    )
}


def _way(schema: Schema) -> Way:
    return WAYS.get(schema.task, ROWS)
