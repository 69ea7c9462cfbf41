"""The series of a forecast in the profile: which are drawn, from when to when, and that gaps stay gaps."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl

from keepfit.data import charts, lines
from keepfit.types import Column, Rhythm, Schema

DAY = 86400.0


def schema(*series: str) -> Schema:
    columns = (*(Column(name, "series") for name in series), Column("day", "moment", "date"), Column("sold", "past"))
    return Schema(columns, "forecast", "sold", rhythm=Rhythm("day", "1d", 0.0, 2, series, (7,)))


def shops(*levels: float, days: int = 30) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {"shop": f"s{k:02d}", "day": np.arange(days) * DAY, "sold": np.full(days, level) + np.arange(days)}
        )
        for k, level in enumerate(levels)
    ]
    return pl.concat(parts)


def test_each_series_is_told_and_drawn() -> None:
    text = lines.shown(shops(100.0, 5.0), schema("shop"))
    assert "2 series of 30 values, 1970-01-01 to 1970-01-30; frequency 1d, season 7." in text
    assert re.findall("<h3>(.*?)</h3>", text) == ["s01", "s00"]  # from the lowest level to the highest
    assert text.count("<path class='series'") == 2
    assert "30 values; mean 114.5, 100 to 129" in text


def test_business_days_are_said_to_be_which() -> None:
    week = replace(schema("shop"), rhythm=Rhythm("day", "1b", 4 * DAY, 2, ("shop",)))
    assert "frequency 1b (Monday to Friday), no season." in lines.shown(shops(5.0), week)


def test_of_many_series_some_of_all_levels_are_drawn() -> None:
    text = lines.shown(shops(*(10.0 * k for k in range(50))), schema("shop"), most=3)
    assert re.findall("<h3>(.*?)</h3>", text) == ["s00", "s24", "s49"]
    assert "3 of them, from the lowest level to the highest" in text


def test_missing_values_are_counted_and_leave_a_gap() -> None:
    frame = shops(5.0).with_columns(sold=pl.when(pl.col("day").is_between(9 * DAY, 12 * DAY)).then(None).otherwise(1))
    text = lines.shown(frame, schema("shop"))
    assert "26 values, 4 missing" in text
    (path,) = re.findall("d='(.*?)'", text)
    assert path.count("M") == 2


def test_a_table_without_series_has_one_and_names_are_escaped() -> None:
    assert "<h3>The series</h3>" in lines.shown(shops(5.0), schema())
    text = lines.shown(shops(5.0).with_columns(shop=pl.lit("<b>")), schema("shop"))
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_there_is_nothing_to_draw_without_values_or_without_a_rhythm() -> None:
    assert lines.shown(shops(5.0).with_columns(sold=pl.lit(None, pl.Float64)), schema("shop")) == ""
    assert lines.shown(shops(5.0), Schema((Column("sold", "target"),), "regression", "sold")) == ""


def test_of_many_values_the_outline_is_drawn_whole() -> None:
    values = np.zeros(200_000)
    values[[3, 123_456]] = 9.0, -4.0
    text = charts.line(np.arange(200_000.0), values, "a", "b")
    assert len(text) < 12_000
    heights = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", text)}
    assert min(heights) == 4  # the one peak
    assert max(heights) == charts.HEIGHT - 4  # and the one trough


def test_what_never_changes_is_a_line_in_the_middle() -> None:
    heights = set(re.findall(r"[ML][\d.]+ ([\d.]+)", charts.line(np.arange(9.0), np.full(9, 7.0), "a", "b")))
    assert heights == {f"{charts.HEIGHT / 2:.1f}"}
