"""A `Memory` as plain arrays, and back: what a model file of forecasts holds. Nothing in it can run code.

about       JSON: models with season, seed and options; unit, horizon; what is no array in their states
values, ends, numbers, scale, factor      see `memory.Part`
0/…, 1/…    the arrays of each model's state
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models.series.memory import About, Memory, Model, Part
from keepfit.models.series.panel import Panel, State

Arrays = dict[str, NDArray[Any]]


def _together(memories: Sequence[Memory]) -> Memory:
    """Models that were fitted to the same rows, as one memory of them all."""
    first = memories[0]
    models = tuple(model for one in memories for model in one.about.models)
    about = replace(first.about, models=models)
    parts = [
        Part(
            part.panel,
            part.scale,
            tuple(state for one in memories for state in one.parts[place].states),
            np.concatenate([one.parts[place].factor for one in memories], axis=1),
        )
        for place, part in enumerate(first.parts)
    ]
    return Memory(about, tuple(parts))


def arrays(memories: Sequence[Memory]) -> Arrays:
    """What is written of models that were fitted to the same rows; each memory is in one part, as it was fitted."""
    memory = _together(memories)
    (part,) = memory.parts
    about = memory.about
    told = {
        "models": [[one.name, list(one.season), one.seed, dict(one.options)] for one in about.models],
        "unit": about.unit,
        "horizon": about.horizon,
        "past": about.past,
        "states": [{key: value for key, value in state.items() if not _is_array(value)} for state in part.states],
    }
    panel = part.panel
    found = {"values": panel.values, "ends": panel.ends, "numbers": panel.numbers}
    found |= {"scale": part.scale, "factor": part.factor}
    for place, state in enumerate(part.states):
        found |= {f"{place}/{key}": value for key, value in state.items() if _is_array(value)}
    return {"about": np.array(json.dumps(told)), **found}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def read(given: Mapping[str, NDArray[Any]]) -> Memory:
    """The memory of what `arrays` gave. Raises KeyError or ValueError where something is not there."""
    told = json.loads(str(given["about"]))
    models = tuple(Model(name, tuple(season), seed, options) for name, season, seed, options in told["models"])
    about = About(models, int(told["unit"]), int(told["horizon"]), int(told.get("past", 0)))
    states = tuple(_state(place, plain, given) for place, plain in enumerate(told["states"]))
    panel = Panel(given["values"], given["ends"], given["numbers"])
    return Memory(about, (Part(panel, given["scale"], states, given["factor"]),))


def _state(place: int, plain: Mapping[str, Any], given: Mapping[str, NDArray[Any]]) -> State:
    start = f"{place}/"
    return {**plain, **{key.removeprefix(start): value for key, value in given.items() if key.startswith(start)}}
