"""The tab of the loop in a browser, on a trained project: what it shows, that it follows, and the way back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keepfit import Project
from tests.projects import keepfit, project, table
from tests.serving import Server, serving
from tests.ui import passes
from tests.ui.browser import visiting
from tests.ui.passes import SCRIPT, passed, write
from tests.ui.test_page import CONTRAST

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)
KEY = "adm1n-s3cret"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions; 1 is champion."""
    folder = project(tmp_path_factory.mktemp("looped"), table(), 'project: {name: shop}\ngoals: {recall: ">= 0.999"}\n')
    for seed in (0, 1):
        assert keepfit("run", "-C", str(folder), "--set", f"data.random_state={seed}")[0] in (0, 3)
    assert keepfit("promote", "1", "-C", str(folder), "--reason", f"begin {SCRIPT}")[0] == 0
    return folder


@pytest.fixture(scope="module")
def server(trained: Path, chromium: Any) -> Iterator[Server]:
    with serving(trained, command="ui", environment={"KEEPFIT_ADMIN_KEY": KEY}) as running:
        yield running


@pytest.fixture(autouse=True)
def monitored(trained: Path) -> Iterator[None]:
    """A pass of now, with two alarms; taken away after each test."""
    passed(trained, NOW)
    write(trained, "alarms.json", passes.alarms(passes.ALARMS))
    yield
    shutil.rmtree(trained / ".keepfit" / "monitoring")


