"""Which role follows from what a column holds.

The first rule of `RULES` that has an answer decides, and its answer is the sentence that
`keepfit check` prints. A role declared in `data.columns` wins over all of them.

>>> found = column(pl.Series("plan", ["basic", "pro", "basic", "?"]), ("?",))
>>> found.role, found.why, found.levels
('category', "2 different texts; missing is written '?'", ('basic', 'pro'))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from keepfit.data import gallery, image_folder, parse
from keepfit.data.columns import FEWEST, Facts, look, split_name
from keepfit.types import Column

LEVELS = 1000  # levels that are kept of a category
UNIQUE = 0.95  # a text with more distinct values than this share of the rows names its row
ROLES = ("number", "category", "text", "image", "date", "id", "ignore")  # what data.columns may declare
ID_WORDS = {"id", "ids", "uuid", "guid"}
ROW_WORDS = {"index", "idx", "row", "rowid", "rownum", "unnamed", "no", "nr", "number", "key"}
CODE_WORDS = {"zip", "zipcode", "postcode", "postal", "postalcode", "plz", "fips", "code"}


def column(series: pl.Series, tokens: Sequence[str], wanted: str | None = None) -> Column:
    """The Column of a series; `wanted` is the declared role, or `date:FORMAT`, and wins."""
    role, _, form = (wanted or "").partition(":")
    facts = look(series, tokens, (form,) if form and role == "date" else None)
    if role:
        why = "declared in data.columns"
    else:
        role, why = next((name, found) for name, rule in RULES if (found := rule(facts)))
        why += _remarks(facts)
    return describe(facts, role, why, tokens)


def describe(facts: Facts, role: str, why: str, tokens: Sequence[str]) -> Column:
    """The Column of `facts` in a role that is settled."""
    return Column(
        facts.name, role, _stored(facts, role), why,
        missing=facts.missing / max(1, facts.rows), distinct=facts.distinct, example=facts.example,
        levels=tuple(levels(facts, tokens)[:LEVELS]) if role == "category" else (),
        low=facts.low, high=facts.high, formats=facts.formats if role in ("date", "time") else (), tokens=tuple(tokens),
    )  # fmt: skip


def _stored(facts: Facts, role: str) -> str:
    """How the values are stored: a Column's dtype."""
    if role == "image":
        return "bytes"
    return facts.kind if facts.kind in ("int", "float", "bool", "date") else "str"


def levels(facts: Facts, tokens: Sequence[str]) -> list[str]:
    """The canonical levels of a column, most frequent first, ties in the order of the alphabet."""
    if facts.texts is not None:
        counted = facts.texts.select("text", "count")
    else:
        counted = facts.series.drop_nulls().value_counts(name="count").select(pl.nth(0).alias("text"), "count")
    totals: dict[str, int] = {}
    for value, count in counted.iter_rows():
        try:
            level = parse.level(value, tokens)
        except ValueError:
            continue
        if level is not None:
            totals[level] = totals.get(level, 0) + count
    return sorted(totals, key=lambda level: (-totals[level], level))


# --- rules: the first that gives a sentence decides


def _no_role(f: Facts) -> str | None:
    if f.kind == "empty":
        return "all values are missing"
    if f.kind == "bytes":
        return "bytes of which most do not begin as pictures do"
    if f.kind not in ("int", "float", "bool", "str", "date", "image"):
        return f"values of type {f.kind}: make a number or a text of them"
    if f.distinct == 1 and f.missing == 0:
        return f"constant: always '{f.example}'"
    return None


def _is_image(f: Facts) -> str | None:
    return f"pictures: {f.example}" if f.kind == "image" else None


def _is_path(f: Facts) -> str | None:
    """Names of files of pictures: they name the row, and may hold the label."""
    if f.name != gallery.PATH or f.texts is None or f.distinct < f.known:
        return None
    return "names the file of each picture" if all(map(image_folder.is_picture, f.texts["text"].to_list())) else None


