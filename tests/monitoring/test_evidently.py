"""Evidently's report of a sample: made for real where the extra is installed, by a process as in a pass."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit.data.log import Line, open_log
from keepfit.monitoring import evidently
from keepfit.types import Column, Schema, plain

needed = pytest.mark.skipif(
    importlib.util.find_spec("evidently") is None, reason="Evidently is not installed: pip install 'keepfit[evidently]'"
)
COLUMNS = (Column("age", "number"), Column("plan", "category"), Column("note", "text"), Column("joined", "date"))
SCHEMA = Schema((*COLUMNS, Column("left", "target")), "classification", "left", ("no", "yes"))
START = datetime(2026, 3, 2, tzinfo=UTC)
WORDS = [f"word{n}" for n in range(300)]


def people(count: int, seed: int, older: float = 0.0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame({
        "age": draw.normal(40 + older, 10, count), "plan": draw.choice(["basic", "pro"], count),
        "note": [" ".join(draw.choice(WORDS, 10)) for _ in range(count)], "joined": ["2026-01-05"] * count,
    })  # fmt: skip


def request(folder: Path, before: pl.DataFrame, now: pl.DataFrame, **other: Any) -> dict[str, Any]:
    """What a pass asks for, with rows of the log a second apart."""
    before.write_parquet(folder / "train.parquet")
    log = open_log(folder / "predictions", SCHEMA, "shop", "1", "champion")
    log.write([
        Line(key, START.timestamp() + place, "request", None, "/predict", 0.001, values, 0.0, 0.9, [0.9, 0.1])
        for place, (key, values) in enumerate(zip(log.ids(len(now)), now.rows(), strict=True))
    ])  # fmt: skip
    log.close()
    return {
        "reference": folder / "train.parquet", "log": folder / "predictions", "uri": None, "version": "1",
        "since": "2026-03-02T00:00:00+00:00", "until": "2026-03-03T00:00:00+00:00", "time": None, "schema": SCHEMA,
        "columns": ["plan", "note", "age", "joined"], "rows": 500, "seconds": 300,
        "output": folder / "report.html", **other,
    }  # fmt: skip


def asked(told: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "keepfit.monitoring.evidently"]
    return subprocess.run(command, input=json.dumps(plain(told)), capture_output=True, text=True, check=False)


def read(told: dict[str, Any]) -> evidently.Asked:
    return evidently.Asked(**{**told, "reference": str(told["reference"]), "log": str(told["log"])})


def schema(*names: str) -> Schema:
    return Schema(tuple(column for column in COLUMNS if column.name in names), "classification")


def test_the_newest_rows_of_the_window_and_of_the_version(tmp_path: Path) -> None:
    told = request(tmp_path, people(10, 1), people(1000, 2), until="2026-03-02T00:15:00+00:00")
    now = evidently._now(read(told), schema("age", "plan"))
    assert now["age"].sort().to_list() == people(1000, 2)["age"][400:900].sort().to_list()
    assert now.columns == ["age", "plan"]
    assert evidently._now(read({**told, "version": "2"}), schema("age")).is_empty()


def test_with_a_time_of_events_that_is_what_the_window_and_newest_mean(tmp_path: Path) -> None:
    days = [f"2026-01-{n:02}" for n in range(1, 31)]
    rows = people(30, 2).with_columns(pl.Series("joined", days[::-1]))
    window = {"since": "2026-01-05T00:00:00+00:00", "until": "2026-01-20T00:00:00+00:00"}
    told = request(tmp_path, people(10, 1), rows, time="joined", rows=3, **window)
    now = evidently._now(read(told), schema("age"))
    assert now["age"].sort().to_list() == rows.filter(pl.col("joined").is_in(days[16:19]))["age"].sort().to_list()


def test_an_empty_log_has_no_rows(tmp_path: Path) -> None:
    told = request(tmp_path, people(10, 1), people(0, 2))
    assert evidently._now(read({**told, "log": tmp_path / "other"}), schema("age")).is_empty()


def test_training_rows_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    told = read(request(tmp_path, people(2000, 1), people(5, 2)))
    first, again = (evidently._reference(told, schema("age", "plan")) for _ in range(2))
    assert first.equals(again)
    assert len(first) == 500
    assert first["age"].is_in(people(2000, 1)["age"].implode()).all()
    assert not first["age"].equals(people(2000, 1)["age"][:500])


def test_few_columns_of_each_role_those_first_that_matter_most() -> None:
    many = tuple(Column(f"{role}{n}", role) for role in ("text", "number", "date") for n in range(30))
    told = evidently.Asked("", "", None, "1", "", "", None, Schema(many, "regression"),
                           [column.name for column in reversed(many)], 5, 5, "")  # fmt: skip
    kept = [column.name for column in evidently._kept(told)]
    assert kept == [*(f"number{n}" for n in range(29, 9, -1)), "text29", "text28"]


def test_a_request_that_cannot_be_answered_says_why(tmp_path: Path) -> None:
    told = request(tmp_path, people(10, 1), people(10, 2))
    done = asked({**told, "reference": tmp_path / "gone.parquet"})
    assert done.returncode == 1
    assert "gone.parquet" in done.stderr
    nothing = asked({**told, "columns": ["joined"]})
    assert (nothing.returncode, nothing.stderr.strip()) == (1, "0 rows: it can compare no column")


def test_it_ends_when_its_time_is_up(tmp_path: Path) -> None:
    told = request(tmp_path, people(10, 1), people(10, 2))
    command = [sys.executable, "-P", "-m", "keepfit.monitoring.evidently"]
    code = (
        "import sys, time, keepfit.monitoring.evidently as e; e._now = lambda *_: time.sleep(600); sys.exit(e.main())"
    )
    done = subprocess.run(
        [command[0], "-c", code], input=json.dumps(plain({**told, "seconds": 1})), text=True, check=False
    )
    assert done.returncode < 0


@needed
@pytest.mark.slow
def test_the_report(tmp_path: Path) -> None:
    done = asked(request(tmp_path, people(600, 1), people(600, 2, older=30.0)))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"rows": 500, "reference_rows": 500, "columns": ["age", "plan", "note"]}
    text = (tmp_path / "report.html").read_text()
    assert "Dataset Drift" in text
    assert all(name in text for name in ("age", "plan", "note"))


@needed
@pytest.mark.slow
def test_texts_and_columns_that_evidently_fails_on_are_left_out(tmp_path: Path) -> None:
    same = pl.lit("good film").alias("note"), pl.lit(None, pl.String).alias("plan")
    done = asked(request(tmp_path, people(300, 1).with_columns(same[0]), people(300, 2).with_columns(*same)))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["columns"] == ["age"]
