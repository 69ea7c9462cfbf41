"""Why what was told of a series changes nothing of what is forecast: said in the answer to feedback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from keepfit.data import labels
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.wishes import HISTORY
from keepfit.errors import RequestError


def why(runtime: Runtime, entry: Any, observed: labels.Read) -> str:
    """Why a runtime does not go on from an entry; empty where it does, or where the entry was not accepted."""
    if not isinstance(entry, Mapping):
        return ""
    if labels.by_id(entry, observed):
        return runtime.held.get(str(entry.get("id", "")).strip(), "")
    try:
        found = observed(entry)
        return runtime.held.get(found.key) or _recorded(runtime, entry, found.value)
    except (ValueError, RequestError):
        return ""


def _recorded(runtime: Runtime, entry: Mapping[str, Any], value: float) -> str:
    """Why an observation changes nothing: its series is new, or the model's data have another value of its period."""
    wish = (runtime.base or runtime).wish
    if wish is None:
        return ""
    if wish.key(entry) not in wish.ends:
        return (
            f"{', '.join(wish.rhythm.series)}: a series that the model was not trained on. It is kept for retraining; "
            f"until then a request for its forecast has to bring what was observed of it, as '{HISTORY}'"
        )
    known = wish.recorded(entry)
    if known is None or math.isclose(value, known, rel_tol=1e-6):
        return ""
    return (
        f"'{wish.target}' of this period is {known:g} in what the model was trained on, and forecasts go on from that. "
        "If it is of data.source, retraining does too: correct it there. If it was told, retraining takes this value"
    )
