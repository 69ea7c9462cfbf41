"""Why what was told of a series changes nothing of what is forecast: said to whoever sends feedback."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from keepfit.data import labels, parse
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.wishes import HISTORY
from keepfit.errors import RequestError


def held(runtime: Runtime, entries: Iterable[Any], observed: labels.Read) -> tuple[labels.Invalid, ...]:
    """Which entries a runtime does not go on from, each with its id, or its key, and why."""
    found = (_why(runtime, entry, observed) for entry in entries)
    return tuple(labels.Invalid(row, why, name) for row, (name, why) in enumerate(found) if why)


def _why(runtime: Runtime, entry: Any, observed: labels.Read) -> tuple[str, str]:
    """What an entry is called, and why it is not gone on from: empty where it is, and where it was not accepted."""
    if not isinstance(entry, Mapping):
        return "", ""
    if labels.by_id(entry, observed):
        name = str(entry.get("id", "")).strip()
        return name, runtime.held.get(name, "")
    try:
        found = observed(entry)
        return found.key, runtime.held.get(found.key) or _recorded(runtime, entry, found.value)
    except (ValueError, RequestError):
        return "", ""


def _recorded(runtime: Runtime, entry: Mapping[str, Any], value: float) -> str:
    """Why an observation changes nothing: its series is new, or the model's data have another value of its period."""
    wish = (runtime.base or runtime).wish
    if wish is None:
        return ""
    if wish.key(entry) not in wish.ends:
        named = " / ".join(map(str, wish.key(entry)))
        return (
            f"{parse.shown(named)}: a series that the model was not trained on. It is kept for retraining; "
            f"until then a request for its forecast has to bring what was observed of it, as '{HISTORY}'"
        )
    known = wish.recorded(entry)
    if known is None or math.isclose(value, known, rel_tol=1e-6):
        return ""
    return (
        f"'{wish.target}' of this period is {known:g} in what the model was trained on, and forecasts go on from that. "
        "If it is of data.source, retraining does too: correct it there. If it was told, retraining takes this value"
    )
