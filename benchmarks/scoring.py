"""Batch scoring beside `mlflow models predict --env-manager local`, and the time to a first answer.

Each of CASES is a model of keepfit's and the same kind of model in the ordinary way: a scikit-learn
pipeline kept by `mlflow.sklearn` (the boosted one with as many LightGBM trees as keepfit's has). The
linear one is scored a third way: keepfit's own bundle as it was registered in MLflow. All read the same
CSV file; keepfit's Parquet in and out, which `mlflow models predict` does not know, stands beside it.
Rows per second are of the whole process, wall clock; net of start-up, taken from a file of one row,
they stand beside it. Sides take turns, so that a busy machine slows both.

`--only` takes names of cases and sizes.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks import datasets, imdb, measure, projects
from benchmarks.environments import WORK
from benchmarks.measure import Usage
from benchmarks.results import Claim, Options, Result
from keepfit.deployment import onnx_file

PROMISE = "first prediction of a fresh process in 0.5 s; 20 x the rows per second of mlflow models predict"
FIRST, RATIO = 0.5, 20.0
FEW = 50_000  # beyond so many rows one run is enough


class Case(NamedTuple):
    """Data set, keepfit's `model` section, what peers/mlflow_pipeline.py calls it, and how many rows are scored."""

    data: str
    model: Mapping[str, Any]
    kind: str
    sizes: tuple[int, ...]


CASES = {
    "adult linear": Case("adult", {"type": "logistic_regression"}, "linear", (1_000, 50_000, 500_000)),
    "adult boosted": Case("adult", {"type": "lightgbm"}, "boosted", (1_000, 50_000, 500_000)),
    "imdb text": Case("imdb", {"type": "auto"}, "text", (1_000, 25_000)),
}
ADULT = CASES["adult linear"]
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
    """The first prediction, then every case with every size on every side."""
    sizes = {int(word) for word in options.only if word.isdigit()}
    names = [word for word in options.only if not word.isdigit()] or list(CASES)
    tables: list[dict[str, Any]] = []
    claims: list[Claim] = []
    for name in names:
        case, folder = CASES[name], WORK / "scoring"
        made = models(folder, case)
        sides = compared(case, *made)
        if case == ADULT:
            tables += first(*made, options.runs)
            claims.append(Claim("load to first prediction, fresh process, wall s", tables[0]["wall s"], "<=", FIRST))
        chosen = [size for size in case.sizes if not sizes or size in sizes]
        files = {size: copies(folder, size, case.data) for size in (1, *chosen)}
        costs = {size: turns(sides, file, options.runs if size <= FEW else 1) for size, file in files.items()}
        for size in chosen:
            rows = throughput(size, costs[size], costs[1])
            tables += [{"model": name, **row} for row in rows]
            peers = [row for row in rows if not row["side"].startswith(OURS)]
            claims += [Claim(f"{name}, {size:,} rows/s over {r['side']}", r["ratio"], ">=", RATIO) for r in peers]
    return Result("scoring", PROMISE, tuple(tables), tuple(claims))


def compared(case: Case, project: Path, pipeline: Path) -> dict[str, Score]:
    """The sides of a case: what scores a CSV file into another."""
    sides: dict[str, Score] = {
        OURS: lambda rows, out: projects.predict(project, rows, out.with_suffix(".csv")),
        f"{OURS}, Parquet": lambda rows, out: projects.predict(project, parquet(rows), out.with_suffix(".parquet")),
        "MLflow, scikit-learn pipeline": lambda rows, out: _mlflow(pipeline, rows, out),
    }
    if case == ADULT:
        sides["MLflow, keepfit's model"] = lambda rows, out: _mlflow(registered(project), rows, out)
    return sides


def models(folder: Path, case: Case = ADULT) -> tuple[Path, Path]:
    """keepfit's project with a champion, and the folder of the peer's MLflow model."""
    train, test, target = _files(folder, case.data)
    data = {"source": str(train), "test": str(test), "target": target}
    project, pipeline = folder / case.kind / "project", folder / case.kind / "pipeline"
    tuning = {} if case.model["type"] == "auto" else {"tuning": {"trials": 0}}
    projects.run(projects.write(project, "scoring", {"data": data, "model": case.model, **tuning}))
    if not pipeline.exists():
        program, trees = PEERS / "mlflow_pipeline.py", map(str, trees_of(projects.bundle(project)))
        measure.measure([sys.executable, program, train, target, pipeline, case.kind, *trees])
    return project, pipeline


def trees_of(bundle: Path) -> list[int]:
    """How many trees each boosted member of a bundle has."""
    graphs = [onnx_file.read(path) for path in sorted((bundle / "models").glob("*.onnx"))]
    nodes = [node for graph in graphs for node in graph.nodes if node.kind == "TreeEnsemble"]
    return [len(node.attributes["tree_roots"]) for node in nodes]


def _files(folder: Path, data: str) -> tuple[Path, Path, str]:
    if data == "imdb":
        folder.mkdir(parents=True, exist_ok=True)
        return *imdb.files(folder / "imdb"), "label"
    parts = datasets.parts(data, 0)
    return parts.folder / "train.csv", parts.folder / "test.csv", parts.target


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
        "MLflow pyfunc, first prediction": [sys.executable, "-c", LOAD_PEER, pipeline, row],
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


def copies(folder: Path, size: int, data: str = "adult") -> Path:
    """A CSV file of `size` rows without the target, the test set's own over and over."""
    path = folder / (f"rows-{size}.csv" if data == "adult" else f"{data}-{size}.csv")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _, test, target = _files(folder, data)
        with test.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        at = header.index(target)
        kept = [row[:at] + row[at + 1 :] for row in (header, *rows)]
        datasets.write(path, kept[0], list(itertools.islice(itertools.cycle(kept[1:]), size)))
    return path


def parquet(rows: Path) -> Path:
    """The same rows as Parquet, written once."""
    path = rows.with_suffix(".parquet")
    if not path.exists():
        pq.write_table(pyarrow.csv.read_csv(rows), path)
    return path


def _mlflow(model: Path, rows: Path, output: Path) -> Usage:
    python = Path(sys.executable)
    command: list[str | Path] = [python.with_name("mlflow"), "models", "predict", "-m", model, "-i", rows, "-t", "csv"]
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts `python` by name
    told = [*command, "--env-manager", "local", "-o", output.with_suffix(".json")]
    return measure.measure(told, cwd=rows.parent, env={"PATH": path})
