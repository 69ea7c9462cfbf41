"""`keepfit feedback`: labels from a file reach the predictions they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

from keepfit import Project
from keepfit.cli import main
from keepfit.data import log_read, observations
from keepfit.errors import DataError
from keepfit.pipeline import feedback
from keepfit.types import Column, Rhythm, Schema
from tests.data.answered import logged
from tests.projects import project, table


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return project(tmp_path, table(20))


def keepfit(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["feedback", *arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson"])
def test_a_file_of_labels(shop: Path, suffix: str) -> None:
    keys = logged(shop / ".keepfit" / "predictions", 3)
    rows = pl.DataFrame({"key": [*keys, keys[0], "0000000000000-0"], "left": ["yes", "no", "yess", "no", "yes"]})
    file = shop / f"truth.{suffix}"
    {"csv": rows.write_csv, "parquet": rows.write_parquet, "ndjson": rows.write_ndjson}[suffix](file)
    code, out, err = keepfit(str(file), "--id", "key", "--label", "left", "-C", str(shop))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "3 labels accepted, 1 of them in place of an earlier one",
        "1 id not known here: 0000000000000-0",
        "1 row without a label that fits:",
        "  row 3: 'yess' is no class. Did you mean 'yes'? Classes: no, yes",
    ]
    found = log_read.read(shop / ".keepfit" / "predictions", labels=True).collect()
    assert dict(found.select("id", "label").iter_rows()) == {keys[0]: "no", keys[1]: "no", keys[2]: None}


def test_json_and_nothing_to_accept(shop: Path) -> None:
    logged(shop / ".keepfit" / "predictions", 1)
    (shop / "truth.csv").write_text("id,label\nx,yes\ny,no\n")
    code, out, err = keepfit(str(shop / "truth.csv"), "-C", str(shop), "--json")
    assert code == 1
    none = {name: [] for name in ("expired", "invalid", "held_back")}
    assert json.loads(out) == {"accepted": 0, "repeated": 0, "unknown": ["x", "y"], **none}
    assert err == "0 labels accepted\n2 ids not known here: x, y\n"


def test_columns_that_are_not_there(shop: Path) -> None:
    (shop / "truth.csv").write_text("ids,outcome\nx,yes\n")
    code, _, err = keepfit(str(shop / "truth.csv"), "-C", str(shop))
    assert code == 1
    assert "has no column 'id'. Did you mean 'ids'?" in err
    assert "no column 'label'. It has: ids, outcome. Name them with --id and --label." in err


def test_nothing_was_logged_yet(shop: Path) -> None:
    with pytest.raises(DataError, match=r"No prediction was logged in .* yet\. Serve the champion: keepfit serve\."):
        Project(shop).feedback(pl.DataFrame({"id": ["x"], "label": ["yes"]}))


def test_frames(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPFIT_AUTHOR", "Ann")
    keys = logged(shop / ".keepfit" / "predictions", 2)
    assert Project(shop).feedback(pd.DataFrame({"id": keys, "label": ["yes", None]})).accepted == 1
    assert Project(shop).feedback(pl.DataFrame({"id": keys, "truth": ["no", "no"]}), label="truth").repeated == 1
    assert log_read.latest(shop / ".keepfit" / "feedback")["caller"].to_list() == ["Ann", "Ann"]


def test_observations_whose_series_are_called_label(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (Column("label", "series"), Column("month", "moment", "date"), Column("sold", "past"))
    schema = Schema(columns, "forecast", "sold", rhythm=Rhythm("month", "1mo", 0.0, 2, ("label",)))
    monkeypatch.setattr(feedback, "_observed", lambda config, project: observations.reader(schema))
    rows = pl.DataFrame({"label": ["north", "south"], "month": ["1971-01-01"] * 2, "sold": [1.0, 2.0]})
    assert Project(shop).feedback(rows).accepted == 2
    [key] = logged(shop / ".keepfit" / "predictions", 1)
    told = Project(shop).feedback(pl.DataFrame({"id": [key], "label": ["yes"], "note": ["sure"]}))
    assert told.accepted == 1
