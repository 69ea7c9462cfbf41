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
    images = "".join(f"<img alt='{html.escape(p.stem)}' src='{_inline(p)}'>" for p in plots)
    parts.append(section("Plots", f"<div class='plots'>{images}</div>") if images else "")
    if record.get("by_step"):
        parts.append(section("By step ahead: errors, bias and width in scales of the series", table(record["by_step"])))
    if record.get("series"):
        parts.append(_series(record["series"]))
    if record.get("slices"):
        parts.append(section("Weakest slices", table(record["slices"])))
    if record.get("leaderboard"):
        by = f"Models tried: score is out-of-fold {record['judged_by']}"
        parts.append(section(by, table(record["leaderboard"])))
    parts += [section(verdict.subject.capitalize(), checks(verdict)) for verdict in verdicts]
    durable.write_text(path, page(f"keepfit: {record['name']}", "".join(parts)))


def _series(told: Mapping[str, Any]) -> str:
    """How many series are forecast better than by the value of one season before, and the hardest ones."""
    better, count = told["better_than_seasonal_naive"], told["count"]
    line = (
        f"<p>{count:,} series: {better * 100:.0f} % of them are better than the value of one season before; "
        f"the median of their MASE is {told['median_mase']:.3g}.</p>"
    )
    return section("Series, the hardest first", (line if count > 1 else "") + table(told["hardest"]))


def _head(record: Mapping[str, Any]) -> str:
    outcome = html.escape(str(record["outcome"]))
    return (
        f"<h1>{html.escape(record['name'])}</h1><p class='soft'>{html.escape(record.get('description', ''))}</p>"
        f"<p><span class='outcome {outcome}'>{outcome}</span> {html.escape(record['headline'])}</p>"
        + "".join(f"<p>{html.escape(note)}</p>" for note in record.get("notes", ()))
        + f"<p class='soft'>Run {html.escape(record['run'])}. Data {html.escape(str(record.get('data', '')))}.</p>"
    )


def _inline(path: Path) -> str:
    kind = {"svg": "svg+xml", "png": "png"}[path.suffix.lstrip(".")]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
