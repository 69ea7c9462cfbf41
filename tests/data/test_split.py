"""The split: stratified, the same everywhere, stable when data grow, whole groups, no look ahead."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from keepfit.config import Data
from keepfit.data import hashes, split
from keepfit.errors import DataError
from keepfit.types import Column, Schema

SCHEMA = Schema((Column("x", "number"), Column("y", "target")), "classification", "y", ("a", "b"))
DATA = Data(source="a.csv", target="y")


def frame(rows: int, seed: int = 0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame({"x": draw.normal(size=rows), "y": np.where(draw.random(rows) < 0.2, "a", "b")})


def test_each_class_gives_its_share() -> None:
    typed = frame(1000)
    test, how = split.split(typed, SCHEMA, DATA)
    for label in "ab":
        of = (typed["y"] == label).to_numpy()
        assert test[of].mean() == pytest.approx(0.2, abs=0.005)
    assert how == "20% of each class"


def test_a_share_that_is_far_from_what_was_asked_is_told_with_both_numbers() -> None:
    assert split.shared(split.split(frame(200), SCHEMA, DATA)[0], DATA).outcome == "passed"
    few = pl.DataFrame({"x": [0.0] * 60 + [1.0] * 40, "y": ["a", "b"] * 50})
    told = split.shared(split.split(few, SCHEMA, DATA)[0], DATA)
    assert (told.outcome, told.severity, told.limit) == ("failed", "warning", 0.2)
    assert "too few different feature rows" in told.detail
    assert f"{told.value:.0%} of the rows are test rows, 20% were asked" in told.detail
    grouped = DATA.model_copy(update={"group": "g"})
    assert "groups of 'g'" in split.shared(np.array([True] * 5 + [False] * 5), grouped).detail
    assert split.shared(np.array([True] * 3 + [False] * 7), DATA).outcome == "passed"  # of ten rows each is a tenth


def test_a_row_stays_on_its_side_when_the_data_grow_or_are_shuffled() -> None:
    typed = frame(2000)
    test, _ = split.split(typed, SCHEMA, DATA)
    more = pl.concat([frame(500, seed=1), typed.sample(fraction=1.0, shuffle=True, seed=3)])
    test_of_more, _ = split.split(more, SCHEMA, DATA)
    before = dict(zip(typed["x"], test, strict=True))
    after = dict(zip(more["x"], test_of_more, strict=True))
    moved = sum(before[x] != after[x] for x in before)
    assert moved <= 0.02 * len(before)  # the cut itself moves a little: the shares of a class do


def test_equal_rows_are_on_one_side_even_with_other_labels() -> None:
    typed = pl.concat([frame(300), frame(300).with_columns(y=pl.lit("b")), frame(300)])
    test, _ = split.split(typed, SCHEMA, DATA)
    assert not set(hashes.rows(typed, ["x"])[test]) & set(hashes.rows(typed, ["x"])[~test])


def test_another_seed_is_another_split() -> None:
    typed = frame(300)
    first, second = (split.split(typed, SCHEMA, DATA.model_copy(update={"random_state": s}))[0] for s in (1, 2))
    assert (first != second).any()


def test_a_group_is_never_on_both_sides_nor_in_two_folds() -> None:
    typed = frame(600).with_columns(who=pl.Series(np.arange(600) % 60).cast(pl.String))
    data = DATA.model_copy(update={"group": "who"})
    test, _ = split.split(typed, SCHEMA, data)
    assert not set(typed["who"].filter(test)) & set(typed["who"].filter(~test))
    for learn, judge in split.folds(typed, SCHEMA, 5, 0, data):
        assert not set(typed["who"][learn]) & set(typed["who"][judge])


def test_in_time_order_nothing_is_judged_by_what_came_before_it() -> None:
    typed = frame(500).with_columns(at=pl.Series(np.random.default_rng(1).integers(0, 50, 500)).cast(pl.Float64))
    data = DATA.model_copy(update={"time": "at"})
    test, how = split.split(typed, SCHEMA, data)
    assert "by 'at'" in how
    assert typed["at"].filter(~test).max() < typed["at"].filter(test).min()
    found = split.folds(typed, SCHEMA, 5, 0, data)
    assert len(found) == 5
    for learn, judge in found:
        assert typed["at"][learn].max() < typed["at"][judge].min()


def test_folds_hold_every_row_out_once_and_are_stratified() -> None:
    typed = frame(503)
    found = split.folds(typed, SCHEMA, 5, 0, DATA)
    assert sorted(np.concatenate([judge for _, judge in found])) == list(range(503))
    rare = (typed["y"] == "a").to_numpy()
    counts = [rare[judge].sum() for _, judge in found]
    assert max(counts) - min(counts) <= 1


def test_regression_takes_its_share_of_every_tenth() -> None:
    schema = Schema(SCHEMA.columns, "regression", "y")
    typed = pl.DataFrame({"x": np.random.default_rng(0).normal(size=1000), "y": np.arange(1000.0)})
    test, _ = split.split(typed, schema, DATA)
    assert [test[i * 100 : (i + 1) * 100].sum() for i in range(10)] == [20] * 10


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows_say_what_to_do(rows: int) -> None:
    typed = pl.DataFrame({"x": [0.0] * rows, "y": ["a"] * rows})
    with pytest.raises(DataError, match=r"cannot be split.*data\.test"):
        split.split(typed, SCHEMA, DATA)


def test_a_class_of_one_row_is_learned_from() -> None:
    typed = pl.concat([frame(100), pl.DataFrame({"x": [9.0], "y": ["c"]})])
    test, _ = split.split(typed, SCHEMA, DATA)
    assert not test[-1]


def test_a_target_with_many_ties_splits_alike_in_any_order() -> None:
    draw = np.random.default_rng(0)
    typed = pl.DataFrame({"x": draw.normal(size=500), "y": np.where(draw.random(500) < 0.7, 0.0, draw.random(500))})
    schema = Schema(SCHEMA.columns, "regression", "y")
    order = draw.permutation(500)
    test, _ = split.split(typed, schema, DATA)
    again, _ = split.split(typed[order], schema, DATA)
    assert (again == test[order]).all()
    assert test.mean() == pytest.approx(0.2, abs=0.01)


def test_a_time_that_nobody_can_read_is_an_error() -> None:
    typed = frame(100).with_columns(day=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(DataError, match="no row of 'day' holds a time"):
        split.split(typed, SCHEMA, DATA.model_copy(update={"time": "day"}))


def test_rows_without_a_time_are_never_tested_on() -> None:
    typed = frame(100).with_columns(day=pl.when(pl.int_range(100) < 30).then(None).otherwise(pl.int_range(100) * 1.0))
    test, _ = split.split(typed, SCHEMA, DATA.model_copy(update={"time": "day"}))
    assert test.sum() == 20
    assert not test[:30].any()


@pytest.mark.parametrize(("key", "says"), [("group", "groups of 'g'"), ("time", "moments of 'g'")])
def test_folds_need_two_of_what_is_kept_apart(key: str, says: str) -> None:
    typed = frame(100).with_columns(g=pl.lit(1.0))
    with pytest.raises(DataError, match=says):
        split.folds(typed, SCHEMA, 5, 0, DATA.model_copy(update={key: "g"}))
