"""Which batches of observations are on another scale than their series."""

from __future__ import annotations

import polars as pl
import pytest

from keepfit.pipeline import quarantine
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
