"""Why what was told of a series changes nothing of what is forecast: said to whoever sends feedback, or a history."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keepfit.data import labels, parse
from keepfit.data import rhythm as calendar
from keepfit.deployment.protocols import Note
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.wishes import HISTORY, SHOWN, Key, Known
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


# --- the history of a request ---------------------------------------------------------------------


def notes(known: Known, rows: Iterable[Mapping[str, Any]]) -> list[Note]:
    """A note of each series of which observed rows say otherwise than what is known; beyond SHOWN one of the rest."""
    found: dict[Key, list[int]] = {}
    for key, period in _otherwise(known, rows):
        found.setdefault(key, []).append(period)
    series = [*found.items()]
    told = [_note(known, key, periods) for key, periods in series[:SHOWN]]
    rest = [period for _, periods in series[SHOWN:] for period in periods]
    if rest:
        told.append(Note({}, len(rest), f"{len(rest):,} values of {len(series) - SHOWN:,} more series were not taken"))
    return told


def _otherwise(known: Known, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Key, int]]:
    """Series and period of each row that has another value than what is known, or one where a gap is known."""
    keyed = [(known.key(row), row) for row in rows if not known.gap(row.get(known.target))]
    mine = [(key, row) for key, row in keyed if key in known.places]
    if known.memory is None or not mine:
        return
    time, target = known.columns[known.rhythm.time], known.columns[known.target]
    moments = np.array([parse.PARSE["moment"](row[time.name], time) for _, row in mine], np.float64)
    values = np.array([parse.PARSE["past"](row[target.name], target) for _, row in mine], np.float64)
    places, ends = (np.array([told[key] for key, _ in mine]) for told in (known.places, known.ends))
    periods, history = calendar.periods(known.rhythm, moments), known.memory.history
    column = history.shape[1] - 1 - (ends - periods)
    known_at = (column >= 0) & (column < history.shape[1])
    for at in np.flatnonzero(known_at).tolist():
        past = history[places[at], : int(column[at]) + 1]
        if not math.isclose(past[-1], values[at], rel_tol=1e-6) and np.isfinite(past).any():
            yield mine[at][0], int(periods[at])


def _note(known: Known, key: Key, periods: Sequence[int]) -> Note:
    names = dict(zip(known.rhythm.series, key, strict=True))
    first, last = calendar.written(known.rhythm, np.array([min(periods), max(periods)]))
    what = f"1 period ({first})" if len(periods) == 1 else f"{len(periods):,} periods ({first} to {last})"
    whose = f" of {parse.shown(' / '.join(map(str, key)))}" if key else ""
    return Note(
        names, len(periods),
        f"'{known.target}' of {what}{whose} was not taken: something else is known of then, and forecasts go on from "
        "that. Correct data.source; what feedback told is corrected by feedback",
    )  # fmt: skip
