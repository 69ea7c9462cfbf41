"""Run a command of keepfit for as long as whoever started it lives: `python -m keepfit.attached serve -C shop`.

Its standard input is a pipe that the starter holds open. When the starter ends, by `kill -9` too, the
system closes the pipe, and the command is asked to stop as by SIGTERM. So nobody is left behind who
holds a port or a lock. Works on any system, and asks nothing of the commands.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

PATIENCE = 40.0  # seconds for a stop that was asked for; the server takes up to 25


def main() -> None:
    """The command that the arguments say, after `--nice N` where that comes first."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--nice"]:
        os.nice(int(arguments[1]))
        arguments = arguments[2:]
    threading.Thread(target=_stop_with_the_starter, daemon=True, name="keepfit-attached").start()
    from keepfit.cli import main as command

    command(arguments)


def _stop_with_the_starter() -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
