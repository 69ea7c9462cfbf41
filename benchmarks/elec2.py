"""The closed loop on a real stream, with no human: 45,312 half-hours of an electricity market, in the order of time.

The first tenth is training data. The rest goes through a real server day by day: the rows of a day as one
request, then the labels of the day before. Once a week of the stream's own time (`monitoring.time`) there is a
monitoring pass and then `retrain --if-needed`; the server follows the champion by itself. Beside the loop stand,
on the same rows:

    first     the first model, left alone
    weekly    a model trained anew every week on everything that is known by then: same config, same code, no gate
    last      the last label, and the last one that is known a day later

The data: Harries, Splice-2 comparative evaluation: electricity pricing, 1999; Gama et al., Learning with drift
detection, SBIA 2004.
"""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import keepfit
from benchmarks import contenders, datasets, load, projects, servers
from benchmarks.environments import WORK
from benchmarks.measure import CommandError
from benchmarks.results import Claim, Options, Result
from keepfit import page
from keepfit.data import split
from keepfit.models import train as training
from keepfit.monitoring import charts
from keepfit.pipeline import champion, folders, ready
from keepfit.types import Dataset

PROMISE = (
    "elec2: the loop beats the first model, comes within 0.5 points of blind weekly training, for a third of its work"
)
BEGIN, STEP, DAY, WEEK = datetime(1996, 5, 7, tzinfo=UTC), timedelta(minutes=30), 48, 7
SHARE = 0.1  # of the stream that is there at the beginning
NEAR, TRAININGS = 0.005, 1 / 3
PATIENCE = 60.0  # seconds for the server to follow
MOMENT = "%Y-%m-%d %H:%M"
SECTIONS: Mapping[str, Any] = {
    "data": {"source": "begin.csv", "target": "class", "time": "at"},
    "model": {"type": "logistic_regression"},
    "tuning": {"trials": 0},
    "gate": {"metric": "accuracy", "margin": 0.02},
    "monitoring": {"time": "at", "every": "7d", "window": "14d"},
}
LOOPS: Mapping[str, Mapping[str, Any]] = {
    "keepfit": {"on": ["performance", "rows"], "rows": 1000, "min_rows": 500, "cooldown": "21d"},
    "defaults": {},
}
MOVES = ("alarmed", "retrained", "promoted", "refused", "rolled_back")
Right = NDArray[np.bool_]
Row = dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """All rows in the order of time, with `at`; `first` is the number of those that are there at the beginning."""

    rows: Sequence[Row]
    labels: NDArray[np.str_]
    first: int

    @property
    def later(self) -> NDArray[np.str_]:
        return self.labels[self.first :]

    def days(self) -> Iterator[tuple[datetime, range]]:
        """When each day of the rest ends, and the numbers of its rows."""
        for start in range(self.first, len(self.rows), DAY):
            stop = min(start + DAY, len(self.rows))
            yield BEGIN + stop * STEP, range(start, stop)


@dataclass
class Replayed:
    """What the loop answered (labels of the rest, in order), and what it did; CPU seconds by what was done."""

    said: list[str] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    history: list[str] = field(default_factory=list)

    @property
    def trainings(self) -> int:
        """Attempts that trained: they registered a version, whatever came of it."""
        return self.moves["retrained"]


def run(options: Options) -> Result:
    """The stream through the loop, and the other three beside it."""
    stream = read(options.days)
    names = options.only or tuple(LOOPS)
    found = {name: loop(name, stream) for name in names}
    project = keepfit.Project(WORK / "elec2" / names[0])
    right = {"first": alone(project, stream) == stream.later}
    blind, trainings, cost = weekly(project, stream)
    right |= {"weekly": blind == stream.later, **last(stream)}
    loops = {name: np.array(one.said) == stream.later for name, one in found.items()}
    rows = quarters(stream, loops | right)
    beside = f"weekly: {trainings} trainings, CPU-s {cost:.0f}"
    notes = (*(note for name, one in found.items() for note in told(name, one)), beside)
    draw(stream, loops | right, WORK / "elec2" / "elec2.html")
    return Result("elec2", PROMISE, tuple(rows), claims(loops, right, found, trainings), notes=notes)


def read(days: int | None = None) -> Stream:
    """The stream; with `days`, only so many days after the beginning."""
    header, cells = datasets.read(datasets.root() / "elec2" / "electricity.csv", None)
    first = int(len(cells) * SHARE) // DAY * DAY
    cells = cells[: first + days * DAY] if days else cells
    rows = [
        {"at": f"{BEGIN + at * STEP:{MOMENT}}", **dict(zip(header, row, strict=True))} for at, row in enumerate(cells)
    ]
    return Stream(rows, np.array([row.pop("class") for row in rows]), first)


