"""HTML pages that open anywhere: one file, no scripts, nothing from the network, light and dark.

>>> page("A", section("B", "<p>c</p>")).count("<h2>B</h2>")
1
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepfit import show
from keepfit.types import Check, Verdict

STYLE = Path(__file__).with_suffix(".css")


def page(title: str, body: str) -> str:
    """A whole HTML page around `body`."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A part of a page with its heading; what is too wide can be scrolled."""
    return f"<h2>{html.escape(title)}</h2><div class='scroll'>{body}</div>"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mappings as a table: a column for each key, in the order in which they come up."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return show.html_table(heads, [[_plain(row.get(head)) for head in heads] for row in rows])


def _plain(value: Any) -> Any:
    return ", ".join(f"{k}={show.text(v)}" for k, v in value.items()) if isinstance(value, Mapping) else value


def verdict(given: Verdict) -> str:
    """All checks of a Verdict as a table."""
    rows = "".join(
        f"<tr>{_outcome(c)}"
        f"<td>{html.escape(c.name)}</td><td>{html.escape(show.text(c.value))}</td>"
        f"<td>{html.escape(show.text(c.limit))}</td><td>{html.escape(c.detail)}</td></tr>"
        for c in given.checks
    )
    head = "<tr><th>outcome</th><th>check</th><th>value</th><th>limit</th><th></th></tr>"
    return f"<table>{head}{rows}</table>" if rows else "<p class='soft'>not checked</p>"


def _outcome(check: Check) -> str:
    warned = check.outcome == "failed" and check.severity == "warning"
    told = "warned" if warned else check.outcome
    return f"<td class='{told.split()[0]}'>{html.escape(told)}</td>"
