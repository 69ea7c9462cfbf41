"""What keepfit costs besides fitting and scoring: imports, checks, hashing, tracking, packaging, parity, gate.

The job of a minute is a search over LightGBM's parameters that uses its budget of 60 s on the census
data. The kernel's figure for the whole run, less the CPU seconds inside fitting and
scoring (counted from outside, see timed.py), is the overhead; those of each stage stand beside it,
from run.json. `model.type: auto` on california ends before its minute is over: what that costs
besides fitting is shown, and is no part of the promise. Then the smallest job, iris, as a whole, beside
the same loop written by hand with MLflow and scikit-learn (which checks, gates and reports nothing).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import datasets, environments, measure, projects
from benchmarks.environments import ROOT, WORK
from benchmarks.measure import Usage
from benchmarks.results import Claim, Options, Result

PROMISE = "under 15 % of the CPU time of a 1-minute job outside fitting and scoring; iris in under 15 CPU-seconds"
SHARE, IRIS, BUDGET = 0.15, 15.0, 60
SEARCH = {"model": {"type": "lightgbm"}, "tuning": {"trials": 1000, "time_budget": BUDGET}}
AUTO = {"model": {"type": "auto"}, "tuning": {"time_budget": BUDGET}}
# title → data set, sections of the config, and whether it is the job that the promise is about
JOBS: Mapping[str, tuple[str, Mapping[str, Any], bool]] = {
    "adult, lightgbm searched for 60 s": ("adult", SEARCH, True),
    "california, auto": ("california", AUTO, False),
}
PROGRAM = Path(__file__).with_name("peers") / "mlflow_iris.py"
TIMED = Path(__file__).with_name("timed.py")


def run(options: Options) -> Result:
    """Iris, then the jobs (of the data sets asked for)."""
    folder = WORK / "overhead"
    rows, claims, notes = _iris(folder, options.runs)
    for name, (data, sections, promised) in JOBS.items():
        if options.only and data not in options.only:
            continue
        usage, spent, stages = _job(folder / data, data, sections)
        share = outside(usage.cpu, spent)
        rows.append(_row(f"keepfit run, {name}", usage, share))
        if promised:
            cut = usage.others > measure.BUSY  # less fitting in its wall seconds than a quiet machine does
            claims.append(Claim(f"{name}: share of CPU outside fitting and scoring", share, "<=", SHARE, disturbed=cut))
        told = {"all": usage.cpu, **spent, **{f"stage {k}": v for k, v in stages.items()}}
        notes.append(f"{name}, CPU-s: {', '.join(f'{k} {v:.2f}' for k, v in told.items())}")
    return Result("overhead", PROMISE, tuple(rows), tuple(claims), notes=tuple(notes))


def outside(total: float, spent: dict[str, float]) -> float | None:
    """The share of `total` CPU seconds that is neither fitting nor scoring; None where no fitting was seen.

    >>> outside(50.0, {"fit": 40.0, "score": 5.0})
    0.1
    """
    return round(1 - (spent["fit"] + spent["score"]) / total, 4) if spent["fit"] else None


def _job(folder: Path, name: str, sections: Mapping[str, Any]) -> tuple[Usage, dict[str, float], dict[str, float]]:
    """The cost of the run, its fitting and scoring, and the CPU seconds of its stages."""
    parts = datasets.parts(name, 0)
    data = {"source": str(parts.folder / "train.csv"), "test": str(parts.folder / "test.csv"), "target": parts.target}
    project = projects.write(folder, name, {"data": data, **sections})
    note = project / "spent.json"
    usage = measure.measure([sys.executable, "-P", TIMED, note, "run", "-C", project])
    return usage, json.loads(note.read_text()), projects.record(project).get("timings", {})


def _iris(folder: Path, times: int) -> tuple[list[dict[str, Any]], list[Claim], list[str]]:
    """Medians of the first run in a new project, the peer's beside it."""
    ours = measure.median([_first_run(folder / "iris") for _ in range(times)])
    theirs = measure.median([_by_hand(folder / "by-hand") for _ in range(times)])
    rows = [_row("keepfit run, iris", ours, None), _row("MLflow + scikit-learn by hand, iris", theirs, None)]
    return rows, [Claim("iris: CPU-s of the whole run", ours.cpu, "<=", IRIS)], []


def _first_run(project: Path) -> Usage:
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "iris", project, ignore=shutil.ignore_patterns(".keepfit"))
    return projects.run(project)


def _by_hand(folder: Path) -> Usage:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return measure.measure([environments.python("mlflow"), PROGRAM, folder], cwd=folder)


def _row(job: str, usage: Usage, share: float | None) -> dict[str, Any]:
    cost = {"CPU s": usage.cpu, "wall s": usage.wall, "others %": 100 * usage.others, "peak MB": usage.peak / 1e6}
    return {"job": job, **cost, "overhead %": None if share is None else 100 * share}
