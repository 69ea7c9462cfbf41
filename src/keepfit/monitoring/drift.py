"""Drift: which signals are no longer spread as in training, by how much, and what that moved.

Each signal is asked by three tests of `two_sample`, chosen by the power that was measured
(`benchmarks/monitoring_null.py`): ranks for a shift, chi-square for any other change of shape, the cell
that moved most for a surge of one value or of missing ones. Its finding has the smallest of the three
p; what that means is for the budget to say, which simulates the same smallest p. Kolmogorov-Smirnov
saw nothing that these did not, and is told beside them, with the Jensen-Shannon distance and the PSI.

What a shift did to the predictions is the sum over the cells of (share now - share then) × (how much
higher the model's output is in that cell than overall): a column that moved and does not matter ranks
low, one that matters and did not move does too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keepfit.monitoring import two_sample
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.signals import ROWS
from keepfit.monitoring.two_sample import Floats, Layout

if TYPE_CHECKING:
    from keepfit.monitoring.counts import Counts
    from keepfit.monitoring.reference import Reference
    from keepfit.monitoring.signals import Signal
    from keepfit.sections import Monitoring

TESTS = ("ranks", "chi-square", "cell")
LUCK = 4.0  # standard deviations above the last listed level within which a level may be listed by luck


@dataclass(frozen=True)
class Compared:
    """S signals, laid out for comparison.

    `into` maps their cells (T of all) to those that are compared; `counts` are the reference's, in these.
    """

    signals: tuple[Signal, ...]
    into: NDArray[np.intp]
    where: Layout

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        return self.gathered([signal.counts for signal in self.signals])

    def gathered(self, cells: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Counts by signal, in the cells that are compared."""
        found = np.zeros(int(self.where.sizes.sum()), np.int64)
        np.add.at(found, self.into, np.concatenate([*cells, np.empty(0, np.int64)]).astype(np.int64))
        return found


def compared(signals: Sequence[Signal]) -> Compared:
    """Signals ready to be compared; see `_merged` for cells that are not told apart."""
    maps = [_merged(signal) for signal in signals]
    sizes = [int(each.max()) + 1 for each in maps]
    into = [each + start for each, start in zip(maps, np.cumsum([0, *sizes[:-1]]), strict=True)] if maps else []
    where = two_sample.layout(sizes, [signal.kind == "ordered" for signal in signals])
    return Compared(tuple(signals), np.concatenate([*into, np.empty(0, np.intp)]).astype(np.intp), where)


def _merged(signal: Signal) -> NDArray[np.intp]:
    return (_levels if signal.kind == "nominal" else _bins)(signal.counts)


