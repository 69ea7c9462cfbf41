"""The profile: one safe file below two megabytes, whatever the data."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.config import Data
from keepfit.data import charts, drawn
from keepfit.data import profile as module
from keepfit.data.conform import conform, labelled
from keepfit.data.profile import LARGEST, profile
from keepfit.data.schema import infer
from keepfit.types import Check, Column, Dataset, Rhythm, Schema, Verdict

VOID = {"meta", "path", "rect", "polyline"}


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects tags and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def dataset(frame: pl.DataFrame, target: str | None = "y", source: str = "x.csv") -> Dataset:
    schema = infer(frame, Data(source=source, target=target))  # type: ignore[call-arg]
    return Dataset(labelled(conform(frame, schema)[0], schema), schema, "sha256:abc", {"source": source})


def report(tmp_path: Path, data: Dataset, *verdicts: Verdict) -> Reader:
    path = tmp_path / "deep" / "profile.html"
    profile(data, path, verdicts)
    assert path.stat().st_size < LARGEST
    assert [file.name for file in path.parent.iterdir()] == ["profile.html"]
    return parsed(path)


def test_telco(tmp_path: Path, telco: pl.DataFrame) -> None:
    verdict = Verdict(
        "data", (Check("data.rows", "passed"), Check("checks.age.max", "failed", 3, 1, "3 cells are above 1"))
    )
    found = report(tmp_path, dataset(telco, "Churn"), verdict)
    for text in (
        "7,043",
        "TotalCharges",
        "missing is written blank",
        "3 cells are above 1",
        "1 checks passed",
        "Month-to-month",
    ):
        assert text in found.text
    assert sum(tag == "svg" for tag, _ in found.tags) == 19 + 3  # features, target, relation, missing
    assert "7590-VHVEG" in found.text


def test_king_county_shows_dates_as_dates(tmp_path: Path, king_county: pl.DataFrame) -> None:
    found = report(tmp_path, dataset(king_county, "price"))
    assert "2014-05-02 to 2015-05-27" in found.text
    assert "2014-10-13" in found.text
    assert any(tag == "polyline" for tag, _ in found.tags)


def test_imdb(tmp_path: Path, imdb: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    found = report(tmp_path, dataset(imdb[0], "label"))
    assert "words in the median" in found.text


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;</style>"


def test_nothing_in_the_data_becomes_html(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            f"{EVIL} name": [EVIL, "b"] * 30,
            f"{EVIL} 2": np.arange(60.0) * 1.5 % 7,
            f"{EVIL} 3": np.arange(60.0) * 2.5 % 9,
            "t": [f"{EVIL} many words of text {i} here" for i in range(60)],
            f"y{EVIL}": [EVIL, "n"] * 30,
        }
    )
    verdict = Verdict(EVIL, (Check(EVIL, "failed", EVIL, EVIL, EVIL), Check(EVIL, "failed", EVIL, severity="warning")))
    found = report(tmp_path, dataset(frame, f"y{EVIL}", EVIL), verdict)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)" in found.text


def test_nothing_comes_from_outside(tmp_path: Path) -> None:
    profile(dataset(pl.DataFrame({"a": [1.5, 2.5] * 30, "y": ["n", "j"] * 30})), tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert not re.search(r"https?:|url\(|@import|src=|<script", text)
    assert "prefers-color-scheme: dark" in text


def wide(columns: int, rows: int, name: str = "c") -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame({f"{name}{i}": random.normal(size=rows) for i in range(columns)}).with_columns(
        y=pl.Series(random.choice(["n", "j"], rows))
    )


def test_2000_columns(tmp_path: Path) -> None:
    found = report(tmp_path, dataset(wide(2000, 300)))
    assert "The 200 columns that tell the target best, of 2,000." in found.text
    assert "c1999" in found.text


def test_names_and_values_of_any_length(tmp_path: Path) -> None:
    long = wide(1500, 60, "<&\"'" * 2000)
    texts = pl.DataFrame({f"t{i}": ["<&\"'>" * 5000, f"{i}" * 3000] * 30 for i in range(100)})
    report(tmp_path, dataset(pl.concat([long, texts], how="horizontal")))


def test_it_shrinks_until_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(wide(300, 60))
    monkeypatch.setattr(module, "LARGEST", 60_000)
    profile(data, tmp_path / "p.html")
    assert (tmp_path / "p.html").stat().st_size < 60_000
    assert "more columns" in (tmp_path / "p.html").read_text()


def test_many_rows_are_drawn_from_some(tmp_path: Path) -> None:
    found = report(tmp_path, dataset(wide(3, 200_000)))
    assert "Charts are drawn from 50,000 rows" in found.text


def test_without_a_target_and_with_empty_columns(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1.5, None] * 30, "e": [None] * 60, "k": ["x", "y", None] * 20})
    found = report(tmp_path, dataset(frame, None))
    assert "Relation to the target" not in found.text
    assert "all values are missing" in found.text
    column = Column("z", "number")
    assert "no values" in drawn.card(
        pl.Series("z", [None], dtype=pl.Float64), column, Schema((column,), "none"), None, None
    )


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.html"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        profile(dataset(pl.DataFrame({"a": [1.5, 2.5] * 30, "y": ["n", "j"] * 30})), path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("p.html", "old")]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=1, max_size=30), st.booleans())
def test_any_numbers_can_be_drawn(values: list[float | None], as_date: bool) -> None:
    column = Column("x", "date" if as_date else "number", "date" if as_date else "float")
    schema = Schema((column, Column("y", "target")), "regression", "y")
    target = pl.Series("y", range(len(values)))
    with np.errstate(over="ignore", invalid="ignore"):
        card: Any = drawn.card(pl.Series("x", values, dtype=pl.Float64), column, schema, target, 0.5)
    reader = Reader()
    reader.feed(card)
    assert reader.open == []
    assert "nan" not in card


def test_charts_hold_their_counts() -> None:
    svg = charts.histogram(np.array([[0, 5], [2, 3]]), "a", "b")
    assert svg.count("<path") == 2
    svg = charts.bars(["<a>"], np.array([[3]]), ["100%"])
    assert "&lt;a&gt;" in svg
    assert charts.heatmap(["a", "b"], np.array([[1, -0.5], [-0.5, 1]])).count("class='neg'") == 2


def test_a_forecast_has_its_series_and_its_target_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"day": np.arange(200) * 86400.0, "price": random.normal(size=200), "sold": random.normal(size=200)}
    )
    columns = (Column("day", "moment", "date"), Column("price", "number", "float"), Column("sold", "past", "float"))
    schema = Schema(columns, "forecast", "sold", rhythm=Rhythm("day", "1d", 0.0, 7))
    found = report(tmp_path, Dataset(frame, schema, "", {"source": "x.csv"}))
    assert "1 series of 200 values, 1970-01-01 to 1970-07-19" in found.text
    assert found.text.count("soldpast") == 1  # in the table of columns
    assert found.text.count("pastsold") == 1  # the card of the target, and none among the details
    assert "1moment feature" in found.text
    assert "past feature" not in found.text
    assert "R² of ranks; 1 is perfect" in found.text


def test_numbers_stand_below_their_heads(tmp_path: Path) -> None:
    profile(dataset(pl.DataFrame({"a": [1.5, 2.5] * 30, "b": ["u", "v"] * 30, "y": ["n", "j"] * 30})), tmp_path / "p")
    head = re.search("<table class='sample'><tr>(.*?)</tr>", (tmp_path / "p").read_text())
    assert head
    assert re.findall(r"<th( class='n')?>", head[1]) == [" class='n'", "", ""]


def test_how_well_columns_tell_the_target_is_drawn_on_one_scale(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    note = random.choice(["short", "a long story about nothing at all"], 400)
    told = np.where(random.random(400) < 0.8, note, "short")
    frame = pl.DataFrame({"note": [f"{text} {k}" for k, text in enumerate(note)], "y": np.char.str_len(told) > 9})
    profile(dataset(frame), tmp_path / "p")
    text = (tmp_path / "p").read_text()
    shown = text[text.index("How well each column") :]
    assert "Of a text this is its length alone." in shown
    (length,) = re.findall(r"<rect x='[\d.]+' y='2' width='([\d.]+)'", shown.split("<h2")[0])
    score = float(re.findall(r"class='note'>([\d.]+)<", shown)[0])
    assert 0.3 < score < 0.95
    assert float(length) == pytest.approx(score * (560 * 0.6 - 48), rel=0.02)  # and not as long as there is room
