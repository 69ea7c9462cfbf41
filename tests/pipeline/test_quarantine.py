"""Broken slices of new rows are found and told, sound ones are left alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from keepfit.models.fitted import Output
from keepfit.pipeline import quarantine
from keepfit.pipeline.quarantine import Given
from keepfit.types import Column, Schema

SCHEMA = Schema(
    (Column("age", "number"), Column("gain", "number"), Column("plan", "category"), Column("left", "target")),
    "classification",
    "left",
    ("no", "yes"),
)
PRICES = Schema((Column("age", "number"), Column("price", "target")), "regression", "price")


def rows(count: int, seed: int) -> tuple[pl.DataFrame, Output]:
    """Rows as they always are, and what a model with an AUC of about 0.85 says of them."""
    draw = np.random.default_rng(seed)
    age = draw.uniform(18, 90, count)
    share = 1 / (1 + np.exp(-(age - 54) / 12))
    gain = np.where(draw.random(count) < 0.1, draw.uniform(100, 90_000, count), 0.0)
    left = np.where(draw.random(count) < share, "yes", "no")
    frame = pl.DataFrame({"age": age, "gain": gain, "plan": draw.choice(["a", "b"], count), "left": left})
    return frame, Output(np.where(share > 0.5, "yes", "no").astype(object), np.column_stack([1 - share, share]))


TRUSTED = rows(3000, 0)[0]


def look(frame: pl.DataFrame, output: Output | None) -> list[quarantine.Slice]:
    y = np.array(frame["left"].to_list(), object)
    return quarantine.broken(Given(frame, y, output), TRUSTED, SCHEMA)


@pytest.mark.parametrize("seed", range(1, 6))
def test_rows_as_always_are_sound(seed: int) -> None:
    assert look(*rows(2000, seed)) == []


def test_a_useless_model_is_no_contradiction() -> None:
    frame, output = rows(3000, 1)
    mixed = frame.with_columns(pl.Series("left", np.random.default_rng(2).permutation(frame["left"].to_numpy())))
    assert look(mixed, output) == []


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_labels_that_are_turned_round(share: float) -> None:
    frame, output = rows(4000, 3)
    turn = np.random.default_rng(4).random(4000) < share
    turn[:1000] = False  # a good beginning
    turned = np.where(turn, np.where(frame["left"].to_numpy() == "yes", "no", "yes"), frame["left"].to_numpy())
    found = look(frame.with_columns(pl.Series("left", turned)), output)
    taken = np.zeros(4000, bool)
    for part in found:
        assert "the labels contradict the champion" in part.why["contradiction"]
        taken[part.start : part.end] = True
    assert taken[1000:].mean() > (0.99 if share == 1.0 else 0.6)
    assert taken[:1000].mean() < 0.1


def test_a_column_in_another_unit() -> None:
    frame, output = rows(1000, 5)
    late = pl.int_range(pl.len()) >= 600
    [part] = look(frame.with_columns(pl.when(late).then(pl.col("age") * 100).otherwise("age").alias("age")), output)
    assert (part.start, part.end) == (600, 1000)
    assert part.why["units age"].startswith("'age' is 9")
    assert "another unit?" in part.why["units age"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_clock_is_not_in_another_unit_though_it_leaves_every_range(sign: float) -> None:
    frame, output = rows(1000, 5)
    known = TRUSTED.with_columns(age=sign * pl.int_range(1, pl.len() + 1))
    late = frame.with_columns(age=sign * pl.int_range(200_000, 201_000))
    given = Given(late, np.array(late["left"].to_list(), object), output)
    assert quarantine.broken(given, known, SCHEMA) == []
    [part] = quarantine.broken(given, known.sample(fraction=1.0, shuffle=True, seed=1), SCHEMA)
    assert "another unit?" in part.why["units age"]


def test_a_column_that_is_mostly_zero_is_seen_in_another_unit_too() -> None:
    frame, output = rows(400, 6)
    found = look(frame.with_columns(pl.col("gain") / 1000), output)
    assert found
    assert all("units gain" in part.why for part in found)


def test_half_of_the_rows_empty_and_a_column_gone() -> None:
    frame, output = rows(300, 7)
    hollow = pl.int_range(pl.len()) % 2 == 0
    names = ["age", "gain", "plan"]
    [part] = look(frame.with_columns(pl.when(hollow).then(None).otherwise(pl.col(n)).alias(n) for n in names), output)
    assert part.why == {"empty": "50% of the rows are more than half empty; 0.0% were"}
    [part] = look(frame.with_columns(plan=pl.when(hollow).then(None).otherwise("plan")), output)
    assert part.why == {"empty plan": "'plan' is missing in 50% of the rows; 0.0% were"}


def test_rows_that_come_again_and_again() -> None:
    frame, _ = rows(300, 8)
    again = pl.concat([frame.head(20)] * 15)
    [part] = look(again, None)
    assert "rows repeat others" in part.why["repeated"]


def test_several_columns_that_stand_still() -> None:
    """As after a join that lost its key. One column alone may do so in truth, and so may what follows the calendar."""
    frame, output = rows(2000, 11)
    wide = {f"extra {n}": np.random.default_rng(n).normal(size=3000) for n in range(3)}
    schema = Schema(
        (*SCHEMA.columns, *(Column(name, "number") for name in wide)), "classification", "left", ("no", "yes")
    )
    trusted = TRUSTED.with_columns(**{name: pl.Series(values) for name, values in wide.items()})
    live = frame.with_columns(**{name: pl.Series(values[:2000]) for name, values in wide.items()})
    y = np.array(frame["left"].to_list(), object)
    still = live.with_columns(pl.lit(1.5).alias("extra 0"), pl.lit(40.0).alias("age"))
    found = quarantine.broken(Given(pl.concat([live[:1000], still[1000:]]), y, output), trusted, schema)
    assert [(part.start, part.end) for part in found] == [(1000, 2000)]
    assert "constant" in found[0].why
    one = live.with_columns(pl.lit(1.5).alias("extra 0"))
    assert quarantine.broken(Given(one, y, output), trusted, schema) == []
    calendar = trusted.with_columns(
        **{name: pl.when(pl.int_range(3000) < 1000).then(pl.col(name)).otherwise(7.0) for name in ("extra 0", "age")}
    )
    slow = live.with_columns(pl.lit(8.0).alias("extra 0"), pl.lit(40.0).alias("age"))
    assert quarantine.broken(Given(slow, y, output), calendar, schema) == []


def test_numbers_that_run_against_the_model() -> None:
    draw = np.random.default_rng(9)
    age = draw.uniform(18, 90, 500)
    price = age * 10 + draw.normal(0, 150, 500)
    frame = pl.DataFrame({"age": age, "price": price})
    output = Output(age * 10)
    assert quarantine.broken(Given(frame, price, output), frame, PRICES) == []
    [part] = quarantine.broken(Given(frame, -price, output), frame, PRICES)
    assert "contradiction" in part.why


def test_no_rows_and_no_champion() -> None:
    assert look(TRUSTED.clear(), None) == []
    assert look(TRUSTED.head(50), None) == []
