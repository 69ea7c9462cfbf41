"""How large a bundle is and how long one row takes, in this process, on this machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl

from keepfit.deployment.runtime import Runtime

NAMES = ("size_mb", "latency_p50_ms", "latency_p99_ms")
ROWS = 200
WARM = 20


def measure(runtime: Runtime, frame: pl.DataFrame, folder: Path) -> dict[str, float]:
    """What a bundle costs to serve.

    size_mb of all files in `folder`, where it lies; latency_p50_ms and latency_p99_ms of a row asked
    alone, in milliseconds.
    """
    names = [column.name for column in runtime.schema.inputs]
    asked = frame.select(names).head(ROWS).to_dicts()
    took = []
    for row in asked[:WARM] + asked:
        start = time.perf_counter()
        runtime.rows([row])
        took.append((time.perf_counter() - start) * 1e3)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    middle, late = np.percentile(took[len(asked[:WARM]) :], [50, 99])
    return dict(zip(NAMES, (size / 1e6, float(middle), float(late)), strict=True))
