"""The reference of a bundle: how training rows are spread over the cells of its signals.

    reference.json   {"format": 2, "rows", "signals", "memory", "outcomes", "sketch"}

Columns are counted on the training rows, what the model says and how well it did on the test rows: a
model is surer of rows that it was trained on. Format 1 (numbers and categories alone) is still read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.monitoring.signals import Signal

__all__ = ["Outcomes", "Reference", "Signal"]

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
FORMAT = 2


@dataclass(frozen=True)
class Outcomes:
    """How well the model did on the test rows, by the cells of one signal.

    `signal` is "confidence" (classification) or "prediction" (regression). `rows`: test rows a cell.
    `sums` and `squares`: loss → sum over a cell's rows of the loss, and of its square. Losses are
    "error" (0 or 1), "log_loss" and "brier" (for two classes (p - y)² of the second one, else the sum
    over the classes), or "absolute_error" and "squared_error". `probability`: for two classes the sum
    of the second one's probability. Rows whose target is missing or of an unknown class are left out.
    """

    signal: str
    rows: Longs
    sums: Mapping[str, Floats]
    squares: Mapping[str, Floats]
    probability: Floats | None = None

    def mean(self, loss: str) -> float:
        """The mean loss of all test rows; NaN without any."""
        total = int(self.rows.sum())
        return float(self.sums[loss].sum() / total) if total else float("nan")

    def variance(self, loss: str) -> float:
        """The variance of the loss over the test rows (of the sample: n - 1); NaN of fewer than two."""
        total = int(self.rows.sum())
        if total < 2:
            return float("nan")
        return max(0.0, float(self.squares[loss].sum() - total * self.mean(loss) ** 2) / (total - 1))


@dataclass(frozen=True)
class Reference:
    """What live rows are compared with.

    `rows`: training rows. `signals`: those of the columns, then "prediction" and "confidence" (not in
    format 1). `memory`: column → what its role's `watch` has to be handed back. `sketch`: the smallest
    hashes of the training rows, see `keepfit.monitoring.sketch`; empty where it is not known. `key`
    changes when anything here does: what was counted for another reference is never mixed with it.
    """

    rows: int
    signals: tuple[Signal, ...]
    memory: Mapping[str, Mapping[str, Any]]
    outcomes: Outcomes | None
    sketch: NDArray[np.uint64]
    key: str = ""
