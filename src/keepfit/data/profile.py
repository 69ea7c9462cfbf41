"""The EDA report: one HTML file that opens anywhere, without scripts and without the network.

It stays under two megabytes whatever the data: charts are drawn from at most 50,000 rows, details
are given for up to 200 columns (those that tell the target best first), the table of columns is
cut at 3,000 rows, and if names or values are so long that this is not enough, fewer are shown.
Everything that comes from the data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from keepfit import durable
from keepfit.data import drawn, hashes, lines, thumbnails
from keepfit.data.charts import bars, escape, heatmap
from keepfit.data.single import scores
from keepfit.types import Column, Dataset, Schema, Verdict

STYLE = Path(__file__).with_suffix(".css")
LARGEST = 2_000_000  # bytes
ROWS = 50_000  # rows that charts are drawn from
TABLE, DETAILS, SAMPLE_ROWS, SAMPLE_COLUMNS, TOP, CORRELATED = 3000, 200, 10, 30, 20, 16
WIDE = 560.0
THUMBNAILS = 8  # pictures of a class
SCORE = {"classification": "2·AUC − 1", "regression": "R² of ranks", "forecast": "R² of ranks"}

SIZES = {"text": " Of a text this is its length alone.", "image": " Of a picture it is how many bytes it has alone."}


@dataclass(frozen=True)
class Profile:
    """What the report is written from: the data, a part of its rows, and what was measured."""

    dataset: Dataset
    some: pl.DataFrame
    scores: Mapping[str, float]
    verdicts: Sequence[Verdict]

    @cached_property
    def there(self) -> frozenset[str]:
        """Names of the columns of the frame."""
        return frozenset(self.some.columns)

    @property
    def schema(self) -> Schema:
        return self.dataset.schema


def profile(dataset: Dataset, path: Path, verdicts: Sequence[Verdict] = ()) -> None:
    """Write the report on a Dataset whose frame is conformed to `path`, whole or not at all.

    `verdicts` are listed with their failed checks and warnings.
    """
    frame = dataset.frame
    some = frame.gather_every(-(-len(frame) // ROWS)) if len(frame) > ROWS else frame
    made = Profile(dataset, some, scores(frame, dataset.schema), verdicts)
    text = page(made)
    share = 1.0
    while len(text.encode()) > LARGEST and share > 0.001:
        share /= 2
        text = page(made, share)
    _write(path, text)


def page(made: Profile, share: float = 1.0) -> str:
    """The report as HTML; `share` lowers the numbers of columns that are shown."""
    sections = {
        "Warnings": _warnings(made, max(5, int(200 * share))),
        "Target": _target(made),
        "Series": lines.shown(made.dataset.frame, made.schema, max(1, int(lines.SHOWN * share))),
        "Pictures": _pictures(made, max(1, int(THUMBNAILS * share))),
        "Relation to the target": _relation(made),
        "Columns": _table(made, int(TABLE * share)),
        "Details": _details(made, int(DETAILS * share)),
        "Correlations": _correlations(made),
        "Missing values": _missing(made),
        "Sample rows": _sample(made, max(1, int(SAMPLE_COLUMNS * share))),
    }
    kept = {title: body for title, body in sections.items() if body}
    links = "".join(f"<a href='#{_anchor(title)}'>{title}</a>" for title in kept)
    body = "".join(f"<h2 id='{_anchor(title)}'>{title}</h2>{text}" for title, text in kept.items())
    name = escape(made.dataset.origin.get("source", "data"), 120)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>Profile of {name}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><h1>Profile of {name}</h1>{_overview(made)}<nav>{links}</nav>{body}</body></html>\n"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(path, text.encode(errors="replace"))


def _overview(made: Profile) -> str:
    frame, schema = made.dataset.frame, made.schema
    cells = max(1, len(frame) * len(schema.columns))
    gone = sum(column.missing for column in schema.columns) * len(frame) / cells
    asked = _asked(made)
    features = [c.name for c in asked if c.name in made.there]
    again = float(hashes.repeated(hashes.rows(made.some, features)).mean()) if features and len(made.some) else 0.0
    tiles = {
        "rows": f"{len(frame):,}",
        "columns": f"{len(schema.columns):,}",
        **{f"{role} feature{'s' if count > 1 else ''}": f"{count:,}" for role, count in _counts(asked).items()},
        "cells missing": f"{gone:.2%}",
        "rows with repeated features": f"{again:.2%}",
        "in memory": f"{frame.estimated_size('mb'):,.1f} MB",
    }
    shown = "".join(f"<div class='tile'><b>{value}</b><span>{name}</span></div>" for name, value in tiles.items())
    of = (
        f"Target <b>{escape(schema.target)}</b>, {schema.task}: {escape(schema.why_task, 200)}."
        if schema.target
        else ""
    )
    version = _soft(f"Data {escape(made.dataset.version, 100)}") if made.dataset.version else ""
    some = _soft(f"Charts are drawn from {len(made.some):,} rows, evenly spaced.")
    return f"<p>{of}</p>{version}{some if len(made.some) < len(frame) else ''}<div class='tiles'>{shown}</div>"


def _asked(made: Profile) -> list[Column]:
    """The features without the target, which is one of them where its past is known."""
    return [column for column in made.schema.features if column.name != made.schema.target]


def _counts(columns: Sequence[Column]) -> Mapping[str, int]:
    roles = [column.role for column in columns]
    return {role: roles.count(role) for role in dict.fromkeys(roles)}


def _warnings(made: Profile, most: int) -> str:
    if not made.verdicts:
        return ""
    failed = [(c, "failed") for v in made.verdicts for c in v.failures]
    failed += [(c, "warned") for v in made.verdicts for c in v.warnings]
    passed = sum(c.outcome == "passed" for v in made.verdicts for c in v.checks)
    rows = "".join(
        f"<tr><td class='{kind}'>{'stops' if kind == 'failed' else 'warning'}</td><td>{escape(check.name, 100)}</td>"
        f"<td>{escape(check.detail or check.value, 400)}</td></tr>"
        for check, kind in failed[:most]
    )
    more = _soft(f"and {len(failed) - most:,} more") if len(failed) > most else ""
    table = f"<div class='scroll'><table>{rows}</table></div>" if rows else "<p>Nothing to warn of.</p>"
    return f"{table}{more}<p class='soft'>{passed:,} checks passed.</p>"


def _target(made: Profile) -> str:
    schema = made.schema
    if schema.target is None or schema.target not in made.there:
        return ""
    column = schema[schema.target]
    plain = Schema((column,), "none")  # its own distribution, not coloured by itself
    return f"<div class='cards'>{drawn.card(made.some[schema.target], column, plain, None, None)}</div>"


def _relation(made: Profile) -> str:
    if not made.scores:
        return ""
    best = sorted(made.scores.items(), key=lambda item: -item[1])[:TOP]
    chart = bars([n for n, _ in best], np.array([[s for _, s in best]]), [f"{s:.3f}" for _, s in best], WIDE, 1.0)
    what = SCORE.get(made.schema.task, "")
    first = f" The best {TOP} of {len(made.scores):,}." if len(made.scores) > TOP else ""
    size = "".join(told for role, told in SIZES.items() if any(made.schema[name].role == role for name in made.scores))
    told = f"How well each column alone tells the target on held-out rows: {what}; 1 is perfect.{first}{size}"
    return _soft(told) + chart


def _pictures(made: Profile, most: int) -> str:
    """Some pictures of each column, by class where there are classes."""
    frame, target = made.dataset.frame, made.schema.target
    labels = frame[target] if made.schema.classes and target in made.there else None
    columns = [name for name in made.schema.role("image") if name in made.there]
    return "".join(thumbnails.shown(frame[name], labels, most) for name in columns)


def _soft(text: str) -> str:
    return f"<p class='soft'>{text}</p>"


def _table(made: Profile, most: int) -> str:
    columns = made.schema.columns
    head = (
        "<th>column</th><th>role</th><th>why</th><th class='n'>missing</th><th class='n'>distinct</th><th>example</th>"
    )
    rows = "".join(_row(column) for column in columns[:most])
    more = _soft(f"and {len(columns) - most:,} more columns") if len(columns) > most else ""
    return f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>{more}"


def _row(column: Column) -> str:
    quiet = " class='ignore'" if column.role in ("ignore", "id") else ""
    texts = "".join(f"<td{quiet}>{cell}</td>" for cell in (escape(column.name), column.role, escape(column.why, 160)))
    numbers = f"<td class='n'>{column.missing:.1%}</td><td class='n'>{column.distinct:,}</td>"
    return f"<tr>{texts}{numbers}<td>{escape(column.example, 40)}</td></tr>"


def _details(made: Profile, most: int) -> str:
    there = [c for c in _asked(made) if c.name in made.there]
    ordered = sorted(there, key=lambda c: -made.scores.get(c.name, 0.0))[:most] if len(there) > most else there
    target = made.some[made.schema.target] if made.schema.target in made.there else None
    cards = [drawn.card(made.some[c.name], c, made.schema, target, made.scores.get(c.name)) for c in ordered]
    left = _soft(f"The {most} columns that tell the target best, of {len(there):,}.")
    return (
        f"{drawn.key(made.schema)}{left if len(there) > most else ''}<div class='cards'>{''.join(cards)}</div>"
        if cards
        else ""
    )


def _correlations(made: Profile) -> str:
    numbers = [c.name for c in made.schema.features if c.role == "number" and c.name in made.there]
    numbers = sorted(numbers, key=lambda name: -made.scores.get(name, 0.0))[:CORRELATED]
    if len(numbers) < 2:
        return ""
    # Ranks, with missing values in the middle: outliers and gaps move nothing.
    ranks = made.some.select(pl.col(numbers).rank().fill_null(strategy="mean")).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.corrcoef(ranks, rowvar=False)
    said = _soft("Spearman's rank correlation of the numbers that tell the target best.")
    return f"{said}<div class='scroll'>{heatmap(numbers, values)}</div>"


def _missing(made: Profile) -> str:
    gone = sorted((c for c in made.schema.columns if c.missing > 0), key=lambda c: -c.missing)
    if not gone:
        return "<p>No value is missing.</p>"
    top = gone[:TOP]
    more = _soft(f"and {len(gone) - TOP:,} more columns") if len(gone) > TOP else ""
    return (
        bars([c.name for c in top], np.array([[c.missing for c in top]]), [f"{c.missing:.1%}" for c in top], WIDE)
        + more
    )


def _sample(made: Profile, most: int) -> str:
    names = [c.name for c in made.schema.columns if c.name in made.there][:most]
    dates = {c.name for c in made.schema.columns if c.dtype == "date"}
    rows = made.some.select(names).head(SAMPLE_ROWS)
    head = "".join(f"<th{_side(rows[name])}>{escape(name, 40)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(_value(value, name in dates) for name, value in zip(names, row, strict=True)) + "</tr>"
        for row in rows.iter_rows()
    )
    return f"<div class='scroll'><table class='sample'><tr>{head}</tr>{body}</table></div>"


def _side(column: pl.Series) -> str:
    return " class='n'" if column.dtype.is_float() else ""


def _value(value: object, is_date: bool) -> str:
    if value is None:
        return "<td class='nil'>missing</td>"
    if isinstance(value, bytes):
        return f"<td>{thumbnails.image(value, thumbnails.SMALL)}</td>"
    if isinstance(value, float):
        return f"<td class='n'>{escape(drawn.day(value) if is_date else f'{value:.6g}')}</td>"
    return f"<td>{escape(value, 100)}</td>"
