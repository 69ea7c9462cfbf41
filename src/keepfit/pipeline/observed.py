"""What was observed of the series of a forecast since its training: the newest state of a model is made of it.

mark   changes when something may have been observed; cheap, a server asks twice a second
rows   every row that was observed, one a series and period, the last that was told
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import observations, segments
from keepfit.extras import load
from keepfit.types import Schema


def mark(work: Path) -> tuple[tuple[str, int], ...]:
    """The segments of the feedback with their sizes."""
    found = []
    for name in segments.names(work / "feedback"):
        try:
            found.append((name, segments.path(work / "feedback", name).stat().st_size))
        except FileNotFoundError:  # rolled since it was listed
            continue
    return tuple(found)


def rows(config: Config, project: Path, schema: Schema) -> list[Mapping[str, Any]]:
    """The observed rows of a forecast, as a request would bring them; none for a task that has none.

    polars reads the log: it is imported where there is any feedback, and not before.
    """
    read = observations.reader(schema)
    folder = project / settings.WORK / "feedback"
    if read is None or not folder.is_dir():
        return []
    told: list[Mapping[str, Any]] = load("keepfit.data.log_observed:rows", "task")(
        folder.parent / "predictions", schema, config.serving.log.uri
    )
    return told
