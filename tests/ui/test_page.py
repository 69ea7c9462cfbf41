"""`keepfit ui` as a person uses it: in a browser, on a trained project."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit.data import log_read
from tests.projects import keepfit, project, table
from tests.serving import Server, serving
from tests.ui.browser import visiting

pytestmark = pytest.mark.slow
GOALS = 'project: {name: shop, description: "Who leaves?"}\ngoals: {accuracy: ">= 0.5", recall: ">= 0.999"}\n'


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions; 1 is champion."""
    folder = project(tmp_path_factory.mktemp("shown"), table(), GOALS)
    for seed in (0, 1):
        assert keepfit("run", "-C", str(folder), "--set", f"data.random_state={seed}")[0] in (0, 3)
    assert keepfit("promote", "1", "-C", str(folder), "--reason", "the test begins with it")[0] == 0
    return folder


def filled(page: Any) -> None:
    page.get_by_label("age", exact=True).fill("41")
    page.get_by_label("plan", exact=True).select_option("pro")
    page.get_by_label("spend", exact=True).fill("12.5")


def asked(page: Any) -> tuple[str, str]:
    """Press Predict; the prediction and how sure it is."""
    page.get_by_role("button", name="Predict").click()
    head = page.locator(".kf-headline")
    head.wait_for()
    page.get_by_text("What moved it").wait_for()
    return head.locator("strong").inner_text(), head.locator(".kf-sure").inner_text()


def logged(folder: Path) -> list[dict[str, Any]]:
    rows = log_read.read(folder / ".keepfit" / "predictions", labels=True).collect()
    return rows.sort("time").to_dicts()


