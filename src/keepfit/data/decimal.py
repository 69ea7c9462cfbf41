"""Numbers that are written with a decimal comma: `3,5` and `1.234,56`.

1,234 is two different numbers in two countries, so nothing is guessed: `data.decimal: ","` says that
a text file writes numbers so, and `check` warns of columns that look like it. What is read is then
the number with a point, in the scored file of a batch as well.

>>> points(pl.DataFrame({"a": ["3,5", "-1.234,56", "1.234", "01.02.2024", None]}))["a"].to_list()
['3.5', '-1234.56', '1234', '01.02.2024', None]
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from keepfit.config import Data
from keepfit.types import Check

NUMBER = r"^[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?([eE][-+]?\d+)?$"
COMMA = r"^[-+]?\d[\d.]*,\d+([eE][-+]?\d+)?$"
THOUSANDS = r"^[-+]?\d{1,3}(,\d{3})+$"  # or a decimal comma with just three digits: it cannot be told
MOST = 10_000  # rows that are looked at
NEARLY = 0.95  # share of a column's values that are numbers


def points(frame: pl.DataFrame) -> pl.DataFrame:
    """The texts of a frame, with numbers of this form written with a point and without separators of thousands."""
    text = pl.col(pl.String)
    number = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return frame.with_columns(pl.when(text.str.contains(NUMBER)).then(number).otherwise(text))


def suspects(frame: pl.DataFrame, data: Data) -> Iterator[Check]:
    """A warning that names the columns that seem to hold such numbers and are read as texts.

    Columns with a role in the config are not asked.
    """
    if data.decimal == ",":
        return
    some = frame.select(pl.col(pl.String)).head(MOST)
    commas = some.select(pl.all().str.contains(",", literal=True).any())  # most columns are done with here
    asked = [name for name in some.columns if name not in data.columns and commas[name].item()]
    named = [name for name in asked if _looks(some[name], data)]
    if not named:
        yield Check("data.decimal", "passed", 0, 0)
        return
    shown = ", ".join(f"'{name}' ({_example(frame[name])})" for name in named[:8])
    detail = (
        f"{shown} look like numbers with a decimal comma and are read as texts. "
        "If they are: data.decimal: ','; if not, declare their role in data.columns"
    )
    yield Check("data.decimal", "failed", len(named), 0, detail, "warning")


def _looks(series: pl.Series, data: Data) -> bool:
    values = series.drop_nulls().str.strip_chars()
    return written(values.filter(~values.is_in(["", *data.missing])))


def hint(texts: pl.DataFrame | None) -> str:
    """What to do about a target that should be numbers; nothing where its texts do not look like such numbers.

    `texts` are those of its Facts.

    >>> hint(pl.DataFrame({"text": ["12,5", "7"]})), hint(pl.DataFrame({"text": ["a", "b"]}))
    ("They look like numbers with a decimal comma: set data.decimal: ',' if they are. ", '')
    """
    if texts is None or not written(texts["text"]):
        return ""
    return "They look like numbers with a decimal comma: set data.decimal: ',' if they are. "


def written(values: pl.Series) -> bool:
    """Do texts, bare of what stands for a missing value, look like numbers with a decimal comma?"""
    telling = values.str.contains(COMMA) & ~values.str.contains(THOUSANDS)
    return bool(telling.any()) and float(values.str.contains(NUMBER).mean() or 0.0) >= NEARLY  # type: ignore[arg-type]


def _example(series: pl.Series) -> str:
    text = series.drop_nulls().str.strip_chars()
    return str(text.filter(text.str.contains(COMMA)).first())
