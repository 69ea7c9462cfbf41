"""`keepfit serve` while machine, registry or clients do what they should not: it answers on, and says so."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit.data import log_read
from tests import serving as processes
from tests.projects import keepfit, project, table
from tests.serving import Server, serving
from tests.ui.browser import browser

pytestmark = pytest.mark.slow
ROW = {"age": 41, "plan": "pro", "spend": 12.5}
WIDE = {**ROW, "visits": 3, "spent": 12.5}  # has the columns of every version


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose versions have not the same columns and classes; version 1 is champion."""
    rows = table()
    folder = project(tmp_path_factory.mktemp("faults"), rows, "project: {name: shop}\n")
    third = pl.when(pl.col("age") > 60).then(pl.lit("maybe")).otherwise(pl.col("left"))
    renamed = rows.rename({"spend": "spent"}).with_columns(visits=pl.col("age") * 0.5, left=third)
    for frame in (rows, renamed, rows.drop("spend")):
        frame.write_csv(folder / "data.csv")
        assert keepfit("run", "-C", str(folder))[0] in (0, 3)
    make_champion(folder, "1")
    return folder


def make_champion(folder: Path, version: str) -> None:
    """Move the alias as another tool than keepfit would."""
    with closing(sqlite3.connect(folder / ".keepfit" / "mlflow.db")) as registry:
        registry.execute("UPDATE registered_model_aliases SET version = ? WHERE alias = 'champion'", (version,))
        registry.commit()


def log_of(folder: Path) -> pl.DataFrame:
    return log_read.read(folder / ".keepfit" / "predictions").collect()


def metric(server: Server, name: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def entries(server: Server, kind: str) -> int:
    """How many file handles (fd) or threads (task) the server has."""
    return len(list(Path(f"/proc/{server.process.pid}/{kind}").iterdir()))


# --- the machine ----------------------------------------------------------------------------------


def test_a_log_that_cannot_be_written_is_told_and_mends_itself(trained: Path) -> None:
    with serving(trained) as running:
        (before,) = running.post("/predict", ROW).json["predictions"]
        limits = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (8192, limits[1]))  # the disk is full, as it were
        many = running.post("/predict", [ROW] * 100)
        assert (many.status, many.headers["retry-after"]) == (503, "5")
        assert many.json["error"]["code"] == "log_unwritable"
        ready = running.get("/ready")
        assert (ready.status, ready.json["status"]) == (503, "log_unwritable")
        assert "champion: File too large" in ready.json["log"]
        assert (running.get("/ping").status, running.get("/v2/health/ready").status) == (503, 503)
        assert metric(running, "keepfit_log_unwritable") == 1
        for _ in range(20):
            assert running.post("/predict", [ROW] * 100).status == 503
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, limits)
        running.until("/ready", lambda told: told["status"] == "ready")  # without a request that would try it
        answered = running.post("/predict", [ROW] * 100)
        assert answered.status == 200
        assert metric(running, "keepfit_log_unwritable") == 0
        told = running.log.read_text()
        assert told.count("cannot be written") == 1
        assert told.count("can be written again") == 1
    ids = set(log_of(trained)["id"])
    assert {before["id"], *(row["id"] for row in answered.json["predictions"])} <= ids


def test_with_few_file_handles_it_refuses_connections_and_goes_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *processes.KEEPFIT)
    monkeypatch.setattr(processes, "KEEPFIT", few)
    with serving(trained) as running:
        held = []
        for place in range(200):
            held.append(socket.create_connection((running.host, running.port), timeout=5))
            if place % 5 == 0:
                time.sleep(0.01)  # a burst would be closed by the system
        assert _exchange(held[0], "/ready").startswith(b"HTTP/1.1 200")
        assert _exchange(held[-1], "/ready").startswith(b"HTTP/1.1 503")
        began = _seconds(running.process.pid)
        time.sleep(1)
        assert _seconds(running.process.pid) - began < 0.5
        (told,) = json.loads(_exchange(held[0], "/predict", ROW).partition(b"\r\n\r\n")[2])["predictions"]
        label = _exchange(held[0], "/feedback", {"id": told["id"], "label": "yes"})
        assert b'"accepted":1' in label
        for connection in held:
            connection.close()
        end = time.monotonic() + 10
        while entries(running, "fd") > 20:
            assert time.monotonic() < end
        assert running.post("/predict", ROW).status == 200
        assert "connections at once, for want of file handles: ulimit -n is 40" in running.log.read_text()


def _exchange(connection: socket.socket, path: str, value: Any = None) -> bytes:
    """What is answered on a connection that stays open."""
    body = b"" if value is None else json.dumps(value).encode()
    asked = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with suppress(OSError):  # closed by now; what was said before is there still
        connection.sendall(asked.encode() + body)
    return connection.recv(65536)


