"""Changes planted into rows of adult_income and telco_churn, as text, and what a right answer to each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import datasets
from benchmarks.datasets import SOURCES, Rows

Random = np.random.Generator
Change = Callable[["Planted", Rows, Random], Rows]
MISSING = ""
EMPTIED = 0.04  # of the rows of a column that is complete


@dataclass(frozen=True)
class Planted:
    """A data set, where its changes are planted, and how many rows: `train` to train on, `step` between passes.

    `scaled` and `shifted` are numbers, `named` a category, `emptied` a column with missing values, `joined`
    columns that come from another table.
    """

    name: str
    header: tuple[str, ...]
    target: str
    train: int
    step: int
    scaled: str
    shifted: str
    named: str
    emptied: str
    joined: tuple[str, ...]
    complete: bool = False  # `emptied` has no missing values: some are made, in training too

    def at(self, column: str) -> int:
        return self.header.index(column)


@dataclass(frozen=True)
class Case:
    """A change; `columns` are those that it touches, of which one should be named first. None of them: the labels.

    `poison` is what no model should learn.
    """

    change: Change
    columns: Callable[[Planted], Sequence[str]]
    poison: bool = False


def data(name: str) -> tuple[Planted, Rows]:
    """A data set with all its rows; what marks a missing value is empty."""
    source = SOURCES[name]
    header, rows = datasets.read(datasets.root() / source.file, source.header)
    about = PLANTED[name] | {"header": tuple(header), "target": source.target}
    made = Planted(name, **about)
    rows = [[MISSING if cell.strip() in ("", "?") else cell for cell in row] for row in rows]
    return made, (_emptied(made, rows, np.random.default_rng(0), EMPTIED) if made.complete else rows)


PLANTED: Mapping[str, Mapping[str, object]] = {
    "adult": {
        "train": 8000, "step": 200, "scaled": "hours-per-week", "shifted": "age", "named": "workclass",
        "emptied": "occupation", "joined": ("education", "education-num", "marital-status", "relationship"),
    },
    "telco": {
        "train": 3500, "step": 100, "scaled": "tenure", "shifted": "MonthlyCharges", "named": "PaymentMethod",
        "emptied": "TotalCharges", "joined": ("Contract", "InternetService", "TechSupport", "tenure"),
        "complete": True,
    },
}  # fmt: skip


# --- changes --------------------------------------------------------------------------------------


def _cells(rows: Rows, at: int, change: Callable[[str], str]) -> Rows:
    return [[*row[:at], change(row[at]), *row[at + 1 :]] for row in rows]


def _nothing(made: Planted, rows: Rows, random: Random) -> Rows:
    return rows


def _scaled(made: Planted, rows: Rows, random: Random) -> Rows:
    return _cells(rows, made.at(made.scaled), lambda cell: f"{float(cell) * 100:g}" if cell else cell)


def _shifted(made: Planted, rows: Rows, random: Random) -> Rows:
    at = made.at(made.shifted)
    more = 0.25 * float(np.std([float(row[at]) for row in rows if row[at]]))
    return _cells(rows, at, lambda cell: f"{float(cell) + more:.0f}" if cell else cell)


def _named(share: float) -> Change:
    def change(made: Planted, rows: Rows, random: Random) -> Rows:
        return _cells(rows, made.at(made.named), lambda cell: "brand new" if random.random() < share else cell)

    return change


def _emptied(made: Planted, rows: Rows, random: Random, share: float) -> Rows:
    return _cells(rows, made.at(made.emptied), lambda cell: MISSING if random.random() < share else cell)


def _tripled(made: Planted, rows: Rows, random: Random) -> Rows:
    """Three times as many missing values as the rows have."""
    at = made.at(made.emptied)
    share = sum(not row[at] for row in rows) / len(rows)
    return _emptied(made, rows, random, 2 * share / (1 - share))


def _flipped(share: float) -> Change:
    def change(made: Planted, rows: Rows, random: Random) -> Rows:
        at = made.at(made.target)
        one, other = sorted({row[at] for row in rows})
        turned = {one: other, other: one}
        return _cells(rows, at, lambda cell: turned[cell] if random.random() < share else cell)

    return change


def _strangers(made: Planted, rows: Rows, random: Random) -> Rows:
    """The joined columns are those of another row: each is spread as ever."""
    order = random.permutation(len(rows))
    places = [made.at(column) for column in made.joined]
    found = [list(row) for row in rows]
    for row, other in zip(found, order, strict=True):
        for place in places:
            row[place] = rows[other][place]
    return found


def _constant(made: Planted, rows: Rows, random: Random) -> Rows:
    """The joined columns are those of one row, whoever asks."""
    places = {made.at(column) for column in made.joined}
    return [[rows[0][i] if i in places else cell for i, cell in enumerate(row)] for row in rows]


def _repeated(made: Planted, rows: Rows, random: Random) -> Rows:
    """A join that doubles: half as many rows, each of them twice."""
    return [row for row in rows[: (len(rows) + 1) // 2] for _ in range(2)][: len(rows)]


CASES: Mapping[str, Case] = {
    "nothing changed": Case(_nothing, lambda made: ()),
    "unit × 100": Case(_scaled, lambda made: (made.scaled,), poison=True),
    "mean + 0.25 sd": Case(_shifted, lambda made: (made.shifted,)),
    "new category, 2 %": Case(_named(0.02), lambda made: (made.named,)),
    "new category, 10 %": Case(_named(0.1), lambda made: (made.named,)),
    "missing × 3": Case(_tripled, lambda made: (made.emptied,)),
    "labels flipped": Case(_flipped(1.0), lambda made: (), poison=True),
    "labels flipped, 30 %": Case(_flipped(0.3), lambda made: (), poison=True),
    "join: other rows": Case(_strangers, lambda made: (), poison=True),
    "join: constant": Case(_constant, lambda made: made.joined, poison=True),
    "join: doubled": Case(_repeated, lambda made: ("rows",), poison=True),
}
