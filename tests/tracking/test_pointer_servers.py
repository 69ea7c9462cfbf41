"""The registry is an MLflow server, behind a login, down and up again; or a database; files are in S3."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from keepfit.config import Tracking
from keepfit.errors import BundleError, TrackingError
from keepfit.tracking import mlflow, pointer, registry
from tests.servers import WebServer, free_port
from tests.tracking.conftest import SCHEMA, registered, seal
from tests.tracking.test_servers import BIN, environment, server

pytestmark = pytest.mark.slow
USER, SECRET = "ann", "pa:ss wörd"


class Tracker:
    """An MLflow server whose artifacts go through it; it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"http://127.0.0.1:{free_port()}"
        self.running: Iterator[None] | None = None

    def start(self, *more: str) -> None:
        command = [str(BIN / "mlflow"), "server", "--port", self.url.rpartition(":")[2], "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), *more]
        self.running = server(command, f"{self.url}/health", self.folder, environment())
        next(self.running)

    def stop(self) -> None:
        if self.running:
            next(self.running, None)
        self.running = None


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Tracker]:
    made = Tracker(tmp_path_factory.mktemp("tracker"))
    shutil.copyfile(empty_store / "mlflow.db", made.folder / "mlflow.db")
    made.start()
    yield made
    made.stop()


def remote(url: str, tmp_path: Path, name: str, bundle: Path, count: int = 2) -> mlflow.Store:
    """A model with versions at a server; the first is champion."""
    store = mlflow.connect(Tracking(uri=url), tmp_path / "trainer" / ".keepfit", name)
    for number in range(count):
        (bundle / "number.txt").write_text(f"{number + 1}")
        seal(bundle)
        registered(store, bundle)
    mlflow.move(store, "champion", "1")
    return store


def test_alias_moved_rolled_back_deleted(tracker: Tracker, bundle: Path, tmp_path: Path) -> None:
    work = tmp_path / "server" / ".keepfit"
    ask = pointer.pointer(Tracking(uri=tracker.url), work, "größe & co")
    assert ask("champion") is None
    assert ask("1") is None
    (bundle / "plots" / "a bü+.txt").write_text("odd names")
    store = remote(tracker.url, tmp_path, "größe & co", bundle)
    registry.promote(store, "2", "better", lambda path: None)
    found = ask("champion")
    assert found == pointer.Found("2", Path)
    folder = found.fetch()
    assert folder.parent == work / "models"
    assert (folder / "number.txt").read_text() == "2"
    assert (folder / "plots" / "a bü+.txt").read_text() == "odd names"
    assert found.fetch() == folder
    assert mlflow.download(store, "2", work / "models") == folder  # one copy, whoever asks
    registry.rollback(store, lambda path: None, reason="slow")
    gone = ask("champion")
    assert gone == pointer.Found("1", Path)
    assert ask("challenger") is None
    assert ask("2") == found
    client = mlflow.MlflowClient(store.tracking, store.registry)
    client.delete_model_version("größe & co", "1")
    assert ask("champion") is None
    assert ask("1") is None
    with pytest.raises(TrackingError, match=r"Version 1 of 'größe & co' is not at http://127"):
        gone.fetch()


def test_a_copy_that_is_damaged_is_made_anew_and_a_damaged_version_is_refused(
    tracker: Tracker, bundle: Path, tmp_path: Path
) -> None:
    remote(tracker.url, tmp_path, "damage", bundle, 1)
    found = pointer.pointer(Tracking(uri=tracker.url), tmp_path / ".keepfit", "damage")("champion")
    assert found is not None
    with ThreadPoolExecutor(4) as pool:
        [folder] = {*pool.map(lambda _: found.fetch(), range(4))}
    (folder / "number.txt").write_text("damaged")
    (folder.parent / f".{folder.name}.partial").mkdir()  # of a killed process
    assert (found.fetch() / "number.txt").read_text() == "1"
    assert sorted(p.name for p in folder.parent.iterdir()) == sorted([folder.name, "copies.lock"])
    stored = max((tracker.folder / "artifacts").rglob("number.txt"), key=lambda path: path.stat().st_mtime)
    shutil.rmtree(folder)
    stored.write_text("9")
    with pytest.raises(BundleError, match=r"number.txt changed since the bundle was written"):
        found.fetch()
    (stored.parent / "checksums.sha256").write_text(f"{'0' * 64}  ../../../evil\n")
    with pytest.raises(BundleError, match="a line that is no checksum of a file inside"):
        found.fetch()
    stored.unlink()
    (stored.parent / "checksums.sha256").write_text(f"{'0' * 64}  number.txt\n")
    with pytest.raises(TrackingError, match=r"MLflow at .* says: No such artifact: .*number.txt"):
        found.fetch()
    assert [p.name for p in folder.parent.iterdir()] == ["copies.lock"]


