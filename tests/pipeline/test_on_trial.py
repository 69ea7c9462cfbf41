"""Servers follow the challenger that is on trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepfit.deployment.rollout import Plan
from keepfit.pipeline import on_trial
from keepfit.pipeline.on_trial import OnTrial

ASKED = Plan("9", "8", 0.3)
SINCE, UNTIL = "2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00"


def test_a_trial_comes_before_what_was_asked_for_and_ends(tmp_path: Path) -> None:
    assert on_trial.plan(tmp_path, ASKED) is ASKED
    on_trial.begin(tmp_path, OnTrial("2", "1", "shadow", 0.1, SINCE, UNTIL))
    assert on_trial.plan(tmp_path, ASKED) == Plan("2", "8", 0.3)
    on_trial.begin(tmp_path, OnTrial("3", "1", "canary", 0.1, SINCE, UNTIL))
    assert on_trial.plan(tmp_path, ASKED) == Plan("9", "3", 0.1)
    on_trial.end(tmp_path)
    assert on_trial.plan(tmp_path, ASKED) is ASKED
    on_trial.end(tmp_path)


def test_a_damaged_file_is_no_trial(tmp_path: Path) -> None:
    on_trial.begin(tmp_path, OnTrial("2", "1", "shadow", 0.1, SINCE, UNTIL))
    file = tmp_path / ".keepfit" / "monitoring" / on_trial.FILE
    file.write_text(file.read_text()[:40])
    with pytest.warns(UserWarning, match="begins anew"):
        assert on_trial.plan(tmp_path, ASKED) is ASKED
