"""At least AutoGluon's quality at a fifth of its CPU time, on the same rows.

Both sides get the same train.csv and test rows, and are told the same metric. AutoGluon runs its
preset `medium_quality` with a budget of 60 s. keepfit runs `model.type: auto` as it comes, and is
charged for all of `keepfit run` (checks, tracking, packaging, parity, gate) and for `keepfit predict`
on the test rows. The difference is judged by a paired bootstrap of the test rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import datasets, environments, measure, projects
from benchmarks.datasets import Parts
from benchmarks.results import Claim, Options, Result

PROMISE = "at least AutoGluon medium_quality at 60 s, for at most 1/5 of its CPU time"
SECONDS, SHARE, RESAMPLES = 60, 0.2, 1000
PROGRAM = Path(__file__).with_name("peers") / "autogluon_tabular.py"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """What one side made of one split: predicted values or probabilities of the second class, CPU seconds."""

    predicted: Floats
    cpu: float
    wall: float
    others: float
    note: str


def run(options: Options) -> Result:
    """Both sides on every data set, metric and seed that was asked for."""
    rows: list[dict[str, Any]] = []
    for name in wanted(options.only):
        official = datasets.SOURCES[name].test is not None
        for seed in range(1 if official else options.seeds):
            parts = datasets.parts(name, seed)
            rows += [row for metric in parts.metrics if (row := compare(parts, metric, options))]
    return Result("quality", PROMISE, tuple(rows), tuple(claims(rows)))


def wanted(only: Sequence[str]) -> Sequence[str]:
    """The data sets that were asked for. Exits, before anything is run or kept, when one is not known.

    >>> wanted(["telco"])
    ['telco']
    """
    unknown = [name for name in only if name not in datasets.SOURCES]
    if unknown:
        raise SystemExit(f"--only: no data set is called {', '.join(unknown)}; known: {', '.join(datasets.SOURCES)}")
    return only or tuple(datasets.SOURCES)


def compare(parts: Parts, metric: str, options: Options) -> dict[str, Any] | None:
    """One row of the table: the two scores, their difference with its interval, and the CPU seconds."""
    theirs = peer(parts, metric, options.peer)
    if options.peer == "only":
        return None
    ours = keepfit(parts, metric)
    truth = target(parts)
    scores = [SCORES[metric](truth, side.predicted) for side in (ours, theirs)]
    gain, low, high = difference(metric, truth, ours.predicted, theirs.predicted)
    row = {"data": parts.name, "seed": parts.seed, "metric": metric, "rows": len(truth)}
    row |= {"keepfit": scores[0], "autogluon": scores[1], "gain": gain, "low": low, "high": high}
    row |= {"keepfit cpu": ours.cpu, "autogluon cpu": theirs.cpu, "cpu ratio": ours.cpu / theirs.cpu}
    row |= {"keepfit wall": ours.wall, "autogluon wall": theirs.wall}
    return {**row, "others %": 100 * max(ours.others, theirs.others), "kept | fitted": f"{ours.note} | {theirs.note}"}


def peer(parts: Parts, metric: str, how: str) -> Side:
    """AutoGluon's side; with `cached`, what an earlier run on the same files has left."""
    name = f"{environments.label('autogluon')}-{metric}-{SECONDS}"
    output = parts.folder / name
    cost = parts.folder / f"{name}.cost.json"
    if not (how in ("cached", "only") and cost.exists()):
        command: measure.Command = [
            environments.python("autogluon"),
            PROGRAM,
            parts.folder,
            parts.target,
            metric,
            str(SECONDS),
            output,
        ]
        usage = measure.measure(command, cwd=parts.folder)
        cost.write_text(json.dumps({"cpu": usage.cpu, "wall": usage.wall, "peak": usage.peak, "others": usage.others}))
    spent = json.loads(cost.read_text())
    models = json.loads(output.with_suffix(".json").read_text())["models"]
    predicted = answers(output.with_suffix(".csv"), classes(parts), "{}")
    return Side(predicted, spent["cpu"], spent["wall"], spent["others"], f"{len(models)} models")


