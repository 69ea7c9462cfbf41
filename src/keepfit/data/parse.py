"""The one meaning of a single value, for training, batch and serving alike.

A CSV brings everything as text, Parquet and SQL bring typed values, a JSON request brings either.
The functions here say what such a value is in a column of a given role. Training and batch call
them on the distinct odd values of a column, serving on each value of a request, so that the three
cannot disagree. A value that makes no sense raises ValueError with a short reason; a missing one
is None: None itself, NaN, blank text, and the column's missing tokens.

    role       result
    number     float, always finite
    date       float: seconds since 1970-01-01 00:00 UTC; a time without a zone is taken as UTC (see `data.zones`)
    category   the level's canonical text
    text       the text, untouched
    image      the bytes of the file; of base64 and data: URLs those that they stand for
    series     the level's canonical text; moment: date or number, as its column's dtype says; past: number to 1e30

>>> number(" 1e5 "), number("?", tokens=("?",)), level(98178.0), level("True"), level(True)
(100000.0, None, '98178', 'true', 'true')
>>> date("20141013T000000") == date("13/10/2014", formats=("%d/%m/%Y",))
True
>>> number("1,000")
Traceback (most recent call last):
    ...
ValueError: not a number: '1,000'
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import date as Day
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from keepfit.data import zones
from keepfit.types import Column

Parsed = float | str | bytes | None

# Formats that make a number a date: what one unit is in seconds.
EPOCHS: Mapping[str, float] = {"epoch": 1.0, "epoch_ms": 1e-3, "epoch_us": 1e-6, "epoch_ns": 1e-9}
QUARTER = "quarter"  # a format that strptime has no directive for
QUARTERS = re.compile(r"([1-9]\d{3})[- /.]?[Qq]([1-4])|[Qq]([1-4])[- /.]?([1-9]\d{3})")
LARGEST = 1e30  # of what is observed: float32 ends at 3.4e38
LOCAL = "local"  # in the formats of a moment: the date and clock as they are written, whatever their distance to UTC
OFFSET = re.compile(r"(?<=\d)\s*(Z|[+-]\d{2}(:?\d{2})?)$")
WORDS = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}
# How Python, pandas and Excel write a whole number that sits in a column of floats.
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.0")
START = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Problem:
    """A cell that could not be read as its column's role says; `row` counts data rows from 0."""

    row: int
    column: str
    problem: str


def number(value: Any, tokens: Container[str] = ()) -> float | None:
    """A finite number, or None for a missing value.

    Text may have blanks around it and an exponent. Thousands separators are not guessed, because
    1,234 is two different numbers in two countries. True and false count as 1 and 0, as words too.
    Raises ValueError for anything else, and for infinities ("infinite").
    """
    if type(value) is float:  # first, because it is what a request brings most
        found = value
    elif isinstance(value, str):
        text = value.strip()
        if not text or text in tokens:
            return None
        found = _text_number(text)
    elif value is None:
        return None
    elif isinstance(value, (Real, Decimal)):
        found = _float(value)
    else:
        raise ValueError(f"not a number: {shown(value)}")
    if math.isfinite(found):
        return found
    if math.isnan(found):
        return None
    raise ValueError("infinite")


def past(value: Any, tokens: Container[str] = ()) -> float | None:
    """An observation of a series: a number whose square, and whose sums, are numbers too.

    >>> past("1e31")
    Traceback (most recent call last):
        ...
    ValueError: beyond 1e30: use a larger unit
    """
    found = number(value, tokens)
    if found is not None and abs(found) > LARGEST:
        raise ValueError(f"beyond {LARGEST:.0e}: use a larger unit".replace("+", ""))
    return found


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf


def _text_number(text: str) -> float:
    # float() also takes 1_000 and the digits of other scripts; readers of CSV do not.
    if "_" not in text and text.isascii():
        try:
            return float(text)
        except ValueError:
            if text in WORDS:
                return WORDS[text]
    raise ValueError(f"not a number: {shown(text)}")


