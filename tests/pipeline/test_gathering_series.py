"""Which batches of observations are on another scale than their series."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from keepfit.pipeline import gathering_series, quarantine
from keepfit.types import Column, Rhythm, Schema

SCHEMA = Schema(
    (Column("shop", "series"), Column("day", "moment"), Column("sold", "past")), "forecast", "sold",
    rhythm=Rhythm("day", "1i", 0.0, 2, ("shop",)),
)  # fmt: skip
KNOWN = pl.DataFrame({
    "shop": ["small"] * 20 + ["large"] * 20, "day": [*range(20)] * 2,
    "sold": [10.0 + day % 5 for day in range(20)] + [1000.0 + 100 * (day % 5) for day in range(20)],
})  # fmt: skip


def told(shop: str, *sold: float) -> pl.DataFrame:
    return pl.DataFrame({"shop": [shop] * len(sold), "day": range(20, 20 + len(sold)), "sold": sold})


@pytest.mark.parametrize(
    ("batch", "broken"),
    [
        (told("small", 12.0), False),
        (told("small", 1200.0), True),  # as large as another series is, and still no value of this one
        (told("large", 1200.0), False),
        (told("large", 12.0), True),
        (told("large", 1500.0, 2100.0, 1700.0), False),  # a new level is no other unit
        (told("large", 1100.0, 1200.0, 120000.0), False),  # most are well: the gate is to judge
        (told("new", 1e9), False),  # nothing is known of it
        (told("small", 0.0), False),
    ],
)
def test_another_scale_is_that_of_the_own_series(batch: pl.DataFrame, broken: bool) -> None:
    why = quarantine.rescaled(batch, KNOWN, SCHEMA)
    assert bool(why) is broken
    assert not broken or "times as large as it was" in why


def test_a_single_series_has_a_scale_too() -> None:
    one = Schema(SCHEMA.columns[1:], "forecast", "sold", rhythm=Rhythm("day", "1i", 0.0, 2))
    known = KNOWN.filter(shop="small").drop("shop")
    assert quarantine.rescaled(told("", 1200.0).drop("shop"), known, one)
    assert not quarantine.rescaled(told("", 13.0).drop("shop"), known, one)


MONTHS = Schema(
    (Column("shop", "series"), Column("month", "moment", "date"), Column("sold", "past", "float")), "forecast", "sold",
    rhythm=Rhythm("month", "1mo", 0.0, 2, ("shop",)),
)  # fmt: skip


def observed(*months: tuple[int, int, bool]) -> gathering_series.Told:
    """A row a year and month, each told at the end of 2024, and whether it was confirmed."""
    years, numbers, sure = zip(*months, strict=True)
    frame = pl.DataFrame({
        "shop": ["north"] * len(months), "sold": [1.0] * len(months),
        "month": [datetime(year, month, 1) for year, month in zip(years, numbers, strict=True)],
    })  # fmt: skip
    at = pl.Series([datetime(2024, 12, 30, tzinfo=UTC)] * len(months))
    every = np.ones(len(months), bool)
    return gathering_series.Told(at, frame, ~every, every, np.array(sure))


def test_times_that_were_to_come_are_left_out_named_and_taken_when_confirmed_or_trusted() -> None:
    told = observed((2024, 11, False), (2034, 12, False), (2025, 1, False), (2035, 5, True))
    kept, verdict = gathering_series._come(told, MONTHS, False)
    assert kept.frame["month"].dt.year().to_list() == [2024, 2025, 2035]  # some name a month by its end
    assert len(kept.new) == len(kept.sure) == len(kept.at) == 3
    [check] = verdict.checks
    assert (check.outcome, check.severity, check.value) == ("failed", "warning", 1)
    assert check.detail == "1 row left out: 2034-12-01 was still to come when it was told"
    kept, verdict = gathering_series._come(told, MONTHS, True)
    assert kept.frame.height == 4
    assert "taken in all the same" in verdict.checks[0].detail
    assert gathering_series._come(observed((2024, 12, False)), MONTHS, False)[1].checks == ()
