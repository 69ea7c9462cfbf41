"""What the page shows, as HTML: functions of values, each of which escapes what it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from keepfit import config as settings
from keepfit.deployment.explain import WORD, Effect, Explanation
from keepfit.types import Schema

BARS = 8  # classes that are shown; the others are added up
EFFECTS = 8  # inputs that are shown
WORDS = 12  # words that are shown
NOTHING = 0.003  # of the largest effect: not worth a bar
NAMES = {  # of measures, where they are not words
    "rmse": "RMSE", "mae": "MAE", "mape": "MAPE", "r2": "R²", "f1": "F1", "roc_auc": "ROC AUC", "pr_auc": "PR AUC",
    "mase": "MASE", "rmsse": "RMSSE", "smape": "sMAPE",
}  # fmt: skip
COMPARE: Mapping[str, Any] = {
    ">=": lambda a, b: a >= b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b,
}  # fmt: skip
SIGNS = {">=": "≥", "<=": "≤"}
SHORT = 60  # characters of a value in a sentence


def number(value: float) -> str:
    """A number as people read it: thousands apart, four digits of what is small.

    >>> number(206855.81), number(0.123456), number(-12.0), number(1e-9)
    ('206,856', '0.1235', '−12', '1e-09')
    """
    if not math.isfinite(value):
        return str(value)
    text = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
    return f"−{text[1:]}" if text[0] == "-" else text


def percent(share: float) -> str:
    """A share in words' width: no decimals, but where they matter.

    >>> percent(0.934), percent(0.9962), percent(1.0), percent(0.00001), percent(0), percent(0.9899), percent(0.9901)
    ('93 %', '99.6 %', '100 %', '< 0.1 %', '0 %', '99.0 %', '99.0 %')
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    fine = 0 < share < 0.01 or (share < 1 and round(share, 2) >= 0.99)
    return (f"{share:.1%}" if fine else f"{share:.0%}").replace("%", " %")


def shown(value: Any) -> str:
    """A value in a sentence, short and escaped.

    >>> shown(None), shown("<b>"), shown(1234567.0)
    ('unknown', '&lt;b&gt;', '1,234,567')
    """
    if value is None or value == "":
        return "unknown"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(float(value))
    text = " ".join(str(value).split())
    return escape(text if len(text) <= SHORT else f"{text[: SHORT - 1]}…")


# --- an answer ------------------------------------------------------------------------------------


def answer(told: Mapping[str, Any], schema: Schema) -> str:
    """The prediction: what, how sure, and between which bounds."""
    target = escape(schema.target or "prediction")
    if "probabilities" in told:
        sure = f"<span class=kf-sure>{percent(told['confidence'])} sure</span>"
        return (
            f"<p class=kf-target>{target}</p>"
            f"<p class=kf-headline><strong>{escape(str(told['prediction']))}</strong> {sure}</p>"
            + bars(told["probabilities"], told["prediction"])
        )
    value = told["prediction"]
    head = f"<p class=kf-target>{target}</p><p class=kf-headline><strong>{number(value)}</strong></p>"
    return head + (interval(value, *told["interval"]) if "interval" in told else "")


def bars(chances: Mapping[str, float], predicted: str) -> str:
    """A bar for each class, the most probable first."""
    ranked = sorted(chances.items(), key=lambda pair: -pair[1])
    rows = [_bar(label, share, label == predicted) for label, share in ranked[:BARS]]
    rest = ranked[BARS:]
    if rest:
        rows.append(_bar(f"{len(rest)} others", sum(share for _, share in rest), False))
    note = ""
    if ranked and ranked[0][0] != predicted:
        note = "<p class=kf-note>Chosen with the threshold that the training set, not as the more probable one.</p>"
    return f"<ul class=kf-bars aria-label='Probabilities'>{''.join(rows)}</ul>{note}"


