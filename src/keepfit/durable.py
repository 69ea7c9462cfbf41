"""Files and folders that are whole or not there, and on the disk before anybody relies on them.

What is written goes to another name in the same folder, is flushed and fsynced, and only then gets
its own name (rename(2) is atomic within a file system); the folder is fsynced last, because the name
is kept there. A kill or a full disk so leaves what was there before, and at most a `.NAME.partial-…`
that `clear` takes away.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp())
>>> write_text(folder / "a.txt", "one")
>>> with replacing(folder / "a.txt") as file:
...     _ = file.write(b"two")
...     (folder / "a.txt").read_text()
'one'
>>> [path.name for path in folder.iterdir()], (folder / "a.txt").read_text()
(['a.txt'], 'two')
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path, text: bool = False) -> Iterator[IO[Any]]:
    """A file to write that becomes `path` when the block ends well, and is removed when it does not.

    It takes bytes, or with `text` strings that are written as UTF-8 with their newlines as they are.
    Raises OSError as the system does; what was at `path` is then untouched.
    """
    partial = path.with_name(f".{path.name}.partial-{threading.get_native_id()}-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") if text else partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """`content` as the file `path`."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """`content` as the UTF-8 file `path`."""
    write_bytes(path, content.encode())


def settle(made: Path, folder: Path) -> None:
    """The folder `made`, with all that is in it, on the disk and called `folder`.

    What was there before is out of the way a moment earlier, and gone when the new one has the name.
    """
    for path in [*made.rglob("*"), made]:
        sync(path)
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """What was written to a file or folder is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear(path: Path) -> None:
    """Remove what killed processes left of earlier tries at `path`; work in progress stays."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.partial-*"):
        number = left.name.rpartition("-")[2]
        if number.isdigit() and int(number) != os.getpid() and not alive(int(number)):
            left.unlink(missing_ok=True)


PAUSE = 0.02  # seconds between two tries at a lock


@contextmanager
def locked(path: Path, seconds: float = 0.0) -> Iterator[IO[str]]:
    """Hold the lock `path`, a file that is made where there is none; yields it, for its holder to say who that is.

    The system lets go of it when its holder ends, however that ends. Raises BlockingIOError where another one still
    holds it after `seconds`, and OSError as the system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    with path.open("a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
            time.sleep(PAUSE)
        yield file


def held(path: Path) -> bool:
    """Whether anybody holds the lock `path` now. Writes nothing."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def alive(process: int) -> bool:
    """Is another process of that number at work?

    The own number does not count: whoever asks knows that what it left open is its predecessor's,
    as in a container, where every process is number 1.
    """
    if process in (0, os.getpid()):
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