# --- the loop -------------------------------------------------------------------------------------


def loop(name: str, stream: Stream) -> Replayed:
    """A new project with the beginning of the stream, trained, served, and kept fit through the rest."""
    sections = {**SECTIONS, "retraining": dict(LOOPS[name])}
    folder = projects.write(WORK / "elec2" / name, f"elec2-{name}", sections)
    header = [*stream.rows[0], "class"]
    beginning = zip(stream.rows[: stream.first], stream.labels, strict=False)
    datasets.write(folder / "begin.csv", header, [[*row.values(), str(label)] for row, label in beginning])
    projects.run(folder)
    with quiet(), server(folder) as link:
        return replay(keepfit.Project(folder), link, stream)


@contextmanager
def server(folder: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to `keepfit serve`, a process of its own."""
    port, core = servers.free_port(), servers.cores()[1]
    command, env = contenders.serve(folder, port)
    asked = load.request("GET", "/ready")
    with (
        servers.started(command, port, asked, b"ready", core, env),
        closing(http.client.HTTPConnection(servers.HOST, port, timeout=60)) as link,
    ):
        yield link


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries say of every training."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def replay(project: keepfit.Project, link: http.client.HTTPConnection, stream: Stream) -> Replayed:
    """Day by day: the day's rows, the labels of the day before; a pass at the end of each week."""
    done, late = Replayed(), list[Row]()
    seen = len(project.history())
    for number, (now, day) in enumerate(stream.days(), 1):
        answers = post(link, "/predict", [stream.rows[at] for at in day])["predictions"]
        done.said += [answer["prediction"] for answer in answers]
        if late:
            post(link, "/feedback", late)
        late = [{"id": answer["id"], "label": stream.labels[at]} for answer, at in zip(answers, day, strict=True)]
        if number % WEEK == 0:
            watch(project, now, done)
            follow(project, link)
    for decision in project.history()[seen:]:
        done.moves[decision.kind] += 1
        done.history.append(f"{decision.kind} {decision.version}: {decision.reason}")
    return done


def watch(project: keepfit.Project, now: datetime, done: Replayed) -> None:
    """What `keepfit up` does at each pass: look, then train where that is needed."""
    begun = time.process_time()
    project.monitor(now)
    looked = time.process_time()
    outcome = project.retrain(if_needed=True, now=now)["outcome"]
    done.cpu["monitor"] += looked - begun
    done.cpu["decide" if outcome == "not needed" else "train"] += time.process_time() - looked
    done.outcomes[outcome] += 1
    done.outcomes["passes"] += 1


def follow(project: keepfit.Project, link: http.client.HTTPConnection) -> None:
    """Wait until the server works with the champion: half a second, in which the world waits too."""
    found = champion.pointer(project.config, project.folder)("champion")
    until = time.monotonic() + PATIENCE
    while found and (ready := get(link, "/ready"))["model"]["version"] != found.version:
        if time.monotonic() > until:
            raise CommandError(f"the server does not follow to version {found.version}: {ready}")
        time.sleep(0.02)


def post(link: http.client.HTTPConnection, path: str, body: Any) -> Any:
    return answered(link, "POST", path, json.dumps(body).encode())


def get(link: http.client.HTTPConnection, path: str) -> Any:
    return answered(link, "GET", path)


def answered(link: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> Any:
    """The JSON of an answer. Raises CommandError for a code that is not 200."""
    link.request(method, path, body, {"Content-Type": "application/json"})
    answer = link.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise CommandError(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
    return json.loads(text)


# --- beside it ------------------------------------------------------------------------------------


def alone(project: keepfit.Project, stream: Stream) -> NDArray[Any]:
    """What the first model says of the rest."""
    found = project.predict(pl.DataFrame(stream.rows[stream.first :]), version="1")
    return np.asarray(found["prediction"].to_list())


def weekly(project: keepfit.Project, stream: Stream) -> tuple[NDArray[Any], int, float]:
    """What a model says that is trained every week on all that is known by then; how many were, and their CPU seconds.

    After the same passes as the loop's, with the same labels: those of the last day are not known yet.
    """
    begun = time.process_time()
    folder = next(run for run in reversed(folders.runs(project.work)))
    schema = folders.load_split(folder / "ingest").train.schema
    frame = pl.DataFrame(stream.rows).with_columns(pl.Series("class", stream.labels))
    whole = ready.rows(project.config, project.folder, Dataset(frame, schema, ""))
    said = alone(project, stream)[: WEEK * DAY].tolist()
    starts = range(stream.first + WEEK * DAY, len(stream.rows), WEEK * DAY)
    for start in starts:
        fitted = trained(project, whole, schema, start - DAY)
        asked = np.arange(start, min(start + WEEK * DAY, len(stream.rows)))
        said += training.predict(fitted, whole.columns[asked]).values.tolist()
    return np.array(said), len(starts), time.process_time() - begun


def trained(project: keepfit.Project, whole: ready.Rows, schema: Any, stop: int) -> Any:
    """keepfit's training of the first `stop` rows, as the project's config says, without what judges and packs it."""
    config, part = project.config, np.arange(stop)
    seed = config.data.random_state
    cuts = split.folds(whole.frame[part], schema, config.tuning.cv, seed, config.data)
    return training.train(whole.columns[part], whole.y[part], schema, config, cuts, seed)


def last(stream: Stream) -> dict[str, Right]:
    """Whether the label before is right, and the one of a day before."""
    at = np.arange(stream.first, len(stream.labels))
    return {"last": stream.labels[at - 1] == stream.later, "last known": stream.labels[at - DAY] == stream.later}


# --- what came of it ------------------------------------------------------------------------------


def quarters(stream: Stream, right: Mapping[str, Right]) -> list[dict[str, Any]]:
    """Accuracy by quarter of the year, and over all."""
    at = [BEGIN + place * STEP for place in range(stream.first, len(stream.rows))]
    when = np.array([f"{moment.year} Q{(moment.month + 2) // 3}" for moment in at])
    parts = [*dict.fromkeys(when.tolist()), "all"]
    return [_part(part, (when == part) | (part == "all"), right) for part in parts]


def _part(name: str, chosen: Right, right: Mapping[str, Right]) -> dict[str, Any]:
    shares = {side: round(float(one[chosen].mean()), 4) for side, one in right.items()}
    return {"accuracy in": name, "rows": int(chosen.sum()), **shares}


def told(name: str, done: Replayed) -> Iterator[str]:
    """What a loop did, in a few lines."""
    moves = ", ".join(f"{done.moves[kind]} {kind.replace('_', ' ')}" for kind in MOVES)
    yield f"{name}: {done.outcomes['passes']} passes; {moves}; {done.trainings} trainings"
    spent = ", ".join(f"{kind} {seconds:.0f}" for kind, seconds in done.cpu.items())
    yield f"{name}: CPU-s {spent}"


def lead(one: Right, other: Right, resamples: int = 2000) -> tuple[float, float, float]:
    """How much more often `one` is right, with its 95 % interval: a bootstrap of whole weeks, as hours are alike."""
    each = one.astype(float) - other
    weeks = np.array_split(each, max(1, round(len(each) / (WEEK * DAY))))
    sums, sizes = (np.array([f(week) for week in weeks]) for f in (np.sum, len))
    drawn = np.random.default_rng(0).integers(len(weeks), size=(resamples, len(weeks)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), (0.025, 0.975))
    return float(each.mean()), float(low), float(high)


def claims(
    loops: Mapping[str, Right], right: Mapping[str, Right], found: Mapping[str, Replayed], trainings: int
) -> tuple[Claim, ...]:
    """The promises, of the first loop: the others are told beside it."""
    name = next(iter(loops))
    gain, least, _ = lead(loops[name], right["first"])
    short, fewest, most = lead(right["weekly"], loops[name])
    return (
        Claim(f"lead over the first model, of which {gain:.4f} is measured, at least", least, ">=", 0.0),
        Claim(
            f"behind blind weekly training ({fewest:.4f} to {most:.4f})",
            short,
            "<=",
            NEAR,
            unclear=fewest <= NEAR <= most,
        ),
        Claim("trainings, as a share of the weekly ones", found[name].trainings / max(1, trainings), "<=", TRAININGS),
    )


def draw(stream: Stream, right: Mapping[str, Right], path: Path) -> None:
    """Accuracy over time, of four weeks each, as a chart."""
    lines = []
    for name, one in right.items():
        starts = range(0, len(one) - 27 * DAY, 28 * DAY)
        points = [
            charts.Point(BEGIN + (stream.first + at) * STEP, float(one[at : at + 28 * DAY].mean())) for at in starts
        ]
        lines.append(charts.Line(name, points, dashed=name not in LOOPS))
    drawn = charts.timeline(lines, name="accuracy over time")
    path.write_text(page.page("elec2", page.section("Accuracy, four weeks each", drawn)), encoding="utf-8")
