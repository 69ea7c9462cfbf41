"""A picture on the page: dropped, shown, answered, refused, and found again among the latest."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("nicegui")

from keepfit import Project
from keepfit.data import log_read
from keepfit.data import pictures as files
from keepfit.types import Column
from keepfit.ui import field, picture, recent
from tests import pictures
from tests.data import drawings
from tests.pipeline import test_mixed_pictures as mixed
from tests.serving import Server, serving
from tests.ui.browser import visiting


def test_what_is_shown_of_a_file() -> None:
    told = picture.shown(drawings.turned(drawings.noise(400, 100), 6))
    assert told.told == "JPEG, 100 × 400 pixels"  # as the model sees it
    assert told.picture.startswith("data:image/jpeg;base64,")
    assert picture.shown(b"").problem == "0 bytes."
    assert picture.shown(None) == picture.Shown()


def test_a_picture_is_bytes_on_its_way() -> None:
    column = Column("photo", "image")
    assert field.text(column, b"PNG") == field.value(column, b"PNG") == b"PNG"
    assert field.value(column, None) is None


def test_a_thumbnail_in_place_of_bytes() -> None:
    row = recent._small({"id": "a", "inputs": {"photo": pictures.drawn()[0][0], "age": 3.0, "odd": b"no picture"}})
    assert row["inputs"] == {"age": 3.0}
    assert [*row["pictures"]] == ["photo"]
    assert files.look(base64.b64decode(row["pictures"]["photo"].partition(",")[2])).format == "JPEG"


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = pictures.project(tmp_path_factory.mktemp("shown"))
    assert Project(folder).run()["outcome"] == "promoted"
    return folder


def file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": data}


@pytest.mark.slow
def test_a_picture_is_chosen_and_its_classes_are_there(server: Server, trained: Path, chromium: Any) -> None:
    data, labels = pictures.drawn()
    with visiting(chromium, server.url) as page:
        page.get_by_label("image", exact=True).set_input_files(file("a.pgm", data[0]))
        page.locator(".kf-headline").wait_for()  # there is nothing else to fill in: it is asked at once
        assert page.locator(".kf-headline strong").inner_text() == labels[0]
        assert len(page.get_by_role("list", name="Probabilities").locator("li").all()) == len(pictures.CLASSES)
        shown = page.get_by_role("img", name="The chosen image")
        assert shown.evaluate("image => image.naturalWidth") == 8
        assert "PPM, 8 × 8 pixels" in page.locator(".kf-picture .kf-hint").inner_text()
        assert page.get_by_text("What moved it").count() == 0
        logged = log_read.read(trained / ".keepfit" / "predictions").collect().sort("time").row(-1, named=True)
        assert (logged["route"], logged["inputs"]["image"]) == ("ui", data[0])
        page.get_by_role("tab", name="Recent").click()
        seen = page.locator(".kf-row img").first
        seen.wait_for()
        assert seen.evaluate("image => image.complete && image.naturalWidth > 0")
        assert "b'" not in page.locator(".kf-recent").inner_text()


@pytest.mark.slow
def test_what_is_no_picture_is_told_and_the_next_one_is_answered(server: Server, chromium: Any) -> None:
    data, labels = pictures.drawn()
    with visiting(chromium, server.url) as page:
        control, hint = page.get_by_label("image", exact=True), page.locator(".kf-picture .kf-hint")
        control.set_input_files(file("a.png", b"no picture"))
        page.get_by_text("No picture that can be read.").wait_for()
        assert control.get_attribute("aria-invalid") == "true"
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("One value cannot be read: see the marked fields.").wait_for()
        control.set_input_files(file("large.png", bytes(picture.MOST + 1)))
        page.get_by_text("large.png has 16.0 MB").wait_for()
        control.set_input_files(file("a.pgm", data[1]))
        page.locator(".kf-headline", has_text=labels[1]).wait_for()
        assert "8 × 8" in hint.inner_text()
        control.set_input_files(file("b.png", b"no picture either"))
        page.get_by_text("One value cannot be read: see the marked fields.").wait_for()
        assert page.locator(".kf-headline").count() == 0  # the answer to the one before is gone
        control.set_input_files(file("a.pgm", data[1]))
        page.locator(".kf-headline", has_text=labels[1]).wait_for()
        page.get_by_role("button", name="Clear image").click()
        page.get_by_role("img", name="The chosen image").wait_for(state="detached")
        assert "JPEG, PNG" in hint.inner_text()


@pytest.mark.slow
def test_an_example_of_the_rest_leaves_the_picture_where_it_is(tmp_path: Path, chromium: Any) -> None:
    assert mixed.project(tmp_path, mixed.table(), "{type: logistic_regression}").run()["outcome"] == "promoted"
    with serving(tmp_path, command="ui") as running, visiting(chromium, running.url) as page:
        page.get_by_label("photo", exact=True).set_input_files(file("a.png", mixed.table()["photo"][0]))
        shown = page.get_by_role("img", name="The chosen photo")
        shown.wait_for()
        for name in ("Example", "Typical"):
            page.get_by_label("price", exact=True).fill("")
            page.get_by_role("button", name=name).click()
            page.wait_for_function("document.querySelector('input[inputmode=decimal]').value !== ''")
            assert shown.count() == 1
        page.get_by_role("button", name="Clear", exact=True).click()
        shown.wait_for(state="detached")


@pytest.mark.slow
def test_a_picture_is_dropped(server: Server, chromium: Any) -> None:
    data, labels = pictures.drawn()
    with visiting(chromium, server.url) as page:
        page.locator(".kf-picture .kf-box").wait_for()
        dropped = page.evaluate_handle(
            "bytes => { const all = new DataTransfer(); "
            "all.items.add(new File([new Uint8Array(bytes)], 'b.pgm')); return all }",
            list(data[2]),
        )
        page.dispatch_event(".kf-picture .kf-box", "drop", {"dataTransfer": dropped})
        page.locator(".kf-headline", has_text=labels[2]).wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_page(server: Server, chromium: Any, width: int) -> None:
    wide = drawings.file(drawings.noise(900, 200))
    with visiting(chromium, server.url, viewport={"width": width, "height": 800}) as page:
        page.get_by_label("image", exact=True).set_input_files(file("a.png", wide))
        page.locator(".kf-headline").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert np.isfinite(page.get_by_role("img", name="The chosen image").bounding_box()["width"])
