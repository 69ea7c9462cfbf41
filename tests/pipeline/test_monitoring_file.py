"""`keepfit monitor --data FILE`: a file of rows against what the champion was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit import Project, show
from keepfit.errors import DataError
from tests.pipeline.test_monitoring import customers, dear, failed, kinds, outcomes, shop, trained  # noqa: F401
from tests.projects import keepfit


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.ndjson"])
def test_a_sound_file_and_a_broken_one(shop: Project, name: str) -> None:  # noqa: F811
    def write(frame: pl.DataFrame) -> Path:
        path = shop.folder / name
        writers: dict[str, Any] = {".csv": frame.write_csv, ".parquet": frame.write_parquet}
        writers.get(path.suffix, frame.write_ndjson)(path)
        return path

    found = shop.monitor(data=write(customers(400, 30)))
    assert (found["outcome"], found["window"]["rows"]) == ("healthy", 400)
    told = {"performance": "not checked", "estimated": "passed", "quality": "passed", "drift": "passed"}
    assert outcomes(found) == told
    assert str(found) == show.monitored(found)
    found = shop.monitor(data=write(dear(customers(400, 31))))
    assert (found["outcome"], failed(found, "quality")) == ("unhealthy", ["spend: above the range"])
    assert found["columns"][0]["column"] == "spend"


def test_the_command_keeps_no_state(shop: Project) -> None:  # noqa: F811
    path = shop.folder / "new.csv"
    dear(customers(400, 32)).drop("left").write_csv(path)
    code, told = keepfit("monitor", "-C", str(shop.folder), "--data", str(path))
    assert code == 3
    assert f"{path}: 400 rows, 0 with labels" in told
    assert str(path) in (shop.work / "reports" / "monitoring-file.html").read_text()
    assert {each.name for each in (shop.work / "monitoring").iterdir()} <= {"null"}
    assert kinds(shop) == []
    code, told = keepfit("monitor", "-C", str(shop.folder), "--data", str(path), "--json")
    document = json.loads(told[told.index("{") : told.rindex("}") + 1])
    assert document["window"] == {"since": None, "until": None, "rows": 400, "labelled": 0, "labels": {}}


def test_too_few_rows_and_no_file(shop: Project) -> None:  # noqa: F811
    path = shop.folder / "few.csv"
    dear(customers(20, 33)).write_csv(path)
    assert shop.monitor(data=path)["outcome"] == "not checked"
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        shop.monitor(data=shop.folder / "nowhere.csv")
    customers(100, 34).drop("age").write_csv(path)
    with pytest.raises(DataError, match="age"):
        shop.monitor(data=path)


@pytest.mark.slow
def test_pictures_that_cannot_be_used_are_named_and_counted(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from tests import pictures

    project = Project(pictures.project(tmp_path))
    assert project.run()["outcome"] == "promoted"
    new = pictures.folder_of(tmp_path / "new", 120)
    assert "quality" not in {family for family, its in outcomes(project.monitor(data=new)).items() if its == "failed"}
    (new / "0" / "empty.png").write_bytes(b"")
    (new / "1" / "broken.png").write_bytes(pictures.damaged())
    (new / "2" / "dangling.png").symlink_to(tmp_path / "nowhere")
    found = project.monitor(data=new)
    assert (found["window"]["rows"], found["outcome"]) == (120, "healthy")
    [told] = [check for check in found["verdicts"]["quality"]["checks"] if check["name"] == "rows: unusable"]
    assert (told["outcome"], told["severity"], told["value"]) == ("failed", "warning", 3.0)
    assert told["detail"].startswith("3 of 123 rows cannot be used and were left out: ")
    for name in ("0/empty.png (0 bytes)", "1/broken.png (", "2/dangling.png (a link that leads nowhere)"):
        assert name in told["detail"]
    for number in range(30):
        (new / "0" / f"cut{number}.pgm").write_bytes(b"P5 8 8 255\n")
    found = project.monitor(data=new)
    assert (found["outcome"], failed(found, "quality")) == ("unhealthy", ["rows: unusable", "requests: refused"])
    code, said = keepfit("monitor", "-C", str(project.folder), "--data", str(new))
    assert code == 3
    assert "33 of 153 rows cannot be used and were left out: " in said
    assert "33 of 153 rows refused; image: 33" in said
