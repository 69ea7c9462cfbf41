"""Who may ask: API keys by name, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from keepfit.errors import RequestError

LOCAL = "local"  # the caller where no keys are set


@dataclass(frozen=True)
class Keys:
    """Callers' keys by name, and the key of the control routes. Never shown, never logged."""

    callers: Mapping[str, bytes]
    admin: bytes | None = None

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.callers)})"


def keys(callers: Mapping[str, str], admin: str | None = None) -> Keys:
    """Keys as they are compared: without the blanks around them, which no header can carry. A blank one is none."""
    stripped = {name: key.strip().encode() for name, key in callers.items()}
    return Keys({name: key for name, key in stripped.items() if key}, (admin or "").strip().encode() or None)


def caller(known: Keys, headers: Mapping[bytes, bytes]) -> str:
    """The name of the key that a request brings; LOCAL where none is needed. Raises RequestError (401)."""
    if not known.callers:
        return LOCAL
    given, found = _given(headers), None
    for name, key in known.callers.items():  # all of them: the time tells nothing of which was near
        if hmac.compare_digest(key, given):
            found = name
    if found is not None:
        return found
    if known.admin and hmac.compare_digest(known.admin, given):
        return "admin"
    raise RequestError(401, "no_key", "This needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")


def administrator(known: Keys, headers: Mapping[bytes, bytes]) -> None:
    """Raises RequestError unless the request brings the admin key."""
    if known.admin is None:
        raise RequestError(
            403, "no_admin_key", "Control routes are closed: the server was started without KEEPFIT_ADMIN_KEY."
        )
    if not hmac.compare_digest(known.admin, _given(headers)):
        raise RequestError(401, "no_key", "This needs the admin key: send 'Authorization: Bearer KEY'.")


def _given(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
