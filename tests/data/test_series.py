"""Rows of a forecast: their order, the last horizon as the test, and folds whose origin rolls back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from keepfit.config import Data
from keepfit.data import series, split
from keepfit.errors import DataError
from keepfit.types import Column, Rhythm, Schema

COLUMNS = (Column("shop", "series"), Column("t", "moment", "int"), Column("sold", "past", "float"))
DATA = Data(source="a.csv", target="sold")


def schema(horizon: int = 4, season: tuple[int, ...] = ()) -> Schema:
    return Schema(COLUMNS, "forecast", "sold", rhythm=Rhythm("t", "1i", 1.0, horizon, ("shop",), season))


def rows(**lengths: int) -> pl.DataFrame:
    parts = [
        pl.DataFrame({"shop": name, "t": np.arange(1.0, count + 1), "sold": np.arange(float(count))})
        for name, count in lengths.items()
    ]
    return pl.concat(parts)


def test_the_last_periods_of_each_series_are_the_test():
    frame = rows(a=20, b=9)
    late, how = split.split(frame, schema(), DATA)
    assert frame.filter(late)["t"].to_list() == [17, 18, 19, 20, 6, 7, 8, 9]
    assert how == "the last 4 periods of each series"
    assert split.fair(late, frame, schema(), DATA).outcome == "passed"


def test_periods_count_and_not_rows():
    frame = rows(a=20).filter(~pl.col("t").is_in([18.0, 5.0]))
    late, _ = split.split(frame, schema(), DATA)
    assert frame.filter(late)["t"].to_list() == [17, 19, 20]


def test_short_series_are_learned_from_and_named():
    frame = rows(a=20, tiny=6, b=7)
    late, _ = split.split(frame, schema(), DATA)
    assert set(frame.filter(late)["shop"]) == {"a", "b"}
    told = split.fair(late, frame, schema(), DATA)
    assert told.severity == "warning"
    assert told.outcome == "failed"
    assert "1 of 3 series have fewer than 7 periods" in told.detail
    assert "'tiny'" in told.detail


def test_a_horizon_longer_than_the_history_is_told():
    with pytest.raises(DataError, match=r"the longest has 20 periods .* forecast.horizon: 18 needs 21 at least"):
        split.split(rows(a=20, b=9), schema(18), DATA)


def test_folds_roll_back_and_never_look_ahead():
    frame = rows(a=40, b=31)
    cuts = split.folds(frame, schema(season=(3,)), 5, 0, DATA)
    assert len(cuts) == 5
    for number, (learn, judge) in enumerate(cuts):
        for name, end in (("a", 40), ("b", 31)):
            known, asked = (frame[part].filter(shop=name)["t"].to_list() for part in (learn, judge))
            assert known == list(range(1, end - 4 * (number + 1) + 1))
            assert asked in ([], list(range(len(known) + 1, len(known) + 5)))
    held = np.concatenate([judge for _, judge in cuts])
    assert len(held) == len(set(held.tolist()))  # no row is judged twice


def test_later_folds_need_two_seasons_and_half_of_the_series():
    frame = rows(a=60, b=20, c=20)
    assert len(split.folds(frame, schema(season=(12,)), 5, 0, DATA)) == 1  # b and c leave less than two seasons
    assert len(split.folds(rows(a=60), schema(season=(12,)), 5, 0, DATA)) == 5


@pytest.mark.parametrize("length", [3, 4, 5, 7])
def test_a_short_history_has_one_fold_of_fewer_steps(length):
    [(learn, judge)] = split.folds(rows(a=length), schema(6), 5, 0, DATA)
    assert len(learn) >= 2
    assert len(judge) >= 1
    assert len(learn) + len(judge) == length
    assert learn.max() < judge.min()


def test_too_few_rows_to_learn_from_are_told():
    with pytest.raises(DataError, match="has 2 training rows with a value: too few"):
        split.folds(rows(a=2, b=1), schema(), 5, 0, DATA)


def test_rows_are_sorted_and_the_last_of_a_period_is_used():
    frame = pl.DataFrame(
        {"shop": ["b", "a", "a", None, "a", "a"], "t": [1.0, 2.0, 1.0, 1.0, 2.0, None], "sold": [1.0, 2, 3, 4, 5, 6]}
    )
    order = split.order(frame, schema(), DATA)
    assert frame[order]["sold"].to_list() == [3.0, 5.0, 1.0]
    versions = frame.with_columns(known=pl.Series([0.0, 9.0, 0.0, 0.0, 3.0, 0.0]))
    assert versions[series.order(versions, schema(), "known")]["sold"].to_list() == [3.0, 2.0, 1.0]


def test_series_of_several_columns_are_told_apart():
    frame = pl.DataFrame({"store": ["1", "1", "2"], "item": ["x", "y", "x"]})
    numbers, names = series.numbered(frame, ("store", "item"))
    assert numbers.tolist() == [0, 1, 2]
    assert names == ["1, x", "1, y", "2, x"]


def test_a_table_is_ordered_as_it_comes():
    plain = Schema((Column("x", "number"), Column("y", "target")), "regression", "y")
    assert split.order(pl.DataFrame({"x": [2.0, 1.0], "y": [1.0, 2.0]}), plain, DATA).tolist() == [0, 1]
