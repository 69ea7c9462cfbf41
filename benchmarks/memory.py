"""Ten million rows of Parquet scored in under 1 GB: the largest resident memory of the process tree."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import datasets, projects, scoring
from benchmarks.environments import WORK
from benchmarks.measure import CommandError
from benchmarks.results import Claim, Options, Result

PROMISE = "a 10-million-row Parquet file in under 1 GB of memory"
ROWS, GIGABYTE = 10_000_000, 1e9
GROUP = 1_000_000  # rows of a row group, as many writers make them


def run(options: Options) -> Result:
    """A tenth of the rows first: constant memory shows as two like figures."""
    folder = WORK / "scoring"
    project, _ = scoring.models(folder)
    size = int(options.only[0]) if options.only else ROWS
    rows = [_score(project, parquet(folder, count)) for count in (size // 10, size)]
    claim = Claim(f"peak memory of {size:,} rows, bytes", rows[-1]["peak MB"] * 1e6, "<=", GIGABYTE)
    return Result("memory", PROMISE, tuple(rows), (claim,))


def _score(project: Path, source: Path) -> dict[str, Any]:
    output = source.with_name(f"{source.stem}-out.parquet")
    usage = projects.predict(project, source, output)
    asked, answered = (pq.ParquetFile(path).metadata.num_rows for path in (source, output))
    if asked != answered:
        raise CommandError(f"{asked:,} rows went in and {answered:,} came out")
    size = source.stat().st_size / 1e6
    cost = {"CPU s": usage.cpu, "wall s": usage.wall, "peak MB": usage.peak / 1e6}
    return {"rows": asked, "file MB": size, **cost, "rows/s": asked / usage.wall}


def parquet(folder: Path, size: int) -> Path:
    """A Parquet file of `size` census rows, the real ones over and over, numbers as integers."""
    path = folder / f"rows-{size}.parquet"
    if path.exists():
        return path
    with (datasets.parts("adult", 0).folder / "rows.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    once = pa.table({name: _column(values) for name, values in zip(header, zip(*rows, strict=True), strict=True)})
    block = pa.concat_tables([once] * -(-GROUP // len(rows))).combine_chunks()
    with pq.ParquetWriter(path, block.schema) as writer:
        for start in range(0, size, GROUP):
            writer.write_table(block.slice(0, min(GROUP, size - start)), row_group_size=GROUP)
    return path


def _column(values: tuple[str, ...]) -> pa.Array:
    numbers = all(value.lstrip("-").isdigit() for value in values)
    return pa.array([int(v) for v in values] if numbers else values)
