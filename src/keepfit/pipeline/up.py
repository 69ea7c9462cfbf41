"""`keepfit up`: the whole loop under one supervisor.

    serve      the HTTP server of the champion           kept alive
    ui         the web app, where its extra is installed  kept alive
    monitor    one monitoring pass                        every `monitoring.every`
    retrain    `retrain --if-needed`                      after each pass

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit import durable
from keepfit.config import Config
from keepfit.deployment.platforms import platform
from keepfit.errors import KeepfitError, RefusedError
from keepfit.pipeline import champion, children
from keepfit.pipeline.children import Child, Ended
from keepfit.tracking import lock

FORMAT = 1
FORMER = 45.0  # seconds that the children of a killed supervisor have to end
MARGIN = 300.0  # seconds that a retraining has to end by itself after `retraining.timeout`
PASS = 600.0  # seconds that a monitoring pass may take at least
NO = 3  # the exit code of an answer that is "no"

Say = Callable[[str], None]


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
    """Run the loop until SIGTERM or Ctrl-C.

    `common` are the options that every command gets (`-C`, `--set`). Without a champion the pipeline is
    run first. Raises BusyError where another `up` is at it, RefusedError where no champion came of the
    first run, KeepfitError where the server does not start.
    """
    work = project / settings.WORK
    folder = work / "monitoring"
    folder.mkdir(parents=True, exist_ok=True)
    with lock.held(folder / "up.lock", f"'keepfit up' in {project}", 0), asyncio.Runner() as runner:
        runner.run(_main(config, project, folder, common, wish, say))


async def _main(config: Config, project: Path, folder: Path, common: Sequence[str], wish: Wish, say: Say) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state = State(folder / "up.json", _children(common, wish, say))
    await _former(state.path, stop, say)
    tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(_loop(config, project, state, common, say))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        state.write("stopping")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(children.stop(child.process) for child in state.children))
        state.write("stopped")
    for task in done:
        task.result()  # what ended the loop, if it was not a stop
    say("stopped")


def _children(common: Sequence[str], wish: Wish, say: Say) -> list[Child]:
    found = [Child("serve", ["serve", "--json", *common, *wish.serve])]
    if wish.ui and importlib.util.find_spec("nicegui") is None:
        say("ui       is not installed: pip install 'keepfit[ui]'")
    elif wish.ui:
        insecure = [option for option in wish.serve if option == "--insecure"]
        found.append(Child("ui", ["ui", "--json", *common, "--port", str(wish.ui_port), *insecure]))
    return found


async def _former(path: Path, stop: asyncio.Event, say: Say) -> None:
    """Wait for the children of a supervisor that was killed: they hold the ports, and are about to end."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        numbers = [child["pid"] for child in known["children"].values() if child["pid"]]
        killed = known["status"] == "running"
    except (OSError, ValueError, LookupError, TypeError):
        return
    end = time.monotonic() + FORMER
    if killed and any(map(durable.alive, numbers)):
        say("waiting for the server and the web app of a loop that was killed")
        while any(map(durable.alive, numbers)) and time.monotonic() < end and not stop.is_set():
            await asyncio.sleep(0.1)


async def _loop(config: Config, project: Path, state: State, common: Sequence[str], say: Say) -> None:
    if not await asyncio.to_thread(_served, config, project):
        await _first(common, say)
    try:
        async with asyncio.TaskGroup() as group:
            for child in state.children:
                group.create_task(children.keep(child, state.write, say))
            group.create_task(_passes(config, state, common, say))
    except* KeepfitError as failed:
        raise failed.exceptions[0] from None


def _served(config: Config, project: Path) -> bool:
    """Is there a champion? A platform's environment may name a bundle instead."""
    if platform(settings.environment).bundle:
        return True
    return champion.pointer(config, project)("champion") is not None


async def _first(common: Sequence[str], say: Say) -> None:
    say("there is no champion yet: training one first")
    ended = await children.once(["run", "--json", *common], float("inf"), shown=True)
    if ended.code:
        kind = RefusedError if ended.code == NO else KeepfitError
        raise kind(f"There is nothing to serve: {_told(ended)}")


async def _passes(config: Config, state: State, common: Sequence[str], say: Say) -> None:
    """A monitoring pass and a look whether to retrain, for ever; the first one where the last was left."""
    every = config.monitoring.every
    commands = (
        ("monitor", ["monitor", "--json", *common], max(PASS, every)),
        ("retrain", ["retrain", "--if-needed", "--json", *common], config.retraining.timeout + MARGIN),
    )
    await asyncio.sleep(max(0.0, every - _age(state.path.parent / "latest.json")))
    while True:
        began = time.monotonic()
        for name, arguments, limit in commands:
            known = state.passes[name] = {"began": time.time(), "running": True}
            state.write()
            ended = await children.once(arguments, limit)
            known |= {"running": False, "exit": ended.code, "seconds": round(ended.seconds, 1), "told": _told(ended)}
            state.write()
            say(f"{name:8s} {known['told']}")
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


def _age(path: Path) -> float:
    """Seconds since a file was written; none where it is not there, or the clock was set back."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def _told(ended: Ended) -> str:
    """What a pass came to, in one line."""
    if ended.code is None:
        return f"did not end in {ended.seconds:.0f} s and was stopped"
    document = ended.document if isinstance(ended.document, dict) else {}
    error = (document.get("error") or {}).get("message")
    text = error or document.get("headline") or document.get("outcome") or ended.tail.rpartition("\n")[2]
    return " ".join(str(text).split()) or f"ended with code {ended.code}"
