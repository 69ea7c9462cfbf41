"""What `keepfit up` says while it runs: one line an event, the same as JSON for machines.

>>> str(Event("monitor", "nothing wrong in 800 rows", time="2026-03-01T10:20:30+00:00"))[-36:]
'  monitor  nothing wrong in 800 rows'

What a pass says again and again is an event only when it changes in more than its numbers:

>>> news = Changes()
>>> [news("monitor", text) for text in ("3 rows", "4 rows", "no champion", "no champion", "4 rows")]
[True, False, True, False, True]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

NUMBERS = re.compile(r"\d[\d.,:TZ+-]*")
LOGGED = re.compile(r"[\d-]{10} [\d:,]{12} (?P<level>[A-Z]+) ")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Event:
    """`name` says whose it is (up, serve, ui, monitor, retrain); `bad` calls for a look; `time` is ISO 8601, UTC."""

    name: str
    text: str
    bad: bool = False
    url: str | None = None
    outcome: str | None = None  # of a pass: healthy, unhealthy, promoted, refused, "not needed", …
    time: str = field(default_factory=_now)

    def __str__(self) -> str:
        local = datetime.fromisoformat(self.time).astimezone()
        return f"{local:%Y-%m-%d %H:%M:%S} {'✗' if self.bad else ' '} {self.name:8s} {self.text}"


Say = Callable[[Event], None]


def safely(say: Say) -> Say:
    """`say`, where a full disk or a reader that is gone does not stop who speaks."""

    def told(event: Event) -> None:
        with suppress(OSError):
            say(event)

    return told


def logged(name: str, line: str) -> Event:
    """A line of a child's log as an event: with our time for its time, and bad from WARNING on."""
    found = LOGGED.match(line)
    text = line[found.end() :] if found else line
    return Event(name, text, bad=line.startswith("Error") or bool(found and found["level"] not in ("INFO", "DEBUG")))


class Changes(dict[str, str]):
    """What each said last, without its numbers. Called with a name and a text: is that something else?"""

    def __call__(self, name: str, text: str) -> bool:
        said = NUMBERS.sub("#", text)
        before, self[name] = self.get(name), said
        return before != said
