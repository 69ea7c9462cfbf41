"""Whatever is wrong with the input: one clear error or a sensible result, never a traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from keepfit import Project
from keepfit.cli import main
from keepfit.errors import ConfigError
from tests.projects import keepfit, project, table

pytestmark = pytest.mark.slow
Change = Callable[[pl.DataFrame], pl.DataFrame]

REFUSED = {
    "empty file": (b"", 1, "empty"),
    "header only": (b"age,plan,left\n", 1, "no rows"),
    "no target column": (table().drop("left"), 2, "left"),
    "three rows": (table(3), 1, "rows"),
    "one class only": (table().with_columns(left=pl.lit("no")), 3, "every row has the label"),
    "target all missing": (table().with_columns(left=pl.lit(None, dtype=pl.String)), 1, "missing"),
    "duplicate names": (b"age,age,left\n1,2,yes\n" * 20, 1, "age"),
    "ragged rows": (b"age,left\n1,yes\n2,no,3\n" * 20, 1, "line"),
    "binary": (bytes(range(256)) * 10, 1, "data.csv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_input_that_cannot_be_used_is_one_clear_error(case: str, tmp_path: Path) -> None:
    content, code, says = REFUSED[case]
    got, output = keepfit("run", "-C", str(project(tmp_path, content)))
    assert got == code, output
    assert "Error" in output
    assert says in output


SENSIBLE: dict[str, Change] = {
    "all-missing column": lambda f: f.with_columns(empty=pl.lit(None, dtype=pl.String)),
    "constant column": lambda f: f.with_columns(same=pl.lit("x")),
    "target missing in some rows": lambda f: f.with_columns(
        left=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(pl.col("left"))
    ),
    "mixed types": lambda f: f.with_columns(
        spend=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("twelve")).otherwise(pl.col("spend").cast(pl.String))
    ),
    "an infinite value": lambda f: f.with_columns(
        spend=pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).otherwise(pl.col("spend"))
    ),
    "a label seen once": lambda f: f.with_columns(
        left=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("maybe")).otherwise(pl.col("left"))
    ),
}


@pytest.mark.parametrize("case", SENSIBLE)
def test_input_with_flaws_trains_and_says_so(case: str, tmp_path: Path) -> None:
    folder = project(tmp_path, SENSIBLE[case](table()))
    code, output = keepfit("run", "-C", str(folder))
    assert code in (0, 3), output
    assert "champion" in output


def test_other_encodings_are_found_out(tmp_path: Path) -> None:
    text = table().with_columns(plan=pl.lit("Café crème")).write_csv()
    code, output = keepfit("check", "-C", str(project(tmp_path, text.encode("cp1252"))))
    assert code == 0, output


def test_two_thousand_columns(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    wide = table(200).hstack(pl.DataFrame({f"x{i}": draw.normal(size=200) for i in range(2000)}))
    code, output = keepfit("run", "-C", str(project(tmp_path, wide)))
    assert code in (0, 3), output


def test_a_missing_file_names_the_near_ones(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    code, output = keepfit("check", "-C", str(folder), "--set", "data.source=dat.csv")
    assert code == 1
    assert "data.csv" in output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    (folder / "data.csv").chmod(0)
    code, output = keepfit("check", "-C", str(folder))
    assert code == 1
    assert "permission" in output.lower()


def test_violated_expectations_stop_before_training(tmp_path: Path) -> None:
    folder = project(tmp_path, table(), "checks: {age: {max: 30}, plan: {values: [basic]}}\n")
    code, output = keepfit("run", "-C", str(folder))
    assert code == 3
    assert "checks.age.max" in output
    assert "checks.plan.values" in output
    (run,) = (folder / ".keepfit" / "runs").iterdir()
    assert str(run / "ingest" / "profile.html") in output  # the evidence is kept, and named
    assert (run / "ingest" / "profile.html").is_file()
    code, output = keepfit("run", "--resume", "-C", str(folder))  # and stops whoever goes on from there
    assert code == 3
    assert "checks.age.max" in output
    assert not (run / "train").exists()
    document = json.loads(CliRunner().invoke(main, ["run", "-C", str(folder), "--json"]).stdout)
    assert "checks.age.max" in {check["name"] for check in document["verdict"]["checks"]}


def test_levels_that_only_the_test_set_has_are_told(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    table().with_columns(plan=pl.lit("weekly")).write_csv(folder / "test.csv")
    _, output = keepfit(
        "check", "-C", str(folder), "--set", "data.test=test.csv", "--set", "data.leakage.duplicates=warn"
    )
    assert "test.unseen.plan" in output
    assert "'weekly'" in output


def test_an_output_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    folder = project(tmp_path, table())
    assert keepfit("run", "-C", str(folder))[0] == 0
    code, output = keepfit("predict", str(folder / "data.csv"), "-o", str(folder / "typo" / "o.csv"), "-C", str(folder))
    assert code == 1
    assert "There is no folder" in output
    assert not (folder / "typo").exists()


def test_a_goal_that_is_missed_refuses_the_model(tmp_path: Path) -> None:
    folder = project(tmp_path, table(), 'goals: {accuracy: ">= 1.01"}\n')
    code, output = keepfit("run", "-C", str(folder))
    assert code == 3
    assert "refused" in output
    code, output = keepfit("predict", str(folder / "data.csv"), "-o", str(folder / "out.csv"), "-C", str(folder))
    assert code == 1
    assert "no champion" in output
    code, output = keepfit("promote", "1", "--reason", "we know better", "-C", str(folder))
    assert code == 0
    assert "the gate had said: failed" in output  # by hand one may; what the gate said stays with it


def test_init_takes_a_glob_from_here_to_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    for part in ("1", "2"):
        table().write_csv(tmp_path / "raw" / f"{part}.csv")
    monkeypatch.chdir(tmp_path)
    assert keepfit("init", "churn", "--data", "raw/*.csv", "--target", "left")[0] == 0
    assert 'source: "../raw/*.csv"' in (tmp_path / "churn" / "keepfit.yaml").read_text()
    code, output = keepfit("check", "-C", "churn")
    assert code == 0, output


def test_a_frame_is_not_written_to_a_file_in_silence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="writes no `output`"):
        Project(project(tmp_path, table())).predict(table(), output=tmp_path / "out.csv")
