"""What long work shows: a bar with the best score so far on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Protocol


class Tell(Protocol):
    """How work tells how far it is; `done` of `total` (0 = unknown), and the best score so far."""

    def __call__(self, done: float, total: float, message: str, best: str | None = None) -> None: ...


def silent(done: float, total: float, message: str, best: str | None = None) -> None:
    """Tells nobody."""


class Progress:
    """Callable as `Tell`; used as a context, so that the bar is gone when the work ends."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.task: Any = None
        self.stage = ""
        self.started = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            text = TextColumn("{task.description}", markup=False)
            best = TextColumn("{task.fields[best]}", markup=False)
            columns = (SpinnerColumn(), text, BarColumn(bar_width=24), TimeElapsedColumn(), best)
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=None, best="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, done: float, total: float, message: str, best: str | None = None) -> None:
        if self.bar:
            shown = {"best": f"best {best}" if best else ""}
            self.bar.update(self.task, description=message, completed=done, total=total or None, **shown)

    def begin(self, stage: str, detail: str = "") -> None:
        """A stage begins."""
        self.stage, self.started = stage, time.monotonic()
        if self.bar:
            self.bar.update(self.task, description=f"{stage} {detail}".strip(), completed=0, total=None, best="")

    def end(self, what: str) -> None:
        """A stage has ended, with `what` as its result in a few words."""
        line = f"{self.stage:<8} {time.monotonic() - self.started:6.1f} s   {what}"
        if self.bar:
            self.bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)
