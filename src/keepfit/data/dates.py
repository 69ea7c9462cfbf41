"""Columns of written dates: finding their formats, and reading many at once.

What a written date means is said by `parse.date`. `seconds` reads the common all-digit formats a
column at a time, and leaves to the caller (null) whatever is not exactly of that shape.

>>> formats(pl.Series(["13/10/2014", "01/02/2015"]))
Found(formats=('%d/%m/%Y',), share=1.0, ambiguous=False)
>>> seconds(pl.Series(["1970-01-02", "soon"]), ()).to_list()
[86400.0, None]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from keepfit.data import parse

DIGITAL = ("%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%Y.%m.%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y")
SHORT = ("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d-%b-%Y", "%d-%b-%y")
NAMED = ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%m-%d")
TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y")
CANDIDATES = (*(day + time for day in (*DIGITAL, *SHORT, *NAMED) for time in TIMES), *MONTHS)
# A cheap first look that spares ordinary text the forty formats.
LOOKS = (
    r"^(\d{1,4}([-/.]\d{1,2}){1,2}|\d{8}(T|$)|\d{1,2}[- ][A-Za-z]{3,9}[- ,]|[A-Za-z]{3,9}[- ]\d{1,4}"
    r"|\d{4}[- /.]?[Qq]\d$|[Qq]\d[- /.]?\d{4}$|\d{4}-?W\d\d)"  # quarters and ISO 8601's weeks
)
DIGITS = {"%Y": r"[1-9]\d{3}", "%m": r"\d{2}", "%d": r"\d{2}", "%H": r"\d{2}", "%M": r"\d{2}", "%S": r"[0-5]\d"}
ISO = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y%m%dT%H%M%S")
SAMPLE = 2000  # distinct values: enough to see every format that 5 % of the rows have
ENOUGH = 0.95


class Found(NamedTuple):
    """`formats` in the order they are tried (none: ISO 8601 alone), the share of values that they
    read, and whether day and month could as well stand the other way round."""

    formats: tuple[str, ...]
    share: float
    ambiguous: bool


NOTHING = Found((), 0.0, False)


def seconds(texts: pl.Series, formats: Sequence[str]) -> pl.Series:
    """Seconds since 1970 UTC, Float64; null where `parse.date` has to be asked.

    `texts` are stripped. Only all-digit formats are read here, and only values of exactly that
    shape, so that the answer cannot differ from that of `parse.date`.
    """
    name = texts.name
    frame = pl.DataFrame({"text": texts.cast(pl.String)})
    read = []
    for form in (*formats, *ISO):
        shape = _shape(form)
        if shape is None:
            break  # a format that is not read here comes first, and must have its say first
        stamp = pl.col("text").str.strptime(pl.Datetime("us"), form, strict=False)
        read.append(pl.when(pl.col("text").str.contains(shape)).then(stamp.dt.epoch("us") / 1e6))
    if not read:
        return pl.Series(name, [None] * len(texts), dtype=pl.Float64)
    return frame.select(pl.coalesce(read).cast(pl.Float64).alias(name)).to_series()


def _shape(form: str) -> str | None:
    directives = re.findall("%.", form)
    if form in parse.EPOCHS or not {"%Y", "%m", "%d"} <= set(directives) or not set(directives) <= set(DIGITS):
        return None
    parts = re.split("(%.)", form)
    return "^" + "".join(DIGITS.get(part, re.escape(part)) for part in parts) + "$"


def formats(texts: pl.Series) -> Found:
    """The formats of distinct stripped texts; `NOTHING` when fewer than 95 % of them are dates.

    Looks at `SAMPLE` values spread evenly. Where a column mixes formats, the commonest comes
    first; of two that read the same values, day before month is taken and `ambiguous` says so.
    """
    if not _looks(texts):
        return NOTHING
    values = texts.gather_every(max(1, len(texts) // SAMPLE)).to_list()
    left = [value for value in values if not _reads(value, None)]
    chosen: list[str] = []
    ambiguous = False
    while len(left) > (1 - ENOUGH) * len(values) and len(chosen) < 4:
        likely = [form for form in (*CANDIDATES, parse.QUARTER) if any(_reads(value, form) for value in left[:5])]
        counts = {form: sum(_reads(value, form) for value in left) for form in likely if _mirror(form) not in chosen}
        if not counts:
            return NOTHING
        best = max(counts, key=lambda form: counts[form])  # the first of equals: day before month
        mirror = _mirror(best)
        ambiguous |= mirror != best and counts.get(mirror) == counts[best]
        chosen.append(best)
        left = [value for value in left if not _reads(value, best)]
    return Found(tuple(chosen), 1 - len(left) / len(values), ambiguous)


def _looks(texts: pl.Series) -> bool:
    some = texts.gather_every(max(1, len(texts) // 40))
    return len(some) > 0 and int(some.str.contains(LOOKS).sum()) >= 0.8 * len(some)


def _reads(value: str, form: str | None) -> bool:
    reader: Callable[[str], object] = parse.iso if form is None else lambda text: parse.strptime(text, form)
    try:
        reader(value)
    except ValueError:
        return False
    return True


def _mirror(form: str) -> str:
    """The format with day and month exchanged, or the format itself."""
    return re.sub("^(%d|%m)([-/.])(%d|%m)", lambda found: found[3] + found[2] + found[1], form)
