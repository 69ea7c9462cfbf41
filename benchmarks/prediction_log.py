"""What the prediction log costs, in CPU microseconds a row: `python -m benchmarks.prediction_log`.

Rows of 14 columns with two probabilities, as the adult model answers them; the best of five turns.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from keepfit.data import labels, log_read, log_roll
from keepfit.data.log import Line, Writer, open_log
from keepfit.types import Column, Schema

ROWS = 100_000
TURNS = 5
ROW = {
    "age": 39, "workclass": "State-gov", "fnlwgt": 77516, "education": "Bachelors", "education-num": 13,
    "marital-status": "Never-married", "occupation": "Adm-clerical", "relationship": "Not-in-family",
    "race": "White", "sex": "Male", "capital-gain": 2174, "capital-loss": 0, "hours-per-week": 40,
    "native-country": "United-States",
}  # fmt: skip
COLUMNS = tuple(Column(name, "number" if isinstance(value, int) else "category") for name, value in ROW.items())
SCHEMA = Schema(COLUMNS, "classification", "income", ("<=50K", ">50K"))


def lines(log: Writer, keys: list[str]) -> list[Line]:
    now = time.time()
    return [
        Line(key, now, "9f86d081884c7d65", "shop", "/predict", 0.00125, values, "<=50K", 0.93, [0.93, 0.07])
        for key, values in zip(keys, log.inputs([dict(ROW) for _ in keys]), strict=True)
    ]


def cost(work: Callable[[], object], rows: int) -> float:
    """Microseconds of CPU a row."""
    before = time.process_time()
    work()
    return (time.process_time() - before) / rows * 1e6


def written(log: Writer, batch: int) -> tuple[float, float]:
    """The cost of ids and of writing, for batches of so many rows."""
    turns, made = 20_000 // batch, []
    ids = cost(lambda: made.extend(log.ids(batch) for _ in range(turns)), batch * turns)
    batches = [lines(log, keys) for keys in made]
    return ids, cost(lambda: [log.write(rows) for rows in batches], batch * turns)


def main() -> None:
    """One JSON document on stdout."""
    folder = Path(tempfile.mkdtemp(prefix="keepfit-log-"))
    found: dict[str, float] = {}
    try:
        log = open_log(folder / "speed" / "predictions", SCHEMA, "adult", "1")
        for batch in (1, 8, 64):
            turns = [written(log, batch) for _ in range(TURNS)]
            ids, writes = zip(*turns, strict=True)
            found[f"ids, {batch} at once"], found[f"write, {batch} at once"] = min(ids), min(writes)
        log.close()
        predictions = folder / "predictions"
        log = open_log(predictions, SCHEMA, "adult", "1")
        keys = [key for _ in range(ROWS // 1000) for key in _filled(log)]
        log.close()
        found["bytes a row, before rolling"] = sum(p.stat().st_size for p in predictions.rglob("*.ndjson")) / ROWS
        found["read, before rolling"] = cost(lambda: log_read.read(predictions).collect(), ROWS)
        found["roll"] = cost(lambda: log_roll.roll(predictions), ROWS)
        found["read, rolled"] = cost(lambda: log_read.read(predictions).collect(), ROWS)
        entries = [{"id": key, "label": "<=50K"} for key in keys[:20_000]]
        found["feedback, 20,000 at once"] = cost(
            lambda: labels.add(folder / "feedback", predictions, entries), len(entries)
        )
    finally:
        shutil.rmtree(folder)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}, indent=2))


def _filled(log: Writer) -> list[str]:
    keys = log.ids(1000)
    log.write(lines(log, keys))
    return keys


if __name__ == "__main__":
    main()