def test_a_server_that_goes_down_and_comes_again(tracker: Tracker, bundle: Path, tmp_path: Path) -> None:
    remote(tracker.url, tmp_path, "down", bundle, 1)
    ask = pointer.pointer(Tracking(uri=tracker.url), tmp_path / ".keepfit", "down")
    found = ask("champion")
    assert found is not None
    tracker.stop()
    for call in (lambda: ask("champion"), found.fetch):
        with pytest.raises(TrackingError, match=rf"MLflow at {tracker.url} cannot be asked: .*refused.*Is it up\?"):
            call()
    tracker.start()
    assert ask("champion") == found
    assert (found.fetch() / "number.txt").read_text() == "1"


@contextmanager
def front(url: str, tls: Path | None = None) -> Iterator[str]:
    """A login before an MLflow server, as teams put one there; with a key of `tls` it speaks https."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            wanted = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
            if given not in (wanted, "Bearer t0ken"):
                self.send_response(401)
                self.end_headers()
                return
            with urllib.request.urlopen(url + self.path) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    gate = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        gate.socket = context.wrap_socket(gate.socket, server_side=True)
    thread = Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"{'https' if tls else 'http'}://127.0.0.1:{gate.server_port}"
    gate.shutdown()
    thread.join()
    gate.server_close()


def test_a_login(tracker: Tracker, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote(tracker.url, tmp_path, "login", bundle, 1)
    with front(tracker.url) as url:
        make: Callable[..., pointer.Pointer] = lambda uri=url: pointer.pointer(
            Tracking(uri=uri), tmp_path / ".keepfit", "login"
        )
        for name, value in {"USERNAME": USER, "PASSWORD": "wrong"}.items():
            with pytest.raises(TrackingError, match=r"refused the login \(HTTP 401\)\. Check MLFLOW_TRACKING_USERNAME"):
                make()("champion")
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        with pytest.raises(TrackingError, match="refused the login") as told:
            make()("champion")
        assert "wrong" not in str(told.value)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
        found = make()("champion")
        assert found is not None
        assert (found.fetch() / "number.txt").read_text() == "1"
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
        assert make()("champion") == found
        monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
        assert make(url.replace("//", "//ann:pa%3Ass%20w%C3%B6rd@"))("champion") == found


def test_https_is_verified_unless_told_otherwise(
    tracker: Tracker, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote(tracker.url, tmp_path, "tls", bundle, 1)
    key = tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    key.write_text(key.read_text() + (tmp_path / "cert.pem").read_text())
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    with front(tracker.url, key) as url:
        make = lambda: pointer.pointer(Tracking(uri=url), tmp_path / ".keepfit", "tls")
        with pytest.raises(TrackingError, match="CERTIFICATE_VERIFY_FAILED"):
            make()("champion")
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "cert.pem"))
        assert make()("champion") == pointer.Found("1", Path)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "none.pem"))
        with pytest.raises(TrackingError, match=r"The certificates for MLflow cannot be read .*none.pem"):
            make()
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        assert make()("champion") == pointer.Found("1", Path)


def test_what_answers_but_is_no_mlflow(web_server: WebServer, tmp_path: Path) -> None:
    path = "/api/2.0/mlflow/registered-models/alias"
    ask = pointer.pointer(Tracking(uri=web_server.url), tmp_path / ".keepfit", "m")
    with pytest.raises(TrackingError, match=rf"MLflow at {web_server.url} answered HTTP 404: Not Found"):
        ask("champion")
    for body, told in (
        (b"<html>", "answers, but not as MLflow does: no JSON"),
        (b"[]", "answers, but not as MLflow's registry does"),
        (b'{"model_version": {}}', "answers, but not as MLflow's registry does"),
    ):
        web_server.pages.clear()
        web_server.put(path, body)
        with pytest.raises(TrackingError, match=told):
            ask("champion")
    web_server.pages.clear()
    web_server.put(path, b'{"error_code": "INTERNAL_ERROR", "message": "on fire"}', 500)
    with pytest.raises(TrackingError, match="answered HTTP 500: on fire"):
        ask("champion")


def test_one_that_takes_the_call_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer.rest, "ASK", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ask = pointer.pointer(Tracking(uri=f"http://127.0.0.1:{silent.getsockname()[1]}"), tmp_path, "m")
        with pytest.raises(TrackingError, match="cannot be asked: it does not answer in time"):
            ask("champion")


def test_the_login_does_not_follow_a_redirect(
    web_server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    path = "/api/2.0/mlflow/registered-models/alias"
    web_server.put(path, b"", 302, Location="/elsewhere")
    web_server.put("/elsewhere", b'{"model_version": {"version": "1"}}')
    assert pointer.pointer(Tracking(uri=web_server.url), tmp_path, "m")("champion") == pointer.Found("1", Path)
    assert [headers.get("Authorization") for _, headers in web_server.requests] == ["Bearer t0ken", None]


def test_nothing_heavy_is_imported_for_a_server(tracker: Tracker, bundle: Path, tmp_path: Path) -> None:
    remote(tracker.url, tmp_path, "light", bundle, 1)
    code = """
