"""kill -9 under load: what was acknowledged is there, once, before and after rolling."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from keepfit.data import log_parts, log_read, log_roll, segments

pytestmark = pytest.mark.slow

SERVES = """
import sys
from pathlib import Path
from keepfit.data.log import open_log
from tests.data.answered import ROW, SCHEMA, write
log = open_log(Path(sys.argv[1]), SCHEMA, "churn", "1")
row = {**ROW, "note": "x" * int(sys.argv[2])}
while True:
    for key in write(log, 7, inputs=row):
        print(key)
    sys.stdout.flush()
    log.rotate(200_000, 60)
"""
ROLLS = """
import sys
from pathlib import Path
from keepfit.data.log_roll import roll
print(flush=True)
while True:
    roll(Path(sys.argv[1]))
"""


def acknowledged(folder: Path, width: int, rows: int) -> list[str]:
    """Ids that a writer told before it was killed; the last line of the pipe may be cut off."""
    command = [sys.executable, "-c", SERVES, str(folder), str(width)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as serves:
        assert serves.stdout is not None
        told = [next(serves.stdout) for _ in range(rows)]
        serves.kill()
        told += serves.stdout.readlines()
    return [line.decode().strip() for line in told if line.endswith(b"\n")]


def ids(folder: Path) -> list[str]:
    found: list[str] = log_read.read(folder).collect()["id"].to_list()
    return found


def test_writers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    told: list[str] = []
    for turn in range(25):
        told += acknowledged(tmp_path, (10, 5_000, 100_000)[turn % 3], chance.randrange(1, 300))
        found = ids(tmp_path)
        assert len(found) == len(set(found))
        assert set(told) <= set(found)
        if turn % 5 == 4:
            log_roll.roll(tmp_path)
            assert sorted(ids(tmp_path)) == sorted(found)
    assert len(told) > 2_000
    assert segments.names(tmp_path) == []
    for name in {key.partition("-")[0] for key in told}:
        highest = max(int(key.partition("-")[2], 16) for key in told if key.startswith(name))
        assert segments.known(tmp_path, name).given > highest  # type: ignore[union-attr]


def test_rollers_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(8)
    told: list[str] = []
    for _ in range(12):
        told += acknowledged(tmp_path, 50, 1500)
        with subprocess.Popen([sys.executable, "-c", ROLLS, str(tmp_path)], stdout=subprocess.PIPE) as rolls:
            assert rolls.stdout is not None
            rolls.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                rolls.wait(chance.random() * 0.06)
            rolls.kill()
        found = ids(tmp_path)
        assert len(found) == len(set(found))
        assert set(told) <= set(found)
    log_roll.roll(tmp_path)
    assert len(ids(tmp_path)) == sum(part.rows for part in log_parts.listed(tmp_path)) == len(found)
    assert [path for path in (tmp_path / "_segments").iterdir()] == []
