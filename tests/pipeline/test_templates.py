"""Each template begins a project that runs as it is, without data from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepfit import Project
from keepfit.config import load
from keepfit.pipeline.templates import TEMPLATES
from tests.projects import keepfit


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_is_a_sound_project_whose_lines_are_explained(tmp_path: Path, name: str) -> None:
    code, output = keepfit("init", str(tmp_path / "new"), "--template", name)
    assert code == 0, output
    made, row = load(tmp_path / "new"), TEMPLATES[name]
    assert (made.data.source, made.data.target) == (row.source, row.target)
    assert made.goals == row.sections["goals"]
    assert all("#" in line for line in (tmp_path / "new" / "keepfit.yaml").read_text().splitlines())
    schema, verdict = Project(tmp_path / "new").check()
    assert verdict.outcome == "passed", verdict.failures
    assert (schema.task == "regression") == (name in ("regression", "diabetes"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["regression", "text"])
def test_a_template_ends_in_a_champion(tmp_path: Path, name: str) -> None:
    assert keepfit("init", str(tmp_path / "new"), "--template", name)[0] == 0
    assert Project(tmp_path / "new", ["tuning.time_budget=5"]).run()["outcome"] == "promoted"


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    code, output = keepfit("init", str(tmp_path / "new"), "--template", "regresion")
    assert code == 2
    assert "Did you mean 'regression'? Known: breast_cancer," in output
    assert not (tmp_path / "new").exists()


def test_a_template_overwrites_nothing_and_takes_no_other_data(tmp_path: Path) -> None:
    code, output = keepfit("init", str(tmp_path), "--template", "text", "--data", "x.csv")
    assert code == 2
    assert "leave out --data, --target and --set" in output
    (tmp_path / "opinions" / "positive").mkdir(parents=True)
    (tmp_path / "opinions" / "positive" / "001.txt").write_text("mine")
    code, output = keepfit("init", str(tmp_path), "--template", "text")
    assert code == 2
    assert "001.txt is there already" in output
    assert [path.name for path in tmp_path.iterdir()] == ["opinions"]


def test_without_a_template_it_is_iris(tmp_path: Path) -> None:
    assert keepfit("init", str(tmp_path / "new"))[0] == 0
    assert load(tmp_path / "new").data.source == "sklearn:iris"
    assert not load(tmp_path / "new").goals
