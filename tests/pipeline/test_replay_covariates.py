"""Forecasts that look at covariates, made anew: a version is told those of what was known, wherever they came from."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit import Project
from keepfit.data import log_read
from keepfit.deployment.runtime import Runtime
from keepfit.models import bundle as bundles
from keepfit.pipeline import champion, live, loading, replay_series
from keepfit.pipeline.replay import Replayed, replay
from tests.models.series.rows import NAMES
from tests.traffic import answered, soon

pytestmark = pytest.mark.slow
KNOWN, HORIZON, ALL = 120, 6, 140
CONFIG = """project: {name: shops}
task: forecast
data: {source: data.csv, target: sold, columns: {offer: number, rain: number}}
forecast: {horizon: 6, series: [shop], season: 12, past: [rain]}
model: {type: boosted_lags, min_child_samples: 10}
monitoring: {min_rows: 10}
"""


def rows(first: int, last: int) -> list[dict[str, Any]]:
    """Months of three shops that sell by their offers, and twice as much in the month after rain."""
    random = np.random.default_rng(0)
    offer, rain = random.integers(0, 4, (2, ALL, 3)).astype(float)
    rain = np.where(rain == 3, 1.0, 0.0)
    sold = 10.0 ** np.arange(1, 4) * (2 + offer) * (1 + np.roll(rain, 1, axis=0)) * random.uniform(0.95, 1.05, (ALL, 3))
    return [
        {"month": f"{2000 + at // 12}-{at % 12 + 1:02}", "shop": NAMES[shop], "sold": sold[at, shop],
         "offer": offer[at, shop], "rain": rain[at, shop]}
        for at in range(first, last) for shop in range(3)
    ]  # fmt: skip


def project(folder: Path, known: int, settings: list[str] | None = None) -> Project:
    pl.DataFrame(rows(0, known)).write_csv(folder / "data.csv")
    (folder / "keepfit.yaml").write_text(CONFIG, encoding="utf-8")
    return Project(folder, settings or [])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 knows ten years; version 2, with smaller trees, another half year from a source that has grown."""
    folder = tmp_path_factory.mktemp("covariates")
    assert project(folder, KNOWN).run()["outcome"] == "promoted"
    second = project(folder, KNOWN + 6, ["model.num_leaves=4"])
    assert second.run()["version"] == "2"
    return folder


def asked(first: int, last: int) -> pl.DataFrame:
    return pl.DataFrame(rows(first, last)).drop("sold", "rain")


def replayed(made: Project, versions: tuple[str, str]) -> Replayed:
    log = live.labelled(made.config, made.folder, soon(), "forecast")
    schema = bundles.read(champion.folder(made.config, made.folder, versions[0])).schema
    return replay(made.config, made.folder, log, schema, versions)


def loaded(made: Project, version: str) -> Runtime:
    return loading.load(made.config, made.folder, champion.folder(made.config, made.folder, version), later=False)


def test_what_the_champion_said_it_says_again(two: Path, tmp_path: Path) -> None:
    """Of what came true since, offers and rain are told: by the feedback, which the source does not have."""
    made = project(Path(shutil.copytree(two, tmp_path / "shops")), KNOWN)
    for at in range(KNOWN, KNOWN + 8):
        answered(made, asked(at, at + HORIZON), datetime.now(UTC), 1e-5)
        assert made.feedback(pl.DataFrame(rows(at, at + 1))).accepted == 3
    found = replayed(made, ("1", "1"))
    said = log_read.read(made.work / "predictions", labels=True).filter(pl.col("label").is_not_null()).collect()
    assert len(found.y) == said.height == 3 * (6 + 6 + 6 + 5 + 4 + 3 + 2 + 1)
    np.testing.assert_allclose(np.sort(found.outputs[0].values), said["value"].sort().to_numpy(), rtol=1e-6)


def test_a_version_that_knows_less_is_told_what_the_other_one_learned_from_a_source_that_grew(
    two: Path, tmp_path: Path
) -> None:  # fmt: skip
    """Version 1 forecasts as if a request brought half a year of history, with offers and rain."""
    made = project(Path(shutil.copytree(two, tmp_path / "shops")), KNOWN + 6)
    if made.history()[-1].version != "2" or made.history()[-1].kind != "promoted":
        made.promote("2", "in its turn")
    ahead = asked(KNOWN + 6, KNOWN + 6 + HORIZON)
    answered(made, ahead, datetime.now(UTC), 1e-5)
    for at in range(KNOWN + 6, KNOWN + 6 + HORIZON):
        assert made.feedback(pl.DataFrame(rows(at, at + 1))).accepted == 3
    found = replayed(made, ("2", "1"))
    for version, output in zip(("2", "1"), found.outputs, strict=True):
        whole = told(loaded(made, version), rows(KNOWN - HORIZON, KNOWN + 6), ahead)
        np.testing.assert_allclose(output.values, whole, rtol=1e-5)
    bare = [{**row, "rain": None, "offer": None} for row in rows(KNOWN - HORIZON, KNOWN + 6)]
    assert np.abs(told(loaded(made, "1"), bare, ahead) / found.outputs[1].values - 1).max() > 0.02


def told(made: Runtime, known: list[dict[str, Any]], ahead: pl.DataFrame) -> Any:
    """What a version says of rows that come with a history."""
    output, problems = made.rows([*known, *ahead.to_dicts()])
    assert not problems
    return output.values[len(known) :]


def test_going_on_from_origin_to_origin_is_as_being_told_all_anew(two: Path, tmp_path: Path) -> None:
    """Gaps, and a series that ends early: at each origin a version stands where it stands when told at once."""
    made = project(Path(shutil.copytree(two, tmp_path / "shops")), KNOWN)
    version = loaded(made, "1")
    assert version.wish is not None
    assert version.after is not None
    known = rows(KNOWN - HORIZON, KNOWN + 9)
    kept = [row for at, row in enumerate(known) if at % 5 and not (row["shop"] == "west" and row["month"] > "2010-02")]
    told = sorted(((version.wish.period(row, 0), row) for row in kept), key=lambda each: each[0])
    start = version.wish.period(known[0], 0)
    origins = [start - 2, start + 1, start + 2, start + 6, start + 40]
    seen = []
    for origin, then in replay_series._moments(version, origins, told):
        before = [row for period, row in told if period <= origin]
        anew = version.after(before) if before else version
        assert then.wish is not None
        assert anew.wish is not None
        assert then.wish.ends == anew.wish.ends
        ahead = asked(KNOWN + 9, KNOWN + 9 + HORIZON).to_dicts()
        one, other = (runtime.rows(ahead)[0] for runtime in (then, anew))
        np.testing.assert_allclose(one.values, other.values, rtol=1e-9)
        seen.append(one.values)
    assert len(seen) == 5
    assert np.abs(seen[0] - seen[-1]).max() > 0
