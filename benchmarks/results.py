"""What a benchmark says: rows of measurements, and the promises that were kept, missed or not measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["kept", "missed", "unclear", "not measured"]


@dataclass(frozen=True)
class Options:
    """What the command line asks for. `peer`: fresh, cached (a kept run of the peer will do) or only.

    `seconds` is how long each measurement under load takes, `days` how much of a stream is replayed; None
    for the benchmark's own.
    """

    peer: str = "fresh"
    seeds: int = 1
    runs: int = 5
    only: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    seconds: float | None = None
    days: int | None = None


@dataclass(frozen=True)
class Claim:
    """One promise with its figure: `measured` `relation` `limit`, or not measured (None).

    `unclear` says that the figure's uncertainty reaches across the limit: a miss is then not certain.
    `disturbed` says that others kept the machine busy, so that it shows nothing either way.

    >>> Claim("CPU-s of import keepfit", 0.08, "<=", 0.1).outcome
    'kept'
    >>> Claim("gain", -0.001, ">=", 0.0, unclear=True).outcome
    'unclear'
    """

    what: str
    measured: float | None
    relation: Literal["<=", ">="]
    limit: float
    unclear: bool = False
    disturbed: bool = False

    @property
    def outcome(self) -> Outcome:
        if self.measured is None or self.measured != self.measured:  # None or NaN
            return "not measured"
        if self.disturbed:
            return "unclear"
        kept = self.measured <= self.limit if self.relation == "<=" else self.measured >= self.limit
        return "kept" if kept else "unclear" if self.unclear else "missed"


@dataclass(frozen=True)
class Result:
    """A benchmark's rows and claims; `skipped` says why there are none, `failed` what went wrong."""

    name: str
    promise: str
    rows: tuple[Mapping[str, Any], ...] = ()
    claims: tuple[Claim, ...] = ()
    skipped: str = ""
    failed: str = ""
    notes: tuple[str, ...] = ()
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table of text, numbers to the right.

    >>> print(table([{"side": "keepfit", "s": 0.051}, {"side": "mlflow", "s": 4.8}]))
    side         s
    -------  -----
    keepfit  0.051
    mlflow     4.8
    """
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    right = [any(isinstance(row.get(name), (int, float)) for row in rows) for name in names]

    def line(texts: Sequence[str]) -> str:
        pairs = zip(texts, widths, right, strict=True)
        return "  ".join(text.rjust(w) if r else text.ljust(w) for text, w, r in pairs).rstrip()

    return "\n".join([line(cells[0]), line(["-" * w for w in widths]), *map(line, cells[1:])])


def shown(value: Any) -> str:
    """A value for people: four significant digits.

    >>> shown(0.84712), shown(44657.23), shown(12), shown(None)
    ('0.8471', '44,657', '12', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def text(result: Result) -> str:
    """The whole answer of a benchmark for people."""
    parts = [f"== {result.name}: {result.promise}"]
    if result.skipped:
        parts.append(f"not measured: {result.skipped}")
    if result.failed:
        parts.append(f"failed: {result.failed}")
    rows = [
        {"promise": c.what, "measured": c.measured, "": c.relation, "limit": c.limit, "outcome": c.outcome}
        for c in result.claims
    ]
    parts += [part for part in (table(result.rows), table(rows), "\n".join(result.notes)) if part]
    return "\n\n".join(parts)


def save(result: Result, folder: Path) -> Path:
    """The result as JSON, with the machine it was measured on; the newest and one by date."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"system": platform.platform(terse=True), "python": platform.python_version(), "cores": os.cpu_count()}
    claims = [{**asdict(claim), "outcome": claim.outcome} for claim in result.claims]
    document = json.dumps(
        {**asdict(result), "claims": claims, "machine": machine, "load": os.getloadavg()[0]}, indent=1
    )
    stamp = result.made.replace(":", "").replace("-", "").replace("+0000", "Z")
    for name in (f"{result.name}-{stamp}.json", f"{result.name}.json"):
        (folder / name).write_text(document + "\n", encoding="utf-8")
    return folder / f"{result.name}.json"