def test_a_row_is_asked_about_and_explained_and_is_in_the_log(server: Server, trained: Path, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        filled(page)
        label, sure = asked(page)
        assert label in ("yes", "no")
        chances = page.get_by_role("list", name="Probabilities").locator("li").all_inner_texts()
        assert len(chances) == 2
        assert chances[0].split("\n")[0] == label
        moved = page.get_by_role("list", name="What moved the prediction").locator("li").all_inner_texts()
        assert {line.split()[0] for line in moved} <= {"age", "plan", "spend"}
        row = logged(trained)[-1]
        assert (row["route"], row["caller"], row["version"]) == ("ui", "local", "1")
        assert row["inputs"] == {"age": 41.0, "plan": "pro", "spend": 12.5}
        assert row["prediction"] == label
        assert sure == f"{row['confidence']:.0%} sure".replace("%", " %")


def test_what_is_wrong_is_told_beside_the_field(server: Server, trained: Path, chromium: Any) -> None:
    before = len(logged(trained))
    with visiting(chromium, server.url) as page:
        age, hint = page.get_by_label("age", exact=True), page.locator(".kf-field", has_text="age").locator(".kf-hint")
        assert " to " in hint.inner_text()
        age.fill("400")
        page.get_by_text("Outside the training range").wait_for()  # a warning, and no obstacle
        asked(page)
        age.fill("4,1")
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("One value cannot be read: see the marked fields.").wait_for()
        assert hint.inner_text() == "Not a number: '4,1'."
        assert age.get_attribute("aria-invalid") == "true"
        assert len(logged(trained)) == before + 1
        age.fill("41")
        asked(page)
        assert " to " in hint.inner_text()


def test_unknown_values_and_unseen_categories_are_answered(server: Server, trained: Path, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        page.get_by_role("button", name="Clear", exact=True).click()
        page.wait_for_function("document.querySelector('.kf-number input').value === ''")
        page.get_by_label("plan", exact=True).select_option(label="something else …")
        page.get_by_label("plan", exact=True).fill("platinum")
        page.get_by_text("Not seen in training").wait_for()
        asked(page)
        assert logged(trained)[-1]["inputs"] == {"age": None, "plan": "platinum", "spend": None}
        page.get_by_role("button", name="Example").click()
        page.wait_for_function("document.querySelector('.kf-number input').value !== ''")
        assert page.get_by_label("plan", exact=True).input_value() in ("basic", "pro", "team")


def test_the_form_is_asked_by_the_keyboard_alone(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        page.get_by_label("age", exact=True).focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("33")
        page.keyboard.press("Enter")
        page.locator(".kf-headline").wait_for()
        names = page.evaluate(
            "[...document.querySelectorAll('input:not([type=file]), select, textarea, button')]"
            ".filter(e => !(e.labels?.length || e.ariaLabel || e.innerText.trim())).map(e => e.outerHTML)"
        )
        assert names == []  # whatever can be reached has a name


def test_feedback_is_in_the_log_and_in_the_list(server: Server, trained: Path, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        filled(page)
        asked(page)
        page.get_by_role("button", name="Send").click()
        page.get_by_text("Choose what it was.").wait_for()
        page.get_by_label("True left").select_option("no")
        page.get_by_role("button", name="Send").click()
        page.get_by_text("Noted. Thank you.").wait_for()
        assert logged(trained)[-1]["label"] == "no"
        page.get_by_role("tab", name="Recent").click()
        row = page.locator(".kf-row").first
        row.get_by_text("was no").wait_for()
        row.get_by_role("button", name="Correct").click()
        row.get_by_label("True left").select_option("yes")
        row.get_by_role("button", name="Send").click()
        page.get_by_text("Noted; it replaces the earlier answer.").wait_for()
        assert logged(trained)[-1]["label"] == "yes"


def test_a_file_is_scored_and_its_faults_are_told_by_row_and_column(
    server: Server, trained: Path, chromium: Any, tmp_path: Path
) -> None:
    before = len(logged(trained))
    file = tmp_path / "ask.csv"
    file.write_text("spend,age,plan,note\n1.5,41,pro,a\n2.5,old,pro,b\n,,,c\n")
    with visiting(chromium, server.url) as page:
        page.get_by_role("tab", name="Many rows").click()
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_text("ask.csv: 3 rows, 2 answered by version 1").wait_for()
        told = page.locator(".kf-many .kf-notice").inner_text()
        assert "1 row cannot be read" in told
        assert "row 2, age: not a number: 'old'" in told
        assert page.locator(".kf-many tbody tr").count() == 2
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        assert download.value.suggested_filename == "ask-predictions.csv"
        rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
    assert [row["note"] for row in rows] == ["a", "b", "c"]
    assert [row["prediction"] != "" for row in rows] == [True, False, True]
    assert rows[1]["problem"] == "age: not a number: 'old'"
    assert float(rows[0]["confidence"]) == max(float(rows[0]["probability_yes"]), float(rows[0]["probability_no"]))
    found = logged(trained)[before:]
    assert {row["id"] for row in found} == {rows[0]["prediction_id"], rows[2]["prediction_id"]}


def test_a_file_without_the_columns_is_refused_in_words(server: Server, chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "less.csv").write_text("age\n4\n")
    (tmp_path / "none.csv").write_text("")
    with visiting(chromium, server.url) as page:
        page.get_by_role("tab", name="Many rows").click()
        page.locator("input[type=file]").set_input_files(tmp_path / "less.csv")
        page.get_by_text("The file lacks plan, spend. Leave cells empty where unknown.").wait_for()
        page.locator("input[type=file]").set_input_files(tmp_path / "none.csv")
        page.get_by_text("none.csv is empty").wait_for()
        with page.expect_download() as download:
            page.get_by_text("A file to begin with").click()
        assert Path(download.value.path()).read_text().splitlines()[0] == "age,plan,spend"


def test_whoever_looks_whether_it_is_alive_leaves_no_line(server: Server) -> None:
    """`keepfit up` looks every few seconds."""
    answer = server.ask("GET", "/health")
    assert answer.status == 200
    assert answer.json == {"status": "alive"}
    assert "not found" not in server.log.read_text()


def test_the_model_is_shown_beside_its_goals(server: Server, chromium: Any) -> None:
    with visiting(chromium, server.url) as page:
        assert page.get_by_role("heading", name="shop").is_visible()
        assert page.get_by_text("Who leaves?").is_visible()
        page.get_by_role("tab", name="Model").click()
        page.get_by_role("row", name="accuracy ").get_by_text("met").wait_for()
        page.get_by_role("row", name="recall").get_by_text("missed").wait_for()
        assert page.get_by_text("logistic_regression").is_visible()


def test_the_page_is_one_column_where_it_is_narrow(server: Server, chromium: Any) -> None:
    for width in (390, 1280):
        with visiting(chromium, server.url, viewport={"width": width, "height": 800}) as page:
            asked(page)
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            form, result = page.locator(".kf-form").bounding_box(), page.locator(".kf-result").bounding_box()
            assert (form["x"] + form["width"] <= result["x"]) is (width == 1280)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_stand_out_from_what_is_behind_them(server: Server, chromium: Any, scheme: str) -> None:
    with visiting(chromium, server.url, color_scheme=scheme) as page:
        asked(page)
        faint = page.evaluate(CONTRAST)
        assert faint == []


# every text on the page with less contrast than WCAG 2's 4.5 to 1 (AA)
CONTRAST = """() => {
  const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.querySelectorAll('.kf-main *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({ checkOpacity: true })) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${e.className || e.tagName} ${e.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def test_another_version_takes_over_and_what_was_typed_stays(trained: Path, chromium: Any) -> None:
    with serving(trained, command="ui") as server, visiting(chromium, server.url) as page:
        page.get_by_label("age", exact=True).fill("77")
        page.get_by_label("plan", exact=True).select_option("team")
        assert keepfit("promote", "2", "-C", str(trained), "--reason", "a swap")[0] == 0
        page.get_by_text("Version 2 took over from version 1 at").wait_for()
        assert page.locator(".kf-version strong").inner_text() == "version 2"
        assert page.get_by_label("age", exact=True).input_value() == "77"
        asked(page)
        page.get_by_role("tab", name="Model").click()
        row = logged(trained)[-1]
        assert (row["version"], row["inputs"]["age"], row["inputs"]["plan"]) == ("2", 77.0, "team")
        assert keepfit("rollback", "-C", str(trained), "--reason", "the test is over")[0] == 0
        page.get_by_text("Version 1 took over from version 2 at").wait_for()
        page.get_by_text("Where it comes from").wait_for()  # the tab stays as well
        assert server.stop() == 0


def test_with_a_key_the_page_asks_for_it(trained: Path, chromium: Any) -> None:
    with serving(trained, command="ui", environment={"KEEPFIT_API_KEY": "s3cret-key"}) as server:
        assert server.get("/").status == 401
        assert server.get("/_nicegui/anything").status == 401
        assert server.get("/", x_api_key="s3cret-key").status == 200
        with visiting(chromium, server.url) as page:
            page.get_by_label("API key").fill("s3cret-key")
            page.get_by_role("button", name="Open").click()
            asked(page)
            assert logged(trained)[-1]["caller"] == "default"
            page.get_by_role("button", name="Log out").click()
            page.get_by_label("API key").wait_for()
        assert "s3cret" not in server.log.read_text()


def test_without_a_prediction_log_the_page_says_so(trained: Path, chromium: Any) -> None:
    off = ("--set", "serving.log.enabled=false")
    with serving(trained, *off, command="ui") as server, visiting(chromium, server.url) as page:
        asked(page)
        page.get_by_text("The prediction log is off: nothing can be said about it later.").wait_for()
        page.get_by_role("tab", name="Recent").click()
        page.get_by_text("(serving.log.enabled: false): there is nothing to show.").wait_for()


def test_days_moments_texts_and_long_lists_have_fields(tmp_path: Path, chromium: Any) -> None:
    draw = np.random.default_rng(3)
    words = draw.choice(["good", "fine", "bad", "poor", "film", "story", "actor", "plot"], (300, 9))
    good = (words == "good").sum(1) + (words == "fine").sum(1) > (words == "bad").sum(1) + (words == "poor").sum(1)
    day = datetime(2024, 1, 1)
    frame = pl.DataFrame({
        "seen": [f"{day + timedelta(days=int(n)):%d/%m/%Y}" for n in draw.integers(0, 300, 300)],
        "sold": [f"{day + timedelta(minutes=int(n)):%Y-%m-%d %H:%M:%S}" for n in draw.integers(0, 300_000, 300)],
        "town": [f"town {n}" for n in draw.integers(0, 60, 300)],
        "note": [" ".join(row) for row in words],
        "left": np.where(good, "yes", "no"),
    })  # fmt: skip
    folder = project(tmp_path, frame)
    assert keepfit("run", "-C", str(folder))[0] == 0
    with serving(folder, command="ui") as server, visiting(chromium, server.url) as page:
        assert page.get_by_label("seen", exact=True).get_attribute("type") == "date"
        assert page.get_by_label("sold", exact=True).get_attribute("type") == "datetime-local"
        page.get_by_label("seen", exact=True).fill("2024-03-09")
        page.get_by_label("sold", exact=True).fill("2024-03-09T12:30:00")
        page.get_by_label("town", exact=True).fill("town 7")
        page.get_by_label("note", exact=True).fill("good fine story <b>plot</b>")
        asked(page)
        page.get_by_text("Words that mattered").wait_for()
        assert "<b>plot</b>" in page.locator("blockquote").inner_text()
        found = logged(folder)[-1]["inputs"]
        assert (f"{found['seen']:%Y-%m-%d}", f"{found['sold']:%Y-%m-%d %H:%M}") == ("2024-03-09", "2024-03-09 12:30")
        assert (found["town"], found["note"]) == ("town 7", "good fine story <b>plot</b>")
        page.get_by_label("seen", exact=True).fill("2031-01-01")
        page.get_by_text("Outside the training range, 2024-01-").wait_for()
        page.get_by_role("button", name="Example").click()
        page.wait_for_function("document.querySelector('.kf-date input').value.startsWith('2024-')")
        asked(page)


def test_without_the_framework_the_extra_is_named(trained: Path) -> None:
    missing = "import sys; sys.modules.update(dict.fromkeys(['nicegui', 'uvicorn', 'fastapi']))"
    command = [sys.executable, "-c", f"{missing}; from keepfit.cli import main; main()", "ui", "-C", str(trained)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "keepfit ui needs the package" in done.stderr
    assert "pip install 'keepfit[ui]'" in done.stderr


def test_no_champion_and_an_open_address_are_errors(trained: Path, tmp_path: Path) -> None:
    def ended(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-c", "from keepfit.cli import main; main()", "ui", "--port", "0", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    empty = project(tmp_path, table())
    assert ended("-C", str(empty))[0] == 1
    assert "has no champion to serve. Next: keepfit run" in ended("-C", str(empty))[1]
    code, told = ended("-C", str(trained), "--host", "0.0.0.0")
    assert code == 2
    assert "--host is 0.0.0.0: others could ask, and no API key is set. Set KEEPFIT_API_KEY" in told
