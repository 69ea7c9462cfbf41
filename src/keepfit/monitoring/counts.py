"""Live rows as integer counts in the cells of the reference's signals.

Counts of any rows are added up by `merge`: of processes, replicas, files, time slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """What was counted of some rows.

    `cells`: signal's name → rows in each of its cells; a signal that the rows do not tell (a redacted
    column) is absent. Each row is in exactly one cell of each signal. `sketch`: the smallest hashes of
    the rows (`keepfit.monitoring.sketch.distinct` estimates from it how many differ). `first`, `last`:
    seconds since 1970 UTC of the earliest and the latest row, None where rows have no time.
    """

    rows: int
    cells: Mapping[str, Longs]
    sketch: NDArray[np.uint64]
    first: float | None = None
    last: float | None = None
