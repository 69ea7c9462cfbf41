"""keepfit's side of `monitoring-speed`, in a process of its own.

python -m benchmarks.counting FOLDER               counts FOLDER/1-window-0.parquet and tests it for drift
python -m benchmarks.counting FOLDER 1000000 …     a stream of made rows: memory at each of these counts

FOLDER/reference.json is what training wrote, FOLDER/schema.json its Schema. One JSON document on stdout.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # as `keepfit monitor` does

import numpy as np

from keepfit.features.values import Coded, Columns
from keepfit.monitoring import counts, drift, files, reference
from keepfit.types import Schema, read

BATCH = 1 << 16
LEVEL, LEAST = 0.001, 0.005  # any will do: both are compared after the work is done


def main(folder: Path, sizes: list[int]) -> None:
    known = reference.of_plain(json.loads((folder / "reference.json").read_bytes()))
    schema = read(Schema, json.loads((folder / "schema.json").read_bytes()))
    if sizes:
        print(json.dumps(streamed(known, schema, sizes)))
        return
    found = counts_of(folder, known, schema)
    rows = drift.ranked(known, found, LEVEL, LEAST)
    print(
        json.dumps(
            {"rows": found.rows, "columns": len(rows), "failed": [r["name"] for r in rows if r["outcome"] == "failed"]}
        )
    )


def counts_of(folder: Path, known: reference.Reference, schema: Schema) -> counts.Counts:
    return files.of_file(folder / "1-window-0.parquet", known, schema)


def streamed(known: reference.Reference, schema: Schema, sizes: list[int]) -> list[dict[str, Any]]:
    """Memory and time after so many rows."""
    count, found, told = counts.counter(known, schema), counts.NONE, []
    for columns in made(schema, max(sizes)):
        found = counts.merge(found, count(columns, {}, None))
        if found.rows in sizes:
            now = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1]) / 1e6
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            told.append({"rows": found.rows, "MB now": now, "peak MB": peak, "CPU s": time.process_time()})
    return told


def made(schema: Schema, rows: int) -> Iterator[Columns]:
    """Rows of numbers and categories, each batch drawn anew; batches end at every million."""
    draw = np.random.default_rng(0)
    levels = [f"level {n}" for n in range(30)]
    done = 0
    while done < rows:
        size = min(BATCH, 1_000_000 - done % 1_000_000, rows - done)
        values = {
            column.name: draw.normal(40, 15, size)
            if column.role == "number"
            else Coded(draw.integers(-1, 30, size, np.int32), levels)
            for column in schema.inputs
        }
        yield Columns(values, size)
        done += size


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
