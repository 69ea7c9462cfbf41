"""Children that write a lot, hold on to what is not theirs, or end before their time."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from keepfit.errors import KeepfitError
from keepfit.pipeline import children
from keepfit.pipeline.children import Child
from keepfit.pipeline.telling import Event


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child runs a script instead of a command of keepfit."""

    async def start(arguments: Sequence[str], nice: int = 0, errors: int | None = PIPE) -> Process:
        given = dict(stdin=PIPE, stdout=PIPE, stderr=errors, start_new_session=True, limit=children.LINE)
        return await asyncio.create_subprocess_exec(sys.executable, "-c", *arguments, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(children, "start", start)


def once(script: str, limit: float = 30.0) -> children.Ended:
    return asyncio.run(children.once([script], limit))


def test_a_document_is_found_among_what_a_project_prints() -> None:
    noise = "print('x' * 300_000); print('{not JSON')"
    ended = once(f"""{noise}; print('{{"a":'); print(' 1}}'); print('bye'); import sys; sys.exit(3)""")
    assert (ended.code, ended.document) == (3, {"a": 1})
    assert once("print('nothing to read')").document is None


def test_lines_beyond_all_measure_do_not_stop_a_pass() -> None:
    ended = once("import sys; print('x' * 3_000_000); print('y' * 3_000_000, file=sys.stderr); print('{}')")
    assert (ended.code, ended.document) == (0, {})


def test_who_holds_the_pipes_of_a_pass_that_ended_does_not_hold_up_the_loop() -> None:
    script = "import subprocess as s, sys; s.Popen([sys.executable, '-c', 'import time; time.sleep(8)']); print('{}')"
    ended = once(script, 15.0)
    assert (ended.code, ended.document) == (0, {})
    assert ended.seconds < 8


@pytest.mark.slow
def test_a_pass_that_does_not_end_is_stopped_also_where_it_would_not_be() -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"
    ended = once(stubborn, 1.0)
    assert (ended.code, ended.document) == (None, None)


def kept(script: str, enough: Callable[[Child], bool], vital: bool = True) -> tuple[Child, list[Event]]:
    """A child that is kept alive until it has come far enough."""
    child, told = Child("serve", [script], vital), list[Event]()

    async def run() -> None:
        keeping = asyncio.create_task(children.keep(child, lambda: None, told.append))
        while not enough(child) and not keeping.done():
            await asyncio.sleep(0.02)
        if keeping.done():
            keeping.result()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        children.kill(child.process)
        await children.stop(child.process)

    asyncio.run(run())
    return child, told


def test_a_server_that_prints_without_end_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "written"
    script = f"""
import sys, time
print("loaded")
print("Serving at http://here:1", flush=True)
print("2026-03-01 10:20:30,123 WARNING the log is slow", file=sys.stderr)
for line in range(3000):
    print("x" * 1000)
    print("y" * 1000, file=sys.stderr)
open({str(mark)!r}, "w").close()
time.sleep(60)
"""
    child, told = kept(script, lambda child: mark.exists())
    assert child.url == "http://here:1"
    assert [event.text for event in told if event.url] == ["http://here:1"]
    assert [event.text for event in told if event.bad] == ["the log is slow"]


def test_a_server_that_refuses_to_start_ends_with_its_reason_and_one_that_was_killed_does_not() -> None:
    with pytest.raises(KeepfitError, match=r"'keepfit .*' did not start\. Cannot listen"):
        kept("import sys; sys.exit('Error: Cannot listen')", lambda child: False)
    child, told = kept("import os; os.kill(os.getpid(), 9)", lambda child: child.restarts > 1)
    assert child.exit == -9
    assert told[0].text == "was killed (SIGKILL); it is started again in 1 s"
    assert told[0].bad


SERVER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(f"Serving at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
for _ in range(2):
    taken, _ = listener.accept()
    taken.recv(1000)
    taken.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
    taken.close()
import time
time.sleep(60)
"""


def test_a_server_that_answers_no_more_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LOOK", 0.05)
    monkeypatch.setattr(children, "WAIT", 0.5)
    child, told = kept(SERVER, lambda child: child.restarts > 0)
    assert next(event.text for event in told if event.bad) == "has not answered for 2 s; it is ended"
    assert child.exit == -15


def test_one_that_is_not_vital_is_tried_again() -> None:
    refusing = "import sys; sys.exit('Error: the port is taken')"
    _, told = kept(refusing, lambda child: child.restarts > 1, vital=False)
    assert told[0].text == "Error: the port is taken"
    assert [event.text for event in told if event.bad][-1].startswith("the port is taken; it is started again in")
