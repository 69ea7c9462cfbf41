"""Where the loop stands now, read from the files that its parts leave: champion, passes, alarms, training, decisions.

It only reads: a file that was cut short or is of another format is named under `problems` and left as it
is, and the rest is told all the same. The web app shows it, `Project.status()` returns it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit import durable
from keepfit.config import Config
from keepfit.errors import KeepfitError
from keepfit.models import bundle as bundles
from keepfit.monitoring import attempts
from keepfit.pipeline import champion, folders, on_trial
from keepfit.types import Decision

FORMAT = 1
MOVES = ("promoted", "rolled_back")
PASSES, DECISIONS = 120, 200  # that are told, the newest
AGAIN = 15.0  # seconds after which the files are read anew although none changed
FILES = ("latest.json", "alarms.json", "retraining.json", "trial.json", "up.json", attempts.LOCK)
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """A part of the loop. `state` is well, warned, unwell, at work, or empty where there is nothing to say."""

    name: str
    told: str
    state: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Model:
    """The champion: its version, since when it is, when and on what it was trained, how long its probation lasts."""

    version: str
    since: datetime | None = None
    created: datetime | None = None
    rows: int | None = None
    source: str = ""
    kinds: tuple[str, ...] = ()
    probation: timedelta = timedelta()


@dataclass(frozen=True)
class Loop:
    """What is known. `latest` is the newest pass, `passes` the gist of those before, oldest first; `alarms` are open.

    `watched` is when the newest pass was written, `next` when the next one is due, if `keepfit up` is at work.
    `decisions` are the newest ones, newest first, and `older` how many there are besides. `at` names the step
    where the loop stands. `clock` is `now` as the events have it, which for a replayed stream is long ago.
    """

    name: str
    now: datetime
    clock: datetime
    model: Model | None
    latest: Values
    passes: tuple[Values, ...]
    alarms: tuple[Values, ...]
    attempt: Values
    trial: Values
    up: Values
    decisions: tuple[Decision, ...]
    older: int
    watched: datetime | None
    next: datetime | None
    probation: datetime | None
    cooldown: datetime | None
    at: str
    steps: tuple[Step, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def begun(self) -> bool:
        """Whether anything was watched yet, or is about to be."""
        return bool(self.latest or self.up)

    def wall(self, text: Any) -> datetime | None:
        """When a moment of the events' clock was, as our own has it."""
        found = _moment(text)
        return found + (self.now - self.clock) if found else None


def begun(project: Path) -> bool:
    """Whether the loop left anything of its own yet. Looks at names alone."""
    folder = project / settings.WORK / "monitoring"
    return any((folder / name).exists() for name in ("latest.json", "up.json"))


def signature(project: Path, now: datetime) -> tuple[Any, ...]:
    """What changes when there is something new to read, and every few seconds, as time goes by."""
    work = project / settings.WORK
    paths = [work / "decisions.jsonl", *(work / "monitoring" / name for name in FILES)]
    return (int(now.timestamp() / AGAIN), *map(_stat, paths))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def loop(config: Config, project: Path, now: datetime) -> Loop:
    """Where the loop stands at `now`. Raises nothing for files that are missing or damaged, and writes nothing."""
    folder, problems = project / settings.WORK / "monitoring", list[str]()
    files = {name: _file(folder / f"{name}.json", problems) for name in ("alarms", "retraining", "trial", "up")}
    passes = _passes(folder)
    latest = _file(folder / "latest.json", problems) or _newest(folder)
    decisions = _history(config, project, problems)
    model = _model(config, project, decisions, problems)
    up = files["up"] if _alive(files["up"]) else {}
    watched = _written(folder / "latest.json")
    clock = _moment(latest.get("time")) if config.monitoring.time else None
    clock, attempt = clock or now, _attempt(files["retraining"], folder)
    found = Loop(
        config.project.name, now, clock, model, latest, passes, _mappings(files["alarms"].get("alarms")), attempt,
        files["trial"], up, tuple(reversed(decisions[-DECISIONS:])), max(0, len(decisions) - DECISIONS), watched,
        watched + timedelta(seconds=config.monitoring.every) if watched and up else None,
        _probation(config, decisions, model, clock), _cooldown(config, attempt, clock, now), "", (), tuple(problems),
    )  # fmt: skip
    at = _at(found, project / settings.WORK)
    return Loop(**{**vars(found), "at": at, "steps": _steps(found, at)})


