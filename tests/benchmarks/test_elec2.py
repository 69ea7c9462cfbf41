"""The closed loop on a stream: what is replayed, what is compared, and a short loop as a whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

if sys.platform != "linux":
    pytest.skip("servers are counted by /proc", allow_module_level=True)

from benchmarks import elec2
from benchmarks.elec2 import Replayed, Stream
from benchmarks.results import Options

ROWS = 4 * 48
STREAM = Stream([{"at": str(n)} for n in range(ROWS)], np.array(["UP", "DOWN"] * (ROWS // 2)), 48)


def test_days_follow_the_beginning_and_end_when_their_last_half_hour_does() -> None:
    days = list(STREAM.days())
    assert [(day.start, day.stop) for _, day in days] == [(48, 96), (96, 144), (144, 192)]
    assert days[0][0].isoformat() == "1996-05-09T00:00:00+00:00"


def test_the_last_label_is_known_at_once_or_a_day_later() -> None:
    found = elec2.last(STREAM)
    assert not found["last"].any()  # they alternate
    assert found["last known"].all()


def test_a_lead_is_as_sure_as_the_weeks_are_alike() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.random(50 * 336) < 0.8, draw.random(50 * 336) < 0.7
    value, low, high = elec2.lead(one, other)
    assert 0.08 < low < value < high < 0.12
    clumped = np.repeat(draw.random(50) < 0.5, 336)  # whole weeks are right or wrong
    value, low, high = elec2.lead(clumped, ~clumped)
    assert low < 0 < high


@pytest.mark.parametrize(
    ("loop", "weekly", "trainings", "outcomes"),
    [
        (0.76, 0.762, 10, ["kept", "kept", "kept"]),
        (0.60, 0.80, 20, ["missed", "missed", "missed"]),
    ],
)
def test_each_promise_can_be_missed(loop: float, weekly: float, trainings: int, outcomes: list[str]) -> None:
    draw = np.random.default_rng(1).random(40_000)
    right = {name: draw < share for name, share in (("first", 0.7), ("weekly", weekly))}
    done = Replayed()
    done.moves["retrained"] = trainings
    found = elec2.claims({"keepfit": draw < loop}, right, {"keepfit": done}, 40)
    assert [claim.outcome for claim in found] == outcomes


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="client and server need a core each")
def test_a_short_loop(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPFIT_DATA", str(shared_data))
    monkeypatch.setattr(elec2, "WORK", tmp_path)
    found = elec2.run(Options(days=28, only=("keepfit",)))
    assert not found.failed
    assert not found.skipped
    whole = found.rows[-1]
    assert (whole["accuracy in"], whole["rows"]) == ("all", 28 * 48)
    assert all(0.5 < whole[side] < 1 for side in ("keepfit", "first", "weekly", "last", "last known"))
    assert len(found.claims) == 3
    assert found.notes[0].startswith("keepfit: 4 passes; ")
    assert "1 retrained" in found.notes[0]
    assert "<svg" in (tmp_path / "elec2" / "elec2.html").read_text()
