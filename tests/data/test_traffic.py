from __future__ import annotations

import os
from pathlib import Path

from keepfit.data import traffic
from keepfit.data.traffic import Minute


def test_what_servers_did_in_a_stretch_of_time(tmp_path: Path) -> None:
    for at, refused in ((10.0, {"age": 1}), (70.0, {"age": 2, "plan": 1}), (130.0, {})):
        traffic.append(tmp_path, "one", Minute(at, 5, refused))
    traffic.append(tmp_path, "two", Minute(75.0, 1, {"age": 4}))
    assert traffic.read(tmp_path, 60.0, 120.0) == (6, {"age": 6, "plan": 1})
    assert traffic.read(tmp_path / "absent", 0.0, 1.0) == (0, {})


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path: Path) -> None:
    traffic.append(tmp_path, "one", Minute(10.0, 5, {}))
    with (tmp_path / "one.jsonl").open("ab") as file:
        file.write(b'{"time":20.0,"answ\n')
    traffic.append(tmp_path, "one", Minute(30.0, 7, {}))
    assert traffic.read(tmp_path, 0.0, 100.0) == (12, {})


def test_files_of_servers_long_gone_are_deleted(tmp_path: Path) -> None:
    traffic.append(tmp_path, "old", Minute(10.0, 5, {}))
    traffic.append(tmp_path, "new", Minute(10.0, 5, {}))
    os.utime(tmp_path / "old.jsonl", (0, 0))
    traffic.prune(tmp_path, traffic.KEPT + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["new.jsonl"]