def _seconds(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the registry -----------------------------------------------------------------------------------


def test_a_registry_that_is_gone_is_told_and_the_champion_goes_on(trained: Path) -> None:
    database = trained / ".keepfit" / "mlflow.db"
    away = database.with_suffix(".away")
    with serving(trained) as running:
        database.rename(away)
        try:
            told = running.until("/ready", lambda told: "registry" in told)
            assert told["status"] == "ready"
            assert told["registry"] == "'shop' has no champion in the registry."
            assert metric(running, "keepfit_registry_unreachable") == 1
            database.write_bytes(b"no database" * 1000)
            told = running.until("/ready", lambda told: "cannot be read" in told["registry"])
            assert running.post("/predict", ROW).json["model"]["version"] == "1"
        finally:
            away.replace(database)
        told = running.until("/ready", lambda told: "registry" not in told)
        assert metric(running, "keepfit_registry_unreachable") == 0
        assert "the registry is there again" in running.log.read_text()


def test_versions_of_other_columns_and_classes_take_turns_under_load(trained: Path) -> None:
    classes = {"1": {"yes", "no"}, "2": {"yes", "no", "maybe"}, "3": {"yes", "no"}}
    answered: dict[str, str] = {}
    faults: list[Any] = []
    stop = threading.Event()

    def client(server: Server) -> None:
        connection = HTTPConnection(server.host, server.port, timeout=20)
        while not stop.is_set():
            connection.request("POST", "/predict", json.dumps([WIDE] * 3))
            response = connection.getresponse()
            told = json.loads(response.read())
            if response.status != 200 or any(
                row["probabilities"].keys() != classes[told["model"]["version"]] for row in told["predictions"]
            ):
                faults.append(told)
            else:
                answered.update({row["id"]: told["model"]["version"] for row in told["predictions"]})
        connection.close()

    with serving(trained, "--set", "serving.follow=20ms", "--set", "serving.log.roll=1s") as running:
        threads = [threading.Thread(target=client, args=(running,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        handles = []
        for turn in range(60):
            version = "231"[turn % 3]
            make_champion(trained, version)
            running.until("/ready", lambda told, version=version: told["model"]["version"] == version)
            handles.append(entries(running, "fd"))
        stop.set()
        for thread in threads:
            thread.join()
        assert entries(running, "task") < 10
        assert running.stop() == 0
    assert not faults
    assert set(answered.values()) == {"1", "2", "3"}
    assert max(handles[30:]) <= max(handles[:30]) + 3
    found = log_of(trained)
    versions = dict(found.select("id", "version").iter_rows())
    assert {key: versions.get(key) for key in answered} == answered
    assert found["id"].is_unique().all()
    assert {field.name for field in found.schema["inputs"].fields} == {"age", "plan", "spend", "spent", "visits"}


# --- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_stop_amid_swaps_rolls_and_slow_clients_loses_nothing(trained: Path, turns: int) -> None:
    answered: set[str] = set()
    stop = threading.Event()

    def client(server: Server) -> None:
        connection = HTTPConnection(server.host, server.port, timeout=40)
        with suppress(OSError, HTTPException):  # after the stop
            while not stop.is_set():
                connection.request("POST", "/predict", json.dumps([WIDE] * 200))
                response = connection.getresponse()
                answered.update(row["id"] for row in json.loads(response.read())["predictions"])
        connection.close()

    def swaps() -> None:
        for turn in itertools.count():
            if stop.wait(0.02):
                break
            make_champion(trained, "123"[turn % 3])

    options = ("--set", "serving.follow=10ms", "--set", "serving.log.roll=200ms", "--set", "serving.shadow='3'")
    try:
        with serving(trained, *options) as running:
            threads = [threading.Thread(target=client, args=(running,)) for _ in range(3)]
            threads += [threading.Thread(target=swaps)]
            for thread in threads:
                thread.start()
            time.sleep(0.3 * turns)
            with socket.create_connection((running.host, running.port), timeout=20) as slow:
                body = json.dumps(WIDE).encode()
                head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
                slow.sendall(head.encode() + body[:-1])
                time.sleep(0.1)
                running.process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                slow.sendall(body[-1:])  # it had begun before
                told = slow.recv(65536)
            assert told.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in told
            assert running.process.wait(20) == 0
            assert "ERROR" not in running.log.read_text()
            assert "cut off" not in running.log.read_text()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        make_champion(trained, "1")
    found = log_of(trained)
    answered.add(json.loads(told.partition(b"\r\n\r\n")[2])["predictions"][0]["id"])
    assert answered <= set(found["id"])
    assert found["id"].is_unique().all()


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.4, 0.8])
def test_a_stop_while_it_starts_ends_it_at_once(trained: Path, seconds: float) -> None:
    command = [*processes.KEEPFIT, "serve", "-C", str(trained), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.terminate()
        _, told = process.communicate(timeout=20)
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM, 0)  # before Python is there; before it serves
    assert "Traceback" not in told


def test_a_second_ctrl_c_waits_for_nobody(trained: Path) -> None:
    with serving(trained) as running:
        running.post("/predict", WIDE)
        with socket.create_connection((running.host, running.port), timeout=20) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            time.sleep(0.2)
            running.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            assert running.process.poll() is None  # that request may still come
            assert running.stop(signal.SIGINT) == 1
        said = running.log.read_text()
        assert "Stopped at once, by a second Ctrl-C" in said
        assert "Traceback" not in said


# --- keys -------------------------------------------------------------------------------------------


def test_keys_are_in_no_file_no_answer_and_no_message(tmp_path: Path) -> None:
    keys = 'serving: {keys: {shop: "${SHOP_KEY}", app: key-in-the-file}, admin_key: "${ADMIN_KEY}"}\n'
    folder = project(tmp_path, table(), f"project: {{name: shop}}\n{keys}")
    brought = {"SHOP_KEY": "key-of-the-shop", "ADMIN_KEY": "key-of-the-admin"}
    secrets = ["key-in-the-file", *brought.values()]
    done = subprocess.run(
        [*processes.KEEPFIT, "run", "-C", str(folder)], env={**os.environ, **brought}, capture_output=True, text=True
    )
    told = [done.stdout, done.stderr]
    with serving(folder, "--set", "serving.log.roll=1s", environment=brought) as running:
        for key in (*secrets, "wrong"):
            for header in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}, {"authorization": f"Basic {key}"}):
                asked = [running.post(path, ROW, **header) for path in ("/predict", "/feedback", "/invocations")]
                asked += [running.get(path, **header) for path in ("/docs", "/openapi.json", "/ready", "/metrics")]
                asked += [running.ask("PUT", "/control/rollout", {"shadow": key[:3]}, **header)]
                assert {answer.status for answer in asked} & {200, 401}
                told += [f"{answer.headers}{answer.body!r}" for answer in asked]
        assert running.stop() == 0
    config = folder / "keepfit.yaml"
    told += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file() and path != config]
    assert done.returncode == 0
    assert not [secret for secret in secrets if secret in "\n".join(told)]


