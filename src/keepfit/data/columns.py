"""What one column holds: its kind, how much is missing, how many values are different.

Everything is measured on all rows, except that date formats are looked for in 2,000 distinct
values and the length of texts on 1,000 rows: more would not change the answer.

>>> facts = look(pl.Series("price", [" 1.5", "2", "?", "1e3"]), ("?",))
>>> facts.kind, facts.missing, facts.distinct, facts.low, facts.high
('float', 1, 3, 1.5, 1000.0)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from keepfit.data import dates, gallery, parse, pictures

MOSTLY = 0.95  # share of numbers (or dates) that makes a column of text one
MEASURED = 1000  # texts whose length is measured
FEWEST = 20  # values below which a pattern in them proves nothing
EPOCH_WORDS = {"timestamp", "ts", "epoch", "unix", "time", "at", "date", "datetime"}
DATE_WORDS = {"date", "day", "dt", "on", "dob", "ymd", "yyyymmdd"}


@dataclass(frozen=True)
class Facts:
    """What a column holds. `kind` is int, float, bool, str, date, image, empty, or the name of a type that
    has no role; `texts` are the distinct written values with their counts (text columns only);
    `odd` counts the rows that are not what the kind says; `words` is the mean length of a text.
    """

    name: str
    rows: int
    missing: int
    distinct: int
    kind: str
    series: pl.Series = field(repr=False)
    example: str = ""
    texts: pl.DataFrame | None = field(default=None, repr=False)
    written: tuple[str, ...] = ()
    odd: int = 0
    oddity: str = ""
    low: float | None = None
    high: float | None = None
    whole: bool = False
    counts_up: bool = False
    digits: bool = False
    words: float = 0.0
    formats: tuple[str, ...] = ()
    ambiguous: bool = False

    @property
    def known(self) -> int:
        return self.rows - self.missing


def look(series: pl.Series, tokens: Sequence[str], formats: tuple[str, ...] | None = None) -> Facts:
    """The facts of a column; `formats` are declared date formats."""
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    missing = series.null_count()
    facts = Facts(series.name, len(series), missing, 0, "empty", series)
    if missing == len(series):
        return facts
    if series.dtype == pl.Binary:
        return _bytes(facts)
    if series.dtype == pl.String:
        return _written(facts, tokens, formats)
    facts = replace(facts, example=_shorten(str(series.drop_nulls()[0])))
    if series.dtype.is_numeric():
        return _numeric(facts, series, formats)
    if series.dtype == pl.Boolean:
        return replace(facts, kind="bool", distinct=series.drop_nulls().n_unique())
    if series.dtype in (pl.Date, pl.Datetime):
        moments = series.drop_nulls().cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        return replace(_spread(facts, moments), kind="date", distinct=moments.n_unique())
    return replace(facts, kind=str(series.dtype))


def _bytes(facts: Facts) -> Facts:
    """Pictures by how most of a sample begins; other bytes have no role."""
    known = facts.series.drop_nulls()
    some = known.gather_every(max(1, len(known) // MEASURED))
    share = sum(map(pictures.begins, some.to_list())) / len(some)
    if share < MOSTLY:
        return replace(facts, kind="bytes", example=f"{len(known[0]):,} bytes")
    shown = gallery.described(gallery.facts(some))
    return replace(facts, kind="image", distinct=known.n_unique(), example=shown)


def _numeric(facts: Facts, series: pl.Series, formats: tuple[str, ...] | None) -> Facts:
    values = series.cast(pl.Float64).fill_nan(None).drop_nulls()
    if len(values) == 0:
        return replace(facts, missing=facts.rows)
    facts = _spread(replace(facts, missing=facts.rows - len(values), distinct=values.n_unique()), values)
    facts = replace(facts, kind="int" if series.dtype.is_integer() else "float")
    return _maybe_date(facts, values, formats)


def _spread(facts: Facts, values: pl.Series) -> Facts:
    """Range, wholeness and counting of Float64 values in the order of the rows."""
    array = values.drop_nulls().to_numpy()
    finite = array[np.isfinite(array)]
    if len(finite) == 0:
        return facts
    low, high = float(finite.min()), float(finite.max())
    whole = bool((finite == np.floor(finite)).all())
    counts_up = whole and high - low == len(array) - 1 and bool((np.diff(array) == 1).all())
    return replace(facts, low=low, high=high, whole=whole, counts_up=counts_up)


def _maybe_date(facts: Facts, values: pl.Series, formats: tuple[str, ...] | None) -> Facts:
    """Whole numbers that are dates: declared so, or written as 20141013, or seconds since 1970 by name."""
    if not formats:
        formats = _number_formats(facts, values)
    if not formats or not facts.whole:
        return facts
    written = values.unique().cast(pl.Int64).cast(pl.String)
    seconds = [s for text in written if (s := _date(text, formats)) is not None]
    if len(seconds) < MOSTLY * len(written):
        return facts
    return replace(facts, kind="date", formats=formats, low=min(seconds), high=max(seconds))


def _number_formats(facts: Facts, values: pl.Series) -> tuple[str, ...]:
    words = split_name(facts.name)
    low, high = facts.low or 0.0, facts.high or 0.0
    if facts.whole and low >= 19_000_101 and high <= 21_001_231 and (words & DATE_WORDS or facts.distinct >= FEWEST):
        return ("%Y%m%d",)
    if words & EPOCH_WORDS:
        for form, scale in parse.EPOCHS.items():  # 1990 to 2100
            if facts.whole and low * scale >= 631_152_000 and high * scale <= 4_102_444_800:
                return (form,)
    return ()


def _date(text: str, formats: Sequence[str]) -> float | None:
    try:
        return parse.date(text, formats)
    except ValueError:
        return None


def _written(facts: Facts, tokens: Sequence[str], formats: tuple[str, ...] | None) -> Facts:
    counted = facts.series.value_counts(name="count").lazy().select(pl.nth(0).alias("raw"), "count").drop_nulls()
    gone = pl.col("text").is_in(["", *tokens])
    value = pl.col("text").cast(pl.Float64, strict=False)
    table = counted.with_columns(text=pl.col("raw").str.strip_chars()).with_columns(gone=gone, value=value).collect()
    absent = table.filter("gone")
    texts = table.select("text", "count", "value") if absent.is_empty() else table.filter(~pl.col("gone")).drop("gone")
    if texts.is_empty():
        return replace(facts, missing=facts.rows, written=tuple(sorted(set(absent["text"]))))
    if table["raw"].str.len_bytes().sum() != table["text"].str.len_bytes().sum():
        texts = texts.group_by("text").agg(pl.sum("count"), pl.first("value"))
    facts = replace(
        facts, missing=facts.rows - int(texts["count"].sum()), distinct=len(texts), texts=texts, kind="str",
        written=tuple(sorted(set(absent["text"]))), example=_example(facts.series, tokens),
    )  # fmt: skip
    if len(texts) <= len(parse.WORDS) and set(texts["text"]) <= set(parse.WORDS):
        return replace(facts, kind="bool")
    return _as_numbers(facts, texts, formats) or _as_dates(facts, texts, formats) or _as_text(facts, texts)


def _example(series: pl.Series, tokens: Sequence[str]) -> str:
    for part in (series.head(20), series):  # rarely all of it
        for value in part.to_list():
            if value is not None and (core := value.strip()) and core not in tokens:
                return _shorten(core)
    return ""


def _shorten(text: str) -> str:
    text = " ".join(text[:200].split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _as_numbers(facts: Facts, texts: pl.DataFrame, formats: tuple[str, ...] | None) -> Facts | None:
    count = len(texts) - texts["value"].null_count()
    if count == 0 or (count < len(texts) and count <= 20):
        return None
    numbers = texts if count == len(texts) else texts.drop_nulls("value")
    odd = facts.known - int(numbers["count"].sum())
    codes, points = numbers.select(
        pl.col("text").str.contains(r"^[+-]?0\d").any(), pl.col("text").str.contains(r"[.eE]").any().alias("points")
    ).row(0)
    if codes or odd > (1 - MOSTLY) * facts.known:
        return None  # 00123 is a code: as a number it would lose its zeros
    oddity = str(texts.filter(pl.col("value").is_null())["text"].min()) if odd else ""
    facts = _spread(replace(facts, odd=odd, oddity=oddity, kind="float" if points else "int"), numbers["value"])
    if facts.whole and count == facts.rows:  # again, in the order of the rows
        facts = _spread(facts, facts.series.str.strip_chars().cast(pl.Float64, strict=False))
    return _maybe_date(facts, numbers["value"], formats)


def _as_dates(facts: Facts, texts: pl.DataFrame, formats: tuple[str, ...] | None) -> Facts | None:
    found = dates.Found(formats, 1.0, False) if formats else dates.formats(texts["text"].sort())
    if found.share < MOSTLY:
        return None
    fast = dates.seconds(texts["text"], found.formats)
    slow = {text: _date(text, found.formats) for text in texts["text"].filter(fast.is_null())}
    odd = texts.filter(pl.col("text").is_in([text for text, second in slow.items() if second is None]))
    if len(odd) > (1 - MOSTLY) * len(texts):
        return None
    read = pl.concat([fast.drop_nulls(), pl.Series([s for s in slow.values() if s is not None], dtype=pl.Float64)])
    return replace(
        _spread(facts, read), kind="date", formats=found.formats, ambiguous=found.ambiguous,
        odd=int(odd["count"].sum()), oddity=str(odd["text"].min()) if len(odd) else "",
    )  # fmt: skip


def _as_text(facts: Facts, texts: pl.DataFrame) -> Facts:
    # In the order of the rows, because that of counted values differs from run to run.
    every = facts.series.drop_nulls()
    some = every.gather_every(max(1, len(every) // MEASURED)).to_list()
    # Scripts without blanks: about two characters a word, each of three bytes.
    words = sum(len(text.split()) + (len(text.encode()) - len(text)) / 4 for text in some) / len(some)
    digits = bool(texts["text"].str.contains(r"^\d+$").all())
    return replace(facts, words=words, digits=digits)


def split_name(name: str) -> set[str]:
    """The words of a column's name, in lower case.

    >>> sorted(split_name("customerID")), sorted(split_name("zip_code 2"))
    (['customer', 'id'], ['2', 'code', 'zip'])
    """
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return set(re.findall(r"[^\W_]+", parted.lower()))
