"""Formats are found in written dates, and a column is read as its single values are."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.data import dates, parse

DAYS = [datetime(2013 + i % 5, 1 + i % 12, 1 + (i * 7) % 28, i % 24, i % 60) for i in range(200)]


@pytest.mark.parametrize("form", dates.CANDIDATES)
def test_each_candidate_is_found(form: str) -> None:
    texts = pl.Series([day.strftime(form) for day in DAYS]).unique(maintain_order=True)
    found = dates.formats(texts)
    assert found.share == 1.0
    read = [parse.date(text, found.formats) for text in texts]
    assert read == [parse.strptime(text, form) for text in texts]


def test_iso_needs_no_format() -> None:
    for texts in (["2014-05-02", "2014-05-13"], ["20141013T000000"], ["2014-05-02T10:00:00+02:00"]):
        assert dates.formats(pl.Series(texts)) == ((), 1.0, False)


def test_the_name_of_a_zone_is_no_part_of_the_format() -> None:
    for zone in (" Europe/Berlin", "[Europe/Berlin]", " UTC"):
        assert dates.formats(pl.Series([f"2014-05-{day}T10:00{zone}" for day in range(10, 31)])) == ((), 1.0, False)
        found = dates.formats(pl.Series([f"{day}/05/2014 10:00{zone}" for day in range(10, 31)]))
        assert found == (("%d/%m/%Y %H:%M",), 1.0, False)
    assert dates.formats(pl.Series(["2014-05-10 10:00 Nowhere/Land"] * 3)) == dates.NOTHING


def test_weeks_of_iso_and_quarters() -> None:
    assert dates.formats(pl.Series(["2019-W02", "2019-W10", "2020-W53"])) == ((), 1.0, False)
    for texts in (["2020Q3", "2020Q4"], ["2020-Q3", "2020-Q4"], ["Q3 2020", "Q4 2020"], ["2020 q3", "2020 q4"]):
        found = dates.formats(pl.Series(texts))
        assert found == ((parse.QUARTER,), 1.0, False)
        assert [parse.date(text, found.formats) for text in texts] == [1593561600.0, 1601510400.0]
    assert dates.formats(pl.Series(["Q5 2020", "Q1 2020"])) == dates.NOTHING


def test_day_and_month_that_could_be_exchanged_are_said_to() -> None:
    assert dates.formats(pl.Series(["01/02/2014", "03/04/2014"])) == (("%d/%m/%Y",), 1.0, True)
    assert dates.formats(pl.Series(["01/02/2014", "03/14/2014"])) == (("%m/%d/%Y",), 1.0, False)


def test_several_formats_in_one_column() -> None:
    texts = [day.strftime("%d.%m.%Y" if i % 3 else "%Y/%m/%d") for i, day in enumerate(DAYS)]
    found = dates.formats(pl.Series(texts).unique())
    assert found == (("%d.%m.%Y", "%Y/%m/%d"), 1.0, False)


@pytest.mark.parametrize("text", ["abc", "1.5", "10-20", "A/5 21171", "1/0", "12.3.4.5", "May be", "99/99/9999", ""])
def test_what_is_no_date(text: str) -> None:
    assert dates.formats(pl.Series([text] * 5)) == dates.NOTHING


def test_no_values_are_no_dates() -> None:
    assert dates.formats(pl.Series([], dtype=pl.String)) == dates.NOTHING


FORMATS = st.lists(st.sampled_from([*dates.CANDIDATES, "%Y%m%d", "epoch"]), max_size=2)
NEARLY = st.text(alphabet="0123456789-/.: T+", min_size=6, max_size=20)


@given(st.datetimes(), FORMATS, st.sampled_from([*dates.CANDIDATES, *dates.ISO]), NEARLY)
def test_a_column_is_read_as_its_values(day: datetime, formats: list[str], form: str, odd: str) -> None:
    texts = [day.strftime(form), day.isoformat(), odd.strip()]
    for text, column in zip(texts, dates.seconds(pl.Series(texts), formats), strict=True):
        if column is not None:
            assert column == parse.date(text, formats)


def test_common_formats_are_read_a_column_at_a_time() -> None:
    for form in ("%Y-%m-%d", "%d/%m/%Y", "%Y%m%dT%H%M%S", "%d.%m.%Y %H:%M"):
        texts = pl.Series([day.strftime(form) for day in DAYS])
        assert dates.seconds(texts, (form,)).null_count() == 0
