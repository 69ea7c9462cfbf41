"""Pictures in a zip or tar archive, read where they lie: nothing is unpacked to the disk.

`photos.zip#val` names one part of an archive. Members that are not plain files (links, devices), and
names that lead out of the archive (absolute ones, `..`), are left out and told. An archive that would
unpack to more than SIZE bytes, or to more than RATIO times its own, is refused before anything of it is
unpacked.
"""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from keepfit import config
from keepfit.data import image_folder, memory, pictures
from keepfit.data.delimited import Bad, BadRow
from keepfit.data.image_folder import Left
from keepfit.errors import DataError

SIZE = 32_000_000_000  # bytes of all pictures together
RATIO = 200  # times the archive's own size; pictures are compressed already
FREE = 100_000_000  # bytes that are unpacked whatever the ratio
FILES = 5_000_000
PART = re.compile(r"(.+\.(?:zip|tgz|tar(?:\.gz)?))#(.+)", re.IGNORECASE)
DRIVE = re.compile(r"[A-Za-z]:")
INNER = re.compile(r"\.(zip|tgz|tar(\.\w+)?)$", re.IGNORECASE)
# What comes out of damaged archives: of bz2 it is an OSError.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
)
LINK = 0o120000  # the file type of a symbolic link in the upper bits of a zip member's attributes
KIND = 0o170000


class Member(NamedTuple):
    """A file of an archive: its name, its size when unpacked, and what the archive knows it by."""

    name: str
    size: int
    handle: Any


class Opened(NamedTuple):
    """An archive that is open: its plain files, what was left out, and how a member is read."""

    members: list[Member]
    left: Left
    content: Any  # function(Member) -> bytes


def read(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """The pictures of an archive as rows (see `image_folder`), and what was found out.

    `held` among that is the part that is the official test set. Raises DataError for an archive that is
    damaged, encrypted, or would unpack to too much.
    """
    file, part = place(path)
    with _opened(file) as archive:
        found = image_folder.layout([member.name for member in archive.members], part)
        wanted = {row.name for row in found.rows}
        members = [member for member in archive.members if member.name in wanted]
        _nested(file, archive, members)
        _bounded(file, members)
        memory.room(sum(member.size for member in members), str(file))
        return image_folder.table(found, _contents(archive, members), archive.left, data, str(path))


def batches(path: Path, data: config.Data, rows: int, bad: Bad) -> Iterator[pl.DataFrame]:
    """The pictures of an archive, of every part unless one is named, in frames of at most `rows`.

    Columns `image` and `path`. `bad` is given what is left out, and why.
    """
    file, part = place(path)
    with _opened(file) as archive:
        members = [member for member in archive.members if image_folder.is_picture(member.name)]
        if part is not None:
            wanted = {row.name for row in image_folder.layout([member.name for member in members], part).rows}
            members = [member for member in members if member.name in wanted]
        _nested(file, archive, members)
        _bounded(file, members)
        contents = _contents(archive, members)
        while some := dict(islice(contents, rows)):
            yield pl.DataFrame({"image": pl.Series(some.values(), dtype=pl.Binary), "path": [*some]})
        for name, why in archive.left:
            bad(BadRow(0, name, why))


def _contents(archive: Opened, members: list[Member]) -> Iterator[tuple[str, bytes]]:
    """Names and contents. What is damaged alone is left out, and so is a name that stood there before."""
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            archive.left.append((member.name, "its name stands in the archive twice"))
            continue
        seen.add(member.name)
        try:
            yield member.name, archive.content(member)
        except DAMAGED as error:
            archive.left.append((member.name, f"damaged in the archive: {error or type(error).__name__}"))


def place(path: Path) -> tuple[Path, str | None]:
    """The file, and the part that is asked for behind `#`.

    >>> place(Path("photos.zip#val"))
    (PosixPath('photos.zip'), 'val')
    """
    found = PART.fullmatch(path.name)
    return (path.with_name(found[1]), found[2]) if found and not path.exists() else (path, None)


@contextmanager
def _opened(file: Path) -> Iterator[Opened]:
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield _zip(file, archive)
        else:
            with tarfile.open(file) as archive:
                yield _tar(archive)
    except (*DAMAGED, tarfile.TarError) as error:
        why = " ".join(str(error).split("\n- ")[0].split()).rstrip(":") or type(error).__name__
        raise DataError(f"{file} is no whole zip or tar archive: {why}. It may be cut off; get it again.") from error


def _zip(file: Path, archive: zipfile.ZipFile) -> Opened:
    members, left = [], Left()
    for info in archive.infolist():
        why = "a link" if (info.external_attr >> 16) & KIND == LINK else _unsafe(info.filename)
        if info.flag_bits & 1:
            raise DataError(f"{file} is encrypted: unpack it with its password first.")
        if why:
            left.append((info.filename, why))
        elif not info.is_dir():
            members.append(Member(info.filename, info.file_size, info))
    return Opened(members, left, lambda member: _whole(archive, member))


def _whole(archive: zipfile.ZipFile, member: Member) -> bytes:
    with archive.open(member.handle) as stream:
        return stream.read(pictures.HEAVIEST + 1)


def _tar(archive: tarfile.TarFile) -> Opened:
    members, left = [], Left()
    for info in archive:
        name = image_folder.printable(info.name.removeprefix("./"))
        why = _unsafe(name)
        if why or not (info.isreg() or info.isdir()):
            left.append((name, why or ("a link" if info.issym() or info.islnk() else "no plain file")))
        elif info.isreg():
            members.append(Member(name, info.size, info))
        if len(members) > FILES:
            break
    return Opened(members, left, lambda member: _part(archive, member))


def _part(archive: tarfile.TarFile, member: Member) -> bytes:
    stream = archive.extractfile(member.handle)
    return stream.read(pictures.HEAVIEST + 1) if stream else b""


def _unsafe(name: str) -> str:
    """Why a name leads out of its archive, or nothing.

    >>> _unsafe("a/../../b.jpg"), _unsafe("/etc/x.png"), _unsafe("a/b.jpg")
    ('its name leads out of the archive', 'its name leads out of the archive', '')
    """
    out = name.startswith("/") or DRIVE.match(name) or "\\" in name or ".." in name.split("/") or "\0" in name
    return "its name leads out of the archive" if out else ""


def _nested(file: Path, archive: Opened, members: list[Member]) -> None:
    """Raises DataError for an archive that has archives in place of pictures."""
    inner = [member.name for member in archive.members if INNER.search(member.name)]
    if inner and not members:
        raise DataError(f"{file} holds archives and no pictures ({inner[0]}): unpack it, and name one of them.")


def _bounded(file: Path, members: list[Member]) -> None:
    """Raises DataError for an archive that is made to fill the memory."""
    size = sum(member.size for member in members)
    packed = file.stat().st_size
    if len(members) > FILES:
        raise DataError(f"{file} has more than {FILES:,} pictures, which is more than is read of an archive.")
    if size > SIZE or size > max(FREE, RATIO * packed):
        raise DataError(
            f"{file} has {packed:,} bytes and would unpack to {size:,}: more than {RATIO} times as much, or more than "
            f"{SIZE // 10**9} GB. If you trust it, unpack it yourself and name the folder."
        )
