"""Where notices go: CHANNELS maps the key of an entry of `alerts` to the function that sends it.

A channel raises AlertError when the receiver did not take the notice. Addresses hold secrets (a
Slack webhook's path is one), so only the kind and the host of an address are ever shown or kept.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import re
import smtplib
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from keepfit.data.download import request
from keepfit.data.redact import HIDDEN, redacted
from keepfit.errors import AlertError
from keepfit.monitoring import notices
from keepfit.monitoring.notices import Notice
from keepfit.sections import Alert
from keepfit.types import plain

SECONDS = 10.0  # for a whole delivery
SMTP = re.compile(
    r"(?P<scheme>smtps?)://(?:(?P<user>[^:]*?)(?::(?P<password>.*))?@)?(?P<host>\[[^]]+\]|[^:@/]+)(?::(?P<port>\d+))?/?"
)
PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class Target:
    """One receiver. `name` is fit for a file's name and tells nothing secret; so does `label`, to people."""

    name: str
    label: str
    alert: Alert


def targets(alerts: Sequence[Alert]) -> dict[str, Target]:
    """The receivers by their names, an e-mail address each; an entry that is there twice counts once."""
    found: dict[str, Target] = {}
    for one in dict.fromkeys(single for alert in alerts for single in _single(alert)):
        kind, address = _address(one)
        shown = address if kind == "email" else f"{kind} {_host(address)}"
        told = "\n".join((kind, redacted(address), redacted(one.smtp or "")))
        name = f"{kind}-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}"
        while name in found:  # they differ in what is secret alone
            name += "-again"
        found[name] = Target(name, shown, one)
    return found


def _single(alert: Alert) -> list[Alert]:
    if not alert.email or isinstance(alert.email, str):
        return [alert]
    return [alert.model_copy(update={"email": address}) for address in alert.email]


def _address(alert: Alert) -> tuple[str, str]:
    """The kind of channel, a key of CHANNELS, and the address there."""
    return next((kind, str(address)) for kind in CHANNELS if (address := getattr(alert, kind)))


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "?"
    except ValueError:
        return "?"


