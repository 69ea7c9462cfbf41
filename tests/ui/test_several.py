"""Several pictures on the page, and a zip of them: each answered, each that cannot be read told."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("nicegui")

from keepfit import Project
from keepfit.data.log_read import read
from keepfit.deployment.served import Rules
from keepfit.errors import DataError, RequestError
from keepfit.types import Column, Schema
from keepfit.ui import many, several
from tests import pictures
from tests.serving import Server
from tests.ui.browser import visiting

PHOTO, AGE = Column("photo", "image"), Column("age", "number")


def zipped(contents: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_models_that_are_asked_by_pictures_alone() -> None:
    target = Column("y", "target")
    assert several.takes(Schema((PHOTO, target), "classification", "y")) == "photo"
    assert several.takes(Schema((PHOTO, AGE, target), "classification", "y")) == ""
    assert several.takes(Schema((AGE, target), "classification", "y")) == ""


def test_what_is_sent_is_opened_and_what_cannot_be_is_told() -> None:
    data, _ = pictures.drawn()
    inner = zipped({"a/1.pgm": data[0], "../out.pgm": data[1], "a/2.png": pictures.damaged(), "a/readme.txt": b""})
    found, bad = several.unpacked([("x.pgm", data[2]), ("all.zip", inner), ("y.png", b"")])
    assert [one.name for one in found] == ["x.pgm", "a/1.pgm", "a/2.png", "y.png"]
    assert [bool(one.small) for one in found] == [True, True, False, False]
    assert found[2].problem.startswith("broken or cut off")
    assert found[3].problem == "0 bytes"
    assert [(row.text, row.problem) for row in bad] == [("../out.pgm", "its name leads out of the archive")]


def test_an_archive_that_is_none_and_too_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no whole zip or tar archive"):
        several.unpacked([("a.zip", b"PK\x03\x04 no zip")])
    monkeypatch.setattr(several, "FILES", 2)
    with pytest.raises(RequestError, match="more than the 2 pictures"):
        several.unpacked([("a.pgm", pictures.drawn()[0][0])] * 3)


def test_an_archive_of_little_that_unpacks_to_much_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = pictures.drawn()
    monkeypatch.setattr(several, "TOGETHER", 2 * len(data[0]))
    sent = [("a.zip", zipped({f"{number}.pgm": data[0] for number in range(3)}))]
    with pytest.raises(RequestError, match="keepfit predict FOLDER"):
        several.unpacked(sent)
    monkeypatch.setattr(several, "TOGETHER", 3 * len(data[0]))
    assert len(several.unpacked(sent)[0]) == 3


@pytest.mark.parametrize("name", ["\N{WOLF FACE}" * 90, "a\0b", "", "a[1]", "x/../../y", "s3:x"])
def test_an_archive_may_be_called_anything(name: str) -> None:
    found, bad = several.unpacked([(f"{name}.zip", zipped({"1.pgm": pictures.drawn()[0][0]}))])
    assert [one.name for one in found] == ["1.pgm"]
    assert not bad


def test_no_question_is_larger_than_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "AT_ONCE", 3)
    rules = type("S", (), {"rules": Rules(pixels=100)})
    assert [*several.parted([50, 50, 1, 99, 200, 1, 1, 1, 1], rules)] == [[0, 1], [2, 3], [4], [5, 6, 7], [8]]  # type: ignore[arg-type]
    assert [*several.parted([], rules)] == []  # type: ignore[arg-type]


def test_names_and_reasons_are_escaped() -> None:
    odd = several.File("<b>.png", b"", problem="<i>")
    found = many.Scored(["file"], [{"file": odd.name}], [None], [], [], "1")
    assert "<b>" not in several.summary(found, [odd], "<u>.zip") + several._row(odd, {"prediction": "<s>"})
    assert "<u>" not in several.summary(found, [odd], "<u>.zip")
    assert "<s>" not in several._row(odd, {"prediction": "<s>"})


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = pictures.project(tmp_path_factory.mktemp("several"))
    assert Project(folder).run()["outcome"] == "promoted"
    return folder


def file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def opened(page: Any) -> Any:
    page.get_by_role("tab", name="Many rows").click()
    return page.locator(".kf-drop input")


@pytest.mark.slow
def test_several_pictures_are_answered_and_can_be_downloaded(server: Server, trained: Path, chromium: Any) -> None:
    data, labels = pictures.drawn()
    given = [file(f"{n}.pgm", data[n]) for n in range(40)]
    with visiting(chromium, server.url) as page:
        opened(page).set_input_files([*given, file("broken.png", pictures.damaged())])
        page.locator(".kf-pictures").wait_for()
        assert "41 pictures, 40 answered" in page.locator(".kf-many h3").inner_text()
        assert "broken.png: broken or cut off" in page.locator(".kf-many .kf-notice").inner_text()
        rows = page.locator(".kf-pictures tbody tr")
        said = [row.locator("strong").inner_text() for row in rows.all()]
        assert np.mean([one == label for one, label in zip(said, labels, strict=False)]) > 0.9
        assert len(said) == 40
        assert rows.first.locator("img").evaluate("image => image.complete && image.naturalWidth") == 8
        assert rows.first.locator("td").nth(2).inner_text().endswith("%")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download CSV").click()
        table = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
        assert [row["file"] for row in table[-2:]] == ["39.pgm", "broken.png"]
        assert [row["prediction"] for row in table] == [*said, ""]
        assert table[-1]["problem"].startswith("image: broken or cut off")
    logged = read(trained / ".keepfit" / "predictions").collect()
    assert {row["prediction_id"] for row in table if row["prediction_id"]} <= {*logged["id"]}


@pytest.mark.slow
def test_a_zip_is_answered_and_what_is_none_is_told(server: Server, chromium: Any) -> None:
    data, labels = pictures.drawn()
    with visiting(chromium, server.url) as page:
        drop = opened(page)
        drop.set_input_files(file("some.zip", zipped({"a/1.pgm": data[1], "a/2.pgm": data[2]})))
        page.locator(".kf-pictures").wait_for()
        assert "some.zip: 2 pictures, 2 answered" in page.locator(".kf-many h3").inner_text()
        assert page.locator(".kf-pictures tbody td:last-child").all_inner_texts() == ["a/1.pgm", "a/2.pgm"]
        assert page.locator(".kf-pictures tbody strong").all_inner_texts() == [*labels[1:3]]
        for name, content, told in (
            ("no.zip", b"PK no zip", "no whole zip or tar archive"),
            ("none.zip", zipped({"a.txt": b"x"}), "There is no picture in it"),
        ):
            drop.set_input_files(file(name, content))
            page.locator(".kf-many", has_text=told).wait_for()
            assert page.locator(".kf-pictures").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_page(server: Server, chromium: Any, width: int) -> None:
    long = [file(f"{'long-name-of-a-file-' * 6}{n}.png", pictures.png()) for n in range(3)]
    with visiting(chromium, server.url, viewport={"width": width, "height": 800}) as page:
        opened(page).set_input_files([*long, file("b.png", b"")])
        page.locator(".kf-pictures").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