def _bar(label: str, share: float, predicted: bool) -> str:
    mark = " class=kf-predicted" if predicted else ""
    return (
        f"<li{mark}><span>{escape(label)}</span><em>{percent(share)}</em>"
        f"<i aria-hidden=true><b style='width:{100 * share:.2f}%'></b></i></li>"
    )


def interval(value: float, low: float, high: float) -> str:
    """The 90 % interval around a value."""
    place = 100 * (value - low) / (high - low) if high > low else 50
    return (
        f"<div class=kf-interval><i aria-hidden=true><b style='left:{place:.1f}%'></b></i>"
        f"<span>{number(low)}</span><span>{number(high)}</span></div>"
        "<p class=kf-note>When it was tested, 9 of 10 true values lay within such bounds.</p>"
    )


def moved(found: Explanation, unit: str) -> str:
    """Which inputs moved the answer most, as bars to both sides. `unit`: what is moved, in words."""
    most = max((abs(effect.effect) for effect in found.effects), default=0.0)
    worth = [effect for effect in found.effects if abs(effect.effect) > NOTHING * most] if most else []
    if not worth:
        return "<h3>What moved it</h3><p class=kf-note>Nothing: with typical values the answer would be the same.</p>"
    if len(found.effects) == 1 and found.words:
        return words(found)  # a text alone: of what else is there to tell?
    rows = "".join(_effect(effect, most, found.label is not None) for effect in worth[:EFFECTS])
    told = f"How far {unit} moved from what it would be with this one value typical. "
    told += _silent(len(found.effects) - len(worth))
    return (
        f"<h3>What moved it</h3><ul class=kf-moved aria-label='What moved the prediction'>{rows}</ul>"
        f"<p class=kf-note>{told}Inputs that act together are not told apart, and none of this is a cause.</p>"
        + words(found)
    )


def _silent(count: int) -> str:
    return (
        ""
        if not count
        else "One input made hardly any difference. "
        if count == 1
        else f"{count} inputs made hardly any difference. "
    )


def _effect(effect: Effect, most: float, share: bool) -> str:
    wide, side = 50 * abs(effect.effect) / most, _side(effect.effect)
    instead = f" <small>instead of {shown(effect.typical)}</small>" if effect.typical is not None else ""
    return (
        f"<li class={side}><span><strong>{escape(effect.column)}</strong> {shown(effect.value)}{instead}</span>"
        f"<em>{signed(effect.effect, share)}</em><i aria-hidden=true><b style='width:{wide:.2f}%'></b></i></li>"
    )


def _side(effect: float) -> str:
    return "kf-up" if effect > 0 else "kf-down"


def signed(effect: float, share: bool) -> str:
    """An effect with its sign: percentage points, or in the unit of the value.

    >>> signed(0.214, True), signed(-1234.5, False), signed(0.0002, True)
    ('+21 pts', '−1,234', '+0.02 pts')
    """
    sign = "+" if effect > 0 else "−"
    if not share:
        return f"{sign}{number(abs(effect))}"
    points = abs(effect) * 100
    return f"{sign}{points:.0f} pts" if points >= 9.95 else f"{sign}{points:.2g} pts"


def words(found: Explanation) -> str:
    """The words of the texts that moved the answer most, and where they stand."""
    most = max((abs(word.effect) for word in found.words), default=0.0)
    worth = [word for word in found.words if abs(word.effect) > 0.02 * most] if most else []
    if not worth:
        return ""
    chips = "".join(
        f"<li class={_side(word.effect)}>{escape(word.word)} "
        f"<em>{signed(word.effect, found.label is not None)}</em></li>"
        for word in worth[:WORDS]
    )
    left = f" The last {found.left:,} different words were not tried." if found.left else ""
    texts = {effect.column: effect.value for effect in found.effects}
    marked = "".join(
        _marked(str(texts[name]), {word.word: word.effect / most for word in worth if word.column == name})
        for name in dict.fromkeys(word.column for word in worth)
    )
    told = f"Each word left out in turn, wherever it stands.{left}"
    return f"<h3>Words that mattered</h3><ul class=kf-words>{chips}</ul>{marked}<p class=kf-note>{told}</p>"