import sys, time
from pathlib import Path
from keepfit.config import Tracking
from keepfit.tracking.pointer import pointer
ask = pointer(Tracking(uri=sys.argv[1]), Path(sys.argv[2]), "light")
assert (ask("champion").fetch() / "number.txt").is_file()
heavy = {"mlflow", "sqlalchemy", "pandas", "polars", "sklearn", "onnxruntime", "requests"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tracker.url, str(tmp_path / "s" / ".keepfit")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# what only MLflow can do, in a process of its own


def test_a_registry_in_postgresql(
    postgres_url: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = mlflow.connect(Tracking(uri=postgres_url, experiment="pointed"), tmp_path / "a" / ".keepfit", "pointed")
    ask = pointer.pointer(Tracking(uri=postgres_url), tmp_path / "b" / ".keepfit", "pointed")
    assert ask("champion") is None
    registered(store, bundle)
    registered(store, bundle)
    mlflow.move(store, "champion", "2")
    assert ask("champion") == pointer.Found("2", Path)
    mlflow.move(store, "champion", "1")
    found = ask("champion")
    assert found == pointer.Found("1", Path)
    assert found.fetch().is_relative_to(store.work)  # its files lie on this machine
    assert ask("9") is None
    assert ask("2") == pointer.Found("2", Path)
    child = ask.__closure__[0].cell_contents  # type: ignore[index]
    child.process.kill()
    child.process.wait()
    assert ask("champion") == found  # it is begun again
    child.close()
    wrong = pointer.pointer(Tracking(uri=postgres_url.replace("keepfit:", "nobody:")), tmp_path / "b", "pointed")
    with pytest.raises(TrackingError, match="authentication failed") as told:
        wrong("champion")
    assert "s3c" not in str(told.value)


def test_files_in_an_object_store(
    tracker: Tracker, s3_endpoint: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    settings = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**settings, "MLFLOW_S3_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket="models")
    client = mlflow.MlflowClient(tracker.url, tracker.url)
    run = client.create_run(client.create_experiment("in s3", "s3://models/here")).info.run_id
    store = mlflow.Store(tracker.url, tracker.url, "in s3", "in-s3", tmp_path / ".keepfit")
    version = mlflow.register(store, run, bundle, SCHEMA)
    found = pointer.pointer(Tracking(uri=tracker.url), tmp_path / ".keepfit", "in-s3")(version)
    assert found is not None
    assert (found.fetch() / "plots" / "roc.png").read_bytes() == b"png"
