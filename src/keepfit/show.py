"""How results look to people: plain tables for terminals, the same as HTML for notebooks.

>>> print(table(["metric", "value"], [["accuracy", 0.93333], ["rows", 30]]))
metric      value
accuracy   0.9333
rows           30
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keepfit.types import Check, Decision, Schema, Verdict, read

if TYPE_CHECKING:
    from keepfit.data.labels import Invalid, Report

EXAMPLES = 5
MARKS = {"passed": "✓", "failed": "✗", "not checked": "–"}


def text(value: Any) -> str:
    """A value in few characters: numbers with four significant digits, lists joined.

    >>> text(0.123456), text(1234567.0), text(None), text([1, 2]), text(44657.31)
    ('0.1235', '1,234,567', '', '1, 2', '44,657')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ", ".join(map(text, value)) if isinstance(value, (list, tuple)) else str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if value != value or abs(value) == float("inf"):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def chance(p: float) -> str:
    """A p-value in words; one too small for a float is no zero.

    >>> chance(0.0421), chance(0.0)
    ('p = 0.042', 'p < 1e-300')
    """
    return f"p = {p:.2g}" if p > 1e-300 else "p < 1e-300"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], widest: int = 60) -> str:
    """Rows under their heads; columns that hold only numbers stand to the right."""
    body = [[_short(text(cell), widest) for cell in row] for row in rows]
    numeric = [all(_numeric(row[i]) for row in body) and bool(body) for i in range(len(head))]
    widths = [max([len(head[i]), *(len(row[i]) for row in body)]) for i in range(len(head))]
    lines = [
        "   ".join(cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric, strict=True))
        for row in [list(head), *body]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _short(cell: str, widest: int) -> str:
    cell = " ".join(cell.split())
    return cell if len(cell) <= widest else cell[: widest - 1] + "…"


def _numeric(cell: str) -> bool:
    return not cell or cell.replace(",", "").replace(".", "").replace("-", "").replace("e", "").isdigit()


def verdict(given: Verdict, everything: bool = False, beside: str = "limit", notes: str = "") -> str:
    """A Verdict as lines: what failed and what warned, and with `everything` the rest too.

    `beside` is what the limit of its checks is called: a reproduction has what was before. Of passed checks whose
    name begins with `notes`, what they found is told.

    >>> found = Verdict("data", (Check("data.series", "passed", 3, 1, "3 series; frequency 1d"), Check("x", "passed")))
    >>> print(verdict(found, notes="data."))
    data: passed (2 checks)
      ✓ data.series: 3 series; frequency 1d
    """
    shown = [c for c in given.checks if everything or c.outcome == "failed"]
    lines = [f"{given.subject}: {given.outcome} ({_counts(given)})"]
    lines += [f"  {_mark(c)} {_sentence(c, beside)}" for c in sorted(shown, key=_rank)]
    told = [c for c in given.checks if notes and c.name.startswith(notes) and c.outcome == "passed" and c.detail]
    return "\n".join([*lines, *(f"  {_mark(c)} {c.name}: {c.detail}" for c in told)])


def _counts(given: Verdict) -> str:
    made = sum(c.outcome != "not checked" for c in given.checks)
    parts = [counted(made, "check")]
    parts += [f"{len(given.failures)} failed"] if given.failures else []
    parts += [counted(len(given.warnings), "warning")] if given.warnings else []
    parts += [f"{len(given.checks) - made} not checked"] if made < len(given.checks) else []
    return ", ".join(parts)


def counted(count: int, what: str) -> str:
    """A number of things in words.

    >>> counted(1, "warning"), counted(0, "warning")
    ('1 warning', '0 warnings')
    """
    return f"{text(count)} {what}{'' if count == 1 else 's'}"


def _mark(check: Check) -> str:
    return "!" if check.outcome == "failed" and check.severity == "warning" else MARKS[check.outcome]


def _rank(check: Check) -> int:
    return {"✗": 0, "!": 1, "✓": 2, "–": 3}[_mark(check)]


