"""Planted changes touch what they say that they touch, and the benchmark judges what it sees."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

from benchmarks import monitoring_planted
from benchmarks.monitoring_planted import Told
from benchmarks.planted import CASES, PLANTED, Planted

draw = random.Random(1)
HEADER = ("hours-per-week", "age", "workclass", "occupation", "education", "education-num", "marital-status")
ROWS = [
    [
        str(draw.randrange(20, 60)), str(draw.randrange(17, 90)), draw.choice("ab"), draw.choice(["", "c", "d", "e"]),
        *draw.choice([("x", "1", "s"), ("y", "2", "t")]), draw.choice("kl"), draw.choice([">50K", "<=50K"]),
    ]
    for _ in range(400)
]  # fmt: skip
MADE = Planted("adult", (*HEADER, "relationship", "income"), "income", **PLANTED["adult"])  # type: ignore[arg-type]


def changed(name: str) -> dict[str, float]:
    """Column → share of cells that differ after a change."""
    found = CASES[name].change(MADE, ROWS, np.random.default_rng(0))
    assert len(found) == len(ROWS)
    shares = np.mean(np.array(found) != np.array(ROWS), axis=0)
    return {column: float(share) for column, share in zip(MADE.header, shares, strict=True) if share}


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("nothing changed", {}, {}),
        ("unit × 100", {"hours-per-week": 1.0}, {"hours-per-week": 1.0}),
        ("mean + 0.25 sd", {"age": 1.0}, {"age": 1.0}),
        ("new category, 2 %", {"workclass": 0.005}, {"workclass": 0.05}),
        ("new category, 10 %", {"workclass": 0.06}, {"workclass": 0.15}),
        ("missing × 3", {"occupation": 0.4}, {"occupation": 0.6}),  # a quarter is missing already
        ("labels flipped", {"income": 1.0}, {"income": 1.0}),
        ("labels flipped, 30 %", {"income": 0.2}, {"income": 0.4}),
    ],
)
def test_a_change_of_one_column(name: str, low: dict[str, float], high: dict[str, float]) -> None:
    found = changed(name)
    assert found.keys() == low.keys()
    assert all(low[column] <= share <= high[column] for column, share in found.items())


def test_broken_joins() -> None:
    joined = {"education", "education-num", "marital-status", "relationship"}
    assert set(changed("join: other rows")) == joined
    assert set(changed("join: constant")) == joined
    other = CASES["join: other rows"].change(MADE, ROWS, np.random.default_rng(0))
    place = MADE.at("education")
    assert sorted(row[place] for row in other) == sorted(row[place] for row in ROWS)
    doubled = CASES["join: doubled"].change(MADE, ROWS, np.random.default_rng(0))
    assert [doubled[i] == doubled[i + 1] for i in range(0, 400, 2)] == [True] * 200


def test_promises_can_be_broken() -> None:
    good = {
        ("adult", "nothing changed"): [Told(passes=18)],
        ("adult", "unit × 100"): [Told(rows=200, right=True, lost=0.0)],
    }
    assert [claim.outcome for claim in monitoring_planted.claims(good)] == ["kept"] * 5
    bad = {
        ("adult", "nothing changed"): [Told(passes=18, false=1)],
        ("adult", "unit × 100"): [Told(rows=200, right=False, lost=0.05, learned=7)],
        ("adult", "missing × 3"): [Told()],
    }
    assert [claim.outcome for claim in monitoring_planted.claims(bad)] == ["missed"] * 5