# --- the clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.2"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:3000"}, 200),
        ({"Host": "evil.test"}, 403),
        ({"Host": "127.0.0.1.evil.test:8080"}, 403),
        ({"Host": "localhost", "Origin": "https://evil.test"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
def test_without_keys_pages_of_others_are_refused(guarded: Server, headers: dict[str, str], status: int) -> None:
    for method, path in (("POST", "/predict"), ("POST", "/invocations"), ("GET", "/ready")):
        answer = guarded.ask(method, path, {"instances": [ROW]} if path == "/invocations" else ROW, **headers)
        assert answer.status == status, answer
        if status == 403:
            assert answer.json["error"]["code"] == "not_local"


@pytest.fixture(scope="module")
def guarded(trained: Path) -> Any:
    with serving(trained) as running:
        yield running


@pytest.mark.parametrize("options", [("--insecure",), ()])
def test_who_sets_keys_or_says_so_may_be_asked_under_any_name(trained: Path, options: tuple[str, ...]) -> None:
    keys = {} if options else {"KEEPFIT_API_KEY": "abc"}
    with serving(trained, *options, environment=keys) as running:
        foreign = {"Host": "shop.test", "Origin": "https://shop.test"}
        assert running.post("/predict", ROW, X_API_Key="abc", **foreign).status == 200


def test_large_bodies_have_one_room_together(trained: Path) -> None:
    part = b" " * 1_000_000
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n\r\n"
    large = b"[%s]" % b",".join([json.dumps(ROW).encode()] * 9_900)
    with serving(trained, "--set", "serving.max_body_mb=1") as running, ExitStack() as stack:
        for _ in range(8):  # the last byte never comes
            held = stack.enter_context(socket.create_connection((running.host, running.port)))
            held.sendall(head + part)
        end = time.monotonic() + 20
        while (refused := running.post("/predict", large)).status == 200:
            assert time.monotonic() < end
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.json["error"]["code"] == "overloaded"
        assert running.post("/predict", ROW).status == 200  # small ones go on
        stack.close()
        while running.post("/predict", large).status != 200:
            assert time.monotonic() < end


@pytest.mark.parametrize("key", ["key-of-the-page", "key-of-the-admin"])
def test_docs_asks_a_browser_for_the_key_and_sends_it(trained: Path, key: str) -> None:
    keys = {"KEEPFIT_API_KEY": "key-of-the-page", "KEEPFIT_ADMIN_KEY": "key-of-the-admin"}
    with serving(trained, environment=keys) as running, browser() as chromium:
        assert running.get("/docs").json["error"]["code"] == "no_key"  # who is no browser
        refused = running.get("/docs", accept="text/html,*/*")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert b"spend" not in refused.body
        page = chromium.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{running.url}/docs")
        page.fill("#given", "another")
        page.click("button")
        page.wait_for_function("document.getElementById('refused').textContent")
        assert page.inner_text("#refused") == "This is not a key of the server."
        page.fill("#given", key)
        page.click("button")
        page.fill("[data-name=age]", "41")
        page.click("button[type=submit]")
        page.wait_for_selector("#answer meter")
        assert "KEEPFIT_API_KEY" in page.inner_text("#curl")
        assert key not in page.content()
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        with page.expect_download() as told:
            page.click("#openapi")
        assert json.loads(Path(told.value.path()).read_text())["info"]["title"] == "shop"
        page.reload()
        assert page.input_value("#given") == ""
        assert wrong == []
