"""The outermost edge of the command line: every error ends here, as one message and an exit code.

It is told on stderr, and with --json as a document on stdout too; a traceback is shown with --debug alone.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from keepfit.errors import KeepfitError

GARBAGE = (50_000, 10, 10)  # see gc.set_threshold; Python begins with 700 new objects
STOPPED = "Stopped. What is finished is kept; 'keepfit run --resume' goes on with a run."


class Commands(click.Group):
    """A group of commands whose errors end here."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        # a command makes objects by the hundred thousand, importing libraries above all, and few cycles
        gc.set_threshold(*GARBAGE)
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would read about every package for each start
        given = args[0] if args else kwargs.get("args")
        asked = self.flags(sys.argv[1:] if given is None else given)
        verdict = None
        try:
            with ctrl_c_kept():
                code = super().main(*args, **{**kwargs, "standalone_mode": False})
            sys.exit(code if isinstance(code, int) else 0)
        except click.ClickException as error:
            error.show()
            message, code = error.format_message(), error.exit_code
        except Exception as error:
            if "--debug" in asked:
                raise
            message, code = _explain(error)
            verdict = getattr(error, "verdict", None)
            click.echo(f"Error: {message}", err=True)
        except KeyboardInterrupt:
            message, code = STOPPED, 1
            click.echo(f"Error: {message}", err=True)
        if "--json" in asked:
            _document(message, code, verdict)
        sys.exit(code)

    def flags(self, arguments: Sequence[str]) -> set[str]:
        """The arguments that are flags, `--json` for one; not those that are the value of an option, or follow `--`.

        Needed before click reads them: what it refuses is told as JSON too.
        """
        named = next((self.commands[word] for word in arguments if word in self.commands), self)
        options = [option for option in named.params if isinstance(option, click.Option)]
        valued = {name for option in options if not (option.is_flag or option.count) for name in option.opts}
        found: set[str] = set()
        words = iter(arguments)
        for word in words:
            if word == "--":
                break
            if word in valued:
                next(words, None)
            elif word.startswith("-"):
                found.add(word)
        return found


def _document(message: str, code: int, verdict: Any) -> None:
    """An error as the one JSON document on stdout."""
    from keepfit.types import plain

    told = {"error": {"message": message, "exit_code": code}, "verdict": plain(verdict)}
    try:
        click.echo(json.dumps(told, ensure_ascii=False, default=str))
    except BrokenPipeError:  # nobody reads; what Python still holds must not be tried again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def ctrl_c_kept() -> Iterator[None]:
    """A Ctrl-C that comes while Python cleans up is dropped there, with a traceback; here it is sent once more."""
    before = sys.unraisablehook

    def again(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt):
            main_thread = threading.main_thread().ident or 0
            threading.Timer(0.02, signal.pthread_kill, (main_thread, signal.SIGINT)).start()  # at once is too early
        else:
            before(lost)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _explain(error: Exception) -> tuple[str, int]:
    """The one message of an error, and the exit code."""
    if isinstance(error, KeepfitError):
        return str(error), error.exit_code
    if isinstance(error, click.Abort):
        return STOPPED, 1
    if isinstance(error, OSError):
        return _os_error(error), 1
    what = f"keepfit met a fault of its own: {type(error).__name__}: {error}"
    return f"{what}\nRun it again with --debug and report what it shows.", 1


def _os_error(error: OSError) -> str:
    import errno

    where = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return (
            f"The disk is full (writing {where}). Nothing finished was lost: free space and try again; "
            "'keepfit run --resume' goes on with a run."
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"No permission for {where}. Check who owns it and its mode (ls -l), or choose another folder."
    return f"{error.strerror or error}: {where}"