# --- reading --------------------------------------------------------------------------------------


def _file(path: Path, problems: list[str]) -> Values:
    """A file's values; none where it is not there or cannot be understood, which is told."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read, and is left out: {error}")
        return {}
    known = values.get("format") if isinstance(values, dict) else None
    if known != FORMAT:
        problems.append(f"{path.name} is left out: it has format {known}, this keepfit knows {FORMAT}. Update keepfit.")
        return {}
    return dict(values)


def _written(path: Path) -> datetime | None:
    found = _stat(path)
    return datetime.fromtimestamp(found[0] / 1e9, UTC) if found else None


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _mappings(values: Any) -> tuple[Values, ...]:
    return tuple(value for value in values if isinstance(value, Mapping)) if isinstance(values, list) else ()


def _names(folder: Path) -> list[Path]:
    return sorted((folder / "passes").glob("*.json"))


def _newest(folder: Path) -> Values:
    """The newest pass that can be read, where latest.json cannot."""
    return next((values for path in reversed(_names(folder)[-5:]) if (values := _file(path, []))), {})


def _passes(folder: Path) -> tuple[Values, ...]:
    """The gist of the newest passes, oldest first; what cannot be read is left out."""
    found = (_gist(path, _stat(path)) for path in _names(folder)[-PASSES:])
    return tuple(gist for gist in found if gist)


@lru_cache(maxsize=4 * PASSES)
def _gist(path: Path, stat: Any) -> Values:
    """What is told of a pass that is not the newest. A pass never changes: it is read once."""
    values = _file(path, [])
    model = values.get("model")
    version = model.get("version") if isinstance(model, Mapping) else None
    kept = ("time", "outcome", "headline", "performance", "estimated")
    return {**{name: values.get(name) for name in kept}, "version": version} if values else {}


def _history(config: Config, project: Path, problems: list[str]) -> list[Decision]:
    try:
        return champion.history(config, project)
    except (KeepfitError, OSError, TypeError) as error:
        problems.append(f"The decisions cannot be read: {error}")
        return []


def _model(config: Config, project: Path, decisions: list[Decision], problems: list[str]) -> Model | None:
    try:
        found = champion.pointer(config, project)("champion")
        if found is None:
            return None
        made = bundles.read(found.fetch())
    except (KeepfitError, OSError) as error:
        problems.append(f"The champion cannot be told: {error}")
        return None
    moves = [d.when for d in decisions if d.kind in MOVES and d.version == found.version]
    origin = made.manifest["data"].get("origin") or {}
    rows, source = origin.get("rows"), Path(str(origin.get("source") or "")).name
    kinds = tuple(dict.fromkeys(str(member["name"]) for member in made.manifest["members"]))
    since = _moment(moves[-1]) if moves else None
    created, lasts = _moment(made.manifest["created"]), on_trial.probation(config, made.schema)
    return Model(found.version, since, created, rows, source, kinds, lasts)


def _alive(up: Values) -> bool:
    pid = up.get("pid")
    return up.get("status") == "running" and isinstance(pid, int) and durable.alive(pid)


def _attempt(values: Values, folder: Path) -> Values:
    """The last training; one that says it is at work while nobody is has crashed."""
    if values.get("outcome") == attempts.AT_WORK and not attempts.at_work(folder):
        return {**values, "outcome": attempts.CRASHED}
    return values


# --- where it stands ------------------------------------------------------------------------------


def _probation(config: Config, decisions: list[Decision], model: Model | None, clock: datetime) -> datetime | None:
    """Until when a champion that took another's place may be rolled back."""
    moves = [d for d in decisions if d.kind in MOVES]
    if not moves or model is None or (moves[-1].kind, moves[-1].version) != ("promoted", model.version):
        return None
    begun = None if config.monitoring.time else _moment(moves[-1].when)  # decisions are of our clock
    end = begun + model.probation if begun and moves[-1].previous else None
    return end if end and end > clock else None


def _cooldown(config: Config, attempt: Values, clock: datetime, now: datetime) -> datetime | None:
    """Until when no other training begins by itself."""
    begun = _moment(attempt.get("when"))
    end = begun + timedelta(seconds=config.retraining.cooldown) if begun else None
    return end + (now - clock) if end and end > clock and attempt["outcome"] != attempts.AT_WORK else None


