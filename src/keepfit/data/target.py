"""What is predicted: the task and the classes.

>>> import polars as pl
>>> from keepfit.data.columns import look
>>> task(look(pl.Series("churn", ["Yes", "No"] * 10), ()))
('classification', "'churn' holds 2 different labels")
"""

from __future__ import annotations

from collections.abc import Sequence

from keepfit.data import decimal, parse
from keepfit.data.columns import Facts
from keepfit.data.roles import levels
from keepfit.errors import DataError

MOST_CLASSES = 20  # whole numbers of more different values are a quantity
CLASS_SHARE = 0.05  # and so are those with more different values than this share of the rows


def task(facts: Facts, forced: str = "auto") -> tuple[str, str]:
    """The task and one sentence why; DataError where the target cannot be predicted that way."""
    name = f"'{facts.name}'"
    if facts.kind == "empty" or facts.known == 0:
        raise DataError(f"The target {name} has no values at all: every row is missing it.")
    if facts.kind not in ("int", "float", "bool", "str"):
        raise DataError(
            f"The target {name} holds {'dates' if facts.kind == 'date' else facts.kind}. "
            "Predict a number, a text or true/false; make one of it in features.py."
        )
    quantity = facts.kind in ("int", "float")
    if forced == "regression" and not quantity:
        raise DataError(
            f"task: regression needs numbers, but the target {name} holds texts such as "
            f"{parse.shown(facts.example)}. {decimal.hint(facts.texts)}"
            "Set task: classification, or name another data.target."
        )
    if forced != "auto":
        return forced, f"set by the task of the config; {name} holds {facts.distinct:,} different values"
    comma = decimal.hint(facts.texts) if facts.distinct > MOST_CLASSES else ""
    if comma:
        raise DataError(
            f"The target {name} holds texts such as {parse.shown(facts.example)}. {comma}Else set task: classification."
        )
    if not quantity:
        return "classification", f"{name} holds {facts.distinct:,} different labels"
    few = facts.distinct <= 2 or (facts.distinct <= MOST_CLASSES and facts.distinct < CLASS_SHARE * facts.known)
    if facts.whole and few:
        return "classification", f"{name} holds only {facts.distinct} different whole numbers"
    return "regression", f"{name} holds {facts.distinct:,} different numbers"


def classes(facts: Facts, tokens: Sequence[str]) -> tuple[str, ...]:
    """Labels in the order of the alphabet, each once however it is written."""
    found = levels(facts, tokens)
    same = {label for label in found if parse.bare(label) != label and parse.bare(label) in set(found)}
    return tuple(sorted(set(found) - same))
