"""Every example runs as its README says, on its real data, and its champion answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from keepfit import Project
from keepfit.config import load
from keepfit.pipeline import folders, ready

EXAMPLES = Path(__file__).parents[1] / "examples"
BUNDLED = ("iris", "breast_cancer", "digits")
TRAINED_ELSEWHERE = {"fashion_mnist"}  # ten minutes of CPU time: by `python -m benchmarks images-scratch`
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if (path / "keepfit.yaml").is_file())


@pytest.fixture
def copy(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example in a folder of its own; its data where the tests find them."""
    name = request.param
    if name not in BUNDLED:
        monkeypatch.setenv("KEEPFIT_DATA", str(request.getfixturevalue("shared_data").resolve()))
    ignored = shutil.ignore_patterns(".keepfit", "__pycache__")
    return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored))


@pytest.mark.slow
@pytest.mark.parametrize("copy", [name for name in NAMES if name not in TRAINED_ELSEWHERE], indirect=True)
def test_an_example_ends_in_a_champion_that_answers(copy: Path) -> None:
    project = Project(copy)
    record = project.run()
    assert record["outcome"] == "promoted", record["decision"]
    assert set(project.config.goals) <= set(record["metrics"])
    (run,) = folders.runs(copy / ".keepfit")
    asked = folders.load_split(run / "ingest").test.frame.head(20)
    scored = project.predict(asked)
    assert isinstance(scored, pl.DataFrame)
    assert scored["prediction"].null_count() == 0
    manifest = json.loads((Path(record["bundle"]) / "bundle.json").read_text())
    assert manifest["runtime"] == "onnx", manifest["why_python"]
    for page in (record["report"], record["profile"]):
        assert 5_000 < Path(page).stat().st_size < 2_000_000


@pytest.mark.parametrize("copy", NAMES, indirect=True)
def test_the_data_of_an_example_are_sound(copy: Path) -> None:
    if copy.name == "imdb_sentiment":
        pytest.skip("looked at by its run: 50,000 texts take seconds")
    parts, verdict = ready.examine(load(copy), copy)
    assert verdict, verdict.failures
    assert parts.train.frame.height > parts.test.frame.height


def test_the_recorded_checksums_are_those_of_the_files(shared_data: Path) -> None:
    import hashlib

    files = {
        "telco_churn": ["telco_churn/Telco-Customer-Churn.csv"],
        "adult_income": ["adult_income/adult.data", "adult_income/adult.test"],
        "california_housing": ["california_housing/housing.csv"],
        "imdb_sentiment": ["imdb/imdb_reviews.csv.gz"],
        "air_passengers": ["air_passengers/airline-passengers.csv"],
        "m3_monthly": ["m3_monthly/m3_monthly.csv.gz"],
        "ants_bees": ["ants_bees/hymenoptera_data.zip"],
    }
    for name, paths in files.items():
        told = (EXAMPLES / name / "README.md").read_text(encoding="utf-8") + str(
            load(EXAMPLES / name).data.documentation
        )
        for path in paths:
            assert told.count(hashlib.sha256((shared_data / path).read_bytes()).hexdigest()) == 2, path
