"""The loop as a picture, and its steps in words: what is at work, since when, and what comes next."""

from __future__ import annotations

import math
from datetime import datetime
from html import escape

from keepfit.pipeline.state_of_loop import Loop, Step
from keepfit.ui.about import age

SIZE, RADIUS, NODE = 300.0, 109.0, 33.0
GAP = 0.36  # radians of a node and the room beside it, of the ring between two nodes
CLASS = {"well": "well", "warned": "warned", "unwell": "unwell"}
LEFT = {  # what `until` means
    "gate": "{} left", "serve": "probation: {} left", "watch": "next pass in {}", "decide": "cool-down: {} left",
}  # fmt: skip
MARKS = {"well": "✓", "warned": "!", "unwell": "!"}


def picture(found: Loop) -> str:
    """The ring of the six steps, the one at work lit; in its middle who serves, and how it is."""
    parts = [_arrow(at, len(found.steps)) for at in range(len(found.steps))]
    parts += [_node(step, at, len(found.steps), step.name == found.at) for at, step in enumerate(found.steps)]
    told = f"The loop: {', '.join(step.name for step in found.steps)}. It stands at {found.at}."
    return (
        f"<svg class='kf-ring' viewBox='0 0 {SIZE:.0f} {SIZE:.0f}' role='img' aria-label='{escape(told)}'>"
        f"{''.join(parts)}{_middle(found)}</svg>"
    )


def _place(turn: float, radius: float = RADIUS) -> tuple[float, float]:
    """Where on the ring; turns go clockwise from the top."""
    angle = 2 * math.pi * turn - math.pi / 2
    return SIZE / 2 + radius * math.cos(angle), SIZE / 2 + radius * math.sin(angle)


def _arrow(at: int, of: int) -> str:
    """The piece of the ring from one node to the next."""
    gap = GAP / (2 * math.pi)
    (x, y), (to_x, to_y) = _place(at / of + gap), _place((at + 1) / of - gap - 0.006)
    tip = _place((at + 1) / of - gap + 0.006)
    wings = [_place((at + 1) / of - gap - 0.016, RADIUS + aside) for aside in (6, -6)]
    head = " ".join(f"{a:.1f},{b:.1f}" for a, b in (tip, *wings))
    return (
        f"<path class='way' d='M{x:.1f} {y:.1f}A{RADIUS:.0f} {RADIUS:.0f} 0 0 1 {to_x:.1f} {to_y:.1f}'/>"
        f"<polygon class='tip' points='{head}'/>"
    )


def _node(step: Step, at: int, of: int, lit: bool) -> str:
    x, y = _place(at / of)
    state = CLASS.get(step.state, "")
    mark = ""
    if state:
        place = f"cx='{x + 24:.1f}' cy='{y - 24:.1f}'"
        sign = f"<text class='sign' x='{x + 24:.1f}' y='{y - 19.5:.1f}' text-anchor='middle'>{MARKS[state]}</text>"
        mark = f"<circle class='badge {state}' {place} r='9.5'/>{sign}"
    glow = f"<circle class='glow' cx='{x:.1f}' cy='{y:.1f}' r='{NODE + 5:.0f}'/>" if lit else ""
    return (
        f"<g class='node{' lit' if lit else ''}'><title>{escape(f'{step.name}: {step.told}')}</title>{glow}"
        f"<circle class='disc' cx='{x:.1f}' cy='{y:.1f}' r='{NODE:.0f}'/>"
        f"<text x='{x:.1f}' y='{y + 4.5:.1f}' text-anchor='middle'>{escape(step.name)}</text>{mark}</g>"
    )


def _middle(found: Loop) -> str:
    version = f"version {found.model.version}" if found.model else "no champion"
    outcome = str(found.latest.get("outcome") or "not watched yet")[:20]
    kind = outcome if outcome in ("healthy", "unhealthy") else "unknown"
    x, y = f"x='{SIZE / 2:.0f}'", SIZE / 2
    return (
        f"<text class='who' {x} y='{y - 3:.0f}' text-anchor='middle'>{escape(version[:18])}</text>"
        f"<text class='how {kind}' {x} y='{y + 19:.0f}' text-anchor='middle'>{escape(outcome)}</text>"
    )


def steps(found: Loop) -> str:
    """Each step in a line: what it is at, since when, and until when."""
    return f"<ol class=kf-steps>{''.join(_step(found, step) for step in found.steps)}</ol>"


def _step(found: Loop, step: Step) -> str:
    lit = step.name == found.at
    told = [step.told] if step.told else []
    told += [_since(step, found.now)] if step.since else []
    told += [_until(step, found.now)] if step.until else []
    current = " aria-current=step" if lit else ""
    kind = " ".join(filter(None, ("kf-lit" if lit else "", f"kf-{CLASS[step.state]}" if step.state in CLASS else "")))
    return f"<li class='{kind}'{current}><b>{escape(step.name)}</b><span>{escape(' · '.join(told) or '–')}</span></li>"


def _since(step: Step, now: datetime) -> str:
    """For how long, or how long ago."""
    assert step.since is not None
    span = age((now - step.since).total_seconds())
    return f"for {span}" if step.name == "serve" or step.state == "at work" else f"{span} ago"


def _until(step: Step, now: datetime) -> str:
    assert step.until is not None
    left = (step.until - now).total_seconds()
    return LEFT.get(step.name, "{} left").format(age(left)) if left > 0 else "due now"