def _at(found: Loop, work: Path) -> str:
    """The step where the loop stands: what works now, else who waits, else serving."""
    if found.attempt.get("outcome") == attempts.AT_WORK or folders.busy(work):
        return _training(work)
    running = {name for name, known in _children(found.up, "passes").items() if known.get("running")}
    for name, step in (("monitor", "watch"), ("retrain", "decide")):
        if name in running:
            return step
    if found.trial:
        return "gate"
    return "serve" if found.model else "data"


def _training(work: Path) -> str:
    """How far the run at work has come, by the stages that it has finished."""
    newest = next(iter(folders.runs(work)), None)
    done = [] if newest is None else [stage for stage in ("ingest", "train") if (newest / stage).is_dir()]
    return ("data", "train", "gate")[len(done)]


def _children(up: Values, what: str) -> dict[str, Values]:
    known = up.get(what)
    return {n: v for n, v in known.items() if isinstance(v, Mapping)} if isinstance(known, Mapping) else {}


def _steps(found: Loop, at: str) -> tuple[Step, ...]:
    made = (_data(found), _train(found), _gate(found), _serve(found), _watch(found), _decide(found))
    return tuple(Step(**{**vars(s), "state": "at work"}) if s.name == at and not s.state else s for s in made)


def _data(found: Loop) -> Step:
    model = found.model
    if model is None or model.rows is None:
        return Step("data", "" if model else "nothing is trained yet")
    return Step("data", f"{model.rows:,} rows{f' of {model.source}' if model.source else ''}")


def _train(found: Loop) -> Step:
    outcome, when = found.attempt.get("outcome"), found.wall(found.attempt.get("when"))
    if outcome == attempts.AT_WORK:
        return Step("train", "a challenger is in training", "at work", when)
    if outcome in (attempts.CRASHED, attempts.FAILED):
        return Step("train", f"the last training {outcome}", "warned", when)
    if outcome:
        return Step("train", f"the last challenger: {str(outcome).replace('_', ' ')}", "", when)
    kinds = ", ".join(found.model.kinds) if found.model else ""
    return Step("train", kinds, "", found.model.created if found.model else None)


def _gate(found: Loop) -> Step:
    if found.trial:
        told = f"version {found.trial.get('version')} is on trial as {found.trial.get('mode')}"
        since, until = (found.wall(found.trial.get(name)) for name in ("since", "until"))
        return Step("gate", told, "at work", since, until)
    judged = next((d for d in found.decisions if d.kind in ("promoted", "refused") and d.verdict.checks), None)
    if judged is None:
        return Step("gate", "")
    whom = f"version {judged.version}" if judged.version else "the challenger"
    return Step("gate", f"{'let' if judged.kind == 'promoted' else 'refused'} {whom}"
                f"{' through' if judged.kind == 'promoted' else ''}", "", _moment(judged.when))  # fmt: skip


def _serve(found: Loop) -> Step:
    if found.model is None:
        return Step("serve", "there is no champion yet")
    down = [name for name, child in _children(found.up, "children").items() if not child.get("pid")]
    told = f"version {found.model.version}" + (f"; down: {', '.join(down)}" if down else "")
    told += ", on probation" if found.probation else ""
    return Step("serve", told, "warned" if down else "", found.model.since, found.probation)


def _watch(found: Loop) -> Step:
    outcome = found.latest.get("outcome")
    if not outcome:
        return Step("watch", "no pass yet", "", None, found.next)
    state = {"healthy": "well", "unhealthy": "unwell"}.get(str(outcome), "")
    return Step("watch", str(outcome), state, found.watched, found.next)


def _decide(found: Loop) -> Step:
    errors = [alarm for alarm in found.alarms if alarm.get("severity") == "error"]
    state = "unwell" if errors else "warned" if found.alarms else ""
    count = len(found.alarms)
    alarms = f"{count} open alarm{'s' * (count != 1)}" if count else "no open alarms"
    last = _children(found.up, "passes").get("retrain", {}).get("told")
    return Step("decide", f"{alarms}{f'; {last}' if last else ''}", state, None, found.cooldown)
