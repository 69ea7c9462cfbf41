"""Which observations are too far from what was forecast to be believed at once.

An observation is implausible when it is further from the forecast than FAR times the end of the interval on its
side, or FAR scales of its series where that is more: of the 25,704 actual values of the M3 test periods none is,
and 99.9 % of them times 100 are. The forecast is that of the model as it was trained, so that the same
observations are judged the same whatever came in between, by every server and after every restart.

Such an observation is held back: it stays in the log, and the state does not move on by it, until a plausible value
is told, or it is told again with `"confirmed": true`. Where SHIFT or more in a row, told at as many different times,
are implausible to the same side, their level is taken for the new one, and those near it count. What a training
left out (`quarantine`) is held back too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np

from keepfit.data.told import Told
from keepfit.deployment.runtime import Runtime
from keepfit.models.fitted import Floats, Output

FAR = 10.0
SHIFT = 3
NEAR = 0.5  # share of a new level that its members may lie apart


def moved(made: Runtime, told: Sequence[Told]) -> Runtime:
    """The runtime as it was trained, told what can be believed; `held` says what is not, by its id."""
    base = made.base or made
    if base.after is None:
        return made
    why = judged(base, told)
    taken = {one.key: one.row for one, reason in zip(told, why, strict=True) if not reason}
    held = {one.id: reason for one, reason in zip(told, why, strict=True) if reason}
    news = [row for key, row in taken.items() if key not in made.taken]
    same = made.further and all(taken.get(key) == row for key, row in made.taken.items())
    then = made.further(news) if made.further and same and _later(made, news) else base.after([*taken.values()])
    return replace(then, base=base, held=held, taken=taken)


def _later(made: Runtime, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows only go on from what is known: late ones and corrections change the states before."""
    known = made.wish
    if known is None:
        return False
    keys = [known.key(row) for row in rows]
    ends = [known.ends.get(key) for key in keys]
    return all(end is None or known.period(row, 0) > end for row, end in zip(rows, ends, strict=True))


def judged(base: Runtime, told: Sequence[Told]) -> list[str]:
    """Why each observation is held back; empty where it is not."""
    if not told:
        return []
    target, rhythm = str(base.schema.target), base.schema.rhythm
    assert rhythm is not None
    asked = [{name: value for name, value in one.row.items() if name != target} for one in told]
    output, _ = base.rows(asked)
    far = distances(output, np.array([one.value for one in told]))
    left = _left_out(base, told)
    reasons = [""] * len(told)
    assert output.ahead is not None
    steps = np.nan_to_num(output.ahead.step).tolist()
    for places in _suspects(far, told, rhythm.series):
        places.sort(key=steps.__getitem__)
        for at in _outside(places, far, told):
            reasons[at] = _reason(told[at], target, output, at)
    return [left.get(at) or ("" if one.confirmed else reasons[at]) for at, one in enumerate(told)]


def distances(output: Output, values: Floats) -> Floats:
    """How far each value is from its forecast (n,), over what is plausible: beyond 1 or -1 it is not. 0: not known."""
    assert output.ahead is not None
    gap = values - output.values
    unit = output.ahead.scale * np.sqrt(np.maximum(output.ahead.step, 1.0))
    if output.low is not None and output.high is not None:
        ends = np.where(gap > 0, output.high - output.values, output.values - output.low)
        unit = np.fmax(output.ahead.scale, ends)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = gap / (FAR * unit)
    return np.where((output.ahead.step >= 1) & np.isfinite(found), found, 0.0)


def _suspects(far: Floats, told: Sequence[Told], names: Sequence[str]) -> list[list[int]]:
    """The places of each series that has an implausible observation."""
    odd = np.flatnonzero(np.abs(far) > 1).tolist()
    found: dict[tuple[str, ...], list[int]] = {_series(told[at], names): [] for at in odd}
    for at, one in enumerate(told if found else ()):
        found.get(_series(one, names), []).append(at)
    return [*found.values()]


def _series(one: Told, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(one.row.get(name)) for name in names)


def _outside(places: Sequence[int], far: Floats, told: Sequence[Told]) -> Iterator[int]:
    """The places of a series' implausible observations, in the order of time, but for those near a new level."""
    for side, run in groupby(places, key=lambda at: int(far[at] > 1) - int(far[at] < -1)):
        members = [*run] if side else []
        level = float(np.median(far[members])) if members else 0.0
        shift = len({told[at].since for at in members}) >= SHIFT
        yield from (at for at in members if not (shift and abs(far[at] - level) <= max(1.0, NEAR * abs(level))))


def _reason(one: Told, target: str, output: Output, at: int) -> str:
    return (
        f"'{target}' is {one.value:g}, where {output.values[at]:.6g} was forecast: too far off to go on from. Send the "
        'right value, or this one with "confirmed": true'
    )


def _left_out(base: Runtime, told: Sequence[Told]) -> Mapping[int, str]:
    """Place → why a training left it out."""
    data: Any = base.bundle.manifest.get("data") or {}
    spans = ((data.get("origin") or {}).get("log") or {}).get("quarantined") or ()
    found: dict[int, str] = {}
    for span in spans:
        begin, end = (datetime.fromisoformat(span[key]).timestamp() for key in ("since", "until"))
        why = f"the training left it out: {span.get('why', '')}"
        found |= {at: why for at, one in enumerate(told) if begin - 1e-6 <= one.last <= end + 1e-6}
    return found
