"""`keepfit feedback`: labels from a file reach the predictions they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

from keepfit import Project
from keepfit.cli import main
from keepfit.data import log_observed, log_read, observations
from keepfit.data.log import Line, open_log
from keepfit.errors import DataError, TrackingError
from keepfit.pipeline import feedback
from keepfit.types import Column, Rhythm, Schema
from tests.data.answered import logged
from tests.deployment.test_rollout_series import row
from tests.deployment.test_runtime_series import MONTHS, packed
from tests.models.series.rows import SCHEMA
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


# --- what is held back --------------------------------------------------------------------------------


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose champion forecasts three shops, and knows 48 months of them."""
    folder = project(tmp_path, table(20), extra="task: forecast\n")
    packed(tmp_path / "bundle", later=False)
    found = SimpleNamespace(version="1", fetch=lambda: tmp_path / "bundle")
    monkeypatch.setattr(feedback.champion, "pointer", lambda config, project: lambda alias: found)
    return folder


def test_rows_that_are_held_back_are_told_with_reason_and_name(shops: Path) -> None:
    new = [{**row("north", at), "shop": "east"} for at in range(24)]
    told: list[dict[str, Any]] = [row("north", MONTHS), row("south", MONTHS, 100), row("west", 0, 0.5), *new]
    pl.DataFrame(told).write_csv(shops / "truth.csv")
    code, out, err = keepfit(str(shops / "truth.csv"), "-C", str(shops))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        "27 labels accepted",
        "26 of them held back: kept, but forecasts do not go on from them:",
    ]
    assert lines[2].startswith("  row 2 (south, 2004-01-01): 'sold' is ")
    assert "too far off to go on from" in lines[2]
    assert lines[3].startswith("  row 3 (west, 2000-01-01): 'sold' of this period is ")
    assert lines[4].startswith("  row 4 (east, 2000-01-01) and 23 more: 'east': a series that the model was not")
    assert len(lines) == 5
    code, out, _ = keepfit(str(shops / "truth.csv"), "-C", str(shops), "--json")
    assert [one["row"] for one in json.loads(out)["held_back"]] == [*range(1, 27)]


def test_numbers_are_written_as_in_the_source(shops: Path) -> None:
    months = [row("north", at)["month"] for at in (MONTHS, MONTHS + 1)]
    (shops / "truth.csv").write_text(f"shop;month;sold\nnorth;{months[0]};3,25\nnorth;{months[1]};1.234\n")
    code, out, _ = keepfit(str(shops / "truth.csv"), "-C", str(shops), "--set", "data.decimal=,", "--json")
    assert (code, json.loads(out)["accepted"]) == (0, 2)
    told = log_observed.read(shops / ".keepfit" / "predictions", SCHEMA)
    assert dict(zip(told["id"].str.slice(-12, 10), told["value"], strict=True)) == {months[0]: 3.25, months[1]: 1234.0}


def test_a_file_may_confirm_what_is_not_believed(shops: Path) -> None:
    told = [row("south", MONTHS, 100), row("west", MONTHS, 100)]
    pl.DataFrame(told).with_columns(confirmed=pl.Series(["true", None])).write_csv(shops / "truth.csv")
    code, out, _ = keepfit(str(shops / "truth.csv"), "-C", str(shops))
    assert code == 0
    assert "  row 2 (west, 2004-01-01): 'sold' is " in out
    assert "south" not in out


def test_labels_that_are_held_back_are_told_by_id(shops: Path) -> None:
    writer = open_log(shops / ".keepfit" / "predictions", SCHEMA, "shops", "1", "champion")
    assert writer is not None
    keys = writer.ids(2)
    asked = [{"shop": shop, "month": row(shop, MONTHS)["month"]} for shop in ("north", "south")]
    inputs = writer.inputs(asked)
    writer.write([Line(key, 1.0, "r", None, "/", 0.1, given, 3.0) for key, given in zip(keys, inputs, strict=True)])
    writer.close()
    truth = pl.DataFrame({"id": [*keys, keys[0]], "label": [row("north", MONTHS)["sold"], 1e9, 1e31]})
    truth.write_csv(shops / "truth.csv")
    code, out, _ = keepfit(str(shops / "truth.csv"), "-C", str(shops))
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "2 labels accepted"
    assert lines[2] == "  row 3: beyond 1e30: use a larger unit"  # as the server says, and no forecast could go on
    assert lines[3] == "1 of them held back: kept, but forecasts do not go on from them:"
    assert lines[4].startswith(f"  row 2 ({keys[1]}): 'sold' is 1e+09, where ")


def test_labels_stay_accepted_where_the_champion_cannot_be_asked(
    shops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = logged(shops / ".keepfit" / "predictions", 1)

    def away(config: Any, project: Any) -> Any:
        raise TrackingError("the registry is away")

    monkeypatch.setattr(feedback.champion, "pointer", away)
    assert Project(shops).feedback(pl.DataFrame({"id": keys, "label": ["yes"]})).accepted == 1
    assert "which of it is held back cannot be told: the registry is away" in caplog.text
