"""The budget of false alarms: how unlikely a finding must be before anybody is woken up.

The user says how many false alarms are bearable, as `1 per month`. A pass every hour may then raise one
with a chance of 1/730, its *level*. That holds for overlapping windows too (the last day, looked at every
hour): the expected number of passes with a false alarm in a month is the sum of their chances, whatever
binds them together (Boole's inequality), and since a neighbour's rows are mostly the same, alarms come
in clusters, so that there are fewer of them than passes that raise one.

The families share the level by fixed weights, and each shares its part among its tests:

    performance, estimated, quality   equally among the tests (Bonferroni; quality's are exact)
    drift                             by the distribution of the smallest p of a signal in passes of as
                                      many rows without change, through the code of `drift`

Those passes are simulated: reference and window are both drawn anew from the shares of the reference,
as the reference's own luck shows in every window. Per threshold t the simulation gives E(t), the expected
number of signals at or below it in a pass, which bounds the chance of any, and holds for dependent
columns too. One in a month leaves drift an E of 0.0003, less than some hundred or thousand passes show:
from the k smallest p of the simulation on the tail is taken for a power law, E(t) = k/B (t/t_k)^a, with the
index a of Hill (Annals of Statistics 3, 1975) and the quantile of Weissman (JASA 73, 1978), on the log scale
one standard error to the safe side, and a at most 1, which is that of honest p-values. What it
achieves is estimated in the same way from as many simulated passes that the threshold has not seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keepfit import durable
from keepfit.monitoring import drift
from keepfit.monitoring.drift import Compared
from keepfit.monitoring.two_sample import Floats

if TYPE_CHECKING:
    from keepfit.monitoring.reference import Reference
    from keepfit.sections import Monitoring

SHARES: Mapping[str, float] = {"performance": 0.4, "estimated": 0.2, "quality": 0.2, "drift": 0.2}
MOST = 0.5  # level of a pass that may raise more false alarms than that
CELLS = 4_000_000  # drawn for the threshold, and again for what it achieves
PASSES = (200, 4000)  # simulated, at least and at most
BATCH = 400_000  # cells at once: they stay in the processor's cache
TAIL = 1000  # smallest p-values that tell how the tail goes on
STEP = 4  # roundings of the number of rows in a doubling
SAFE = 1.645  # standard errors of the interval of what is achieved (90 %)
FORMAT = 1


@dataclass(frozen=True)
class Tail:
    """The lower end of simulated p-values: E(t) = count / passes × (t / edge)^index for t ≤ edge."""

    smallest: Floats  # ascending, those up to `edge`
    passes: int
    index: float

    @property
    def edge(self) -> float:
        return float(self.smallest[-1])

    def error(self, t: float) -> float:
        """The standard error of ln E(t): of the number of p-values up to the edge, and of the index."""
        count = len(self.smallest)
        return math.hypot(1, self.index * max(0.0, math.log(self.edge / t))) / math.sqrt(count)

    def expected(self, t: float) -> float:
        """E(t): how many signals of a pass are at or below t."""
        if t >= self.edge:
            return len(self.smallest) / self.passes
        return len(self.smallest) / self.passes * math.pow(t / self.edge, self.index)


@dataclass(frozen=True)
class Thresholds:
    """What a pass of about `rows` rows may call an alarm.

    `level`: chance of a false alarm in one pass. `drift`: largest p of a drifting signal. `achieved`:
    drift's own rate a pass, with its interval `low` to `high` and how many simulated passes tell it;
    `allowed` is the part of the level that drift has.
    """

    false_alarms: float  # a second
    every: float  # seconds
    level: float
    rows: int
    min_rows: int
    drift: float
    allowed: float
    achieved: Mapping[str, float]

    def of(self, family: str, tests: int) -> float:
        """The largest p of an alarm of `family`, which has so many tests."""
        return self.drift if family == "drift" else self.level * SHARES[family] / max(1, tests)

    def plain(self) -> dict[str, Any]:
        """For the JSON of a pass."""
        return {"period": 1 / self.false_alarms, "threshold": self.drift, **asdict(self)}


def level(false_alarms: float, every: float) -> float:
    """The chance of a false alarm that one pass may have: alarms a second × seconds between passes.

    >>> round(level(1 / 2629746, 3600), 5)  # 1 per month, hourly
    0.00137
    """
    return min(MOST, false_alarms * every)


def thresholds(reference: Reference, rows: int, monitoring: Monitoring, folder: Path | None = None) -> Thresholds:
    """The thresholds of a pass of so many rows.

    The simulation is kept in `folder` (`.keepfit/monitoring`), by reference and rounded rows: a new
    budget needs no new one. Without a folder nothing is kept. A damaged file is made anew.
    """
    size = rounded(rows)
    one, other = tails(reference, size, folder)
    chance = level(monitoring.false_alarms, monitoring.every)
    allowed = chance * SHARES["drift"]
    largest = threshold(one, allowed)
    return Thresholds(
        monitoring.false_alarms,
        monitoring.every,
        chance,
        size,
        monitoring.min_rows,
        largest,
        allowed,
        achieved(other, largest),
    )


def rounded(rows: int) -> int:
    """Rows on a scale of four steps a doubling: thresholds hardly change in between.

    >>> rounded(1000), rounded(1050), rounded(10_000)
    (1024, 1024, 9742)
    """
    return round(2 ** (round(math.log2(max(1, rows)) * STEP) / STEP))


def threshold(tail: Tail, allowed: float) -> float:
    """The largest t whose E(t), one standard error to the safe side, is at most `allowed`."""
    safe, t = allowed, tail.edge
    for _ in range(20):  # the error depends on t, a little
        t = _quantile(tail, safe)
        safe = allowed * math.exp(-tail.error(t))
    return t


def _quantile(tail: Tail, expected: float) -> float:
    """t with E(t) = expected, at most the edge."""
    share = min(1.0, expected * tail.passes / len(tail.smallest))
    return tail.edge * math.pow(share, 1 / tail.index)


def achieved(tail: Tail, t: float) -> dict[str, float]:
    """E(t) on other simulated passes, with its interval (90 %), and their number."""
    expected, around = tail.expected(t), math.exp(SAFE * tail.error(min(t, tail.edge)))
    return {"rate": expected, "low": expected / around, "high": expected * around, "passes": tail.passes}


# --- simulation -----------------------------------------------------------------------------------


def tails(reference: Reference, rows: int, folder: Path | None) -> tuple[Tail, Tail]:
    """Two independent simulations of passes without change: for the threshold, and to hold it against."""
    path = folder / "null" / f"{reference.key[:16] or 'unnamed'}-{rows}.json" if folder and reference.key else None
    kept = _kept(path) if path else None
    if kept:
        return kept
    told = drift.compared(drift.watched(reference))
    found = tail(*simulated(told, rows, 0)), tail(*simulated(told, rows, 1))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_text(path, json.dumps({"format": FORMAT, "tails": [_plain(each) for each in found]}))
    return found


def simulated(told: Compared, rows: int, seed: int) -> tuple[Floats, int]:
    """The smallest p of each signal in each of B passes without change, all together; and B."""
    where, total = told.where, told.where.sums(told.counts).astype(int)
    cells = max(1, int(where.sizes.sum()))
    passes = int(np.clip(CELLS // cells, *PASSES))
    batch = max(1, BATCH // cells)
    random = np.random.default_rng([seed, rows])
    ends = [slice(start, start + size) for start, size in zip(where.starts, where.sizes, strict=True)]
    found = []
    for first in range(0, passes, batch):
        size = min(batch, passes - first)
        drawn = [np.empty((size, cells), np.int64) for _ in range(2)]
        for part, n in zip(ends, total, strict=True):
            for counts, of in zip(drawn, (n, rows), strict=True):
                counts[:, part] = random.multinomial(of, told.counts[part] / n, size=size)
        found.append(drift.smallest(where, *drawn))
    return np.concatenate(found).ravel(), passes


def tail(p: NDArray[np.float64], passes: int) -> Tail:
    """The tail of p-values of so many passes: the index is Hill's, at most 1."""
    count = min(TAIL, max(1, len(p) // 10))
    smallest = np.maximum(np.sort(np.partition(p, count - 1)[:count]), 1e-300) if len(p) else np.array([1.0])
    excess = float(np.log(smallest[-1] / smallest).mean())
    return Tail(smallest, passes, min(1.0, 1 / excess) if excess > 0 else 1.0)


def _plain(tail: Tail) -> dict[str, Any]:
    return {"smallest": tail.smallest.tolist(), "passes": tail.passes, "index": tail.index}


def _kept(path: Path) -> tuple[Tail, Tail] | None:
    try:
        told = json.loads(path.read_bytes())
        if told["format"] != FORMAT:
            return None
        one, other = (Tail(np.array(t["smallest"], np.float64), t["passes"], t["index"]) for t in told["tails"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return one, other
