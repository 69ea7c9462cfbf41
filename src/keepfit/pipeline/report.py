"""The report of a run: one HTML file that opens anywhere, without scripts and without the network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keepfit import durable, show
from keepfit.types import Verdict, read

STYLE = Path(__file__).with_suffix(".css")


def page(title: str, body: str) -> str:
    """A whole HTML page around `body`."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>{body}</body></html>\n"
    )


def write(path: Path, record: Mapping[str, Any], plots: Iterable[Path], verdicts: Sequence[Verdict]) -> None:
    """Write the report of a run; `record` is what `keepfit run --json` prints."""
    parts = [_head(record), _section("Metrics", show.html_table(*show.metrics(record)))]
    if record.get("without_repeats"):
        parts.append(_section("Without test rows that repeat a training row", _table([record["without_repeats"]])))
    if record.get("decision"):
        parts.append(_section("Gate", _verdict(read(Verdict, record["decision"]["verdict"]))))
    if record.get("slices"):
        parts.append(_section("Weakest slices", _table(record["slices"])))
    if record.get("leaderboard"):
        by = f"Models tried: score is out-of-fold {record['judged_by']}"
        parts.append(_section(by, _table(record["leaderboard"])))
    images = "".join(f"<img alt='{html.escape(p.stem)}' src='{_inline(p)}'>" for p in plots)
    parts.append(_section("Plots", f"<div class='plots'>{images}</div>") if images else "")
    parts += [_section(verdict.subject.capitalize(), _verdict(verdict)) for verdict in verdicts]
    durable.write_text(path, page(f"keepfit: {record['name']}", "".join(parts)))


def _head(record: Mapping[str, Any]) -> str:
    outcome = html.escape(str(record["outcome"]))
    return (
        f"<h1>{html.escape(record['name'])}</h1><p class='soft'>{html.escape(record.get('description', ''))}</p>"
        f"<p><span class='outcome {outcome}'>{outcome}</span> {html.escape(record['headline'])}</p>"
        f"<p class='soft'>Run {html.escape(record['run'])}. Data {html.escape(str(record.get('data', '')))}.</p>"
    )


def _section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2><div class='scroll'>{body}</div>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return show.html_table(heads, [[_plain(row.get(head)) for head in heads] for row in rows])


def _plain(value: Any) -> Any:
    return ", ".join(f"{k}={show.text(v)}" for k, v in value.items()) if isinstance(value, Mapping) else value


def _verdict(verdict: Verdict) -> str:
    rows = "".join(
        f"<tr><td class='{'warned' if c in verdict.warnings else c.outcome.split()[0]}'>{html.escape(c.outcome)}</td>"
        f"<td>{html.escape(c.name)}</td><td>{html.escape(show.text(c.value))}</td>"
        f"<td>{html.escape(show.text(c.limit))}</td><td>{html.escape(c.detail)}</td></tr>"
        for c in verdict.checks
    )
    head = "<tr><th>outcome</th><th>check</th><th>value</th><th>limit</th><th></th></tr>"
    return f"<table>{head}{rows}</table>" if rows else "<p class='soft'>not checked</p>"


def _inline(path: Path) -> str:
    kind = {"svg": "svg+xml", "png": "png"}[path.suffix.lstrip(".")]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