def _sentence(check: Check, beside: str) -> str:
    measured = text(check.value)
    limit = f" ({beside} {text(check.limit)})" if check.limit is not None else ""
    parts = [check.name, f"{measured}{limit}".strip(), check.detail]
    return ": ".join(part for part in parts if part)


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The same table for a notebook or a report; every cell is escaped."""
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(text(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def schema(given: Schema) -> str:
    """The table of `keepfit check`: what each column was taken for, and why."""
    head = ("column", "role", "why", "missing", "distinct", "example")
    rows = [(c.name, c.role, c.why, f"{c.missing:.1%}", c.distinct, c.example) for c in given.columns]
    told = table(head, [[str(cell) for cell in row] for row in rows], widest=52)
    return f"{told}\n\ntask: {given.task} ({given.why_task})"


def metrics(record: Mapping[str, Any]) -> tuple[Sequence[str], list[Sequence[Any]]]:
    """Head and rows of a run's metrics: each with its interval beside the baseline and the goal."""
    goals = record.get("goals", {})
    rows: list[Sequence[Any]] = []
    for name, value in record["metrics"].items():
        interval = f"{text(value['low'])} – {text(value['high'])}" if value.get("low") is not None else ""
        rows.append((name, value["value"], interval, value.get("baseline"), goals.get(name, "")))
    sure = f"{record['confidence'] * 100:g} % interval"
    return ("metric", "value", sure, "baseline", "goal"), rows


def run(record: Mapping[str, Any]) -> str:
    """What a run came to, where to read more, and what to do next."""
    parts = [record["headline"], "\n".join(record.get("notes", ()))]
    if record.get("checks"):
        data: Verdict = read(Verdict, record["checks"])
        parts += [verdict(data)] if data.warnings else []
    if record.get("metrics"):
        parts.append(table(*metrics(record)))
    if record.get("decision"):
        given: Verdict = read(Verdict, record["decision"]["verdict"])
        parts.append(verdict(given, everything=True))
    files = [(name, record[name]) for name in ("report", "profile", "bundle") if record.get(name)]
    after = [("or" if place else "next", command) for place, command in enumerate(record["next"])]
    parts.append("\n".join(f"{name:<9} {path}" for name, path in [*files, *after]))
    return "\n\n".join(filter(None, parts))


