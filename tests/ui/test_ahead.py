"""The page of forecasts: what is asked, what is drawn; and in a browser, on a trained project."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui")

from keepfit.data import log_read
from keepfit.deployment.wishes import Known
from keepfit.types import Column, Rhythm
from keepfit.ui import ahead, ahead_chart
from keepfit.ui.ahead_chart import Point
from tests.pipeline.test_forecast import make
from tests.serving import Server
from tests.ui.browser import visiting

KNOWN = Known(
    Rhythm("day", "1d", 0.0, 3, ("shop",)),
    "sold",
    {("north",): 9},
    {"shop": Column("shop", "series"), "day": Column("day", "moment", "date"), "sold": Column("sold", "past", "float")},
)


def test_answers_become_points_by_series_in_the_order_of_time() -> None:
    told = [
        {"id": "a", "shop": "north", "day": "1970-01-12", "step": 2, "prediction": 5.0, "interval": [4.0, 6.0]},
        {"id": "b", "shop": "north", "day": "1970-01-11", "step": 1, "prediction": None, "interval": [None, None]},
        {"id": "c", "shop": "west", "day": "1970-01-11", "step": 1, "prediction": 7.0},
    ]
    found = ahead.placed(KNOWN, told)
    assert [point.period for point in found["north",]] == [10, 11]
    assert found["north",][1] == Point(11, "1970-01-12", 5.0, 4.0, 6.0, True)
    assert found["west",] == [Point(10, "1970-01-11", 7.0, None, None, True)]


def test_rows_that_were_written_are_drawn_too() -> None:
    rows = [{"shop": "north", "day": "1970-01-11", "sold": "2.5"}, {"shop": "west", "day": "1970-01-11", "sold": 1},
            {"shop": "north", "day": "1970-01-12", "sold": None},
            {"shop": "north", "day": "1970-01-09", "sold": 9}]  # fmt: skip
    assert ahead.past(KNOWN, ("north",), rows) == [Point(10, "1970-01-11", 2.5)]


def test_a_chart_breaks_at_gaps_and_escapes_names() -> None:
    points = [Point(0, "0", 1.0), Point(1, "1", 2.0), Point(4, "4", 3.0), Point(5, "<5>", 4.0, 3.0, 5.0, True)]
    svg = ahead_chart.chart(points, "a <b>")
    past = re.search(r"kf-line kf-past' d='([^']+)'", svg)
    assert past is not None
    assert past[1].count("M") == 2
    assert "a &lt;b&gt;" in svg
    assert "&lt;5&gt;: 4 (3 to 5)" in svg
    assert "<5>" not in svg
    assert "kf-one" in svg  # one interval has no area


@pytest.mark.parametrize(
    "points",
    [[], [Point(0, "0", float("nan"))], [Point(3, "3", 0.0)], [Point(0, "0", 5.0), Point(1, "1", 5.0, ahead=True)]],
)
def test_charts_of_next_to_nothing(points: list[Point]) -> None:
    svg = ahead_chart.both(points, "sold")
    assert "nan" not in svg
    assert "inf" not in svg


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    assert make(folder).run()["outcome"] == "promoted"
    return folder


def press(page: Any) -> None:
    page.get_by_role("button", name="Forecast", exact=True).click()


@pytest.mark.slow
def test_a_series_is_chosen_drawn_and_forecast(server: Server, trained: Path, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        page.get_by_label("shop", exact=True).select_option("south")
        page.locator(".kf-result h3", has_text="south").wait_for()
        assert page.locator(".kf-wide .kf-past").count() > 24  # the history is there before anything is asked
        press(page)
        page.locator(".kf-ahead table").wait_for()
        assert page.locator(".kf-ahead tbody tr").count() == 6
        assert page.locator(".kf-wide path.kf-band").count() == 1
        strip = page.locator(".kf-wide .kf-at[tabindex]").nth(2)
        strip.locator("rect").hover()
        words = strip.locator("text")
        assert words.is_visible()
        assert re.fullmatch(r"\d{4}-\d{2}: [\d.,]+ \([\d.,−]+ to [\d.,]+\)", words.text_content())
        page.mouse.move(0, 0)
        assert not words.is_visible()
        strip.focus()
        page.keyboard.press("Tab")
        assert page.locator(".kf-wide .kf-at[tabindex]").nth(3).locator("text").is_visible()
        logged = log_read.read(trained / ".keepfit" / "predictions").collect()
        assert set(logged["route"]) == {"ui"}
        assert {row["shop"] for row in logged["inputs"].to_list()} == {"south"}


@pytest.mark.slow
def test_what_was_observed_moves_the_forecast_on(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        page.get_by_text("What was observed since").click()
        rows = page.get_by_label("Rows", exact=True)
        rows.fill("month,sold\n2005-01,many")
        press(page)
        page.get_by_text("row 1, sold: ").wait_for()
        rows.fill("sold\n5")
        press(page)
        page.get_by_text("There is no column month").wait_for()
        rows.fill("month,sold\n2005-01,900\n2005-02,900")
        page.get_by_label("How many months ahead", exact=True).fill("2")
        press(page)
        page.locator(".kf-ahead tbody tr").nth(1).wait_for()
        assert page.locator(".kf-ahead tbody th, .kf-ahead tbody td:first-child").all_inner_texts() == [
            "2005-03", "2005-04"]  # fmt: skip
        assert page.locator(".kf-wide .kf-at text", has_text="2005-02: 900").count() == 1
        assert page.locator(".kf-ahead .kf-notice").count() == 0
        rows.fill("month,sold\n2004-12,900\n2005-01,900")
        press(page)
        page.locator(".kf-ahead .kf-notice", has_text="of 1 period (2004-12-01) of 'north' was not taken").wait_for()
        assert page.locator(".kf-wide .kf-at text", has_text="2004-12: 900").count() == 0


@pytest.mark.slow
def test_all_series_a_download_and_a_horizon_too_far(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        page.get_by_label("shop", exact=True).select_option("")
        press(page)
        page.locator(".kf-ahead article").nth(2).wait_for()
        with page.expect_download() as found:
            page.get_by_role("button", name="Download CSV").click()
        rows = list(csv.DictReader(Path(found.value.path()).read_text().splitlines()))
        assert len(rows) == 18
        assert list(rows[0])[1:] == ["shop", "month", "step", "prediction", "prediction_low", "prediction_high"]
        page.get_by_label("How many months ahead", exact=True).fill("61")
        press(page)
        page.get_by_text("More than 60 periods").or_(page.get_by_text("more than 60 periods")).first.wait_for()


@pytest.mark.slow
def test_a_file_with_history_and_questions(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        page.get_by_role("tab", name="Many rows").click()
        lines = "shop,month,sold\nnorth,2005-01,100\nnorth,2005-02,\nwest,2005-01,\n"
        page.locator("input[type=file]:visible").last.set_input_files(
            {"name": "a.csv", "mimeType": "text/csv", "buffer": lines.encode()}
        )
        page.get_by_text("3 rows, 2 answered by version 1").wait_for()
        page.get_by_role("tab", name="Recent").click()
        page.locator(".kf-row").first.wait_for()
        page.get_by_role("tab", name="Model").click()
        page.get_by_text("Where it comes from").wait_for()
        page.get_by_role("tab", name="Loop").click()
        page.locator(".kf-ring").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_page(server: Server, chromium: Any, width: int) -> None:
    with visiting(chromium, server.url, viewport={"width": width, "height": 800}, color_scheme="dark") as page:
        press(page)
        page.locator(".kf-ahead table").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = page.locator(".kf-ahead svg:visible")
        assert drawn.count() == 1
