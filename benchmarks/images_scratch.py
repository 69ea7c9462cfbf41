"""Pictures without any pretrained network: raw files to evaluated model on the 70,000 of Fashion-MNIST.

keepfit finds the official test set beside the training pictures and is charged for the whole command. `model.type`
is "auto"; what was chosen about the network (its layers, epochs, rate) was chosen on held-back training rows.
The accuracy is counted here, from what `keepfit predict` writes for the 10,000 test pictures. The data set's own
README names what others reach: 91.6 % with two convolutions, 92.6 % with three and two dense layers.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import datasets, measure, projects
from benchmarks.environments import WORK
from benchmarks.overhead import TIMED
from benchmarks.results import Claim, Options, Result

PROMISE = "accuracy of at least 92.0 % on the official test set, from scratch in at most 15 CPU-minutes"
ACCURACY, SECONDS = 0.92, 900.0
FOLDER = "fashion_mnist"
PICTURES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
HEAD = 8  # bytes of an IDX file before its labels
SECTIONS: dict[str, Any] = {"tuning": {"time_budget": 3600, "cv": 10}}  # a tenth is held back, not a fifth


def run(options: Options) -> Result:
    """One run, and one prediction of the test pictures."""
    source = datasets.root().resolve() / FOLDER
    if not (source / PICTURES).exists():
        raise datasets.NoDataError(f"{FOLDER} is not in the folder of data sets: {PICTURES} and its three neighbours")
    data = {"source": os.fspath(source), "target": "label"}
    project = projects.write(WORK / "images-scratch", "fashion-mnist", {"data": data, **SECTIONS})
    note, output = project / "spent.json", project / "predictions.csv"
    trained = measure.measure([sys.executable, "-P", TIMED, note, "run", "-C", project])
    scored = projects.predict(project, source / PICTURES, output)
    accuracy = agreement(source / LABELS, output)
    rows = [
        _row("keepfit run, 60,000 + 10,000 pictures", trained, accuracy),
        _row("keepfit predict, 10,000 pictures", scored, None),
    ]
    claims = (
        Claim("accuracy on the official test set", accuracy, ">=", ACCURACY),
        Claim("CPU-s from raw files to evaluated model", trained.cpu, "<=", SECONDS),
    )
    return Result("images-scratch", PROMISE, tuple(rows), claims, notes=_parts(project, trained.cpu, note))


def agreement(labels: Path, predicted: Path) -> float:
    """Share of pictures whose `prediction` is their label."""
    with gzip.open(labels) as file:
        truth = file.read()[HEAD:]
    with predicted.open(newline="", encoding="utf-8") as file:
        said = [answer["prediction"] for answer in csv.DictReader(file)]
    same = [str(label) == answer for label, answer in zip(truth, said, strict=True)]
    return sum(same) / len(same)


def _parts(project: Path, total: float, note: Path) -> tuple[str, ...]:
    """Where the CPU seconds went, and what was tried."""
    spent: dict[str, float] = json.loads(note.read_text())
    told = {**spent, "the rest": total - sum(spent.values()), **projects.record(project).get("timings", {})}
    board = json.loads((projects.bundle(project) / "bundle.json").read_text())["report"]["leaderboard"]
    tried = [f"{line['name']} {line['score']:.4g} ({line['seconds']:.0f} s)" for line in board]
    return f"CPU-s: {', '.join(f'{k} {v:.1f}' for k, v in told.items())}", f"tried: {', '.join(tried)}"


def _row(side: str, usage: measure.Usage, accuracy: float | None) -> dict[str, object]:
    cost = {"CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6}
    return {"side": side, "accuracy %": None if accuracy is None else 100 * accuracy, **cost}
