"""The strangest pictures of a log: of the window and the version, each once, the farthest first, in little memory."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from keepfit.data import log_roll, log_stream, pictures
from keepfit.data.log import Line, open_log
from keepfit.features.values import Columns, Pictures
from keepfit.models.fitted import Output
from keepfit.monitoring import reference, strangest
from keepfit.types import Column, Schema
from tests.data import drawings

START = datetime(2026, 5, 4, tzinfo=UTC)
SCHEMA = Schema(
    (Column("photo", "image"), Column("age", "number"), Column("y", "target")), "classification", "y", ("no", "yes")
)


def plain(seed: int) -> bytes:
    """A dark picture, as those of training are."""
    noise = np.random.default_rng(seed).integers(0, 40, (24, 24, 3))
    return pictures.encoded((noise + np.array([30, 10, 10])).astype(np.uint8))


def bright(level: int) -> bytes:
    """A picture that is the stranger the higher its level is."""
    return pictures.encoded(np.full((24, 24, 3), level, np.uint8))


@pytest.fixture(scope="module")
def known() -> reference.Reference:
    columns = Columns({"photo": Pictures([plain(n) for n in range(80)]), "age": np.arange(80.0)}, 80)
    said = Output(np.array(["no"] * 80, object), np.tile([0.75, 0.25], (80, 1)))
    return reference.make(columns, columns, SCHEMA, said, said.values)


def log_of(
    folder: Path, data: list[Any], since: datetime = START, version: str = "1", redact: tuple[str, ...] = ()
) -> list[str]:
    """Pictures in the log, a minute apart; their ids."""
    log = open_log(folder, SCHEMA, "photos", version, redact=list(redact))
    keys = log.ids(len(data))
    values = [(1.0,) if redact else (one, 1.0) for one in data]
    log.write([
        Line(key, since.timestamp() + 60 * place, "r", None, "/p", 0.001, values[place], "yes", 0.75, [0.25, 0.75])
        for place, key in enumerate(keys)
    ])  # fmt: skip
    log.close()
    return keys


def found(folder: Path, known: reference.Reference, version: str = "1", days: float = 1.0) -> list[dict[str, Any]]:
    return strangest.strangest(folder, known, SCHEMA, version, START, START + timedelta(days=days))


@pytest.mark.parametrize("rolled", [False, True])
def test_the_farthest_come_first_with_what_was_said_of_them(
    tmp_path: Path, known: reference.Reference, rolled: bool
) -> None:
    keys = log_of(tmp_path, [plain(900), bright(160), plain(901), bright(250)])
    if rolled:
        assert log_roll.roll(tmp_path).rows == 4
    told = found(tmp_path, known)
    assert [one["id"] for one in told][:2] == [keys[3], keys[1]]
    assert sorted(one["id"] for one in told) == sorted(keys)
    first = told[0]
    assert {key: first[key] for key in ("column", "prediction", "time")} == {
        "column": "photo", "prediction": "yes", "time": "2026-05-04T00:03:00+00:00",
    }  # fmt: skip
    assert [one["distance"] for one in told] == sorted((one["distance"] for one in told), reverse=True)
    assert told[1]["distance"] > 3 > told[2]["distance"] > 0.3  # near 1 for those that are like training's
    small = base64.b64decode(first["picture"].partition(",")[2])
    assert pictures.pixels(small, 4, 4).min() > 240


def test_rows_of_another_time_or_version_and_pictures_that_are_none_do_not_count(
    tmp_path: Path, known: reference.Reference
) -> None:
    log_of(tmp_path, [bright(250)], START - timedelta(minutes=1))
    log_of(tmp_path, [bright(251)], START + timedelta(days=1))  # the window ends before it
    log_of(tmp_path, [bright(252)], version="2")
    keys = log_of(tmp_path, [bright(200), None, b"no picture", drawings.header_only(30, 30)])
    assert [one["id"] for one in found(tmp_path, known)] == keys[:1]
    assert len(found(tmp_path, known, "2")) == 1
    assert found(tmp_path, known, "3") == []


def test_one_picture_is_shown_once_and_no_more_than_fit(
    tmp_path: Path, known: reference.Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangest, "MOST", 3)
    log_of(tmp_path, [bright(250)] * 5 + [plain(n) for n in range(900, 910)] + [bright(240), bright(230), bright(220)])
    told = found(tmp_path, known)
    assert len(told) == 3
    assert [pictures.pixels(base64.b64decode(one["picture"].partition(",")[2]), 2, 2).max() for one in told] == [
        pytest.approx(level, abs=3) for level in (250, 240, 230)
    ]


def test_the_newest_are_looked_at_and_the_others_not_even_read(
    tmp_path: Path, known: reference.Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        log_of(tmp_path, [bright(250 - day), plain(900 + day)], START + timedelta(days=day))
    log_roll.roll(tmp_path)
    monkeypatch.setattr(strangest, "LOOKED", 3)
    opened: list[Any] = []
    read = log_stream.part
    monkeypatch.setattr(log_stream, "part", lambda part, *rest: opened.append(part.day) or read(part, *rest))
    told = found(tmp_path, known, days=5)
    assert [one["time"][:10] for one in told if one["distance"] > 3] == ["2026-05-05", "2026-05-06"]
    assert [day.day for day in opened] == [6, 5]


def test_pictures_that_are_not_logged_or_not_watched_are_not_shown(tmp_path: Path, known: reference.Reference) -> None:
    log_of(tmp_path / "redacted", [None, None], redact=("photo",))
    assert found(tmp_path / "redacted", known) == []
    numbers = Columns({"age": np.arange(80.0)}, 80)
    bare = Schema(SCHEMA.columns[1:], SCHEMA.task, SCHEMA.target, SCHEMA.classes)
    said = Output(np.array(["no"] * 80, object), np.tile([0.75, 0.25], (80, 1)))
    log_of(tmp_path / "log", [bright(250)])
    assert found(tmp_path / "log", reference.make(numbers, numbers, bare, said, said.values)) == []
    assert found(tmp_path / "nothing", known) == []
