"""Which files of a folder are there, and which of them are whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from keepfit.data import files, image_folder

# parts of a name by which programs mark a file in the making
UNFINISHED = {"part", "partial", "tmp", "temp", "filepart", "crdownload", "download", "upload", "swp", "lock"}
ASIDE = ".rejected.csv"  # side files of scoring are no input


@dataclass(frozen=True)
class Look:
    """A file as one look saw it."""

    size: int
    mtime_ns: int
    inode: int


def look(folder: Path, pattern: str | None = None) -> dict[str, Look]:
    """The files that are meant, by name. Sub-folders are not looked into."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile, or a link to nothing
                if meant(entry.name, pattern) and entry.is_file():
                    found[entry.name] = seen(entry.stat())
    return found


def seen(state: os.stat_result) -> Look:
    """What is kept of a file's state."""
    return Look(state.st_size, state.st_mtime_ns, state.st_ino)


def unchanged(path: Path, before: Look) -> bool:
    """Whether a file is as a look saw it."""
    try:
        return seen(path.stat()) == before
    except FileNotFoundError:
        return False


def meant(name: str, pattern: str | None = None) -> bool:
    """Whether a name is that of a file to score: a table, a picture, or of the pattern, and not in the making.

    >>> [meant(name) for name in (
    ...     "a.csv", ".a.csv", "a.csv.part", "a.tmp.csv", "~$a.xlsx", "a.pdf", "b.parquet", "c.gif")]
    [True, False, False, False, False, False, True, True]
    >>> meant("b.csv", "a*"), meant("a.dat", "a*"), meant("a.dat.part", "a*")
    (False, True, False)
    """
    marked = UNFINISHED & {*name.lower().split(".")[1:]}
    if marked or name.startswith((".", "_", "~")) or name.endswith(("~", ASIDE)):
        return False
    if pattern:
        return fnmatch.fnmatchcase(name, pattern)
    return files.suffix(Path(name)) in files.FORMATS or image_folder.is_picture(name)


def sha256(path: Path) -> str | None:
    """The hash of a file; None where it is gone, not ours to read, or still open to be written."""
    try:
        with path.open("rb") as file:
            return None if _written_to(file.fileno()) else hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, PermissionError):
        return None


def _written_to(handle: int) -> bool:
    """Whether somebody has the file open to write: Linux then lends no lease to read it.

    Where it lends none in any case (another user's file, a network's), two equal looks have to do.
    https://man7.org/linux/man-pages/man2/F_GETLEASE.2const.html
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # the default, sent if one opens it now, would end us
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False
