"""Evidently's report beside that of a monitoring pass, where the extra `evidently` is installed.

A process of its own makes it of a bounded sample, after everything that the pass is for. Whatever
becomes of it, the pass stands.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from keepfit.config import Config
from keepfit.pipeline import folders
from keepfit.types import Bundle, plain

ROWS = 10_000  # of the training rows and of the log, at most
SECONDS = 120
KEPT = 20  # reports; each has several megabytes
COMMAND = (sys.executable, "-P", "-m", "keepfit.monitoring.evidently")  # -P: nothing here is taken for a package


def evidently(config: Config, work: Path, made: Bundle, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where Evidently's `report` of a pass is, or `why` there is none; None where it is not installed."""
    if importlib.util.find_spec("evidently") is None:
        return None
    if not found["window"]["rows"]:
        return {"report": None, "why": "no rows in the window"}
    rows = _training_rows(work, made)
    if rows is None:
        return {"report": None, "why": "the folder of the run that trained this version is not here"}
    ours = Path(found["report"])
    output = ours.with_name(f"{ours.stem}-evidently.html")
    told = _made(json.dumps(plain(_asked(config, work, made, found, rows, output))))
    for old in sorted(output.parent.glob("*-evidently.html"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return {**told, "report": str(output)} if "why" not in told else {"report": None, **told}


def _training_rows(work: Path, made: Bundle) -> Path | None:
    """The file with the rows that a bundle was trained on: a bundle has none itself."""
    for folder in folders.runs(work):
        there = folder / "ingest" / "train.parquet"
        with suppress(OSError, ValueError, KeyError):  # a run that was cut short, or is damaged
            if there.is_file() and _version(folder) == made.manifest["data"]["version"]:
                return there
    return None


def _version(run: Path) -> str:
    """The content hash of the rows that a run trained on."""
    return str(folders.read_json(run / "ingest" / "dataset.json")["version"])


def _asked(
    config: Config, work: Path, made: Bundle, found: Mapping[str, Any], rows: Path, output: Path
) -> dict[str, Any]:
    """The request, as `keepfit.monitoring.evidently` reads it."""
    moved = [column["column"] for column in found["columns"] if column["column"]]
    names = list(dict.fromkeys([*moved, *(column.name for column in made.schema.inputs)]))
    return {
        "reference": rows, "log": work / "predictions", "uri": config.serving.log.uri,
        "version": found["model"]["version"], "since": found["window"]["since"], "until": found["window"]["until"],
        "time": config.monitoring.time, "schema": made.schema, "columns": names, "rows": ROWS, "seconds": SECONDS,
        "output": output,
    }  # fmt: skip


def _made(request: str) -> dict[str, Any]:
    """What the process says of the report that it wrote, or `why` it wrote none."""
    try:
        done = subprocess.run(COMMAND, input=request.encode(), capture_output=True, timeout=SECONDS + 5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"why": f"it could not be made: {error}"}
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        late = f"it took more than {SECONDS} s" if done.returncode < 0 else f"it ended with code {done.returncode}"
        return {"why": ": ".join([late, *last])}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