def records(found: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """Records as a table of some of their keys."""
    rows = [[_cell(record.get(key)) for key in keys] for record in found]
    return table(keys, rows, widest=70) if rows else "None yet. Next: keepfit run"


def _cell(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    known = {name: inner["value"] if isinstance(inner, Mapping) else inner for name, inner in value.items()}
    bounds = ("_low", "_high", "baseline_")
    shown = [name for name in known if not any(bound in name for bound in bounds)]
    return ", ".join(f"{name} {text(known[name])}" for name in shown[:3])


def decisions(found: Sequence[Decision]) -> str:
    """The history, newest first."""
    rows = [
        (d.when[:19], d.kind.replace("_", " "), d.version, d.previous, _who(d.by), d.reason) for d in reversed(found)
    ]
    return table(("when", "decision", "version", "before", "by", "reason"), rows, 80) if rows else "No decision yet."


def _who(by: str) -> str:
    """The name, without the address that git writes after it."""
    return _short(by.partition(" <")[0], 24)


def decision(given: Decision) -> str:
    """One Decision in a sentence, and its evidence."""
    before = f" (before: version {given.previous})" if given.previous else ""
    line = f"{given.subject}: version {given.version} {given.kind.replace('_', ' ')}{before}. {given.reason}"
    return f"{line}\n{verdict(given.verdict, everything=True)}"


def prediction(report: Mapping[str, Any]) -> str:
    """What batch scoring did."""
    if report.get("rejected") and not report["rows"]:
        told = f"No row was scored. {counted(report['rejected'], 'row')} could not be read, each for the reason in"
        return f"{told} {report['rejected_file']}"
    lines = [f"{text(report['rows'])} rows scored by version {report['version']} → {report['output']}"]
    if report.get("rejected"):
        lines.append(f"{text(report['rejected'])} rows could not be read: {report['rejected_file']}")
    lines += [f"{note['problem']}." for note in report.get("notes", ())]
    return "\n".join(lines)


def feedback(report: Report) -> str:
    """What became of labels that came later."""
    again = f", {text(report.repeated)} of them in place of an earlier one" if report.repeated else ""
    lines = [f"{counted(report.accepted, 'label')} accepted{again}"]
    for ids, what in ((report.unknown, "not known here"), (report.expired, "older than what the log keeps")):
        if ids:
            lines.append(f"{counted(len(ids), 'id')} {what}: {_some(ids)}")
    if report.invalid:
        named = [f"row {entry.row + 1}: {entry.problem}" for entry in report.invalid]
        lines.append("\n  ".join([f"{counted(len(named), 'row')} without a label that fits:", *named[:EXAMPLES]]))
    if report.held_back:
        lines.append(f"{text(len(report.held_back))} of them held back: kept, but forecasts do not go on from them:")
        lines += _held(report.held_back)
    return "\n".join(lines)


def _held(entries: Sequence[Invalid]) -> Iterator[str]:
    """Each reason with the first entry that it holds of, by row and name, and how many more there are."""
    reasons: dict[str, list[Invalid]] = {}
    for entry in entries:
        reasons.setdefault(entry.problem, []).append(entry)
    for problem, those in [*reasons.items()][:EXAMPLES]:
        more = f" and {text(len(those) - 1)} more" if len(those) > 1 else ""
        yield f"  row {those[0].row + 1} ({_told_of(those[0].id or '')}){more}: {problem}"
    if len(reasons) > EXAMPLES:
        yield f"  and {text(sum(map(len, [*reasons.values()][EXAMPLES:])))} more"


def _told_of(name: str) -> str:
    """What an entry of the feedback is called: the id of a prediction, or series and time, which its key has as JSON.

    >>> _told_of('{"shop":"north","month":"1971-03-01"}'), _told_of("0mwq29u9nldxe-0")
    ('north, 1971-03-01', '0mwq29u9nldxe-0')
    """
    return ", ".join(map(str, json.loads(name).values())) if name.startswith("{") else name


def monitored(found: Mapping[str, Any]) -> str:
    """A monitoring pass as lines: is it well, how well, what is wrong, what moved."""
    window, names = found["window"], ("performance", "estimated", "quality", "drift")
    where = found.get("data") or f"{window['since'][:16]} to {window['until'][:16]}"
    parts = [f"{found['headline']}\n{where}: {text(window['rows'])} rows, {text(window['labelled'])} with labels"]
    measured = [
        [name, how, one["value"], _around(one), one.get("reference"), one.get("goal") or ""]
        for how, part in (("measured", "performance"), ("estimated", "estimated"))
        for name, one in found[part].items()
        if one.get("value") is not None
    ]
    if measured:
        parts.append(table(["metric", "how", "value", "95 % interval", "at training", "goal"], measured))
    parts.append("\n".join(_family(read(Verdict, found["verdicts"][name])) for name in names))
    moved = [[c["name"], c["psi"], chance(c["p"]), c["moved"]] for c in found["columns"] if c["outcome"] == "failed"]
    if moved:
        parts.append(table(["drifted", "PSI", "chance", "moved the mean output by"], moved[:EXAMPLES]))
    parts.append("\n".join(_written(found)))
    return "\n\n".join(parts)


def _written(found: Mapping[str, Any]) -> Iterator[str]:
    """Where a pass is told in full, and what could not be told."""
    yield f"report    {found['report']}"
    if "evidently" in found:
        told = found["evidently"]
        yield f"evidently {told['report'] or 'no report: ' + told['why']}"
    if "untracked" in found:
        yield f"untracked {found['untracked']}"


def _family(given: Verdict) -> str:
    """A Verdict with what is wrong; of one that could not be checked, why."""
    unknown = next((c.detail for c in given.checks if c.outcome == "not checked"), "")
    why = f"\n  {MARKS['not checked']} {unknown}" if given.outcome == "not checked" and unknown else ""
    return verdict(given) + why


def _around(one: Mapping[str, Any]) -> str:
    low, high = one.get("low"), one.get("high")
    return f"{text(low)} – {text(high)}" if low is not None and high is not None else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:EXAMPLES]) + (", …" if len(names) > EXAMPLES else "")


class Record(dict[str, Any]):
    """A result as a plain dict that shows itself as a table, on a terminal and in a notebook."""

    def __str__(self) -> str:
        if "verdicts" in self:
            return monitored(self)
        return run(self) if "headline" in self else table(("what", "is"), self.items())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
