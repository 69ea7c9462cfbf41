"""The measuring of what monitoring costs: passes go on beside the work and end with it, promises can fail."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

if sys.platform != "linux":
    pytest.skip("servers are measured by /proc", allow_module_level=True)

from benchmarks import monitoring_cost
from benchmarks.measure import CommandError, Usage


def row(passes: str, cpu: float, rate: float, others: float = 0.0) -> dict[str, Any]:
    return {"passes": passes, "CPU us": cpu, "req/s": rate, "others %": others}


def outcomes(*turns: tuple[float, float], others: float = 0.0) -> list[str]:
    """Of passes back to back that cost so many microseconds and leave so many requests a second, turn by turn."""
    rows = [one for turn in turns for one in (row("none", 100.0, 1000.0, others), row("back to back", *turn))]
    rows += [row("one a minute", 100.0, 1000.0) for _ in turns]
    return [c.outcome for c in monitoring_cost.claims(rows) if c.what.startswith("back to back")]


def test_promises_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring_cost, "spare", lambda: 1)
    assert outcomes((104.0, 960.0)) == ["kept", "kept"]
    assert outcomes((106.0, 940.0)) == ["missed", "missed"]


def test_a_miss_in_some_turns_alone_is_not_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring_cost, "spare", lambda: 1)
    assert outcomes((90.0, 960.0), (110.0, 900.0), (112.0, 900.0)) == ["unclear", "unclear"]
    assert outcomes((110.0, 900.0), (110.0, 900.0), (112.0, 900.0)) == ["missed", "missed"]


def test_a_machine_that_others_keep_busy_shows_nothing_either_way() -> None:
    assert outcomes((104.0, 960.0), others=60.0) == outcomes((150.0, 500.0), others=60.0) == ["unclear", "unclear"]


def test_requests_a_second_show_nothing_where_the_client_shares_its_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring_cost, "spare", lambda: None)
    assert outcomes((106.0, 500.0)) == ["missed", "unclear"]


def test_passes_go_on_until_the_work_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(monitoring_cost, "monitored", lambda _: time.sleep(0.01) or Usage(0, 0.5, 0.01, 1))
    with monitoring_cost.passing(tmp_path, 0.0) as made:
        end = time.monotonic() + 20
        while len(made) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    there = len(made)
    assert there >= 3
    time.sleep(0.05)
    assert len(made) == there
    assert monitoring_cost.beside(made[:3], 10.0) == {"passes made": 3.0, "passes' core %": 15.0}
    with monitoring_cost.passing(tmp_path, None) as none:
        time.sleep(0.05)
    assert none == []


def test_a_pass_that_fails_fails_the_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(_: Path) -> Usage:
        raise CommandError("ended with code 1")

    monkeypatch.setattr(monitoring_cost, "monitored", failing)
    with pytest.raises(CommandError, match="code 1"), monitoring_cost.passing(tmp_path, 0.0):
        time.sleep(0.05)
