"""The log in bounded batches: all rows once, whatever they are kept in."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepfit.data import log_parts, log_roll, log_stream
from tests.data.answered import logged

STRINGS = ("prediction", "inputs.plan")


def test_a_part_of_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group has dictionaries of its own; Arrow cannot join these inside a struct."""
    given = logged(tmp_path, 500)
    monkeypatch.setattr(log_roll, "BLOCK", 1 << 12)
    log_roll.roll(tmp_path)
    (part,) = log_parts.listed(tmp_path)
    batches = list(log_stream.part(part, STRINGS))
    assert len(batches) > 1
    assert [key for batch in batches for key in batch.rows.column("id").to_pylist()] == list(given)
    assert {batch.version for batch in batches} == {"1"}


def test_what_is_not_rolled_yet(tmp_path: Path) -> None:
    given = logged(tmp_path, 30)
    assert [key for batch in log_stream.fresh(tmp_path) for key in batch.rows.column("id").to_pylist()] == list(given)
