"""The real data sets, split once into the train.csv and test.csv that both sides get.

The cells are copied as text, so neither side gets cleaner values than the other.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT, WORK

ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
Rows = list[list[str]]


class NoDataError(RuntimeError):
    """The data sets are not on this machine."""


@dataclass(frozen=True)
class Source:
    """Where a data set lies, its target, and what to call good: the metrics that both sides are told."""

    file: str
    target: str
    metrics: tuple[str, ...]
    test: str | None = None  # an official test set
    header: tuple[str, ...] | None = None


SOURCES = {
    "telco": Source("telco_churn/Telco-Customer-Churn.csv", "Churn", ("roc_auc", "log_loss")),
    "adult": Source("adult_income/adult.data", "income", ("roc_auc", "log_loss"), "adult_income/adult.test", ADULT),
    "california": Source("california_housing/housing.csv", "median_house_value", ("rmse",)),
    "king_county": Source("king_county_houses/kc_house_data.csv", "price", ("rmse",)),
}


@dataclass(frozen=True)
class Parts:
    """The files of one split: train.csv, test.csv (with the target) and rows.csv (test without the target)."""

    name: str
    seed: int
    folder: Path
    target: str
    metrics: tuple[str, ...]

    @property
    def regression(self) -> bool:
        return self.metrics == ("rmse",)


def root() -> Path:
    """The folder of the data sets. Raises NoDataError that says how to name it."""
    folder = Path(os.environ.get("KEEPFIT_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise NoDataError(
            "no real data sets on this machine: set KEEPFIT_DATA to their folder (examples/ say where from)"
        )
    return folder


def parts(name: str, seed: int, share: float = 0.2) -> Parts:
    """Both sides' files of one data set; the official test set, or `share` of the rows by `seed`."""
    source = SOURCES[name]
    header, train, test = split(source, seed, share)
    at = header.index(source.target)
    folder = WORK / "data" / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.csv", header, train)
    write(folder / "test.csv", header, test)
    write(folder / "rows.csv", header[:at] + header[at + 1 :], [row[:at] + row[at + 1 :] for row in test])
    return Parts(name, seed, folder, source.target, source.metrics)


def split(source: Source, seed: int, share: float) -> tuple[list[str], Rows, Rows]:
    """Header, training rows and test rows."""
    header, rows = read(root() / source.file, source.header)
    if source.test:
        _, test = read(root() / source.test, source.header)
        for row in test:
            row[-1] = row[-1].rstrip(".")  # adult's test file writes ">50K."
        return header, rows, test
    random.Random(seed).shuffle(rows)
    cut = round(len(rows) * share)
    return header, rows[cut:], rows[:cut]


def read(path: Path, header: Sequence[str] | None) -> tuple[list[str], Rows]:
    """Header and rows of a CSV file, all as text. Raises NoDataError where the file is not there."""
    if not path.exists():
        raise NoDataError(
            f"{path.name} is not in the folder of data sets: the README of its example says how to get it"
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=header is not None) if row]
    return (list(header), rows) if header else (rows[0], rows[1:])


def write(path: Path, header: Sequence[str], rows: Rows) -> None:
    """A CSV file, renamed when it is whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    partial.replace(path)
