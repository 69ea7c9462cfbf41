"""Times that end with their zone's name: `2024-03-01 10:00 Europe/Berlin`, `2024-03-01T10:00[Europe/Berlin]`.

Names are those of the tz database that have a slash, and UTC and GMT; abbreviations (CST, IST) mean several zones. A
distance to UTC that stands before the name counts more than it does (RFC 9557). An hour that the clocks showed twice
is the first of the two; one that they left out is read as if they had not been put forward yet (PEP 495).

>>> parted("2024-03-01 10:00 Europe/Berlin")
('2024-03-01 10:00', zoneinfo.ZoneInfo(key='Europe/Berlin'))
>>> bare("2024-03-01T10:00+01:00[Europe/Berlin]"), bare("10:00 PM")
('2024-03-01T10:00+01:00', '10:00 PM')
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

NAME = r"[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+|UTC|GMT"
END = rf"(?:\s*\[!?(?:{NAME})\]|\s+(?:{NAME}))$"
LONGEST = 100  # characters of a time with its zone
_END, _NAME, _DISTANCE = re.compile(END), re.compile(NAME), re.compile(r"\d(Z|[+-]\d{2}(:?\d{2})?)$")


def parted(text: str) -> tuple[str, tzinfo]:
    """A written time without the name of its zone, and the zone. Raises ValueError where none is named or known."""
    clock = bare(text)
    if clock == text:
        raise ValueError("no zone is named")
    name = _NAME.findall(text[len(clock) :])[-1]
    zone = _zone(name)
    if zone is None:
        raise ValueError(f"'{name}' is no zone of the tz database of this machine")
    return clock, zone


@lru_cache(maxsize=256)  # one that is not known is looked for in many files, for each value of a column
def _zone(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo  # not before a name comes: what serves starts without it

    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


def bare(text: str) -> str:
    """A written time without the name of its zone."""
    return _END.sub("", text) if ":" in text and len(text) <= LONGEST else text


def twice(text: str, moment: float) -> bool:
    """Did the clocks of the zone that a time names show it twice? `moment` is what was read: seconds since 1970 UTC."""
    try:
        clock, zone = parted(text.strip())
    except ValueError:
        return False
    local = datetime.fromtimestamp(moment, UTC).astimezone(zone).replace(tzinfo=zone)
    return not _DISTANCE.search(clock) and local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
