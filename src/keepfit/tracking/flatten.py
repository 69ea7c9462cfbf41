"""A run's params and metrics in the form and the sizes that MLflow takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

from keepfit.types import plain

NAME = 250  # characters
VALUE = 6000  # characters of a param
TAG = 5000  # of a tag
FEW, MANY = 100, 800  # params or tags, and metrics, of one request (1,000 together)
FORBIDDEN = re.compile(r"[^\w.\- ]")
Item = TypeVar("Item")


def key(name: str) -> str:
    """A name that MLflow takes: letters, digits, `_`, `-`, `.` and blanks, at most 250.

    >>> key("checks.Größe (m)/a")
    'checks.Größe _m__a'
    """
    return FORBIDDEN.sub("_", name).strip(". ")[:NAME] or "_"


def parameters(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested values as flat text; None and what is empty is left out, long text is cut.

    >>> parameters({"model": {"type": "auto", "depth": None}, "alerts": [], "seeds": [1, 2]})
    {'model.type': 'auto', 'seeds': '[1, 2]'}
    """
    found: dict[str, str] = {}
    for name, value in values.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping):
            found.update(parameters(value, path))
        elif value is not None and value not in ([], (), ""):
            text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False, default=str)
            found[_free(key(path), found)] = text if len(text) <= VALUE else text[: VALUE - 1] + "…"
    return found


def marks(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text, cut where they are too long; None is left out.

    >>> marks({"rows": 3, "note": None})
    {'rows': '3'}
    """
    return {key(name): str(value)[:TAG] for name, value in tags.items() if value is not None}


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Two names may become one when characters are replaced."""
    tail = 2
    free = name
    while free in taken:
        free = f"{name[: NAME - 4]}_{tail}"
        tail += 1
    return free


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as flat numbers; what is not a finite number is left out.

    >>> numbers({"accuracy": {"value": 0.9, "low": 0.8, "high": None, "baseline": 0.5}, "seconds": 3})
    {'accuracy': 0.9, 'accuracy_low': 0.8, 'baseline_accuracy': 0.5, 'seconds': 3.0}
    """
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            names = {"value": name, "low": f"{name}_low", "high": f"{name}_high", "baseline": f"baseline_{name}"}
            found.update({names[part]: value[part] for part in names if part in value})
        else:
            found[name] = value
    finite = sorted((name, float(v)) for name, v in found.items() if v is not None and math.isfinite(v))
    flat: dict[str, float] = {}
    for name, v in finite:  # in the order of names, so that two that become one are told apart alike each time
        flat[_free(key(name), flat)] = v
    return flat


def batches(
    metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]
) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    """As few requests as the limits of MLflow allow."""
    parts = (_parts(metrics, MANY), _parts(params, FEW), _parts(tags, FEW))
    for metric, param, tag in zip_longest(*parts, fillvalue=()):
        yield list(metric), list(param), list(tag)


def _parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
