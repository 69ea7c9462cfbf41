"""How long answers took, by time slice, from the prediction log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from keepfit.data import log_read


def by_slice(
    folder: Path, since: datetime, until: datetime, every: float, uri: str | None = None
) -> dict[datetime, dict[str, float]]:
    """Start of a slice of `every` seconds (UTC) → `latency_p50` and `latency_p99` in seconds.

    Of all that was answered in the log of `folder` from `since` on and before `until`, whoever answered.
    Raises DataError where the store at `uri` cannot be read.
    """
    rows = log_read.read(folder, since, until, role=None, uri=uri)
    number = (pl.col("time").dt.epoch("us") // round(every * 1e6)).alias("slice")
    shares = {"latency_p50": 0.5, "latency_p99": 0.99}
    told = [pl.col("latency").quantile(share, "nearest").alias(name) for name, share in shares.items()]
    found = rows.select(number, "latency").group_by("slice").agg(told).collect()
    return {
        datetime.fromtimestamp(one["slice"] * every, UTC): {name: one[name] for name in shares}
        for one in found.to_dicts()
    }
