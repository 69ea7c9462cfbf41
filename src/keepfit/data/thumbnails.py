"""Pictures of the profile: small JPEGs inside the page, by class.

>>> import numpy as np
>>> from keepfit.data import pictures
>>> image(pictures.encoded(np.zeros((20, 40), np.uint8)), 10)[:40]
"<img alt='' src='data:image/jpeg;base64,"
>>> image(b"nothing", 10)
'<i>no picture</i>'
"""

from __future__ import annotations

import polars as pl

from keepfit.data import pictures
from keepfit.data.charts import escape

LARGE, SMALL = 88, 40  # pixels of a side
CLASSES = 12  # that are shown, the most frequent ones


def shown(series: pl.Series, target: pl.Series | None, most: int) -> str:
    """Up to `most` pictures of each class, evenly spaced over the rows; of all where there are no classes."""
    if target is None:
        return f"<div class='thumbs'>{_group('', series, most)}</div>"
    counts = target.filter(series.is_not_null()).drop_nulls().value_counts(sort=True, name="count").rows()
    groups = "".join(
        _group(f"{escape(label, 40)} · {count:,}", series.filter(target == label), most)
        for label, count in sorted(counts, key=lambda row: (-row[1], row[0]))[:CLASSES]
    )
    more = f"<p class='soft'>and {len(counts) - CLASSES:,} more classes</p>" if len(counts) > CLASSES else ""
    return f"<div class='thumbs'>{groups}</div>{more}"


def _group(title: str, series: pl.Series, most: int) -> str:
    known = series.drop_nulls()
    some = known.gather_every(max(1, len(known) // most)).head(most).to_list()
    made = [image(data, LARGE) for data in some]
    return f"<section><h3>{title}</h3><div>{''.join(made)}</div></section>"


def image(data: bytes, side: int) -> str:
    """One picture as HTML, at most `side` pixels a side."""
    try:
        return f"<img alt='' src='{pictures.thumbnail(data, side)}'>"
    except ValueError:
        return "<i>no picture</i>"
