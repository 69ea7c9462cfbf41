"""kill -9 and Ctrl-C while feedback comes: nothing acknowledged is lost or doubled, and forecasts go on as before."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from keepfit import Project
from keepfit.data import log_observed, log_read, segments
from keepfit.data.labels import Label
from tests.serving import Server, serving

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "air_passengers"
SOURCE = Path(__file__).parents[3] / "shared" / "data" / "air_passengers" / "airline-passengers.csv"
LAST = [417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432]  # thousands, of 1960
MONTHS = [f"{year}-{month:02}-01" for year in (1961, 1962) for month in range(1, 13)]
TELLERS = 3


@dataclass
class Told:
    """What was sent by whom, and what of it was acknowledged, by its value: no value is sent twice."""

    sent: dict[float, str] = field(default_factory=dict)  # value → month
    known: list[float] = field(default_factory=list)  # acknowledged
    number: Iterator[int] = field(default_factory=lambda: count(1))
    chance: random.Random = field(default_factory=lambda: random.Random(3))

    def entry(self, month: str | None = None) -> tuple[str, float]:
        """A month and what was observed: about a tenth more than a year ago, now and then a hundred times that."""
        at = MONTHS.index(month) if month else self.chance.randrange(len(MONTHS))
        times = 100 if self.chance.random() < 0.03 else 1
        value = LAST[at % 12] * 1.1 ** (1 + at // 12) * times + next(self.number) / 1e4
        self.sent[value] = MONTHS[at]
        return MONTHS[at], value


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not SOURCE.is_file():
        pytest.skip(f"{SOURCE} is not here: see examples/air_passengers")
    folder = tmp_path_factory.mktemp("air") / "air"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".keepfit"))
    config = folder / "keepfit.yaml"
    config.write_text(config.read_text() + "model: {type: theta}\n")
    made = Project(folder, [f"data.source={SOURCE}"])
    assert made.run()["outcome"] == "promoted"
    return folder


def tell(server: Server, told: Told, by_id: bool, stop: threading.Event) -> None:
    """Send what was observed, one at a time, until the server is gone."""
    while not stop.is_set():
        try:
            if by_id:
                answer = told.chance.choice(server.post("/predict", {"horizon": 3}).json["predictions"])
                if answer["Month"] not in MONTHS:
                    continue
                _, value = told.entry(answer["Month"])
                entry = {"id": answer["id"], "label": value}
            else:
                month, value = told.entry()
                entry = {"Month": month, "Passengers": value}
            found = server.post("/feedback", entry)
        except (OSError, HTTPException, ValueError):  # it was killed, before or within its answer
            return
        if found.status == 200 and found.json["accepted"] == 1:
            told.known.append(value)


def ended(project: Path, told: Told, number: int, seconds: float) -> None:
    """A server that is told by several at once, until it is ended by a signal."""
    with serving(project) as server:
        stop, before = threading.Event(), len(told.known)
        whose = (True, *[False] * TELLERS)
        tellers = [threading.Thread(target=tell, args=(server, told, by_id, stop)) for by_id in whose]
        for teller in tellers:
            teller.start()
        end = time.monotonic() + 30
        while len(told.known) == before and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(seconds)
        server.process.send_signal(number)
        if number != signal.SIGKILL:
            time.sleep(told.chance.random() / 10)
            server.process.send_signal(number)  # and does not wait
        server.process.wait(60)
        stop.set()
        for teller in tellers:
            teller.join(60)
        assert len(told.known) > before, server.log.read_text()
        assert "Traceback" not in server.log.read_text()


def kept(project: Path) -> list[Label]:
    """All that the feedback has, oldest first."""
    return sorted(log_observed.history(project / ".keepfit" / "feedback"), key=lambda label: label.time)


def whole(project: Path, told: Told) -> list[Label]:
    """What the feedback has, which is all that was acknowledged, and nothing twice or of nobody."""
    found = kept(project)
    counts = Counter(label.label for label in found)
    assert not set(told.known) - counts.keys()
    assert not counts.keys() - told.sent.keys()
    assert set(counts.values()) == {1}
    return found


def answers(server: Server) -> tuple[list[Any], str]:
    """What is forecast, without its ids, and how many observations are held back."""
    found = server.post("/predict", {"horizon": 12}).json["predictions"]
    [held] = [line for line in server.get("/metrics").body.decode().splitlines() if line.startswith("keepfit_obs")]
    return [(row["Month"], row["prediction"], *row["interval"]) for row in found], held.rpartition(" ")[2]


def unkilled(project: Path, found: list[Label], told: Told) -> tuple[list[Any], str]:
    """What a server says that saw the same, in the same order, and was never ended."""
    with serving(project) as server:
        for label in found:
            assert isinstance(label.label, float)
            entry = {"Month": told.sent[label.label], "Passengers": label.label}
            assert server.post("/feedback", entry).json["accepted"] == 1
        return answers(server)


def killed(trained: Path, folder: Path, kills: int, seed: int = 3, ctrl_c: int = 3) -> int:
    """How many observations were acknowledged by servers that were ended; every `ctrl_c`-th by Ctrl-C."""
    project, other = (Path(shutil.copytree(trained, folder / name)) for name in ("killed", "unkilled"))
    told = Told(chance=random.Random(seed))
    for turn in range(kills):
        number = signal.SIGINT if turn % ctrl_c == ctrl_c - 1 else signal.SIGKILL
        ended(project, told, number, told.chance.random())
        whole(project, told)
    with serving(project) as server:
        assert server.get("/ready").status == 200
        after = answers(server)
        assert server.stop() == 0
    end = time.monotonic() + 60
    while segments.names(project / ".keepfit" / "feedback"):  # a child rolls it
        whole(project, told)
        assert time.monotonic() < end
    found = whole(project, told)
    assert log_read.read(project / ".keepfit" / "predictions").collect().height
    once, held = unkilled(other, found, told)
    assert (after[1], [row[0] for row in after[0]]) == (held, [row[0] for row in once])
    for mine, its in zip(after[0], once, strict=True):
        assert mine[1:] == pytest.approx(its[1:], rel=1e-9)
    return len(told.known)


def test_feedback_survives_servers_that_are_killed(trained: Path, tmp_path: Path) -> None:
    assert killed(trained, tmp_path, 3) > 3


def test_a_batch_is_there_as_a_whole_or_not_at_all_after_a_kill(trained: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(trained, tmp_path / "air"))
    sizes: set[int] = set()
    for turn in range(3):
        with serving(project) as server:
            values = [400.0 + turn * 100 + at / 1e3 for at in range(24)]
            batch = [{"Month": month, "Passengers": value} for month, value in zip(MONTHS, values, strict=True)]
            asked = threading.Thread(target=quiet, args=(server, batch))
            asked.start()
            asked.join(60 if turn == 0 else 0.004 * turn)  # the first is acknowledged
            server.process.kill()
            asked.join(60)
        told = Counter(int(float(label.label) // 100) for label in kept(project))
        sizes |= set(told.values())
    assert sizes == {24}
    with serving(project) as server:
        assert server.get("/ready").status == 200
        assert json.dumps(answers(server)[0])


def quiet(server: Server, batch: list[dict[str, Any]]) -> None:
    with contextlib.suppress(OSError, HTTPException):  # it may be gone
        server.post("/feedback", batch)
