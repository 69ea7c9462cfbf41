"""Data quality of a window: missing values, ranges, unseen levels, duplicates, refusals, volume, age.

Shares are compared with the reference by Fisher's exact test, to the worse side only. The reference
counts what a new row of the same kind does (`signals`), so that the largest of fresh values beyond
the largest of training, or a level that nobody has seen yet, is no fault as long as it is as rare as
it was. A share is at fault when it is beyond the budget's threshold and has grown by at least
`monitoring.smallest` (as a population stability index of two cells).

Volume and age of the newest row are compared with the stretches of traffic before; they warn, as traffic
has its own ups and downs, and take nothing of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from keepfit.monitoring import sketch, two_sample
from keepfit.monitoring.findings import Finding

if TYPE_CHECKING:
    from keepfit.monitoring.counts import Counts
    from keepfit.monitoring.reference import Reference
    from keepfit.monitoring.signals import Signal
    from keepfit.sections import Monitoring

REPEATED = 0.05  # more of the rows are repeats than were: below it is no matter
REFUSED = 0.01  # more of the rows are refused than were
HISTORY = 5  # stretches of traffic that tell what is usual
UNUSUAL = 5.0  # robust standard deviations of the logarithm of the volume
NOISE = 0.1  # the least that volume varies by, as a share
MAD = 1.4826  # median absolute deviation → standard deviation of a normal distribution


@dataclass(frozen=True)
class Past:
    """A stretch of traffic as long as the window, before it: rows answered, and refused."""

    rows: int
    refused: int = 0


def findings(
    reference: Reference,
    counts: Counts,
    monitoring: Monitoring,
    refused: Mapping[str, int] | None = None,
    earlier: Sequence[Past] = (),
    now: float | None = None,
) -> list[Finding]:
    """All that is asked of a window.

    `refused`: column (or reason) → rows that the server did not take in the window. `earlier`: stretches
    before it, oldest first. `now`: seconds since 1970 UTC, for the age of the newest row.
    """
    found = _shares(reference, counts, monitoring) + _repeated(reference, counts)
    found += _refused(counts.rows, refused or {}, earlier)
    found += [_volume(counts.rows, earlier)]
    return found + ([_stale(counts, monitoring, now)] if now is not None else [])


# --- shares of cells ------------------------------------------------------------------------------


def _shares(reference: Reference, counts: Counts, monitoring: Monitoring) -> list[Finding]:
    asked = [
        (signal, test, cell)
        for signal in _columns(reference)
        if signal.name in counts.cells
        for test, cell in _questions(signal)
    ]
    if not asked:
        return []
    now = [counts.cells[signal.name] for signal, *_ in asked]
    events = np.array([[cells[cell], signal.counts[cell]] for cells, (signal, _, cell) in zip(now, asked, strict=True)])
    rows = np.array([[cells.sum(), signal.counts.sum()] for cells, (signal, *_) in zip(now, asked, strict=True)])
    unseen = np.array([test == "unseen levels" for _, test, _ in asked])
    p = more(events[:, 0], events[:, 1], rows[:, 0], rows[:, 1], unseen)
    effect = growth(events[:, 0], events[:, 1], rows[:, 0], rows[:, 1])
    share = events / np.maximum(rows, 1)
    return [
        Finding(
            *("quality", signal.column, test, float(p[i]), float(share[i, 0]), float(share[i, 1]), float(effect[i])),
            int(rows[i, 0]),
            monitoring.smallest,
            f"{share[i, 0]:.2%} of the rows ({signal.cells[cell]})",
        )
        for i, (signal, test, cell) in enumerate(asked)
    ]


def _columns(reference: Reference) -> list[Signal]:
    """The first signal of each column: that of the value itself."""
    first: dict[str, Signal] = {}
    for signal in reference.signals:
        if signal.column and signal.counts.sum():
            first.setdefault(signal.column, signal)
    return list(first.values())


def _questions(signal: Signal) -> list[tuple[str, int]]:
    """What is asked of a column, and in which cell the answer lies."""
    if signal.kind == "nominal":
        return [("missing", 0), ("unseen levels", -1)]
    outside = [("below the range", 1), ("above the range", -1)] if signal.steady and not signal.part else []
    return [("missing", 0), *outside]


def more(
    live: NDArray[Any], reference: NDArray[Any], n: NDArray[Any], rows: NDArray[Any], clumped: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """p that there are at least as many events in n rows, where the reference has its own in `rows`.

    `clumped`: events that come in groups, as a level that was not seen yet comes again: of a level as rare
    as those that one training row has, a window of n rows brings 1 + n / rows rows at a time.
    """
    group = np.where(clumped & (reference > 0), 1 + n / np.maximum(rows, 1), 1.0)
    counted = np.floor(live / group)
    p = two_sample.surplus(counted, reference, n, rows)
    return np.where((counted > 0) & (rows > 0), p, 1.0)


def growth(live: NDArray[Any], reference: NDArray[Any], n: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """The stability index of event or not (half an event added to each); 0 where the share has not grown."""
    now, then = (live + 0.5) / (n + 1), (reference + 0.5) / (rows + 1)
    index = (now - then) * np.log(now * (1 - then) / (then * (1 - now)))
    return np.where(now > then, index, 0.0)


# --- repeats --------------------------------------------------------------------------------------


def _repeated(reference: Reference, counts: Counts) -> list[Finding]:
    if not len(reference.sketch) or not counts.rows:
        return []
    p, share, before = repeats(reference.sketch, reference.rows, counts.sketch, counts.rows)
    detail = f"{share:.1%} of the rows were there before in the window"
    return [Finding("quality", "rows", "repeated", p, share, before, share - before, counts.rows, REPEATED, detail)]


def repeats(old: NDArray[np.uint64], rows: int, new: NDArray[np.uint64], n: int) -> tuple[float, float, float]:
    """p, the share of n rows that repeat another, and the share expected of so many.

    Of more rows a larger share meets its like: at most in proportion to their number. Fewer are allowed the
    reference's whole share. Beyond what Fisher's test says, the difference must be beyond the error of
    both estimates (1 / √(k - 2) of each that is not exact; taken a tenth larger, as it is a little skewed).
    """
    scale = max(1.0, n / max(1, rows))
    there, here = min(sketch.distinct(old), float(rows)), min(sketch.distinct(new), float(n))
    expected = min(1.0, (rows - there) / max(1, rows) * scale)
    share = 1 - here / n
    exact = two_sample.surplus(*(np.array([x]) for x in (round(n - here), round(expected * rows), n, rows)))[0]
    single = max(1e-12, 1 - expected)
    error = 1.1 * math.hypot(_error(new), _error(old) * scale / single)
    ahead = math.log(single) - math.log(max(1e-12, 1 - share))
    estimated = float(ndtr(-ahead / error)) if error else 0.0
    return (max(float(exact), estimated) if ahead > 0 else 1.0), share, expected


def _error(hashes: NDArray[np.uint64]) -> float:
    """The relative standard error of how many rows differ: none where all are counted."""
    return 1 / math.sqrt(sketch.SIZE - 2) if len(hashes) >= sketch.SIZE else 0.0


# --- traffic --------------------------------------------------------------------------------------


def _refused(rows: int, refused: Mapping[str, int], earlier: Sequence[Past]) -> list[Finding]:
    """Refused rows against those of earlier traffic; without any, none is taken for usual."""
    before, bad = sum(past.rows + past.refused for past in earlier), sum(past.refused for past in earlier)
    now = sum(refused.values())
    asked = rows + now
    if not asked:
        return []
    p = float(two_sample.surplus(*(np.array([x]) for x in (now, bad, asked, max(before, asked))))[0]) if now else 1.0
    share, usual = now / asked, bad / max(1, before)
    worst = sorted(refused, key=lambda column: -refused[column])[:3]
    named = (f"{name or 'not an object'}: {refused[name]:,}" for name in worst)  # that is no column's fault
    detail = "; ".join([f"{now:,} of {asked:,} rows refused", *named])
    return [Finding("quality", "requests", "refused", p, share, usual, share - usual, asked, REFUSED, detail)]


def _volume(rows: int, earlier: Sequence[Past]) -> Finding:
    """The logarithm of the number of rows against the median of earlier stretches, in robust deviations."""
    usual = np.log1p(np.array([past.rows for past in earlier], np.float64))
    if len(usual) < HISTORY:
        unknown = f"{len(usual)} earlier stretches of traffic; {HISTORY} are needed to know what is usual"
        return Finding("quality", "volume", "rows", None, rows, None, 0.0, rows, severity="warning", unknown=unknown)
    middle = float(np.median(usual))
    spread = max(MAD * float(np.median(np.abs(usual - middle))), NOISE, math.exp(-middle / 2))
    away = abs(math.log1p(rows) - middle) / spread
    detail = f"{rows:,} rows, usually about {math.expm1(middle):,.0f}"
    return Finding(
        "quality", "volume", "rows", None, rows, math.expm1(middle), away, rows, UNUSUAL, detail, severity="warning"
    )


def _stale(counts: Counts, monitoring: Monitoring, now: float) -> Finding:
    """How old the newest row is, in passes. Where rows are few, one may be late by chance: that is allowed for."""
    if counts.last is None:
        return Finding(
            "quality", "newest row", "age", None, None, None, 0.0, 0, severity="warning", unknown="no row has a time"
        )
    age = max(0.0, now - counts.last)
    between = monitoring.window / max(1, counts.rows)  # seconds, on average
    least = max(1.0, 10 * between / monitoring.every)
    detail = f"the newest row is {age / 3600:.1f} h old"
    return Finding(
        *("quality", "newest row", "age", None, age, None, age / monitoring.every, counts.rows, least, detail),
        severity="warning",
    )
