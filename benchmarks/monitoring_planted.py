"""Real traffic in which something changes: after how many rows is it told, is the right column named, what is done?

adult_income and telco_churn: a model is trained on some rows, others come as traffic, some hundred between two
monitoring passes, with their labels one pass later. Half a day goes well; then every row has the change, for
another half. Each seed brings the rows in another order. The log is written through keepfit's own writer, with
what the champion's runtime answers, at times of the past; one case goes through the real server. When the
change is over `keepfit retrain --if-needed` is asked (first seed only), and where the change is poison, a
retraining by hand besides: what the champion then says of rows that never changed tells whether it was poisoned.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

import keepfit
from benchmarks import datasets, elec2, planted, projects
from benchmarks.datasets import Rows
from benchmarks.environments import WORK
from benchmarks.planted import CASES, Case, Planted
from benchmarks.results import Claim, Options, Result
from keepfit.data.log import Line, open_log
from keepfit.data.rows import values_of
from keepfit.models import bundle as bundles
from keepfit.monitoring import alarms
from keepfit.pipeline import champion
from keepfit.types import Decision

PROMISE = "planted changes are told, their column first; other units and flipped labels are learned by no model"
START, HOUR = datetime(2026, 3, 2, tzinfo=UTC), timedelta(hours=1)
WINDOW, LOOKED = 12, 6  # passes that a window is long, and those of them before the change that are made
SEEDS = 3
SECTIONS: Mapping[str, Any] = {
    "model": {"type": "logistic_regression"},
    "tuning": {"trials": 0, "cv": 3},
    "monitoring": {"every": "1h", "window": f"{WINDOW}h"},
}
SERVED = "unit × 100"  # the case that goes through the real server
WORSE = 0.01  # of accuracy: that much less on unchanged rows is a poisoned model
NEVER = ("unit × 100", "labels flipped", "labels flipped, 30 %")  # a broken join may be a world that has changed


@dataclass
class Told:
    """What a stream came to. `rows` changed rows that were answered when the first alarm was raised, or None."""

    rows: int | None = None
    family: str = ""
    named: str = ""
    right: bool = False
    passes: int = 0  # without a change
    false: int = 0  # of these, with an alarm
    decided: list[str] = field(default_factory=list)
    lost: float | None = None  # accuracy on unchanged rows
    learned: int | None = None  # changed rows that the champion was trained on in the end


@dataclass(frozen=True)
class Stream:
    """A project whose champion answers rows of a data set, one pass of rows at a time."""

    project: keepfit.Project
    made: Planted
    rows: Rows  # of the traffic, in the order in which they come
    aside: Rows  # that never come

    def frame(self, rows: Rows) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=dict.fromkeys(self.made.header, pl.String), orient="row")

    def step(self, number: int) -> Rows:
        return self.rows[number * self.made.step : (number + 1) * self.made.step]

    @property
    def version(self) -> str:
        return str(champion.current(self.project.config, self.project.folder))


def run(options: Options) -> Result:
    """`--seeds N`: orders of the rows (at least 3); `--only adult telco`."""
    rows: list[dict[str, Any]] = []
    found: dict[tuple[str, str], list[Told]] = {}
    with elec2.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in planted.PLANTED:
            if not options.only or name in options.only:
                for case, told in _data(name, max(SEEDS, options.seeds)):
                    found.setdefault((name, case), []).append(told)
    for (name, case), told in found.items():
        rows.append(_row(name, case, told))
    notes = tuple(
        f"{name}, {case}: {line}" for (name, case), all in found.items() for one in all for line in one.decided
    )
    return Result("monitoring-planted", PROMISE, tuple(rows), claims(found), notes=notes)


# --- streams --------------------------------------------------------------------------------------


def _data(name: str, seeds: int) -> Iterator[tuple[str, Told]]:
    """Each case of a data set with each seed; and the one through the real server."""
    made, rows = planted.data(name)
    random = np.random.default_rng(7)
    order = random.permutation(len(rows))
    train, rest = [rows[i] for i in order[: made.train]], [rows[i] for i in order[made.train :]]
    folder = projects.write(
        WORK / "planted" / name / "trained", f"planted-{name}",
        {"data": {"source": "train.csv", "target": made.target}, **SECTIONS},
    )  # fmt: skip
    datasets.write(folder / "train.csv", list(made.header), train)
    keepfit.Project(folder).run()
    needed = 2 * WINDOW * made.step
    for seed in range(seeds):
        mixed = [rest[i] for i in np.random.default_rng(seed).permutation(len(rest))]
        begun = _copy(folder, f"seed-{seed}", made, mixed[:needed], mixed[needed:])
        before = _before(begun)
        for case in CASES:
            yield case, _case(begun, case, before, seed)
    yield f"{SERVED} (server)", _served(_copy(folder, "served", made, mixed[:needed], mixed[needed:]), CASES[SERVED])


def _copy(folder: Path, name: str, made: Planted, rows: Rows, aside: Rows) -> Stream:
    """The project once more: what is in it stays as it is for the others."""
    to = folder.with_name(name)
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return Stream(keepfit.Project(to), made, rows, aside)


def _before(stream: Stream) -> Told:
    """Half a day in which nothing changes: as long as the window is."""
    told, late = Told(), pl.DataFrame()
    for number in range(WINDOW):
        late = _answer(stream, number, stream.step(number), late)
        if number >= WINDOW - LOOKED:
            told.passes += 1
            told.false += bool(_alarmed(stream, number))
    stream.project.feedback(late)
    return told


def _case(begun: Stream, name: str, before: Told, seed: int) -> Told:
    """The second half of a day, changed."""
    case, made = CASES[name], begun.made
    number = list(CASES).index(name)  # MLflow keeps databases open by their names
    stream = _copy(begun.project.folder, f"seed-{seed}-{number}", made, begun.rows, begun.aside)
    changed = case.change(made, begun.rows[WINDOW * made.step :], np.random.default_rng(seed))
    told, late = Told(), pl.DataFrame()
    if name == "nothing changed":
        told.passes, told.false = before.passes, before.false
    ended = False
    for number in range(WINDOW, 2 * WINDOW):
        part = changed[(number - WINDOW) * made.step :][: made.step]
        late = _answer(stream, number, part, late)
        if ended and number < 2 * WINDOW - 1:
            continue
        began = _alarmed(stream, number)
        told.passes += name == "nothing changed"
        told.false += name == "nothing changed" and bool(began)
        if began and not ended:
            ended = name != "nothing changed"
            _note(told, case, made, began, (number + 1 - WINDOW) * made.step, stream)
    stream.project.feedback(late)
    if seed == 0:
        _retrain(stream, case, told)
    return told


def _answer(stream: Stream, number: int, rows: Rows, late: pl.DataFrame) -> pl.DataFrame:
    """Log an hour's rows as answered by the champion, and the labels of the hour before; the labels of this one."""
    if late.height:
        stream.project.feedback(late)
    frame = stream.frame(rows)
    version, runtime = champion.chosen(stream.project.config, stream.project.folder, None)
    given = frame.drop(stream.made.target).to_dicts()
    output, _ = runtime.rows(given)
    name = stream.project.config.project.name
    log = open_log(stream.project.work / "predictions", runtime.schema, name, version)
    ids, shares = log.ids(len(given)), output.probabilities
    names = [column.name for column in runtime.schema.columns if column.role not in ("target", "ignore")]
    begin, apart = (START + number * HOUR).timestamp(), HOUR.total_seconds() / (len(given) + 1)
    log.write([
        Line(key, begin + place * apart, "benchmark", None, "/predict", 0.001, values, output.values[place],
             None if shares is None else float(shares[place].max()), None if shares is None else shares[place].tolist())
        for place, (key, values) in enumerate(zip(ids, values_of(names)(given), strict=True))
    ])  # fmt: skip
    log.close()
    return pl.DataFrame({"id": ids, "label": frame[stream.made.target]})


