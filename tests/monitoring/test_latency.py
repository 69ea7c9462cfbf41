from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from keepfit.data.log import Line, open_log
from keepfit.monitoring import latency
from keepfit.types import Column, Schema

SCHEMA = Schema((Column("age", "number"),), "regression")


def test_the_median_and_the_slowest_of_each_slice(tmp_path: Path) -> None:
    log = open_log(tmp_path, SCHEMA, "shop", "1")
    times = [(0.0, 0.001), (10.0, 0.002), (3599.0, 0.5), (3600.0, 0.004)]
    log.write([Line(id, at, "r", None, "/predict", took, [1], 2.0) for id, (at, took) in zip(log.ids(4), times)])  # noqa: B905
    log.close()
    hour = [datetime(1970, 1, 1, n, tzinfo=UTC) for n in (0, 1, 2)]
    assert latency.by_slice(tmp_path, hour[0], hour[2], 3600.0) == {
        hour[0]: {"latency_p50": 0.002, "latency_p99": 0.5},
        hour[1]: {"latency_p50": 0.004, "latency_p99": 0.004},
    }
    assert list(latency.by_slice(tmp_path, hour[1], hour[2], 3600.0)) == [hour[1]]


def test_an_empty_log_tells_nothing(tmp_path: Path) -> None:
    assert latency.by_slice(tmp_path, datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC), 60.0) == {}
