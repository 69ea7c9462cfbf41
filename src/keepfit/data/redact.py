"""Sources without their secrets: what may be shown, stored and logged."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
# Up to the last @: a password may hold any character, and hiding too much does no harm.
USERINFO = re.compile(r"(?<=://)(\S*)@")
SECRET = re.compile(
    r"([?&;][^=&;\s]*(?:sig|token|key|passw|pwd|secret|credential|auth)[^=&;\s]*=)[^&;\s]+", re.IGNORECASE
)


def redacted(source: str) -> str:
    """The source with passwords and tokens replaced by ***; user names stay.

    >>> redacted("postgresql://ann:s3c:r@t@db/shop?sslmode=require")
    'postgresql://ann:***@db/shop?sslmode=require'
    >>> redacted("https://host/a.csv?sig=abc&format=csv")
    'https://host/a.csv?sig=***&format=csv'
    """

    def without(found: re.Match[str]) -> str:
        user, colon, _ = found[1].partition(":")
        return f"{user}{colon}{HIDDEN if colon else ''}@"

    return SECRET.sub(rf"\1{HIDDEN}", USERINFO.sub(without, source))


def scrubbed(message: object, source: str) -> str:
    """A library's message without the source's secrets, wherever in it they stand."""
    text = str(message).replace(source, redacted(source))
    for secret in _secrets(source):
        text = text.replace(secret, HIDDEN).replace(unquote(secret), HIDDEN)
    return redacted(text)


def _secrets(source: str) -> list[str]:
    found = [user[1].partition(":")[2] for user in USERINFO.finditer(source)]
    found += [hit[0].rpartition("=")[2] for hit in SECRET.finditer(source)]
    return [secret for secret in found if secret]
