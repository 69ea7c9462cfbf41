"""Real receivers of notices on this machine: a web server that may misbehave, and a mail server with TLS."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import free_port

PASSWORD = "s3c:r/t@x"  # signs that a URL would have to escape


class Receiver:
    """Answers each POST with the next of `answers` (status, location); the last stays. 0 hangs until the end."""

    def __init__(self, *answers: int, location: str = "") -> None:
        self.answers = list(answers) or [200]
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, dict(self.headers), json.loads(body)))
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                if status == 0:
                    receiver.over.wait()
                    return
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def web(*answers: int, location: str = "") -> Iterator[Receiver]:
    receiver = Receiver(*answers, location=location)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


class Inbox:
    """Takes mail of who logged in (where `login` is asked), but not for addresses that begin with `nobody`."""

    def __init__(self, login: bool) -> None:
        self.login = login
        self.mail: list[tuple[list[str], EmailMessage]] = []
        self.secret: list[bool] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.login and not session.authenticated:
            return "530 who are you?"
        parsed = BytesParser(policy=default).parsebytes(envelope.content or b"")  # type: ignore[arg-type]
        assert isinstance(parsed, EmailMessage)
        self.mail.append((list(envelope.rcpt_tos), parsed))
        assert server.transport is not None
        self.secret.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
    assert isinstance(given, LoginPassword)
    return AuthResult(success=given.login == b"ann" and given.password == PASSWORD.encode(), handled=False)


@contextmanager
def mail(tls: ssl.SSLContext | None, at_once: bool = False, login: bool = True) -> Iterator[tuple[Inbox, int]]:
    """A mail server and its port: TLS from the start (`at_once`), after STARTTLS, or none."""
    inbox = Inbox(login)
    options: dict[str, Any] = {"tls_context": tls, "require_starttls": True} if tls and not at_once else {}
    server = Controller(
        inbox,
        "127.0.0.1",
        free_port(),
        ssl_context=tls if at_once else None,
        authenticator=_login,
        auth_require_tls=bool(options),  # the server does not know of a TLS that is there from the start
        **options,
    )
    server.start()
    try:
        yield inbox, server.port
    finally:
        server.stop()


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for 127.0.0.1, and the file that whoever trusts it needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    trusted, secret = folder / "trusted.pem", folder / "key.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, secret)
    return context, trusted
