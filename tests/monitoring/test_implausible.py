"""Observations that the server does not believe: left out of what is measured, counted and named."""

from __future__ import annotations

import numpy as np
import polars as pl

from keepfit.models.fitted import Ahead, Output
from keepfit.monitoring import implausible
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.seasons import Before
from keepfit.types import Column, Rhythm, Schema

SCHEMA = Schema(
    (Column("shop", "series"), Column("day", "moment", "int"), Column("sold", "past")), "forecast", "sold",
    rhythm=Rhythm("day", "1i", 0.0, 2, ("shop",)),
)  # fmt: skip
HOUR = 3600.0


def known(days: int, held: set[tuple[str, int]]) -> tuple[Labelled, Before]:
    """Two shops, a day an hour, each forecast twice: one step and two steps ahead."""
    asked = [(shop, day, step) for day in range(days) for shop in ("north", "south") for step in (1.0, 2.0)]
    shops, numbers, steps = zip(*asked, strict=True)
    times = np.datetime64("2024-05-01T00:00:00", "us") + np.array(numbers) * np.timedelta64(3600, "s")
    nothing = np.zeros(len(asked))
    odd = np.array([(shop, day) in held for shop, day, _ in asked])
    output = Output(nothing, low=nothing - 1, high=nothing + 1, ahead=Ahead(nothing + 1, np.array(steps)))
    inputs = pl.DataFrame({"shop": shops, "day": numbers})
    labelled = Labelled(np.where(odd, 1000.0, 0.5), output, times, np.full(len(asked), "1", object), inputs)
    return labelled, Before(np.zeros(len(asked), int), nothing, nothing, odd)


def apart(days: int, *held: tuple[str, int], window: float = 1000 * HOUR) -> tuple[Labelled, dict[str, Finding]]:
    rows, before = known(days, {*held})
    kept, then, found = implausible.apart(rows, before, SCHEMA, window)
    assert then is not None
    assert len(then.ago) == len(kept)
    return kept, {one.test: one for one in found}


def test_one_is_left_out_named_and_a_warning() -> None:
    kept, found = apart(120, ("north", 7))
    assert len(kept) == 480 - 2
    assert kept.y.max() == 0.5
    check = found["implausible"].check(1e-3)
    assert (check.outcome, check.severity, check.value) == ("failed", "warning", 1)
    assert "1 of 240 observations" in check.detail
    assert check.detail.endswith(": north 7")
    assert found["often implausible"].check(1e-3, 50).outcome == "passed"


def test_many_are_an_error_of_the_data_and_some_are_named() -> None:
    kept, found = apart(120, *(("south", day) for day in range(30)))
    assert len(kept) == 480 - 60
    assert found["implausible"].check(1e-3).detail.endswith("south 0, south 1, south 2 …")
    check = found["often implausible"].check(1e-6, 50)
    assert (check.outcome, check.severity, check.value) == ("failed", "error", 0.125)


def test_without_any_both_pass() -> None:
    kept, found = apart(30)
    assert len(kept) == 120
    assert [one.check(1e-3).outcome for one in found.values()] == ["passed", "passed"]


def test_those_before_the_window_are_left_out_and_told_no_more() -> None:
    kept, found = apart(120, ("north", 7), window=24 * HOUR)
    assert len(kept) == 480 - 2
    assert found["implausible"].value == 0
    assert found["implausible"].rows == 48


def test_where_nothing_is_known_of_what_was_observed_nothing_is_said() -> None:
    rows, _ = known(10, set())
    assert implausible.apart(rows, None, SCHEMA, HOUR) == (rows, None, [])
