"""Features that are the columns themselves, as trees have them: numbers as they are, categories as codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Direct(NamedTuple):
    """A feature that says what a column says: `codes` of the levels, NaN for all others; None for a number."""

    column: str
    codes: Mapping[str, int] | None


def direct(state: Mapping[str, Any]) -> list[Direct] | None:
    """What each feature is, in the order of the matrix's columns; None where one is made in another way.

    A number is rounded to float32, after it was cut to what that can hold.

    >>> block = {"encode": "codes", "columns": ["plan"], "levels": [["pro", "free"]]}
    >>> direct({"blocks": [{"role": "category", "state": block}], "select": None})
    [Direct(column='plan', codes={'pro': 0, 'free': 1})]
    """
    if state["select"]:
        return None
    found: list[Direct] = []
    for block in state["blocks"]:
        made = MADE.get(block["role"], lambda inner: None)(block["state"])
        if made is None:
            return None
        found += made
    return found


def _numbers(state: Mapping[str, Any]) -> list[Direct] | None:
    made = {"fill", "mean", "bin_low"} & state.keys() or len(state["flags"])
    if made or len(state["plain"]) != len(state["columns"]):
        return None
    return [Direct(name, None) for name in state["columns"]]


def _categories(state: Mapping[str, Any]) -> list[Direct] | None:
    if state["encode"] != "codes":
        return None
    pairs = zip(state["columns"], state["levels"], strict=True)
    return [Direct(name, {level: code for code, level in enumerate(levels)}) for name, levels in pairs]


MADE = {"number": _numbers, "category": _categories}
