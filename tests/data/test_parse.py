"""One value has one meaning, however it comes."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keepfit.data import parse, zones
from keepfit.types import Column

TOKENS = ("", "?", "NA")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (True, 1.0),
        (" 29.85 ", 29.85),
        ("1e5", 1e5),
        ("+.5", 0.5),
        ("False", 0.0),
        (Decimal("1.25"), 1.25),
        (np.int64(7), 7.0),
        (np.float32(0.5), 0.5),
        (None, None),
        (math.nan, None),
        ("", None),
        ("   ", None),
        (" ? ", None),
        ("nan", None),
    ],
)
def test_number(value: object, expected: float | None) -> None:
    assert parse.number(value, TOKENS) == expected


@pytest.mark.parametrize("value", ["1,000", "1_000", "12 kg", "٣", "0x10", "--1", [1], {"a": 1}, b"1", "five"])
def test_what_is_no_number_says_so(value: object) -> None:
    with pytest.raises(ValueError, match=r"^not a number: "):
        parse.number(value, TOKENS)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 10**400, "inf", "-Infinity", "1e999"])
def test_infinite(value: object) -> None:
    with pytest.raises(ValueError, match=r"^infinite$"):
        parse.number(value)


def test_reasons_stay_short() -> None:
    with pytest.raises(ValueError, match="x…") as caught:
        parse.number("x" * 10_000)
    assert len(str(caught.value)) < 60


@given(st.text(alphabet=st.sampled_from("0123456789+-.eE_ infa,x٣"), max_size=8) | st.text(max_size=6))
@example("1_0")
@example(" 1.")
def test_what_polars_reads_as_finite_is_the_same_number_here(text: str) -> None:
    """Training casts a whole column by polars first, so the two must agree."""
    cast = pl.Series([text]).str.strip_chars().cast(pl.Float64, strict=False)[0]
    if cast is not None and math.isfinite(cast):
        assert parse.number(text) == cast


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_and_its_text_are_one_number(value: float) -> None:
    assert parse.number(value) == parse.number(f"  {value!r}") == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" Private", "Private"),
        (98178, "98178"),
        (98178.0, "98178"),
        ("98178.0", "98178"),
        ("00123", "00123"),
        ("00123.0", "00123.0"),
        ("1.10", "1.10"),
        (True, "true"),
        (np.bool_(False), "false"),
        ("TRUE", "true"),
        ("-0.0", "0"),
        (2.5, "2.5"),
        (np.int64(3), "3"),
        (date(2024, 1, 2), "2024-01-02"),
        (None, None),
        (math.nan, None),
        ("?", None),
        ("\t", None),
        ("unknown", "unknown"),
    ],
)
def test_level(value: object, expected: str | None) -> None:
    assert parse.level(value, TOKENS) == expected


@given(st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_typed_value_and_its_text_are_one_level(value: float) -> None:
    assert parse.level(value) == parse.level(str(value))


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_level_is_its_own_level(value: object) -> None:
    once = parse.level(value, TOKENS)
    assert parse.level(once, TOKENS) == once


def test_what_is_no_level() -> None:
    with pytest.raises(ValueError, match=r"not a category: \[1\]"):
        parse.level([1])
    with pytest.raises(ValueError, match="infinite"):
        parse.level(math.inf)


@pytest.mark.parametrize(
    ("value", "formats", "expected"),
    [
        ("1970-01-02", (), 86400.0),
        ("1970-01-01T00:00:01.5", (), 1.5),
        ("1970-01-01 01:00:00+01:00", (), 0.0),
        ("20141013T000000", (), 1413158400.0),
        ("13/10/2014", ("%d/%m/%Y",), 1413158400.0),
        ("2014-10-13", ("%d/%m/%Y",), 1413158400.0),
        (20141013, ("%Y%m%d",), 1413158400.0),
        (1413158400, ("epoch",), 1413158400.0),
        ("1413158400000", ("epoch_ms",), 1413158400.0),
        (date(1970, 1, 2), (), 86400.0),
        (datetime(1970, 1, 1, 0, 0, 1), (), 1.0),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), (), 0.0),
        (None, (), None),
        (" ", (), None),
        ("NA", (), None),
        (math.nan, ("epoch",), None),
    ],
)
def test_date(value: object, formats: tuple[str, ...], expected: float | None) -> None:
    assert parse.date(value, formats, TOKENS) == expected


@pytest.mark.parametrize("value", [1413158400, 20141013, "soon", "2014-13-01", "31/02/2014", True, [1]])
def test_what_is_no_date_says_so(value: object) -> None:
    with pytest.raises(ValueError, match=r"^not a date: "):
        parse.date(value)


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01 12:00 Europe/Berlin",
        "2024-07-01T12:00:00[Europe/Berlin]",
        "2024-07-01 12:00 [Europe/Berlin]",
        "2024-07-01T12:00:00+02:00[!Europe/Berlin]",
        "2024-07-01T12:00+02:00[America/New_York]",  # RFC 9557: the distance counts
        "2024-07-01 07:00 America/Argentina/Buenos_Aires",
        "2024-07-01 10:00:00 UTC",
        "2024-07-01 10:00:00.000 GMT",
        "2024-07-01 05:00 Etc/GMT+5",
    ],
)
def test_a_zone_is_named_behind_its_time(text: str) -> None:
    assert parse.date(text) == datetime(2024, 7, 1, 10, tzinfo=UTC).timestamp()
    days = Column("day", "moment", "date", formats=(parse.LOCAL,))
    clock = text.partition(":")[0]
    written = datetime.fromisoformat(f"{clock}:00").replace(tzinfo=UTC).timestamp()
    assert parse.moment(text, days) == written
    assert parse.moment(f" {text} ", Column("at", "moment", "date")) == parse.date(text)


def test_a_zone_is_named_behind_any_format() -> None:
    assert parse.date("01.07.2024 12:00 Europe/Berlin", ("%d.%m.%Y %H:%M",)) == 1719828000.0
    assert parse.date("01.07.2024 12:00 PM Europe/Berlin", ("%d.%m.%Y %I:%M %p",)) == 1719828000.0
    local = Column("day", "moment", "date", formats=("%d.%m.%Y %I:%M %p", parse.LOCAL))
    assert parse.moment("01.07.2024 12:00 PM Europe/Berlin", local) == 1719835200.0
    assert parse.moment("01.07.2024 12:00 PM", local) == 1719835200.0


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01 12:00 Europe/Berlino",
        "2024-07-01 12:00 America/Argentina",  # a folder of the tz database
        "2024-07-01 12:00 ../etc/passwd",
        "2024-07-01 12:00[/etc/passwd]",
        "2024-07-01 12:00 IST",
        "2024-07-01 12:00 noon Europe/Berlin",
        "12:00 Europe/Berlin",
        "2024-07-01 Europe/Berlin",
        "at 1:1 " * 100_000 + "Europe/Berlin",
    ],
)
def test_no_zone_and_no_time_say_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a date: "):
        parse.date(text)


def test_a_zone_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="'Europe/Berlino' is no zone of the tz database of this machine"):
        parse.date("2024-07-01 12:00 Europe/Berlino")


def test_hours_that_clocks_show_twice_and_never() -> None:
    hours = ["2024-10-27 02:30 Europe/Berlin", "2024-10-27 03:30 Europe/Berlin", "2024-03-31 02:30 Europe/Berlin"]
    found = [datetime.fromtimestamp(parse.date(hour) or 0, UTC).strftime("%H:%M") for hour in hours]
    assert found == ["00:30", "02:30", "01:30"]
    told = [zones.twice(hour, parse.date(hour) or 0) for hour in hours]
    assert told == [True, False, False]
    exact = "2024-10-27 02:30+01:00[Europe/Berlin]"
    assert not zones.twice(exact, parse.date(exact) or 0)
    assert not zones.twice("2024-10-27 02:30", 1729989000.0)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)), st.sampled_from(["Asia/Tokyo", "Europe/Paris"]))
def test_a_zone_by_name_and_its_distance_are_one_date(moment: datetime, name: str) -> None:
    exact = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(name))
    if not exact.fold:
        assert parse.date(f"{exact.replace(tzinfo=None)} {name}") == parse.date(exact.isoformat())


@given(st.datetimes())
def test_a_datetime_and_its_iso_text_are_one_date(moment: datetime) -> None:
    expected = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert parse.date(moment) == parse.date(moment.isoformat()) == expected


def test_text_stays_as_it_is() -> None:
    assert parse.text("  two  words ", TOKENS) == "  two  words "
    assert parse.text(" ? ", TOKENS) is None
    assert parse.text(5.0) == "5"
    with pytest.raises(ValueError, match=r"^not a text: "):
        parse.text({"a": 1})


def test_the_table_uses_the_columns_own_tokens_and_formats() -> None:
    column = Column("x", "date", tokens=("none",), formats=("%d.%m.%Y",))
    assert parse.PARSE["date"]("02.01.1970", column) == 86400.0
    assert {role: call("none", column) for role, call in parse.PARSE.items()} == dict.fromkeys(parse.PARSE)
