"""Files and folders are whole or as they were before, whatever ends the writer."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keepfit import durable

KILLED = """
import os, pathlib, signal, sys
from keepfit import durable
with durable.replacing(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_error_in_the_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    durable.write_text(path, "größer\r\n")
    with pytest.raises(UnicodeEncodeError), durable.replacing(path, text=True) as file:
        file.write("half\udc80")
    assert path.read_bytes() == "größer\r\n".encode()
    assert names(tmp_path) == ["a.txt"]


def test_a_killed_writer_leaves_what_was_there_and_the_next_one_clears_up(tmp_path: Path) -> None:
    path = tmp_path / "a[1].txt"  # a name that a glob would misread
    durable.write_text(path, "whole")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.read_text() == "whole"
    assert len(names(tmp_path)) == 2
    durable.clear(path)
    assert names(tmp_path) == ["a[1].txt"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f".a.txt.partial-7-{os.getppid()}"
    theirs.touch()
    with durable.replacing(tmp_path / "a.txt") as file:
        durable.clear(tmp_path / "a.txt")
        file.write(b"mine")
    assert names(tmp_path) == [theirs.name, "a.txt"]


def test_threads_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [str(n) * 100_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: durable.write_text(path, text), texts))
    assert path.read_text() in texts
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        durable.write_text(tmp_path / "nowhere" / "a.txt", "")


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for made, name in (("one", "a"), ("two", "b")):
        (tmp_path / made).mkdir()
        durable.write_text(tmp_path / made / name, made)
        durable.settle(tmp_path / made, tmp_path / "kept")
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["b"]


def test_who_is_alive() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert durable.alive(os.getppid())
    assert not any(durable.alive(number) for number in (0, os.getpid(), gone.pid, 2**70))


def test_a_lock_is_held_by_one_and_given_back_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lock"
    assert not durable.held(path)
    assert not path.parent.exists()  # who only looks makes nothing
    code = (
        "import sys, time; from pathlib import Path; from keepfit import durable\n"
        "with durable.locked(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        assert durable.held(path)
        with pytest.raises(BlockingIOError), durable.locked(path, 0.1):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert not durable.held(path)
    with durable.locked(path) as file:
        assert durable.held(path)
        file.write("mine")
    assert path.read_text(encoding="utf-8") == "mine"
