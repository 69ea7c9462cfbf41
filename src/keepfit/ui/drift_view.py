"""Columns as they are now and as they were at training: a line each, and its histogram for who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from keepfit.monitoring.charts import glance, spread
from keepfit.ui import views

Values = Mapping[str, Any]
TOLD = {"failed": ("shifted", "kf-warned"), "passed": ("", ""), "not checked": ("not checked", "kf-quiet")}
NOTHING = "0"
SHARES = (("missing", "missing"), ("unseen", "unseen before"), ("outside", "outside the range"))


def summary(column: Values, most: float, share: bool) -> str:
    """A column in a line: its histogram at a glance, how far it moved the output, how far it shifted."""
    word, kind = TOLD.get(str(column.get("outcome")), ("", ""))
    badge = f"<mark class='kf-badge {kind}'>{word}</mark>" if word else ""
    moved = float(column.get("moved") or 0.0)
    told = _far(moved, share)
    wide = 50 * abs(moved) / most if most and told != NOTHING else 0.0
    side = "" if told == NOTHING else "kf-up" if moved > 0 else "kf-down"
    return (
        f"<span class=kf-name>{escape(name(column))} {badge}</span>"
        f"{glance(_numbers(column.get('reference')), _numbers(column.get('now')))}"
        f"<span class='kf-move {side}' title='moved the predictions by {told}'>"
        f"<i aria-hidden=true><b style='width:{wide:.1f}%'></b></i><em>{told}</em></span>"
        f"<span class=kf-psi><small>PSI</small> {views.figure(column.get('psi'))}</span>"
    )


def name(column: Values) -> str:
    """What a signal is called; that of no column is of the model's own output.

    >>> name({"name": "age", "column": "age"}), name({"name": "confidence", "column": ""})
    ('age', 'the confidence')
    """
    told = str(column.get("name") or "?")
    return told if column.get("column") else f"the {told}"


def body(column: Values, share: bool) -> str:
    """The histogram, and every figure."""
    cells = [str(cell) for cell in column.get("cells") or ()]
    before, now = _numbers(column.get("reference")), _numbers(column.get("now"))
    if not cells or not len(cells) == len(before) == len(now):
        return views.notice("The histogram of this column cannot be read.")
    picture = spread(cells, before, now, f"{name(column)}, now and at training")
    figures = [
        ("PSI", views.figure(column.get("psi"))), ("Jensen-Shannon", views.figure(column.get("js"))),
        ("KS", views.figure(column.get("ks")) if column.get("kind") == "ordered" else ""),
        ("p", chance(column.get("p"))),
        ("moved by", _far(float(column.get("moved") or 0.0), share)),
        *((title, views.percent(column[key])) for key, title in SHARES if column.get(key)),
        ("rows", f"{sum(now):,.0f} now, {sum(before):,.0f} at training"),
    ]  # fmt: skip
    return f"<div class=kf-column>{picture}{views.facts(figures)}</div>"


def _far(moved: float, share: bool) -> str:
    return views.signed(moved, share) if abs(moved) >= 5e-7 else NOTHING


def chance(p: Any) -> str:
    """A p-value in two digits.

    >>> chance(0.0), chance(1.6e-174), chance(0.0314), chance(None)
    ('< 1e-300', '1.6e-174', '0.031', '')
    """
    if not isinstance(p, (int, float)):
        return ""
    return "< 1e-300" if p < 1e-300 else f"{p:.2g}"


def _numbers(values: Any) -> Sequence[float]:
    return [float(value) for value in values] if isinstance(values, list) else []
