"""The stages of the loop. Read this first: everything else is called from here.

    ingest   data → hooks → schema → split → checks and leakage guard → profile    Split
    train    features, tuning, ensemble → evaluation → bundle, proved              Bundle
    promote  tracking → registry → gate → the alias moves, or does not             Decision

A stage takes the config and what came before and gives what comes next. What it makes lies whole
in its folder (folders.py), so it can run inline, in a process of its own, or again after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from keepfit.config import Config, Data, Features
from keepfit.data import leakage, profile, read, schema, split, template, validate, version
from keepfit.data.conform import conform
from keepfit.errors import RefusedError
from keepfit.features import hooks
from keepfit.pipeline import folders
from keepfit.types import Dataset, Schema, Split, Verdict


def ingest(config: Config, project: Path, folder: Path) -> Split:
    """Read, understand, split and check the data; raises RefusedError when a check stops.

    Writes the two frames as they were read (with the hooks' columns), the Verdict and the profile.
    """
    parts, verdict = examine(config, project)
    folders.write_json(folder / "verdict.json", verdict)
    folders.save_split(parts, folder)
    profile.profile(parts.train, folder / "profile.html", (verdict,))
    if verdict.failures:
        raise RefusedError("The checks of the data found violations; nothing was trained.", verdict)
    return parts


def examine(config: Config, project: Path) -> tuple[Split, Verdict]:
    """The split data, and everything that is wrong with them."""
    frame, origin = read.read(config.data, project)
    frame, made = hooked(frame, config.features, project)
    meaning = schema.infer(frame, config.data, config.task, made)
