"""Batch scoring beside `mlflow models predict --env-manager local`, and the time to a first answer.

The model is a logistic regression on the census data, as keepfit's bundle and as two MLflow models:
keepfit's own, as it was registered (the very same model), and a scikit-learn pipeline saved in the
ordinary way. All read the same CSV file; keepfit's Parquet in and out, which `mlflow models predict`
does not know, stands beside it. Rows per second are of the whole process, wall clock; net of start-up, taken from a
file of one row, they stand beside it. Sides take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks import datasets, environments, measure, projects
from benchmarks.environments import WORK
from benchmarks.measure import Usage
from benchmarks.results import Claim, Options, Result

PROMISE = "first prediction of a fresh process in 0.5 s; 20 x the rows per second of mlflow models predict"
FIRST, RATIO = 0.5, 20.0
SIZES = (1_000, 50_000, 500_000)
FEW = 50_000  # beyond so many rows one run is enough
OURS = "keepfit predict"
PEERS = Path(__file__).with_name("peers")
LOAD = """
import json, sys
from pathlib import Path
from keepfit.deployment import runtime
print(runtime.load(Path(sys.argv[1])).rows([json.loads(sys.argv[2])])[0].values[0])
"""
LOAD_PEER = """
import json, sys
import mlflow, pandas
row = json.loads(sys.argv[2])
frame = pandas.DataFrame({k: [int(v) if v.isdigit() else v] for k, v in row.items()})
print(mlflow.pyfunc.load_model(sys.argv[1]).predict(frame)[0])
"""
Score = Callable[[Path, Path], Usage]


def run(options: Options) -> Result:
    """The first prediction, then every size on every side."""
    folder = WORK / "scoring"
    project, pipeline = models(folder)
    sides: dict[str, Score] = {
        OURS: lambda rows, out: projects.predict(project, rows, out.with_suffix(".csv")),
        f"{OURS}, Parquet": lambda rows, out: projects.predict(project, parquet(rows), out.with_suffix(".parquet")),
        "MLflow, keepfit's model": lambda rows, out: _mlflow(Path(sys.executable), registered(project), rows, out),
        "MLflow, scikit-learn pipeline": lambda rows, out: _mlflow(environments.python("mlflow"), pipeline, rows, out),
    }
    firsts = first(project, pipeline, options.runs)
    sizes = tuple(int(size) for size in options.only) or SIZES
    costs = {size: turns(sides, copies(folder, size), options.runs if size <= FEW else 1) for size in (1, *sizes)}
    rows = [row for size in sizes for row in throughput(size, costs[size], costs[1])]
    claims = [Claim("bundle load to first prediction, fresh process, wall s", firsts[0]["wall s"], "<=", FIRST)]
    for row in rows:
        if not row["side"].startswith(OURS):
            claims.append(Claim(f"{row['rows']:,} rows/s over {row['side']}, whole process", row["ratio"], ">=", RATIO))
    return Result("scoring", PROMISE, (*firsts, *rows), tuple(claims))


def models(folder: Path) -> tuple[Path, Path]:
    """keepfit's project with a champion, and the folder of the peer's MLflow model."""
    parts = datasets.parts("adult", 0)
    data = {"source": str(parts.folder / "train.csv"), "test": str(parts.folder / "test.csv"), "target": parts.target}
    sections = {"data": data, "model": {"type": "logistic_regression"}, "tuning": {"trials": 0}}
    project = projects.write(folder / "project", "scoring", sections)
    projects.run(project)
    pipeline = folder / "pipeline"
    if not pipeline.exists():
        program = PEERS / "mlflow_adult.py"
        train = parts.folder / "train.csv"
        measure.measure([environments.python("mlflow"), program, train, parts.target, pipeline])
    return project, pipeline


def registered(project: Path) -> Path:
    """The folder of the MLflow model that keepfit registered."""
    found = sorted((project / ".keepfit" / "artifacts").rglob("MLmodel"))
    if not found:
        raise measure.CommandError("keepfit run has registered no MLflow model in .keepfit/artifacts")
    return found[-1].parent


def first(project: Path, pipeline: Path, times: int) -> list[dict[str, Any]]:
    """From the start of a fresh process to its first prediction, each side with its own model."""
    with (datasets.parts("adult", 0).folder / "rows.csv").open(newline="", encoding="utf-8") as file:
        row = json.dumps(next(csv.DictReader(file)))
    commands: dict[str, measure.Command] = {
        "keepfit, first prediction": [sys.executable, "-c", LOAD, projects.bundle(project), row],
        "MLflow pyfunc, first prediction": [environments.python("mlflow"), "-c", LOAD_PEER, pipeline, row],
    }
    found = []
    for side, command in commands.items():
        usage = measure.repeat(command, max(times, 5))
        found.append({"rows": 1, "side": side, "CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6})
    return found


def turns(sides: Mapping[str, Score], rows: Path, times: int) -> dict[str, Usage]:
    """Medians of each side on one file, the sides taking turns."""
    found: dict[str, list[Usage]] = {side: [] for side in sides}
    for _ in range(times):
        for number, (side, score) in enumerate(sides.items()):
            found[side].append(score(rows, rows.with_name(f"{rows.stem}-out-{number}")))
    return {side: measure.median(usages) for side, usages in found.items()}


def throughput(size: int, costs: Mapping[str, Usage], starts: Mapping[str, Usage]) -> list[dict[str, Any]]:
    """A row a side: rows per second, whole and net of start-up, and how many times keepfit's is theirs."""
    ours, ours_start = costs[OURS], starts[OURS]
    rows = []
    for side, cost in costs.items():
        used = {"CPU s": cost.cpu, "wall s": cost.wall, "peak MB": cost.peak / 1e6}
        mine, theirs = net(size, ours, ours_start), net(size, cost, starts[side])
        ratios = {"ratio": cost.wall / ours.wall, "CPU ratio": cost.cpu / ours.cpu}
        row = {"rows": size, "side": side, **used, "rows/s": size / cost.wall, "net rows/s": theirs, **ratios}
        rows.append({**row, "net ratio": mine / theirs if mine and theirs else None})
    return rows


def net(size: int, cost: Usage, start: Usage) -> float | None:
    """Rows per second when the start-up is taken off; None where the difference drowns in it."""
    seconds = cost.wall - start.wall
    return size / seconds if seconds > 0.05 * start.wall else None


def copies(folder: Path, size: int) -> Path:
    """A CSV file of `size` census rows, the real ones over and over."""
    path = folder / f"rows-{size}.csv"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (datasets.parts("adult", 0).folder / "rows.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        datasets.write(path, header, list(itertools.islice(itertools.cycle(rows), size)))
    return path


def parquet(rows: Path) -> Path:
    """The same rows as Parquet, written once."""
    path = rows.with_suffix(".parquet")
    if not path.exists():
        pq.write_table(pyarrow.csv.read_csv(rows), path)
    return path


def _mlflow(python: Path, model: Path, rows: Path, output: Path) -> Usage:
    command: list[str | Path] = [python.with_name("mlflow"), "models", "predict", "-m", model, "-i", rows, "-t", "csv"]
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts `python` by name
    told = [*command, "--env-manager", "local", "-o", output.with_suffix(".json")]
    return measure.measure(told, cwd=rows.parent, env={"PATH": path})
