"""What a request for forecasts may ask for besides rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from keepfit.data.parse import Problem
from keepfit.data.rows import Table
from keepfit.deployment.wishes import Known, forecast, unanswered
from keepfit.errors import RequestError
from keepfit.models.fitted import Ahead, Output
from keepfit.models.series.memory import About, remember
from keepfit.models.series.panel import Panel
from keepfit.types import Column, Rhythm

RHYTHM = Rhythm("day", "1d", 0.0, 3, ("shop", "item"))
COLUMNS = {"shop": Column("shop", "series"), "item": Column("item", "series"), "day": Column("day", "moment", "date")}
KNOWN = Known(RHYTHM, "sold", {("north", "tea"): 9, ("south", "tea"): 4}, COLUMNS)


def days(*asked: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.get(name) for name in ("shop", "item", "day", "sold")) for row in forecast(KNOWN, asked).rows]


def test_a_horizon_stands_for_the_next_periods_of_every_series() -> None:
    assert days({"horizon": 1}) == [("north", "tea", "1970-01-11", None), ("south", "tea", "1970-01-06", None)]


def test_rows_of_a_horizon_lie_in_columns() -> None:
    north = {"shop": "north", "item": "tea"}
    assert type(forecast(KNOWN, [{"horizon": 2}, {"horizon": 3, "series": north}]).rows) is Table


def test_the_horizon_is_the_models_where_only_history_comes() -> None:
    history = [{"shop": "new", "item": "tea", "day": "1970-01-01", "sold": 1.0}]
    rows = days({"history": history})
    assert [day for *_, day, _ in rows] == ["1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04"]


def test_series_are_picked_by_name() -> None:
    south = {"shop": "south", "item": "tea"}
    assert days({"horizon": 1, "series": south}) == days({"horizon": 1, "series": [south]})
    assert {shop for shop, *_ in days({"horizon": 2, "series": south})} == {"south"}


def test_older_observations_do_not_move_the_end_of_a_known_series() -> None:
    history = [{"shop": "north", "item": "tea", "day": "1970-01-02", "sold": 1.0}]
    assert days({"horizon": 1, "history": history})[-1][2] == "1970-01-11"


def test_rows_with_a_value_are_observations() -> None:
    rows = [{"day": "1970-01-02", "sold": 1}, {"day": "1970-01-03"}, {"day": "1970-01-04", "sold": None}]
    assert forecast(KNOWN, rows).observed == (0,)
    columns = {"day": ["1970-01-02", "1970-01-03"], "sold": [1.0, None]}
    assert forecast(KNOWN, Table(columns)).observed == (0,)


def test_what_stands_for_a_missing_value_is_no_observation() -> None:
    known = replace(KNOWN, columns={**COLUMNS, "sold": Column("sold", "past", tokens=("?",))})
    rows = [{"day": "1970-01-02", "sold": sold} for sold in ("", " ", "?", float("nan"), None, "7", "many")]
    assert forecast(known, rows).observed == (5, 6)
    assert forecast(known, Table({"day": ["1970-01-02"] * 2, "sold": ["", "3"]})).observed == (1,)


def test_a_gap_of_a_history_is_not_answered_and_moves_the_forecast_on() -> None:
    new = {"shop": "new", "item": "tea"}
    history = [{**new, "day": "1970-01-01", "sold": 1.0}, {**new, "day": "1970-01-02", "sold": None}]
    found = forecast(KNOWN, [{"horizon": 1, "history": history}, {"horizon": 1, "history": history[1:]}])
    assert found.observed == (0, 1, 3)
    days_of = [row["day"][-2:] for row in found.rows]
    assert days_of == ["01", "02", "03", "02", "03"]


def test_a_history_without_values_or_with_two_of_a_period_is_told() -> None:
    first = {"shop": "new", "item": "tea", "day": "1970-01-01"}
    with pytest.raises(RequestError, match="'sold' is not there; send null for a gap"):
        forecast(KNOWN, [{"horizon": 1, "history": [first]}])
    with pytest.raises(RequestError, match=r"'sold': 3 contradicts 2 of the same period") as told:
        forecast(KNOWN, [{"horizon": 1, "history": [{**first, "sold": 2}, {**first, "sold": 3}]}])
    assert told.value.details == [{"row": 1, "column": "sold", "problem": "3 contradicts 2 of the same period"}]
    assert len(forecast(KNOWN, [{"horizon": 1, "history": [{**first, "sold": 2}] * 2}]).rows) == 3


def test_rows_without_a_time_are_told_so_and_once() -> None:
    scale, step = np.array([1.0, np.nan, np.nan]), np.full(3, np.nan)
    output = Output(np.full(3, np.nan), ahead=Ahead(scale, step))
    found = unanswered(RHYTHM, np.full(3, np.nan), output, [Problem(2, "day", "not a date: 'soon'")])
    assert [(one.row, one.column, one.problem) for one in found] == [
        (0, "day", "no time, and so nothing to forecast"),
        (1, "shop, item", "a series that is not known; send what was observed"),
    ]


BUSINESS = replace(KNOWN, rhythm=replace(RHYTHM, frequency="1b", origin=4 * 86400.0))  # from Monday 1970-01-05 on
REST = "is not from Monday to Friday, and so in no period of 1b"


def test_the_business_day_after_friday_is_monday() -> None:
    rows = forecast(BUSINESS, [{"horizon": 2, "series": {"shop": "south", "item": "tea"}}]).rows
    assert [row["day"] for row in rows] == ["1970-01-12", "1970-01-13"]


def test_a_history_on_a_day_of_rest_is_told() -> None:
    history = [{"shop": "south", "item": "tea", "day": f"1970-01-{day}", "sold": 1.0} for day in (12, 17)]
    with pytest.raises(RequestError, match=f"'day' {REST}") as told:
        forecast(BUSINESS, [{"horizon": 1, "history": history}])
    assert told.value.details == [{"row": 1, "column": "day", "problem": REST}]


def test_rows_on_a_day_of_rest_are_told_so_whether_they_ask_or_tell() -> None:
    days = np.array([12, 16, 17, np.nan]) * 86400.0  # Tuesday, Saturday, Sunday
    step, values = np.array([1.0, np.nan, 0.0, np.nan]), np.array([5.0, np.nan, 7.0, np.nan])
    output = Output(values, ahead=Ahead(np.ones(4), step))
    found = [(one.row, one.problem) for one in unanswered(BUSINESS.rhythm, days, output)]
    assert found == [(1, REST), (2, REST), (3, "no time, and so nothing to forecast")]


def test_rows_and_wishes_may_come_together() -> None:
    plain = {"shop": "north", "item": "tea", "day": "1970-01-11"}
    assert len(forecast(KNOWN, [plain, {"horizon": 2}]).rows) == 5


@pytest.mark.parametrize(
    ("asked", "column", "said"),
    [
        ({"horizon": 0}, "horizon", "1 or more"),
        ({"horizon": True}, "horizon", "1 or more"),
        ({"horizon": "12"}, "horizon", "1 or more"),
        ({"horizon": float("inf")}, "horizon", "1 or more"),
        ({"horizon": 31}, "horizon", "30 periods"),
        ({"horizon": 1, "weather": "fine"}, "weather", "no place"),
        ({"horizon": 1, "series": {"shop": "north"}}, "series", "shop, item"),
        ({"horizon": 1, "series": "north"}, "series", "shop, item"),
        ({"horizon": 1, "series": {"shop": "west", "item": "tea"}}, "series", "'west / tea'"),
        ({"horizon": 1, "series": {"shop": ["a"], "item": "tea"}}, "series", ""),
        ({"horizon": 1, "series": []}, "series", "names no series"),
        ({"horizon": 1, "history": "all"}, "history", "list of rows"),
        ({"horizon": 1, "history": [{"shop": "a", "item": "b"}]}, "day", "not there"),
        ({"horizon": 1, "history": [{"shop": {}, "item": "b", "day": "1970-01-02"}]}, "shop", "not a category"),
        ({"horizon": 1, "history": [{"shop": "a", "item": "b", "day": None}]}, "day", "missing"),
        ({"horizon": 1, "history": [{"shop": "a", "item": " ", "day": "1970-01-02"}]}, "item", "needs its series"),
        ({"horizon": 1, "history": [{"shop": "a", "day": "1970-01-02"}]}, "item", "is not there"),
        ({"horizon": 1, "series": {"shop": None, "item": "tea"}}, "series", "null and empty text"),
        ({"series": [{"shop": f"s{k}", "item": "tea"} for k in range(9)]}, "series", "and 4 more"),
        ({"horizon": 1, "history": [{"shop": "a", "item": "b", "day": "soon"}]}, "day", "soon"),
    ],
)
def test_a_wish_that_makes_no_sense_is_told(asked: Any, column: str, said: str) -> None:
    with pytest.raises(RequestError) as told:
        forecast(KNOWN, [asked])
    assert told.value.status == 422
    assert told.value.details[0]["column"] == column
    assert said in told.value.message


def test_there_must_be_something_to_forecast() -> None:
    with pytest.raises(RequestError, match="nothing to forecast"):
        forecast(KNOWN, [{"shop": "north", "item": "tea", "day": "1970-01-11", "sold": 4}])


def test_columns_that_are_called_like_a_wish_stay_columns() -> None:
    known = Known(RHYTHM, "sold", {}, {**COLUMNS, "horizon": Column("horizon", "number")})
    assert forecast(known, [{"horizon": 3, "day": "1970-01-02"}]).rows == [{"horizon": 3, "day": "1970-01-02"}]


def test_what_was_observed_of_a_series() -> None:
    history = np.array([[np.nan, 5.0, np.nan, 7.0], [1.0, 2.0, 3.0, 4.0]])
    panel = Panel(history, np.array([9, 4]), np.array([1, 0]))
    memory = remember(About((), 1, 3), panel)
    known = Known(RHYTHM, "sold", {("a", "b"): 9}, COLUMNS, memory, {("a", "b"): 0})
    assert known.past(("a", "b"), 3) == {7: 5.0, 9: 7.0}  # gaps are left out
    assert known.past(("a", "b"), 1) == {9: 7.0}
    assert known.past(("new", "b"), 3) == {}
    days = [f"1970-01-{day:02}" for day in (8, 9, 10, 11)]  # periods 7 to 10
    assert [known.recorded({"shop": "a", "item": "b", "day": day}) for day in days] == [5.0, None, 7.0, None]
    assert known.recorded({"shop": "new", "item": "b", "day": days[0]}) is None
    assert len(known([{"horizon": 2}]).rows) == 2


def test_a_time_that_no_calendar_reaches_is_told() -> None:
    known = Known(Rhythm("t", "1i", 0.0, 3), "sold", {(): 9}, {"t": Column("t", "moment", "int")})
    for far in (1e300, -1e17):
        with pytest.raises(RequestError, match="too far"):
            forecast(known, [{"horizon": 1, "history": [{"t": far, "sold": 1}]}])


def test_what_has_to_be_known_ahead_comes_in_rows() -> None:
    known = Known(RHYTHM, "sold", {("north", "tea"): 9}, {**COLUMNS, "price": Column("price", "number")})
    with pytest.raises(RequestError, match="'price' is looked at by the model; send rows"):
        forecast(known, [{"horizon": 1}])
    row = {"shop": "north", "item": "tea", "day": "1970-01-11", "price": 2.5}
    assert forecast(known, [row]).rows == [row]
    columns = {**COLUMNS, **{name: Column(name, "number") for name in ("promo", "price", "rain")}}
    several = Known(RHYTHM, "sold", {("north", "tea"): 9}, columns)
    with pytest.raises(RequestError, match="'promo', 'price' and 'rain' are looked at by the model; send rows") as told:
        forecast(several, [{"horizon": 1}])
    assert "time and them instead of 'horizon'" in told.value.message
    assert [one["column"] for one in told.value.details] == ["promo", "price", "rain"]