def level(value: Any, tokens: Container[str] = ()) -> str | None:
    """The canonical text of a category, or None for a missing value.

    The same value has one text whether it came typed or written: 98178, 98178.0, "98178" and
    "98178.0" are one level, and so are True, "True" and "TRUE". Leading zeros are kept.
    Raises ValueError for lists, mappings and the like, and for infinities.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text or text in tokens:
            return None
        if text in WORDS:
            return text.lower()
        if text.endswith(".0") and WHOLE.fullmatch(text):
            return text[:-2] if text != "-0.0" else "0"
        return text
    if value is None:
        return None
    return _typed_level(value)


def _typed_level(value: Any) -> str | None:
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "true" if value else "false"
    if isinstance(value, Day):
        return str(value)
    if not isinstance(value, (Real, Decimal)):
        raise ValueError(f"not a category: {shown(value)}")
    if isinstance(value, Integral):
        return str(int(value))
    found = _float(value)
    if math.isnan(found):
        return None
    if math.isinf(found):
        raise ValueError("infinite")
    whole = found.is_integer() and abs(found) < 1e15
    return str(int(found)) if whole else repr(found)


def date(value: Any, formats: Sequence[str] = (), tokens: Container[str] = ()) -> float | None:
    """Seconds since 1970-01-01 00:00 UTC, or None for a missing value.

    Takes dates and datetimes, ISO 8601 text, and text in one of the strptime `formats` (or "quarter"),
    tried in order before ISO. A number is a date only if a format says so: one of `EPOCHS`, or a
    strptime format of digits such as %Y%m%d. Raises ValueError for anything else.
    """
    if isinstance(value, Day):
        return _seconds(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        text = value.strip()
        if not text or text in tokens:
            return None
    elif isinstance(value, (Real, Decimal)) and not isinstance(value, bool):
        text = level(value) or ""
    else:
        raise ValueError(f"not a date: {shown(value)}")
    return _text_date(text, formats, written=isinstance(value, str))


def _text_date(text: str, formats: Sequence[str], written: bool) -> float:
    for form in formats:
        try:
            if form in EPOCHS:
                found = number(text)
                if found is not None:
                    return found * EPOCHS[form]
            else:
                return strptime(text, form)
        except ValueError:
            continue
    try:
        if written:
            return iso(text)
    except ValueError:
        pass
    raise ValueError(f"not a date: {shown(text)}{_zoneless(text)}")


def _zoneless(text: str) -> str:
    """What is wrong with the zone that a text names, if anything is."""
    try:
        zones.parted(text)
    except ValueError as error:
        return f" ({error})" if zones.bare(text) != text else ""
    return ""


def strptime(text: str, form: str) -> float:
    """Seconds since 1970 UTC of `text` in one strptime format, or as a quarter; ValueError if it is not."""
    return quarter(text) if form == QUARTER else _stamp(text, lambda clock: datetime.strptime(clock, form))


def quarter(text: str) -> float:
    """Seconds since 1970 UTC of the first day of a quarter; ValueError if it is none.

    >>> [datetime.fromtimestamp(quarter(text), UTC).date().isoformat() for text in ("2020Q3", "1999-q1", "Q4 2001")]
    ['2020-07-01', '1999-01-01', '2001-10-01']
    """
    found = QUARTERS.fullmatch(text)
    if not found:
        raise ValueError(f"not a quarter: {shown(text)}")
    return _seconds(Day(int(found[1] or found[4]), 3 * int(found[2] or found[3]) - 2, 1))


def iso(text: str) -> float:
    """Seconds since 1970 UTC of ISO 8601 `text`; ValueError if it is not."""
    return _stamp(text, datetime.fromisoformat)


def _stamp(text: str, read: Callable[[str], datetime]) -> float:
    """What `read` makes of a text, or of a text without the name of its zone, at its end. Raises ValueError."""
    try:
        return _seconds(read(text))
    except ValueError:
        clock, zone = zones.parted(text)
    found = read(clock)
    return _seconds(found if found.tzinfo else found.replace(tzinfo=zone))


def _seconds(value: Day) -> float:
    if not isinstance(value, datetime):
        return float((value - START.date()).days * 86400)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - START) / SECOND


def moment(value: Any, column: Column) -> float | None:
    """The time of a row of a forecast: seconds since 1970 UTC, or the number; None for a missing value.

    >>> from datetime import timezone
    >>> days = Column("day", "moment", "date", formats=(LOCAL,))
    >>> noon = datetime(1970, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    >>> moment("1970-01-02T00:00:00+02:00", days), moment(noon, days), moment("7", Column("t", "moment", "int"))
    (86400.0, 86400.0, 7.0)
    """
    if column.dtype != "date":
        return number(value, column.tokens)
    if LOCAL in column.formats:
        value = _as_written(value)
    return date(value, strptimes(column), column.tokens)


def strptimes(column: Column) -> tuple[str, ...]:
    """The formats of a moment that are strptime's, or of an epoch."""
    return tuple(form for form in column.formats if form != LOCAL)


def _as_written(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, str) and ":" in value:  # 2024-05-01 ends like a distance, but has no clock
        return OFFSET.sub("", zones.bare(value.strip()))
    return value


def text(value: Any, tokens: Container[str] = ()) -> str | None:
    """The text as it is, or None for a missing value; numbers and dates as `level` writes them."""
    if isinstance(value, str):
        core = value.strip()
        return value if core and core not in tokens else None
    try:
        return level(value)
    except ValueError:
        raise ValueError(f"not a text: {shown(value)}") from None


def picture(value: Any, tokens: Container[str] = ()) -> bytes | None:
    """The bytes of a picture, given as such, as base64 or as a data: URL; None for a missing value."""
    from keepfit.data import pictures  # brings numpy, which what only logs does without

    return None if isinstance(value, str) and value.strip() in tokens else pictures.given(value)


def reconcile(labels: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """Label → class. A label that is a class but for dots or blanks at its end is that class;
    one that is no class at all is left out.

    >>> reconcile([">50K.", "<=50K", "maybe"], (">50K", "<=50K"))
    {'>50K.': '>50K', '<=50K': '<=50K'}
    """
    names = set(known)
    found = {label: label if label in names else bare(label) for label in labels}
    return {label: name for label, name in found.items() if name in names}


def bare(label: str) -> str:
    """A label without dots and blanks at its end."""
    return label.rstrip(". \t\u00a0")


def shown(value: Any) -> str:
    """A value as errors show it: quoted, and short."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


# role → what a value of such a column means. Roles that are not here (id, group, …) are levels.
PARSE: Mapping[str, Callable[[Any, Column], Parsed]] = {
    "number": lambda value, column: number(value, column.tokens),
    "date": lambda value, column: date(value, column.formats, column.tokens),
    "category": lambda value, column: level(value, column.tokens),
    "text": lambda value, column: text(value, column.tokens),
    "image": lambda value, column: picture(value, column.tokens),
    "series": lambda value, column: level(value, column.tokens),
    "moment": moment,
    "past": lambda value, column: past(value, column.tokens),
}
