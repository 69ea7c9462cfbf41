"""`keepfit up`: the whole loop under one supervisor.

    serve      the HTTP server of the champion           kept alive
    ui         the web app, where its extra is installed  kept alive
    monitor    one monitoring pass                        every `monitoring.every`
    retrain    `retrain --if-needed`                      after each pass, beside the next ones

Each is the command of that name in a process of its own: what crashes or hangs takes nobody with it,
and the same passes can be run by cron or an orchestrator instead. What they know is in files, so a
supervisor that was killed is simply started again. `.keepfit/monitoring/up.json` says how it stands.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit import durable
from keepfit.config import Config
from keepfit.deployment.platforms import platform
from keepfit.errors import KeepfitError, RefusedError, TrackingError
from keepfit.pipeline import champion, children, remembered
from keepfit.pipeline.children import Child, Ended
from keepfit.pipeline.telling import Changes, Event, Say, safely
from keepfit.tracking import lock

FORMAT = 1
FORMER = 45.0  # seconds that the children of a killed supervisor have to end
MARGIN = 300.0  # seconds that a retraining has to end by itself after `retraining.timeout`
PASS = 600.0  # seconds that a monitoring pass may take at least
NO = 3  # the exit code of an answer that is "no"
MOVED = ("promoted", "on_trial", "refused", "rolled_back")  # outcomes that are told however often they come


@dataclass(frozen=True)
class Wish:
    """What the command line asks for: options of the server, the web app's port, and whether there is one."""

    serve: Sequence[str] = ()
    ui_port: int = 8081
    ui: bool = True


@dataclass
class State:
    """What up.json says."""

    path: Path
    children: list[Child]
    passes: dict[str, dict[str, Any]] = field(default_factory=dict)
    since: float = field(default_factory=time.time)

    def write(self, status: str = "running") -> None:
        """Write it down; a full disk does not stop the loop."""
        told = ("pid", "since", "restarts", "exit", "url", "told")
        document = {
            "format": FORMAT, "pid": os.getpid(), "since": self.since, "status": status, "passes": self.passes,
            "children": {child.name: {name: getattr(child, name) for name in told} for child in self.children},
        }  # fmt: skip
        with suppress(OSError):
            durable.write_text(self.path, json.dumps(document, indent=1))


def up(config: Config, project: Path, common: Sequence[str], wish: Wish, say: Say) -> None:
    """Run the loop until SIGTERM or Ctrl-C; the second of these ends the server at once.

    `common` are the options that every command gets (`-C`, `--set`). Without a champion the pipeline is
    run first. Raises BusyError where another `up` is at it, RefusedError where no champion came of the
    first run, KeepfitError where the server does not start.
    """
    work = project / settings.WORK
    folder = work / "monitoring"
    folder.mkdir(parents=True, exist_ok=True)
    with lock.held(folder / "up.lock", f"'keepfit up' in {project}", 0), asyncio.Runner() as runner:
        runner.run(_main(config, project, folder, common, wish, safely(say)))


async def _main(config: Config, project: Path, folder: Path, common: Sequence[str], wish: Wish, say: Say) -> None:
    stop = asyncio.Event()
    state = State(folder / "up.json", _children(common, wish, say))
    _on_signals(state, stop, say)
    await _former(state.path, stop, say)
    tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(_loop(config, project, state, common, say))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        state.write("stopping")
        for task in tasks:
            task.cancel()
        ends = [children.stop(child.process) for child in state.children]
        await asyncio.gather(*tasks, *ends, return_exceptions=True)
        state.write("stopped")
    for task in done:
        task.result()  # what ended the loop, if it was not a stop
    say(Event("up", "stopped"))


def _on_signals(state: State, stop: asyncio.Event, say: Say) -> None:
    """The first SIGTERM or Ctrl-C asks all to end, any further one ends what serves."""

    def asked() -> None:
        if stop.is_set():
            for child in state.children:
                children.kill(child.process)
            return
        stop.set()
        say(Event("up", "stopping: what was accepted is answered first; Ctrl-C once more ends it at once"))

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)


def _children(common: Sequence[str], wish: Wish, say: Say) -> list[Child]:
    found = [Child("serve", ["serve", *common, *wish.serve])]
    if wish.ui and importlib.util.find_spec("nicegui") is None:
        say(Event("ui", "is not installed: pip install 'keepfit[ui]'"))
    elif wish.ui:
        insecure = [option for option in wish.serve if option == "--insecure"]
        found.append(Child("ui", ["ui", *common, "--port", str(wish.ui_port), *insecure], vital=False))
    return found