def _alarmed(stream: Stream, number: int) -> Any:
    """A pass at the end of an hour: what it found, if an alarm began; else nothing."""
    known = {alarm.key for alarm in alarms.load(stream.project.work / "monitoring")}
    found = stream.project.monitor(START + (number + 1) * HOUR)
    return found if {alarm["key"] for alarm in found["alarms"]} - known else None


def _note(told: Told, case: Case, made: Planted, found: Any, rows: int, stream: Stream) -> None:
    """The first alarm of a pass, and the column that it names: its own, or the one that moved the answers most."""
    first = found["alarms"][0]
    told.rows, told.family, told.named = rows, first["family"], alarms.signal(first["subject"])
    columns = {*made.header, "rows"}
    if told.family == "drift" or told.named not in columns:
        drifted = [one["column"] for one in found["columns"] if one["outcome"] == "failed" and one["column"]]
        told.named = (drifted or [told.named])[0]
    wanted = case.columns(made)
    told.right = told.named in wanted if wanted else told.family == "performance"


# --- decisions ------------------------------------------------------------------------------------


def _retrain(stream: Stream, case: Case, told: Told) -> None:
    """What the loop does when the change is over; and where that is nothing but it is poison, what one by hand does."""
    before = _accuracy(stream)
    for asked in (True, False) if case.poison else (True,):
        known = len(stream.project.history())
        soon = datetime.now(UTC) + timedelta(seconds=1)
        record = stream.project.retrain(if_needed=asked, now=soon, reason="" if asked else "by hand")
        told.decided.append(_decided(record, stream.project.history()[known:], "" if asked else "by hand: "))
        if record["outcome"] != "not needed":
            break
    told.lost, told.learned = before - _accuracy(stream), _learned(stream)


