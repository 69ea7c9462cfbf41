"""Real servers for the tests: PostgreSQL, a store that speaks S3, and a web server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "s3c:r%t"  # signs that a URL has to escape


def free_port() -> int:
    """A port of this machine that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, or the newest of Debian's packages."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return versions[-1] if versions else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL server that lives as long as the session.

    Its folder is not pytest's: another session that starts meanwhile may close or clear that one.
    """
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: install it (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="keepfit-postgres-"))
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]], user=user, cwd=folder, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr + done.stdout

    port = free_port()
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    run("initdb", "-D", str(folder / "data"), "-U", "keepfit", "-A", "scram-sha-256", "--pwfile", str(secret), "-N")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
    subprocess.run(
        [str(programs / "pg_ctl"), "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start"],
        user=user,
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    yield f"postgresql://keepfit:s3c%3Ar%25t@127.0.0.1:{port}/postgres"
    run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a local server that speaks S3 (moto), for AWS_ENDPOINT_URL."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class WebServer:
    """Answers GET with `pages[path]`: a list of (status, headers, body), one a request; the last stays."""

    def __init__(self) -> None:
        self.pages: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append((self.path, dict(self.headers)))
                pages = web.pages.get(self.path.partition("?")[0]) or [(404, {}, b"")]
                status, headers, body = pages.pop(0) if len(pages) > 1 else pages[0]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def put(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        self.pages.setdefault(path, []).append((status, {k.replace("_", "-"): v for k, v in headers.items()}, body))
        return self.url + path


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    """A web server on a free port; `put` gives it pages."""
    web = WebServer()
    web.thread.start()
    yield web
    web.server.shutdown()
    web.thread.join()
    web.server.server_close()
