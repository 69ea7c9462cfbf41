"""The report of a run: one HTML file that opens anywhere, without scripts and without the network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keepfit import durable, show
from keepfit.page import page, section, table
from keepfit.page import verdict as checks
from keepfit.types import Verdict, read


def write(path: Path, record: Mapping[str, Any], plots: Iterable[Path], verdicts: Sequence[Verdict]) -> None:
    """Write the report of a run; `record` is what `keepfit run --json` prints."""
    parts = [_head(record), section("Metrics", show.html_table(*show.metrics(record)))]
    if record.get("without_repeats"):
        parts.append(section("Without test rows that repeat a training row", table([record["without_repeats"]])))
    if record.get("decision"):
        parts.append(section("Gate", checks(read(Verdict, record["decision"]["verdict"]))))
    if record.get("slices"):
        parts.append(section("Weakest slices", table(record["slices"])))
    if record.get("leaderboard"):
        by = f"Models tried: score is out-of-fold {record['judged_by']}"
        parts.append(section(by, table(record["leaderboard"])))
    images = "".join(f"<img alt='{html.escape(p.stem)}' src='{_inline(p)}'>" for p in plots)
    parts.append(section("Plots", f"<div class='plots'>{images}</div>") if images else "")
    parts += [section(verdict.subject.capitalize(), checks(verdict)) for verdict in verdicts]
    durable.write_text(path, page(f"keepfit: {record['name']}", "".join(parts)))


def _head(record: Mapping[str, Any]) -> str:
    outcome = html.escape(str(record["outcome"]))
    return (
        f"<h1>{html.escape(record['name'])}</h1><p class='soft'>{html.escape(record.get('description', ''))}</p>"
        f"<p><span class='outcome {outcome}'>{outcome}</span> {html.escape(record['headline'])}</p>"
        f"<p class='soft'>Run {html.escape(record['run'])}. Data {html.escape(str(record.get('data', '')))}.</p>"
    )


def _inline(path: Path) -> str:
    kind = {"svg": "svg+xml", "png": "png"}[path.suffix.lstrip(".")]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