async def _former(path: Path, stop: asyncio.Event, say: Say) -> None:
    """Wait for the children of a supervisor that was killed: they hold the ports, and are about to end."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        numbers = [child["pid"] for child in known["children"].values() if child["pid"]]
        killed = known["status"] != "stopped"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
    end = time.monotonic() + FORMER
    if killed and any(map(durable.alive, numbers)):
        say(Event("up", "waiting for the server and the web app of a loop that was killed"))
        while any(map(durable.alive, numbers)) and time.monotonic() < end and not stop.is_set():
            await asyncio.sleep(0.1)


async def _loop(config: Config, project: Path, state: State, common: Sequence[str], say: Say) -> None:
    state.write()
    if not await asyncio.to_thread(_served, config, project):
        await _first(state, common, say)
    failed: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as group:
            for child in state.children:
                group.create_task(children.keep(child, state.write, say))
            group.create_task(_passes(config, state, common, say, group))
    except* KeepfitError as several:
        failed += several.exceptions
    if failed:  # raised in there, it would come out in a group of one
        raise failed[0] from None


def _served(config: Config, project: Path) -> bool:
    """Is there a champion? A platform's environment may name a bundle instead."""
    if platform(settings.environment).bundle:
        return True
    try:
        return champion.pointer(config, project)("champion") is not None
    except TrackingError:  # the server says so too, where it starts with the last that it knew
        if remembered.last(project / settings.WORK / "monitoring"):
            return True
        raise


async def _first(state: State, common: Sequence[str], say: Say) -> None:
    say(Event("up", "there is no champion yet: training one first"))
    ended = await _once(state, "run", ["run", "--json", *common], float("inf"), shown=True)
    if ended.code:
        kind = RefusedError if ended.code == NO else KeepfitError
        raise kind(f"There is nothing to serve: {_told(ended)}")
    say(Event("up", _told(ended), outcome="promoted"))


# --- passes ---------------------------------------------------------------------------------------


async def _passes(
    config: Config, state: State, common: Sequence[str], say: Say, group: asyncio.TaskGroup
) -> None:  # fmt: skip
    """Monitoring passes for ever, the first one where the last was left; a look whether to retrain after each.

    A training takes its time beside the passes: none begins while the last one is at work.
    """
    every, news = config.monitoring.every, Changes()
    look = ["monitor", "--json", *common]
    decide = ["retrain", "--if-needed", "--json", *common]
    wait = max(0.0, every - _age(state.path.parent / "latest.json"))
    first = f"the first in {timedelta(seconds=round(wait))}" if wait else "the first now"
    say(Event("monitor", f"a pass every {timedelta(seconds=every)}, {first}"))
    await asyncio.sleep(wait)
    training: asyncio.Task[None] | None = None
    while True:
        began = time.monotonic()
        await _pass(state, "monitor", look, max(PASS, every), news, say)
        if training is None or training.done():
            limit = config.retraining.timeout + MARGIN
            training = group.create_task(_pass(state, "retrain", decide, limit, news, say))
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def _pass(state: State, name: str, arguments: Sequence[str], limit: float, news: Changes, say: Say) -> None:
    """Run a pass and tell what it came to, where that is something else than the last time."""
    try:
        ended = await _once(state, name, arguments, limit)
    except OSError as error:  # no process could be started: the next pass is another try
        ended = Ended(None, {"error": {"message": f"cannot be started: {error.strerror or error}"}}, "", 0.0)
        state.passes[name] |= {"exit": None, "told": _told(ended)}
    outcome = ended.document.get("outcome") if isinstance(ended.document, dict) else None
    text = _told(ended)
    if news(name, text) or outcome in MOVED:
        say(Event(name, text, ended.code != 0, outcome=outcome))


async def _once(state: State, name: str, arguments: Sequence[str], limit: float, shown: bool = False) -> Ended:
    known = state.passes[name] = {**state.passes.get(name, {}), "began": time.time(), "running": True}
    state.write()
    try:
        ended = await children.once(arguments, limit, shown)
    finally:
        known["running"] = False
    known |= {"exit": ended.code, "seconds": round(ended.seconds, 1), "told": _told(ended)}
    state.write()
    return ended


def _age(path: Path) -> float:
    """Seconds since a file was written; none where it is not there, or the clock was set back."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _told(ended: Ended) -> str:
    """What a pass came to, in one line."""
    document = ended.document if isinstance(ended.document, dict) else {}
    error = (document.get("error") or {}).get("message")
    late = f"did not end in {ended.seconds:.0f} s and was stopped" if ended.code is None else ""
    said = document.get("headline") or document.get("outcome") or ended.tail.rpartition("\n")[2]
    return " ".join(str(error or late or said).split()) or children.how(ended.code or 0)
