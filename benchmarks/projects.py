"""keepfit's side: projects made for a benchmark, and what keepfit wrote in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import environments, measure
from benchmarks.measure import Usage


def write(folder: Path, name: str, sections: Mapping[str, Any]) -> Path:
    """A new project in `folder`, whatever stood there before; JSON is YAML."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    document = {"version": 1, "project": {"name": name}, **sections}
    (folder / "keepfit.yaml").write_text(json.dumps(document, indent=2), encoding="utf-8")
    return folder


def run(project: Path, env: Mapping[str, str] | None = None) -> Usage:
    """The cost of the whole of `keepfit run`."""
    return measure.measure([environments.keepfit(), "run", "-C", project], env=env)


def predict(project: Path, rows: Path, output: Path, env: Mapping[str, str] | None = None) -> Usage:
    """The cost of `keepfit predict ROWS -o OUTPUT` with the champion."""
    return measure.measure([environments.keepfit(), "predict", "-C", project, rows, "-o", output], env=env)


def last(project: Path) -> Path:
    """The folder of the project's newest run."""
    return max((project / ".keepfit" / "runs").glob("*/run.json")).parent


def record(project: Path) -> dict[str, Any]:
    """run.json of the newest run."""
    found: dict[str, Any] = json.loads((last(project) / "run.json").read_text(encoding="utf-8"))
    return found


def bundle(project: Path) -> Path:
    """The bundle of the newest run."""
    return last(project) / "train" / "bundle"
