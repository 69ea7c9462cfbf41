"""The competitions' own series: `keepfit run` with `model.type: auto`, in the competitions' own figure.

OWA is the mean of sMAPE and MASE, each divided by that of Naive2 (Makridakis, Spiliotis and Assimakopoulos, The
M4 Competition, Int J Forecasting 36, 2020): the last value, of a series that is adjusted for its season first
where the autocorrelation of that lag says so. Both sides are judged on the official last 18 months of M3's 1,428
monthly series and the last 48 hours of M4's 414 hourly ones.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import datasets, projects
from benchmarks.environments import WORK
from benchmarks.results import Claim, Options, Result

PROMISE = "forecasts of the competitions' series: OWA at most 0.81 (M3, monthly) and 0.50 (M4, hourly)"
M3, TRAIN, TEST = "m3_monthly/m3_monthly.csv.gz", "m4_hourly/Hourly-train.csv", "m4_hourly/Hourly-test.csv"
COVERED = (0.88, 0.92)
SMAPE = 13.6  # of M3
Floats = NDArray[np.float64]
Pairs = Iterator[tuple[Floats, Floats]]


def run(options: Options) -> Result:
    """One run of each; `--only m3` or `m4`."""
    rows, claims = [], []
    for name, (sections, pairs, season, limit) in asked(datasets.root().resolve()).items():
        if options.only and name not in options.only:
            continue
        project = projects.write(WORK / "forecasting" / name, name, sections)
        spent = projects.run(project)
        found = {key: one["value"] for key, one in projects.record(project)["metrics"].items()}
        naive = np.mean(
            [figures(known, came, naive2(known, len(came), season), season) for known, came in pairs], axis=0
        )
        owa = (found["smape"] / naive[0] + found["mase"] / naive[1]) / 2
        rows += [
            {"series": name, "by": "Naive2", "sMAPE": naive[0], "MASE": naive[1], "OWA": 1.0},
            {
                "series": name, "by": "keepfit, auto", "sMAPE": found["smape"], "MASE": found["mase"], "OWA": owa,
                "coverage": found["interval_coverage"], "CPU s": spent.cpu, "wall s": spent.wall,
            },
        ]  # fmt: skip
        claims.append(Claim(f"{name}: OWA", owa, "<=", limit))
        claims.append(Claim(f"{name}: share inside of 90 % intervals", found["interval_coverage"], ">=", COVERED[0]))
        claims.append(Claim(f"{name}: share inside of 90 % intervals", found["interval_coverage"], "<=", COVERED[1]))
        claims += [Claim(f"{name}: sMAPE", found["smape"], "<=", SMAPE)] if name == "m3" else []
    return Result("forecasting", PROMISE, tuple(rows), tuple(claims))


def asked(root: Path) -> Mapping[str, tuple[dict[str, Any], Pairs, int, float]]:
    """Config, pairs of history and what came, season and the limit of OWA. Raises NoDataError."""
    for name in (M3, TRAIN, TEST):
        if not (root / name).exists():
            raise datasets.NoDataError(f"not in the folder of data sets: {name}")
    ignored = dict.fromkeys(("ds", "split", "category"), "ignore")
    m3 = {"source": os.fspath(root / M3), "target": "y", "time": "t", "columns": ignored}
    m4 = {"source": os.fspath(root / TRAIN), "test": os.fspath(root / TEST), "target": "value"}
    return {
        "m3": (
            {"task": "forecast", "data": m3, "forecast": {"horizon": 18, "season": 12, "series": ["unique_id"]}},
            long(root / M3), 12, 0.81,
        ),
        "m4": (
            {"task": "forecast", "data": m4, "forecast": {"horizon": 48, "season": [24, 168], "wide": True}},
            wide(root / TRAIN, root / TEST), 24, 0.50,
        ),
    }  # fmt: skip


def long(path: Path) -> Pairs:
    """History and what came of each series of the long table."""
    for _, part in pl.read_csv(path).sort("unique_id", "t").group_by("unique_id", maintain_order=True):
        sides = [part.filter(pl.col("split") == side)["y"].to_numpy() for side in ("train", "test")]
        yield sides[0], sides[1]


def wide(train: Path, test: Path) -> Pairs:
    """The same of two files with a row a series."""
    yield from zip(_rows(train), _rows(test), strict=True)


def _rows(path: Path) -> Iterator[Floats]:
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        next(lines)
        for line in lines:
            yield np.array([float(value) for value in line[1:] if value], np.float64)


# --- Naive2 ---------------------------------------------------------------------------------------


def naive2(known: Floats, steps: int, season: int) -> Floats:
    """The last value, seasonally adjusted by classical multiplicative decomposition where the series is seasonal."""
    if not seasonal(known, season):
        return np.full(steps, known[-1])
    around = np.convolve(known, np.ones(season) / season, "valid")
    trend = (around[1:] + around[:-1]) / 2 if season % 2 == 0 else around
    ratio = known[season // 2 : season // 2 + len(trend)] / trend
    places = (np.arange(len(trend)) + season // 2) % season
    index = np.array([ratio[places == k].mean() for k in range(season)])
    index *= season / index.sum()
    ahead = (len(known) + np.arange(steps)) % season
    return np.asarray(known[-1] / index[(len(known) - 1) % season] * index[ahead])


def seasonal(known: Floats, season: int) -> bool:
    """The competition's test: is the autocorrelation at the season's lag beyond its 90 % limit?"""
    if len(known) < 3 * season:
        return False
    centred = known - known.mean()
    each = np.array([centred[lag:] @ centred[: len(centred) - lag] for lag in range(season + 1)])
    each = each / each[0] if each[0] else np.zeros(season + 1)
    limit = 1.645 / np.sqrt(len(known)) * np.sqrt(1 + 2 * (each[1:season] ** 2).sum())
    return bool(abs(each[season]) > limit)


def figures(known: Floats, came: Floats, said: Floats, season: int) -> tuple[float, float]:
    """sMAPE (percent) and MASE of one series."""
    gap = np.abs(came - said)
    smape = 200 * np.mean(gap / (np.abs(came) + np.abs(said)))
    return float(smape), float(gap.mean() / np.abs(known[season:] - known[:-season]).mean())
