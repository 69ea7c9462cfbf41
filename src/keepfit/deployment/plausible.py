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

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import compress, count, groupby
from operator import attrgetter, is_not
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from keepfit.data.told import Told
from keepfit.deployment.runtime import Runtime
from keepfit.models.fitted import Floats, Output

FAR = 10.0
SHIFT = 3
NEAR = 0.5  # share of a new level that its members may lie apart
TOLD = attrgetter("told")
PLACED = ("series", "moment", "past")  # roles of columns that are no covariates


class Judged(NamedTuple):
    """An observation, how far it is from the `forecast` of its `step` (see `distances`), and why it is held back:
    because the training `left` it out, or for any reason (`why`); empty where it is not."""

    told: Told
    far: float
    step: float
    forecast: float
    left: str = ""
    why: str = ""


class Judgement(NamedTuple):
    """All observations in the order in which they are told, and the places of each series' among them.

    `gone` are judgements that no longer hold, `new` those that hold since.
    """

    found: Sequence[Judged] = ()
    places: Mapping[tuple[str, ...], Sequence[int]] = MappingProxyType({})
    gone: Sequence[Judged] = ()
    new: Sequence[Judged] = ()


def moved(made: Runtime, told: Sequence[Told]) -> Runtime:
    """The runtime as it was trained, told what can be believed; `held` says what is not, by its id."""
    base = made.base or made
    if base.after is None:
        return made
    now = judged(base, told, made.judged or Judgement())
    if not now.new and not now.gone:
        return made
    taken, held = dict(made.taken), dict(made.held)
    for one in now.gone:
        taken.pop(one.told.key, None)
        held.pop(one.told.id, None)
    taken |= {one.told.key: one.told.row for one in now.new if not one.why}
    held |= {one.told.id: one.why for one in now.new if one.why}
    news = [one.told.row for one in now.new if not one.why and one.told.key not in made.taken]
    same = all(taken.get(one.told.key) == made.taken.get(one.told.key) for one in now.gone if not one.why)
    goes_on = made.further if same and _later(made, news) else None
    then = goes_on(news) if goes_on else base.after([*taken.values()])
    return replace(then, base=base, judged=now, held=held, taken=taken)


def _later(made: Runtime, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows only go on from what is known: late ones and corrections change the states before."""
    known = made.wish
    if known is None:
        return False
    keys = [known.key(row) for row in rows]
    ends = [known.ends.get(key) for key in keys]
    return all(end is None or known.period(row, 0) > end for row, end in zip(rows, ends, strict=True))


def judged(base: Runtime, told: Sequence[Told], before: Judgement = Judgement()) -> Judgement:  # noqa: B008 - frozen
    """Each observation and why it is held back, going on from what was judged `before`; the same as all anew.

    Only what is new or told otherwise is asked about, as everything is where an observation is no longer told.
    """
    known = len(before.found)
    changed = [*compress(count(), map(is_not, told, map(TOLD, before.found))), *range(known, len(told))]
    if len(told) < known or any(told[at].key != before.found[at].told.key for at in changed if at < known):
        return judged(base, told)._replace(gone=before.found)
    names = base.schema.rhythm.series if base.schema.rhythm else ()
    touched = _by_series(told, changed, names)
    places = {**before.places}
    for series, mine in touched.items():
        places[series] = [*places.get(series, ()), *(at for at in mine if at >= known)]
    again = [at for series in touched for at in places[series]] if _together(base) else changed
    fresh = dict(zip(again, _measured(base, [told[at] for at in again]), strict=True))
    found = [*before.found, *(fresh[at] for at in range(known, len(told)))]
    for at in fresh:
        found[at] = fresh[at]
    for series in touched:
        fresh |= _reasoned(found, places[series], fresh, str(base.schema.target))
    for at in fresh:
        found[at] = fresh[at]
    return Judgement(found, places, [before.found[at] for at in fresh if at < known], [*fresh.values()])


def _by_series(told: Sequence[Told], places: Sequence[int], names: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = {}
    for at in places:
        found.setdefault(tuple(str(told[at].row.get(name)) for name in names), []).append(at)
    return found


def _reasoned(found: Sequence[Judged], places: Sequence[int], fresh: Collection[int], target: str) -> dict[int, Judged]:
    """The observations of a series, by place, that are fresh or held back otherwise than before, and why."""
    if not any(abs(found[at].far) > 1 for at in places):  # then no other is held back by its run
        return {at: found[at]._replace(why=found[at].left) for at in places if at in fresh}
    outside = {*_outside(found, sorted(places, key=lambda at: found[at].step))}
    made = {at: found[at]._replace(why=_why(found[at], at in outside, target)) for at in places}
    return {at: one for at, one in made.items() if at in fresh or one.why != found[at].why}


def _together(base: Runtime) -> bool:
    """Whether the forecast of a row may look at other rows that are asked about with it: at their covariates."""
    past = base.schema.rhythm.past if base.schema.rhythm else ()
    return any(column.role not in PLACED and column.name not in past for column in base.schema.features)


def _measured(base: Runtime, told: Sequence[Told]) -> list[Judged]:
    """Observations and how far they are from what was forecast; nothing is said of them so far."""
    if not told:
        return []
    target = str(base.schema.target)
    output, _ = base.rows([{name: value for name, value in one.row.items() if name != target} for one in told])
    assert output.ahead is not None
    far = distances(output, np.array([one.value for one in told])).tolist()
    parts = zip(far, np.nan_to_num(output.ahead.step).tolist(), output.values.tolist(), strict=True)
    left = _left_out(base, told)
    together = enumerate(zip(told, parts, strict=True))
    return [Judged(one, *part, left.get(at, "")) for at, (one, part) in together]


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


def _outside(found: Sequence[Judged], places: Sequence[int]) -> Iterator[int]:
    """The places of a series' implausible observations, in the order of time, but for those near a new level."""
    for side, run in groupby(places, key=lambda at: (found[at].far > 1) - (found[at].far < -1)):
        members = [*run] if side else []
        level = float(np.median([found[at].far for at in members])) if members else 0.0
        shift = len({found[at].told.since for at in members}) >= SHIFT
        yield from (at for at in members if not (shift and abs(found[at].far - level) <= max(1.0, NEAR * abs(level))))


def _why(one: Judged, outside: bool, target: str) -> str:
    if one.left or one.told.confirmed or not outside:
        return one.left
    return (
        f"'{target}' is {one.told.value:g}, where {one.forecast:.6g} was forecast: too far off to go on from. Send the "
        'right value, or this one by series and time with "confirmed": true'
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
