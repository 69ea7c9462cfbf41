"""Text: raw file to evaluated model on the 50,000 IMDB reviews with their official split.

keepfit runs `examples/imdb_sentiment` as it stands and is charged for the whole command; nothing is
chosen on the test rows. The accuracy is counted here, from what `keepfit predict` writes. The peer is
what most people start with: scikit-learn's TF-IDF of words and bigrams with logistic regression.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sys
from pathlib import Path

from benchmarks import datasets, measure, projects
from benchmarks.environments import ROOT, WORK
from benchmarks.results import Claim, Options, Result

PROMISE = "accuracy of at least 92.0 % on the official test set, in at most 40 CPU-seconds"
ACCURACY, SECONDS = 0.92, 40.0
PROGRAM = Path(__file__).with_name("peers") / "sklearn_text.py"


def run(options: Options) -> Result:
    """Both sides once; keepfit's prediction of the test rows is shown for itself."""
    folder = WORK / "imdb"
    train, test = files(folder)
    project = folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "imdb_sentiment", project, ignore=shutil.ignore_patterns(".keepfit"))
    env = {"KEEPFIT_DATA": os.fspath(datasets.root().resolve())}
    output = folder / "predictions.csv"
    trained, scored = projects.run(project, env), projects.predict(project, test, output, env)
    theirs = measure.measure([sys.executable, PROGRAM, train, test])
    accuracy = agreement(test, output)
    peer: float = json.loads(theirs.text.splitlines()[-1])["accuracy"]
    rows = [
        _row("keepfit run", trained, accuracy),
        _row("keepfit predict, 25,000 reviews", scored, None),
        _row("scikit-learn TF-IDF(1,2) + LogReg", theirs, peer),
    ]
    claims = (
        Claim("accuracy on the official test set", accuracy, ">=", ACCURACY),
        Claim("CPU-s from raw file to evaluated model", trained.cpu, "<=", SECONDS),
        Claim("accuracy above scikit-learn's", accuracy - peer, ">=", 0.0),
    )
    return Result("imdb", PROMISE, tuple(rows), claims)


def files(folder: Path) -> tuple[Path, Path]:
    """train.csv and test.csv (text, label) of the official split, for the peer and for `predict`."""
    source = datasets.root() / "imdb" / "imdb_reviews.csv.gz"
    if not source.exists():
        raise datasets.NoDataError(f"{source.name} is not there: examples/imdb_sentiment/README.md says how to get it")
    folder.mkdir(parents=True, exist_ok=True)
    csv.field_size_limit(10_000_000)
    rows: dict[str, list[list[str]]] = {"train": [], "test": []}
    with gzip.open(source, "rt", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["split"]].append([row["text"], row["label"]])
    for part, found in rows.items():
        datasets.write(folder / f"{part}.csv", ["text", "label"], found)
    return folder / "train.csv", folder / "test.csv"


def agreement(truth: Path, predicted: Path) -> float:
    """Share of rows whose `prediction` is the `label` of the same row."""
    with truth.open(newline="", encoding="utf-8") as left, predicted.open(newline="", encoding="utf-8") as right:
        pairs = zip(csv.DictReader(left), csv.DictReader(right), strict=True)
        same = [bool(row["label"] == answer["prediction"]) for row, answer in pairs]
    return sum(same) / len(same)


def _row(side: str, usage: measure.Usage, accuracy: float | None) -> dict[str, object]:
    cost = {"CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6}
    return {"side": side, "accuracy %": None if accuracy is None else 100 * accuracy, **cost}