def send(alert: Alert, notice: Notice, seconds: float = SECONDS) -> None:
    """Send a notice to one receiver. Raises AlertError when it was not taken within `seconds`.

    A thread does it, as neither the search for a host nor an answer that drips in ends by itself.
    """
    kind, address = _address(alert)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            CHANNELS[kind](alert, notice)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told where the notice waits
            problems.append(error)

    thread = threading.Thread(target=work, name=f"keepfit-{kind}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise AlertError(f"no answer within {seconds:g} s")
    for problem in problems:
        raise AlertError(_reason(problem, address, alert.smtp or "")) from None


def _reason(error: BaseException, *secrets: str) -> str:
    """What went wrong, without a word of the address: libraries like to quote it."""
    if isinstance(error, AlertError):
        return str(error)
    inner = getattr(error, "reason", error)
    inner = inner if isinstance(inner, BaseException) else error
    if isinstance(inner, TimeoutError):
        return f"no answer within {SECONDS:g} s"
    if isinstance(inner, smtplib.SMTPResponseException):
        return f"the mail server answered {_clean(inner.smtp_code, inner.smtp_error, secrets)}"
    if isinstance(inner, smtplib.SMTPRecipientsRefused):
        answers = [_clean(code, said, secrets) for code, said in inner.recipients.values()]
        return f"the mail server refused the address: {'; '.join(answers)}"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {inner.verify_message}"
    return getattr(inner, "strerror", None) or type(inner).__name__


def _clean(code: int, said: bytes | str, secrets: Sequence[str]) -> str:
    """A mail server's answer, without a password that it may repeat."""
    told = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    found = [SMTP.fullmatch(secret) for secret in secrets]
    for password in (match["password"] for match in found if match and match["password"]):
        told = told.replace(password, HIDDEN).replace(unquote(password), HIDDEN)
    return f"{code} {' '.join(redacted(told).split())[:200]}".strip()


def webhook(alert: Alert, notice: Notice) -> None:
    """POST of the notice as JSON."""
    _post(str(alert.webhook), payload(notice), notice.id)


def payload(notice: Notice) -> dict[str, Any]:
    """What a webhook gets: the notice, its text, and under `format` the number of this form."""
    return {"format": 1, **plain(notice), "text": notices.text(notice)}


def slack(alert: Alert, notice: Notice) -> None:
    """POST in the form of Slack's incoming webhooks, which others understand too."""
    _post(str(alert.slack), blocks(notice), notice.id)


def blocks(notice: Notice) -> dict[str, Any]:
    """`text` for notifications, `blocks` for the message.

    Slack refuses headers of more than 150 characters and sections of more than 3,000, and wants
    `&`, `<` and `>` escaped (docs.slack.dev, Block Kit and "Formatting message text").
    """
    lines = []
    for name, said in notices.sentences(notice):
        bold = f"*{_escaped(name)}*" if name else ""
        lines.append("  ".join(part for part in (bold, _escaped(said)) if part))
    header = {"type": "header", "text": {"type": "plain_text", "text": notice.title[:150]}}
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": line[:3000]}} for line in lines]
    return {"text": _escaped(notice.title), "blocks": [header, *sections]}


def _escaped(text: str) -> str:
    """Slack's marks as plain text; a star would end the bold."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("*", "∗")


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: a notice, and the secret in its address, goes nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(address: str, body: Mapping[str, Any], number: str) -> None:
    """POST of JSON that any 2xx takes. The answer's body is not read."""
    if not address.startswith(("http://", "https://")):
        raise AlertError("the address is no http:// or https:// URL")
    post = request(address)
    post.data = json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")
    post.add_header("Content-Type", "application/json; charset=utf-8")
    post.add_header("Idempotency-Key", number)
    try:
        urllib.request.build_opener(_Stay).open(post, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise AlertError(f"the server answered {_status(error.code)}") from None
    except http.client.InvalidURL:
        raise AlertError("the address is no URL") from None


def _status(code: int) -> str:
    phrase = HTTPStatus(code).phrase if code in set(HTTPStatus) else ""
    return f"{code} {phrase}".strip() + (": write the address that it leads to" if 300 <= code < 400 else "")


def email(alert: Alert, notice: Notice) -> None:
    """An e-mail as plain text and HTML, over TLS."""
    found = SMTP.fullmatch(alert.smtp or "")
    if not found:
        raise AlertError("smtp is not of the form smtp://user:password@host:587 or smtps://user:password@host:465")
    with _connected(found) as server:
        if found["user"]:
            server.login(unquote(found["user"]), unquote(found["password"] or ""))
        server.send_message(message(notice, str(alert.email), alert.sender or _sender(found)))


def _sender(found: re.Match[str]) -> str:
    user = unquote(found["user"] or "")
    return user if "@" in user else f"keepfit@{found['host']}"


@contextmanager
def _connected(found: re.Match[str]) -> Iterator[smtplib.SMTP]:
    """A mail server to talk to in secret; on this machine alone it may be without."""
    host, port = found["host"].strip("[]"), int(found["port"] or PORTS[found["scheme"]])
    trusted = ssl.create_default_context()
    if found["scheme"] == "smtps":
        with smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=trusted) as server:
            yield server
        return
    with smtplib.SMTP(host, port, timeout=SECONDS) as server:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=trusted)
        elif not _here(host):
            raise AlertError("the mail server offers no STARTTLS; use smtps:// or another port")
        yield server


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def message(notice: Notice, to: str, sender: str) -> EmailMessage:
    """The e-mail. Its Message-ID is the notice's, so that a repetition can be told."""
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = notice.title, sender, to
    made["Message-ID"] = f"<{notice.id}@keepfit>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(notices.text(notice))
    made.add_alternative(notices.as_html(notice), subtype="html")
    return made


CHANNELS: Mapping[str, Callable[[Alert, Notice], None]] = {"webhook": webhook, "slack": slack, "email": email}
