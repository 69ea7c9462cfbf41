"""What was observed of the series of a forecast since its training: the newest state of a model is made of it.

mark       changes when something may have been observed; cheap, a server asks twice a second
follower   what gives all that was told, one a series and period, and reads on when it is asked again
rows       the rows of that, believed or not
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import segments, told
from keepfit.data.told import Seen, Told
from keepfit.types import Rhythm, Schema

KEPT = 4  # kinds of series that are followed
Follow = Callable[[Schema], Sequence[Told]]


def mark(work: Path) -> tuple[tuple[str, int], ...]:
    """The segments of the feedback with their sizes."""
    found = []
    for name in segments.names(work / "feedback"):
        try:
            found.append((name, segments.path(work / "feedback", name).stat().st_size))
        except FileNotFoundError:  # rolled since it was listed
            continue
    return tuple(found)


def follower(config: Config, project: Path) -> Follow:
    """What gives all that was told of a schema's series by now; asked again, it reads on from where it ended."""
    predictions, reading = project / settings.WORK / "predictions", threading.Lock()
    seen: dict[tuple[Rhythm | None, str | None], Seen] = {}

    def follow(schema: Schema) -> Sequence[Told]:
        key = (schema.rhythm, schema.target)
        with reading:
            if len(seen) >= KEPT and key not in seen:
                seen.clear()
            seen[key] = told.follow(predictions, schema, seen.get(key, Seen()), config.serving.log.uri)
            return [*seen[key].told.values()]

    return follow


def rows(config: Config, project: Path, schema: Schema) -> list[Mapping[str, Any]]:
    """The observed rows of a forecast, as a request would bring them; none for a task that has none."""
    return [one.row for one in follower(config, project)(schema)]
