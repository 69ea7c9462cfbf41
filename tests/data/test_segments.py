"""Segments: whole lines or none, locks that end with their holder, ids that name their place."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from keepfit.data import segments
from tests.data.answered import logged


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 4,096 bytes: what a full disk does, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_names_sort_by_time_and_are_unique() -> None:
    names = [segments.named(1.7e9 + n / 1000) for n in range(2000)]
    assert names == sorted(names)
    assert len({segments.named(1.7e9) for _ in range(100)}) > 90
    assert all(segments.NAME.fullmatch(name) for name in names)


@pytest.mark.parametrize("key", ["", "a-1", "0mwq1hs13zc7h", "0mwq1hs13zc7h-", "0mwq1hs13zc7h-G", "../etc/passwd-1"])
def test_what_is_no_id(key: str) -> None:
    assert segments.place(key) is None


def test_append_is_all_or_nothing(tmp_path: Path, small_files: None) -> None:
    file = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    size = segments.append(file, b"x" * 4000, 0)
    with pytest.raises(OSError, match="File too large"):
        segments.append(file, b"y" * 200, size)
    assert (tmp_path / "a").read_bytes() == b"x" * 4000
    assert segments.append(file, b"z" * 96, size, sync=True) == 4096
    os.close(file)


def test_a_segment_is_taken_by_one(tmp_path: Path) -> None:
    held = segments.begin(tmp_path, {"kind": "feedback"})
    assert segments.take(tmp_path, held.name) is None
    os.close(held.file)
    file = segments.take(tmp_path, held.name)
    assert file is not None
    assert segments.take(tmp_path, held.name) is None
    os.close(file)
    assert segments.take(tmp_path, segments.named(1.0)) is None


def test_a_segment_that_cannot_be_begun_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            segments.begin(tmp_path, {"kind": "feedback"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "_segments").iterdir()) == []


def test_a_torn_line_is_not_seen(tmp_path: Path) -> None:
    (key, *_, last) = logged(tmp_path, 5)
    name, number = segments.place(last) or ("", 0)
    with segments.path(tmp_path, name).open("ab") as file:
        file.write(b'{"id":"' + f"{name}-5".encode() + b'","time":1')
    assert number == 4
    assert segments.known(tmp_path, name).given == 5  # type: ignore[union-attr]
    assert segments.place(key) == (name, 0)


def test_lines_longer_than_a_block(tmp_path: Path) -> None:
    held = segments.begin(tmp_path, {})
    line = b'{"id":"' + f"{held.name}-1f".encode() + b'","note":"' + b"x" * (3 * segments.BLOCK) + b'"}\n'
    size = segments.append(held.file, line, held.size)
    os.write(held.file, b"y" * (2 * segments.BLOCK))
    assert segments.end(held.file) == size
    assert segments.known(tmp_path, held.name).given == 32  # type: ignore[union-attr]
    os.close(held.file)


def test_what_is_known(tmp_path: Path) -> None:
    name, _ = segments.place(logged(tmp_path, 3, version="7")[0]) or ("", 0)
    found = segments.known(tmp_path, name)
    assert found is not None
    assert (found.given, found.header["version"], found.header["classes"]) == (3, "7", ["no", "yes"])
    assert segments.known(tmp_path, segments.named(1.0)) is None
    assert segments.known(tmp_path, "../../etc/passwd") is None
    segments.settled(tmp_path, name, found.header, 3)
    assert not segments.path(tmp_path, name).exists()
    after = segments.known(tmp_path, name)
    assert after is not None
    assert after.given == 3
    assert {name: after.header[name] for name in found.header} == found.header