def keepfit(parts: Parts, metric: str) -> Side:
    """keepfit's side, in a project of its own that is made anew."""
    data = {"source": "../train.csv", "test": "../test.csv", "target": parts.target}
    sections = {"data": data, "model": {"type": "auto"}, "tuning": {"metric": metric, "time_budget": SECONDS}}
    project = projects.write(parts.folder / f"keepfit-{metric}", parts.name, sections)
    output = project / "predictions.csv"
    trained, scored = projects.run(project), projects.predict(project, parts.folder / "rows.csv", output)
    predicted = answers(output, classes(parts), "probability_{}")
    fitted = projects.record(project)["leaderboard"]
    kept = sum(line["weight"] > 0 for line in fitted)
    note = f"{kept} of {len(fitted)} models"
    return Side(predicted, trained.cpu + scored.cpu, trained.wall + scored.wall, trained.others, note)


def answers(path: Path, labels: Sequence[str], column: str) -> Floats:
    """Predicted values, or probabilities of the second of two labels, from a side's CSV file."""
    wanted = column.format(labels[1]) if labels else "prediction"
    with path.open(newline="", encoding="utf-8") as file:
        return np.array([float(row[wanted]) for row in csv.DictReader(file)])


def classes(parts: Parts) -> list[str]:
    """The sorted labels of the training rows; [] for regression."""
    if parts.regression:
        return []
    return sorted({row[parts.target] for row in _rows(parts.folder / "train.csv")})


def target(parts: Parts) -> Floats:
    """The truth of the test rows: values, or 1 for the second label and 0 for the first."""
    found, labels = [row[parts.target] for row in _rows(parts.folder / "test.csv")], classes(parts)
    return np.array([float(value == labels[1]) if labels else float(value) for value in found])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def roc_auc(truth: Floats, probability: Floats) -> float:
    """Area under the ROC curve from ranks; ties count half (Hanley and McNeil 1982).

    >>> roc_auc(np.array([0., 0., 1., 1.]), np.array([.1, .4, .35, .8]))
    0.75
    """
    _, inverse, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = truth.sum()
    return float((ranks[truth == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones)))


def log_loss(truth: Floats, probability: Floats) -> float:
    """Mean negative log likelihood, in nats; probabilities are kept off 0 and 1 by float64's epsilon."""
    kept = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
    return float(-np.mean(truth * np.log(kept) + (1 - truth) * np.log1p(-kept)))


def rmse(truth: Floats, predicted: Floats) -> float:
    """Root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(np.mean((truth - predicted) ** 2)))


SCORES: Mapping[str, Callable[[Floats, Floats], float]] = {"roc_auc": roc_auc, "log_loss": log_loss, "rmse": rmse}
BETTER = {"roc_auc": 1, "log_loss": -1, "rmse": -1}  # the sign of progress


def difference(metric: str, truth: Floats, ours: Floats, theirs: Floats) -> tuple[float, float, float]:
    """How much better we are (above 0: better), with the 95 % interval of a paired bootstrap of the rows."""
    score, sign = SCORES[metric], BETTER[metric]

    def gain(rows: NDArray[np.intp]) -> float:
        return sign * (score(truth[rows], ours[rows]) - score(truth[rows], theirs[rows]))

    random = np.random.default_rng(0)
    drawn = [gain(random.integers(0, len(truth), len(truth))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return gain(np.arange(len(truth))), float(low), float(high)


def claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Per data set and metric: the mean gain over the seeds, and the share of CPU time over all its runs."""
    found = []
    for name, metric in dict.fromkeys((row["data"], row["metric"]) for row in rows):
        mine = [row for row in rows if (row["data"], row["metric"]) == (name, metric)]
        gain = float(np.mean([row["gain"] for row in mine]))
        starved = max(row["others %"] for row in mine) > 100 * measure.BUSY
        noise = any(row["low"] <= 0 <= row["high"] for row in mine)
        ratio = sum(row["keepfit cpu"] for row in mine) / sum(row["autogluon cpu"] for row in mine)
        found.append(Claim(f"{name}: gain in {metric} over AutoGluon", gain, ">=", 0.0, noise, starved))
        found.append(
            Claim(f"{name}: CPU time told {metric}, share of AutoGluon's", ratio, "<=", SHARE, disturbed=starved)
        )
    return found
