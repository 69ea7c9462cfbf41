"""Monitoring a million rows of 15 columns, beside Evidently's drift preset; and rows without end in constant memory.

Both sides read the same Parquet files. keepfit has counted the reference when it trained; Evidently's
way is to read the reference rows each time. A test of drift for each column, no plots, no report.

`--only 100000000` streams so many rows instead of ten million: about two minutes of CPU time more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import datasets, environments, measure
from benchmarks.environments import ROOT, WORK
from benchmarks.measure import CommandError, Usage
from benchmarks.results import Claim, Options, Result
from keepfit.features.frame import from_frame
from keepfit.models.fitted import Output
from keepfit.monitoring import reference
from keepfit.types import Column, Schema, plain

PROMISE = "a million rows × 15 columns at 1/30 of the CPU time and 1/10 of the memory of Evidently's drift preset"
KNOWN, ROWS, STREAM = 50_000, 1_000_000, 10_000_000
FASTER, SMALLER, FLAT = 30, 0.1, 1.05
PEER = Path(__file__).with_name("peers") / "drift_evidently.py"


def run(options: Options) -> Result:
    """keepfit: the median of `options.runs`; the peer once."""
    folder = WORK / "monitoring-speed"
    prepare(folder)
    mine = [sys.executable, "-m", "benchmarks.counting", folder]
    keepfit = measure.repeat(mine, options.runs, ROOT)
    if json.loads(keepfit.text)["rows"] != ROWS:
        raise CommandError(f"{ROWS:,} rows went in and these came out:\n{keepfit.text}")
    peer = measure.measure([environments.python("evidently"), PEER, folder], ROOT)
    sizes = [ROWS, int(options.only[0]) if options.only else STREAM]
    stream = json.loads(measure.measure([*mine, *map(str, sizes)], ROOT).text)
    rows = [_row("keepfit", keepfit), _row(environments.PEERS["evidently"][0], peer)]
    rows += [{"side": "keepfit, stream", **told} for told in stream]
    claims = (
        Claim("times less CPU time", peer.cpu / keepfit.cpu, ">=", FASTER),
        Claim("share of the memory", keepfit.peak / peer.peak, "<=", SMALLER),
        Claim(f"memory at {sizes[-1]:,} rows over that at {ROWS:,}", grown(stream), "<=", FLAT),
    )
    return Result("monitoring-speed", PROMISE, tuple(rows), claims)


def _row(side: str, usage: Usage) -> dict[str, Any]:
    return {"side": side, "rows": ROWS, "CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6}


def grown(stream: list[dict[str, Any]]) -> float:
    """The largest memory by the end, over that at the first count.

    >>> grown([{"peak MB": 100.0}, {"peak MB": 103.0}])
    1.03
    """
    return float(stream[-1]["peak MB"] / stream[0]["peak MB"])


def prepare(folder: Path) -> None:
    """Census rows, drawn again and again: the reference's, and a window. What keepfit knows of the former."""
    if (folder / "reference.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    source = datasets.SOURCES["adult"]
    header, rows = datasets.read(datasets.root() / source.file, source.header)
    frame = pl.DataFrame(rows, schema=header, orient="row")
    whole = [name for name in header if frame[name].str.contains(r"^-?\d+$").all()]
    frame = frame.with_columns(pl.col(whole).cast(pl.Int64))
    draw = np.random.default_rng(0)
    known, window = (frame[draw.integers(0, len(frame), size)] for size in (KNOWN, ROWS))
    known.write_parquet(folder / "1-reference.parquet")
    window.write_parquet(folder / "1-window-0.parquet")
    columns = tuple(Column(name, "number" if name in whole else "category") for name in header)
    schema = Schema(columns, "regression")
    (folder / "schema.json").write_text(json.dumps(plain(schema)))
    values = from_frame(known.with_columns(pl.col(whole).cast(pl.Float64)), schema)
    nothing = np.zeros(len(known))  # no model is asked here
    told = reference.plain(reference.make(values, values, schema, Output(nothing), nothing))
    (folder / "reference.json").write_text(json.dumps(told))
