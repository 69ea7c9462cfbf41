"""Who may ask: API keys by name, compared in constant time; without keys, nobody by way of a web browser's page."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from keepfit.errors import RequestError

LOCAL = "local"  # the caller where no keys are set
REMEMBERED = 1_000  # pairs of Host and Origin that were found to be this machine's


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


def loopback(address: str) -> bool:
    """Whether a host, with or without a port, is a name of this machine that no other can take.

    A name that resolves to 127.0.0.1 is none: whoever owns the name decides that (DNS rebinding).

    >>> [loopback(host) for host in ("localhost:8080", "127.0.0.2", "[::1]:80", "evil.test", "127.0.0.1.evil.test")]
    [True, True, True, False, False]
    """
    try:
        host = (urlsplit(f"//{address}").hostname or "").removesuffix(".")
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_only() -> Callable[[Mapping[bytes, bytes]], None]:
    """A check of a request's headers for a server without keys on the loopback address.

    It raises RequestError (403) for a Host that is no name of this machine, as a page has that made its
    own name point here, and for an Origin that is none, as pages of others have. Who is no browser
    sends neither against his will. What was found good is looked up from then on.
    """
    good: set[tuple[bytes | None, bytes | None]] = set()

    def check(headers: Mapping[bytes, bytes]) -> None:
        pair = headers.get(b"host"), headers.get(b"origin")
        if pair in good:
            return
        host, origin = (None if one is None else one.decode("latin-1") for one in pair)
        if host and not loopback(host):
            raise _foreign(f"The Host '{host[:80]}' is no name of this machine")
        if origin is not None and not loopback(origin.partition("://")[2]):
            raise _foreign(f"The page at '{origin[:80]}' is not of this machine")
        if len(good) < REMEMBERED:
            good.add(pair)

    return check


def _foreign(told: str) -> RequestError:
    return RequestError(
        403, "not_local",
        f"{told}, and this server has no API key that would tell who asks. Ask for localhost or 127.0.0.1; or "
        "start the server with KEEPFIT_API_KEY, or with --insecure where whatever reaches it may ask.",
    )  # fmt: skip