def _levels(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Cell → cell to compare. Levels that may be listed by luck alone go with those that are not listed.

    Where there are more levels than are listed, those listed last had luck: in new rows they are rarer,
    without any change; and which of the rare ones were seen is luck too, a level of its own for each of
    which many rows come or none. Told apart, a thousand equally frequent levels would raise an alarm in
    every window. Unseen ones alone are a question of data quality.
    """
    if len(counts) < 4 or counts[-2:].sum() == 0:
        return np.arange(len(counts))
    listed = counts[1:-2]
    kept = np.r_[True, listed > listed.min() + LUCK * np.sqrt(listed.min() + 1), False, False]
    return np.where(kept, np.cumsum(kept) - 1, kept.sum()).astype(np.intp)


def _bins(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Cell → cell to compare: bins of few training rows go with the next, as their edges are chance."""
    found, held = [0, 1], ROWS  # missing, below; the first bin begins a cell
    for count in counts[2:-1].tolist():
        found.append(found[-1] + (held >= ROWS))
        held = count + (0 if held >= ROWS else held)
    return np.array([*found, found[-1] + 1], np.intp)


def _label(signal: Signal, cells: NDArray[np.intp]) -> str:
    """What cells that are compared as one are called."""
    if len(cells) == 1:
        return signal.cells[int(cells[0])]
    first, last = signal.cells[int(cells[0])], signal.cells[int(cells[-1])]
    return (
        "other levels" if signal.kind == "nominal" else f"{first.partition(' to ')[0]} to {last.rpartition(' to ')[2]}"
    )


def smallest(where: Layout, reference: NDArray[Any], live: NDArray[Any]) -> Floats:
    """The smallest p of each signal's tests: (…, T) counts twice → (…, S)."""
    return np.asarray(_tests(where, reference, live)[0].min(axis=0), np.float64)


def _tests(where: Layout, reference: NDArray[Any], live: NDArray[Any]) -> tuple[Floats, NDArray[np.intp]]:
    """p (tests, …, S) in the order of TESTS, and the cell (…, S) that moved most."""
    cell, moved = two_sample.cell(where, reference, live)
    ordered = two_sample.ranks(where, reference, live)
    return np.stack([ordered, two_sample.chi_square(where, reference, live), cell]), moved


def watched(reference: Reference) -> tuple[Signal, ...]:
    """The signals whose drift is checked: not those that follow the calendar, nor those without rows."""
    return tuple(signal for signal in reference.signals if signal.steady and signal.counts.sum() > 2)


def findings(reference: Reference, counts: Counts, monitoring: Monitoring) -> list[Finding]:
    """One finding for each watched signal that the rows tell, in the order of the reference."""
    told = compared([signal for signal in watched(reference) if signal.name in counts.cells])
    live = told.gathered([counts.cells[signal.name] for signal in told.signals])
    p, moved = _tests(told.where, told.counts, live)
    ks, psi = (far(told.where, told.counts, live) for far in (two_sample.ks, two_sample.psi))
    rows = told.where.sums(live).astype(int)
    then, now = (two_sample.shares(told.where, cells) for cells in (told.counts, live))
    first = np.cumsum([0, *(len(signal.counts) for signal in told.signals)])
    found = []
    for i, signal in enumerate(told.signals):
        cell = told.where.starts[i] + moved[i]
        label = _label(signal, np.flatnonzero(told.into == cell) - first[i])
        test, chance, far = TESTS[int(p[:, i].argmin())], float(p[:, i].min()), float(psi[i])
        detail = f"by {test}{f'; KS {ks[i]:.3g}' if signal.kind == 'ordered' else ''}"
        if then[cell] != now[cell]:
            detail += f"; most moved: {label}, {then[cell]:.1%} → {now[cell]:.1%}"
        found.append(  # under one name, whichever test tells most: the alarm of the next pass is the same
            Finding("drift", signal.name, "PSI", chance, far, None, far, int(rows[i]), monitoring.smallest, detail)
        )
    return found


def ranked(reference: Reference, counts: Counts, level: float, least: float, min_rows: int = 0) -> list[dict[str, Any]]:
    """Every signal that the rows tell, as a pass's JSON has them: failed ones first, then by what they moved.

    `level` is the threshold for p, `least` the PSI under which a shift is no matter. Per signal: `name`,
    `column`, `kind`, `psi`, `js`, `ks` and its `ks_p`, `p`, `moved`, shares `missing`, `unseen` and
    `outside` now, `outcome`, `cells` and the counts `reference` and `now` in them.
    """
    shown = [signal for signal in reference.signals if signal.name in counts.cells]
    told = compared(shown)
    live = told.gathered([counts.cells[signal.name] for signal in shown])
    far = {"psi": two_sample.psi, "js": two_sample.jensen_shannon, "ks": two_sample.ks, "p": smallest}
    values = {name: function(told.where, told.counts, live) for name, function in far.items()}
    values["ks_p"] = two_sample.kolmogorov_smirnov(told.where, told.counts, live)
    steady = {signal.name for signal in watched(reference)}
    rows = []
    for i, signal in enumerate(shown):
        now = counts.cells[signal.name]
        row: dict[str, Any] = {"name": signal.name, "column": signal.column, "kind": signal.kind}
        row |= {name: float(value[i]) for name, value in values.items()} | _outside(signal, now)
        few = now.sum() < max(1, min_rows) or signal.name not in steady
        failed = row["p"] <= level and row["psi"] >= least
        row |= {"moved": moved(signal, now), "outcome": "not checked" if few else "failed" if failed else "passed"}
        rows.append(row | {"cells": list(signal.cells), "reference": signal.counts.tolist(), "now": now.tolist()})
    return sorted(rows, key=lambda row: (row["outcome"] != "failed", -abs(row["moved"])))


def moved(signal: Signal, live: NDArray[np.int64]) -> float:
    """By how much the signal's shift alone would move the mean output: Σ (share now - then) × moves."""
    then, now = (cells / max(1, int(cells.sum())) for cells in (signal.counts, live))
    return float(((now - then) * signal.moves).sum()) if live.sum() else 0.0


def _outside(signal: Signal, live: NDArray[np.int64]) -> dict[str, float]:
    """Shares of rows that are missing, of an unseen level, outside the range of training."""
    share = live / max(1, int(live.sum()))
    ordered = signal.kind == "ordered"
    return {
        "missing": float(share[0]),
        "unseen": 0.0 if ordered else float(share[-1]),
        "outside": float(share[1] + share[-1]) if ordered else 0.0,
    }