def _is_date(f: Facts) -> str | None:
    if f.kind != "date":
        return None
    how = " or ".join(f.formats) if f.formats else "ISO 8601" if f.texts is not None else "dates"
    mirrored = "; day and month could also be exchanged: declare 'date:%m/%d/%Y' if so" if f.ambiguous else ""
    return f"dates{'' if how == 'dates' else f' written as {how}'}{mirrored}"


def _is_named_id(f: Facts) -> str | None:
    if not split_name(f.name) & ID_WORDS or f.kind not in ("int", "float", "str") or _fractions(f):
        return None
    if f.distinct == f.known:
        return "named an id, and no value repeats"
    if f.distinct > 0.1 * f.known:
        return f"named an id; {f.distinct:,} different values in {f.known:,} rows"
    return None


def _is_counter(f: Facts) -> str | None:
    if f.kind not in ("int", "float") or f.known < FEWEST or f.distinct < f.known or _fractions(f):
        return None
    if f.counts_up and (f.low in (0, 1) or f.known >= 200):
        return "counts the rows"
    return "named like a row number, and no value repeats" if split_name(f.name) & ROW_WORDS else None


def _is_code(f: Facts) -> str | None:
    if f.kind == "bool":
        return "true or false"
    whole = f.kind in ("int", "float") and not _fractions(f)
    if whole and split_name(f.name) & CODE_WORDS and f.distinct <= 0.5 * f.known:
        return f"digits that name something rather than measure it; {f.distinct:,} different codes"
    if whole and split_name(f.name) & ID_WORDS:
        return f"named an id, but only {f.distinct:,} different values: a category"
    return None


def _fractions(f: Facts) -> bool:
    return f.kind == "float" and not f.whole


def _is_number(f: Facts) -> str | None:
    if f.kind not in ("int", "float"):
        return None
    what = "whole numbers" if f.whole else "numbers"
    if f.low is None or f.high is None:
        return what
    largest = max(-f.low, f.high)
    comma = "," if largest >= 10_000 else ""  # years are not written 2,015
    form = f"{comma}.0f" if f.whole and largest < 1e12 else f"{comma}.6g"
    return f"{what} from {f.low:{form}} to {f.high:{form}}"


def _is_text(f: Facts) -> str | None:
    few = 4.0 if f.distinct < 100 else 3.0
    if f.words >= few and f.distinct > 0.2 * f.known:
        return f"free text of about {f.words:.0f} words; {f.distinct:,} different in {f.known:,} rows"
    return None


def _is_unique_text(f: Facts) -> str | None:
    if f.known < FEWEST or f.distinct <= UNIQUE * f.known:
        return None
    return "no value repeats" if f.distinct == f.known else f"{f.distinct:,} different values in {f.known:,} rows"


def _is_category(f: Facts) -> str | None:
    kept = f", of which the {LEVELS:,} most frequent are kept" if f.distinct > LEVELS else ""
    return f"{f.distinct:,} different {'codes of digits' if f.digits else 'texts'}{kept}"


def _remarks(f: Facts) -> str:
    said = ""
    if f.odd:
        said += f"; {f.odd:,} {'cell is' if f.odd == 1 else 'cells are'} not, such as {parse.shown(f.oddity)}"
    if f.missing and f.written and f.kind != "empty":
        shown = ["blank" if not token else f"'{token}'" for token in f.written[:3]]
        said += f"; missing is written {' or '.join(shown)}"
    return said


Rule = Callable[[Facts], str | None]
RULES: tuple[tuple[str, Rule], ...] = (
    ("ignore", _no_role),
    ("image", _is_image),
    ("ignore", _is_path),
    ("date", _is_date),
    ("id", _is_named_id),
    ("id", _is_counter),
    ("category", _is_code),
    ("number", _is_number),
    ("text", _is_text),
    ("id", _is_unique_text),
    ("category", _is_category),
)