def _marked(text: str, effects: Mapping[str, float]) -> str:
    """A text in which words are marked by what they did, from -1 to 1.

    >>> _marked("A <b> good", {"good": 1.0})
    '<blockquote>A &lt;b&gt; <mark class=kf-up style="--much:100%">good</mark></blockquote>'
    """
    parts, end = [], 0
    for found in WORD.finditer(text):
        effect = effects.get(found[0].lower())
        if effect is not None:
            mark = f'<mark class={_side(effect)} style="--much:{100 * abs(effect):.0f}%">{escape(found[0])}</mark>'
            parts += [escape(text[end : found.start()]), mark]
            end = found.end()
    return f"<blockquote>{''.join(parts)}{escape(text[end:])}</blockquote>"


# --- many rows ------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str, right: int = 0) -> str:
    """A table; the first `right` columns hold numbers."""
    titles = "".join(f"<th scope=col>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{_cells(row, right)}</tr>" for row in rows)
    return (
        f"<div class=kf-scroll tabindex=0 role=region aria-label='{escape(caption)}'>"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Any], right: int) -> str:
    return "".join(
        f"<td{' class=kf-right' if place < right else ''}>{'<s>unknown</s>' if cell is None else shown(cell)}</td>"
        for place, cell in enumerate(row)
    )


# --- the model ------------------------------------------------------------------------------------


def metrics(found: Mapping[str, Mapping[str, Any]], goals: Mapping[str, str], met: Mapping[str, bool | None]) -> str:
    """Each metric with its interval, the trivial baseline and its goal, those with a goal first."""
    ranked = sorted(found, key=lambda name: name not in goals)
    head = "".join(
        f"<th scope=col>{name}</th>" for name in ("measure", "value", "goal", "95 % interval", "trivial model")
    )
    rows = "".join(_metric(name, found[name], goals.get(name), met.get(name)) for name in ranked)
    return (
        "<div class=kf-scroll tabindex=0 role=region aria-label='Measures and goals'><table class=kf-metrics>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _metric(name: str, about: Mapping[str, Any], goal: str | None, met: bool | None) -> str:
    low, high = about.get("low"), about.get("high")
    span = f"{figure(low)} to {figure(high)}" if low is not None and high is not None else ""
    verdict = {True: "<b class=kf-met>met</b>", False: "<b class=kf-missed>missed</b>", None: ""}[met]
    told = f"{limit(goal)} {verdict}" if goal else ""
    title = NAMES.get(name, name.replace("_", " "))
    return (
        f"<tr><th scope=row>{escape(title)}</th><td class=kf-right>{figure(about.get('value'))}</td><td>{told}</td>"
        f"<td class=kf-right>{span}</td><td class=kf-right>{figure(about.get('baseline'))}</td></tr>"
    )


def figure(value: Any) -> str:
    """A measure in four digits; a dash where there is none."""
    if not isinstance(value, (int, float)):
        return "–"
    return number(float(value)) if abs(value) >= 1 else number(round(float(value), 4) + 0.0)


def limit(goal: str) -> str:
    """A goal as people write it.

    >>> limit("<= 50000"), limit(">=0.80")
    ('≤ 50,000', '≥ 0.8')
    """
    sign, limit = settings.goal(goal)
    return f"{SIGNS.get(sign, sign)} {number(limit)}"


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table of texts, the first of each row its name; the others are as long as they are."""
    titles = "".join(f"<th scope=col>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr><th scope=row>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return (
        f"<div class=kf-scroll tabindex=0 role=region aria-label='{escape(caption)}'>"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values, side by side."""
    return "<dl class=kf-facts>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs if v) + "</dl>"


def notice(text: str) -> str:
    """A sentence that must be seen."""
    return f"<p class=kf-notice role=status>{escape(text)}</p>"