def card(page: Any, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def opened(page: Any) -> Any:
    """The page, with its first look at the files done."""
    page.locator(".kf-steps li").first.wait_for()
    return page


def test_it_comes_first_and_says_where_the_loop_stands(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        opened(page)
        assert page.get_by_role("tab").all_inner_texts()[0] == "Loop"
        assert page.locator(".kf-steps [aria-current=step]").inner_text().startswith("serve")
        assert page.get_by_role("img", name=re.compile("It stands at serve")).is_visible()
        assert card(page, "Performance").get_by_role("img", name="accuracy over time").count() == 1
        assert card(page, "Traffic").get_by_role("img").count() == 2
        assert "version\n1" in card(page, "Champion").inner_text()


def test_columns_decisions_and_alarms_open_by_the_keyboard(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        opened(page)
        for name, inside in (
            ("Columns, now and at training", "Jensen-Shannon"), ("Open alarms", "fine while"), ("Decisions", "by"),
            ("Performance", "Weakest groups"),
        ):  # fmt: skip
            summary = card(page, name).locator("summary").first
            summary.focus()
            page.keyboard.press("Enter")
            card(page, name).get_by_text(inside, exact=True).first.wait_for()
        histogram = card(page, "Columns, now and at training").get_by_role("img", name="plan, now and at training")
        assert "unseen: 26.04% now, 0.00% at training" in histogram.inner_html()


def test_names_reasons_and_values_are_text(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        opened(page)
        for summary in page.locator(".kf-loop summary").all():
            summary.click()
        page.get_by_text("Weakest groups").wait_for()
        assert page.get_by_text("<script>").count() > 3
        assert page.evaluate("window.hurt") is None
        assert page.locator(".kf-loop script, .kf-loop img").count() == 0


def test_it_follows_the_files_and_what_is_open_stays_open(server: Server, trained: Path, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        opened(page)
        columns = card(page, "Columns, now and at training")
        columns.locator("summary").first.click()
        columns.get_by_text("Jensen-Shannon").wait_for()
        page.evaluate("document.querySelector('.kf-ring').dataset.same = 'yes'")
        more = [passes.column("spend", 0.2, "failed"), passes.column("plan", 0.05, "failed")]
        later = NOW + timedelta(minutes=1)
        passed(trained, later, columns=more)
        columns.get_by_text("spend", exact=False).first.wait_for()
        assert columns.locator("summary .kf-name").all_inner_texts()[0].startswith("spend")
        assert columns.locator("details").nth(1).get_attribute("open") is not None
        assert "+5 pts" in columns.locator("details").nth(1).locator(".kf-entry-body").inner_text()
        assert page.evaluate("document.querySelector('.kf-ring').dataset.same") == "yes"  # the same: not drawn again
        passed(trained, later, outcome="healthy", columns=more)
        page.locator(".kf-pill", has_text="healthy").wait_for()
        write(trained, "alarms.json", passes.alarms([]))
        card(page, "Open alarms").get_by_text("No alarm is open.").wait_for()
        write(trained, "up.json", passes.up(passes={"monitor": {"running": True}}))
        page.locator(".kf-steps [aria-current=step]", has_text="watch").wait_for()


@pytest.mark.parametrize("content", ['{"format": 1, "al', '{"format": 99}', "[]"])
def test_damaged_files_are_told_and_the_rest_is_shown(
    server: Server, trained: Path, chromium: Any, content: str
) -> None:
    with visiting(chromium, server.url) as page:
        opened(page)
        write(trained, "alarms.json", content)
        page.get_by_text(re.compile("alarms.json (is left out|cannot be read)")).wait_for()
        write(trained, "latest.json", json.dumps({**passes.one(NOW), "slices": 3, "columns": [3], "window": "x"}))
        page.get_by_text(re.compile("cannot be shown")).first.wait_for()
        assert "version\n1" in card(page, "Champion").inner_text()
        assert page.locator(".kf-steps li").count() == 6


def test_before_the_first_pass_it_says_what_will_come(trained: Path, chromium: Any) -> None:
    shutil.rmtree(trained / ".keepfit" / "monitoring")
    with serving(trained, command="ui") as server, visiting(chromium, server.url) as page:
        assert page.get_by_role("tab").all_inner_texts()[-1] == "Loop"
        page.get_by_role("tab", name="Loop").click()
        page.get_by_text("Nothing was watched yet.").wait_for()
        assert "version\n1" in card(page, "Champion").inner_text()
        for name in ("Promote …", "Roll back …"):
            assert page.get_by_role("button", name=name).is_disabled()
        page.get_by_text("KEEPFIT_ADMIN_KEY was not set").wait_for()
        passed(trained, NOW)
        page.locator(".kf-pill", has_text="unhealthy").wait_for()


def test_promote_and_roll_back_with_the_admin_key(server: Server, trained: Path, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        opened(page)
        page.get_by_role("button", name="Promote …").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Version 1 is champion.").wait_for()
        dialog.get_by_label("Version").fill("2")
        dialog.get_by_label("Reason").fill(SCRIPT)
        for key, told in (("wrong", "This is not the admin key"), (KEY, "")):
            dialog.get_by_label("Admin key").fill(key)
            dialog.get_by_role("button", name="Promote", exact=True).click()
            if told:
                dialog.get_by_text(told).wait_for()
                assert Project(trained).history()[-1].version == "1"
        page.get_by_text(re.compile("Version 2 (is promoted in place of|took over from) version 1")).wait_for()
        page.locator(".kf-steps [aria-current=step]", has_text="version 2").wait_for()
        last = Project(trained).history()[-1]
        assert (last.kind, last.version, last.reason) == ("promoted", "2", SCRIPT)
        page.get_by_role("button", name="Promote …").click()
        dialog.get_by_label("Version").fill("99")
        dialog.get_by_label("Reason").fill("no such version")
        dialog.get_by_label("Admin key").fill(KEY)
        dialog.get_by_role("button", name="Promote", exact=True).click()
        dialog.get_by_text(re.compile("99")).wait_for()
        dialog.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Roll back …").click()
        dialog.get_by_label("Reason").fill("the test is over")
        dialog.get_by_label("Admin key").fill(KEY)
        dialog.get_by_role("button", name="Roll back", exact=True).click()
        page.get_by_text(re.compile("Version 1 (is back at work in place of|took over from) version 2")).wait_for()
        assert KEY not in page.content()
    assert KEY not in server.log.read_text()
    assert KEY not in (trained / ".keepfit" / "decisions.jsonl").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_stand_out_from_what_is_behind_them(server: Server, chromium: Any, scheme: str) -> None:
    with visiting(chromium, server.url, color_scheme=scheme) as page:
        opened(page)
        for name in ("Columns, now and at training", "Open alarms", "Decisions", "Performance"):
            card(page, name).locator("summary").first.click()
        page.get_by_text("Weakest groups").wait_for()
        assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_and_letters_of_charts_keep_their_size(server: Server, chromium: Any, width: int) -> None:
    with visiting(chromium, server.url, viewport={"width": width, "height": 800}) as page:
        opened(page)
        for name in ("Columns, now and at training", "Open alarms", "Decisions", "Performance"):
            card(page, name).locator("summary").first.click()
        page.get_by_text("Weakest groups").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        heights = page.evaluate(
            "[...document.querySelectorAll('.kf-loop svg text')].filter(e => e.checkVisibility() && e.textContent)"
            ".map(e => e.getBoundingClientRect().height)"
        )
        assert min(heights) > 9