def _learned(stream: Stream) -> int:
    """Changed rows, at an even pace, up to the last that the champion was trained on, less those that were left out."""
    config, folder = stream.project.config, stream.project.folder
    data = bundles.read(champion.folder(config, folder, stream.version)).manifest["data"]
    log = data["origin"].get("log")
    if not log:
        return 0
    hours = (datetime.fromisoformat(log["until"]) - START) / HOUR - WINDOW
    return max(0, round(hours * stream.made.step) - sum(span["rows"] for span in log["quarantined"]))


def _decided(record: Mapping[str, Any], history: Sequence[Decision], how: str) -> str:
    """The outcome, why it was trained, what was left out of that, and why it was refused."""
    checks = [check for decision in history[:1] for check in decision.verdict.checks]
    left = [check for check in checks if check.name.startswith("quarantine:")]
    lines = [decision.reason.splitlines()[0] for decision in history] or [str(record["reason"])]
    left_out = [f"{sum(int(check.value) for check in left):,} rows left out ({left[0].detail})"] if left else []
    return "; ".join([f"{how}{record['outcome']}", *lines[:1], *left_out, *lines[1:]])


def _accuracy(stream: Stream) -> float:
    """The champion's share of right answers on rows that never came."""
    frame = stream.frame(stream.aside)
    output, _ = champion.chosen(stream.project.config, stream.project.folder, None)[1].rows(
        frame.drop(stream.made.target).to_dicts()
    )
    return float(np.mean(output.values == frame[stream.made.target].to_numpy()))


# --- the real server ------------------------------------------------------------------------------


def _served(stream: Stream, case: Case) -> Told:
    """The same change as requests to `keepfit serve`, with the clock's own time, and a pass after each."""
    made, told = stream.made, Told()
    half = WINDOW * made.step
    changed = case.change(made, stream.rows[half:], np.random.default_rng(0))
    with elec2.server(stream.project.folder) as link:
        for start in range(0, half, made.step):
            _asked(link, stream, stream.rows[start : start + made.step])
        told.passes, told.false = 1, stream.project.monitor()["outcome"] == "unhealthy"
        for start in range(0, half, made.step):
            _asked(link, stream, changed[start : start + made.step])
            found = stream.project.monitor()
            if found["alarms"]:
                _note(told, case, made, found, start + made.step, stream)
                break
    return told


def _asked(link: Any, stream: Stream, rows: Rows) -> None:
    frame = stream.frame(rows)
    answers = elec2.post(link, "/predict", frame.drop(stream.made.target).to_dicts())["predictions"]
    labels = [{"id": a["id"], "label": label} for a, label in zip(answers, frame[stream.made.target], strict=True)]
    elec2.post(link, "/feedback", labels)


# --- all of it ------------------------------------------------------------------------------------


def _row(name: str, case: str, told: Sequence[Told]) -> dict[str, Any]:
    rows = sorted(one.rows for one in told if one.rows is not None)
    common = lambda values: max(set(values), key=values.count) if values else None
    seen = [one for one in told if one.rows is not None]
    return {
        "data": name, "change": case, "seeds": len(told), "detected": len(rows),
        "after rows": median(rows) if rows else None, "range": f"{rows[0]} to {rows[-1]}" if rows else None,
        "family": common([one.family for one in seen]), "named first": common([one.named for one in seen]),
        "right": sum(one.right for one in seen),
        "passes unchanged": sum(one.passes for one in told), "false": sum(one.false for one in told),
        "decision": ", then ".join(line.partition(";")[0] for one in told for line in one.decided) or None,
        "learned": next((one.learned for one in told if one.learned is not None), None),
        "accuracy lost": next((one.lost for one in told if one.lost is not None), None),
    }  # fmt: skip


def claims(found: Mapping[tuple[str, str], Sequence[Told]]) -> tuple[Claim, ...]:
    """Every change of every seed detected; its column first; no model put to work that is worse on sound rows."""
    changed = [one for (_, case), all in found.items() if case != "nothing changed" for one in all]
    seen = [one for one in changed if one.rows is not None]
    lost = [one.lost for all in found.values() for one in all if one.lost is not None]
    return (
        Claim("share of changes that were detected", len(seen) / max(1, len(changed)), ">=", 1.0),
        Claim("share of detected changes whose column was named first", _share(seen), ">=", 0.95),
        Claim("rows in other units and with flipped labels that a champion learned", _poison(found), "<=", 0),
        Claim("accuracy lost on unchanged rows, at most", max(lost, default=None), "<=", WORSE),
        Claim(
            "false alarms in passes without a change", sum(one.false for all in found.values() for one in all), "<=", 0
        ),
    )


def _poison(found: Mapping[tuple[str, str], Sequence[Told]]) -> int:
    return sum(one.learned or 0 for (_, case), all in found.items() if case in NEVER for one in all)


def _share(seen: Sequence[Told]) -> float | None:
    return sum(one.right for one in seen) / len(seen) if seen else None
