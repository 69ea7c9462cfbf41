"""Retraining: decide, gather what is known by now, train a challenger, judge it, promote or refuse it.

The stages are those of every run (`keepfit.pipeline.stages`). What differs is the data, which come with
the labelled log (`gathering`), and what the gate asks besides: that on the source's own test rows, which
nothing that came later can have spoilt, the challenger is not much worse than the champion.

Whatever happens on the way, the champion stays until another has passed, and a Decision says why.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from keepfit import config as settings
from keepfit.config import Config
from keepfit.errors import BusyError, KeepfitError, RefusedError
from keepfit.features.frame import from_frame
from keepfit.features.prepare import prepare
from keepfit.models import bundle as bundles
from keepfit.monitoring import alarms, attempts, notices, outbox, state, trigger
from keepfit.pipeline import champion, children, folders, gathering, live, loading, on_trial, probation, ready, trial
from keepfit.progress import Progress
from keepfit.show import Record
from keepfit.tracking import decisions, gate
from keepfit.types import Check, Dataset, Decision, Schema, Split, Verdict, plain

ANCHOR = "anchor.parquet"
KEPT = 0.5  # of what the champion knows on the anchor, at least
NOTED = ("quarantine", "window", "new labelled rows")  # checks of the data that the Decision has too
BY = "keepfit"  # decides where nobody asked by hand
BY_HAND = Verdict("retraining", (Check("reason", "passed", "asked for by hand"),))


def retrain(
    config: Config, project: Path, if_needed: bool = False, reason: str = "", trust: bool = False,
    now: datetime | None = None, progress: Progress | None = None,
) -> Record:  # fmt: skip
    """Train a challenger on the data known by `now`, judge it, and promote it, put it on trial or refuse it.

    With `if_needed` first look after a trial and a probation, then ask the trigger. Raises BusyError while
    another training or a trial is at work, and whatever a stage raises. The record's `outcome` is promoted,
    on_trial, refused, rolled_back, or "not needed".
    """
    now = now or live.moment(config, project)
    with _announced(config, project):
        return _retrain(config, project, if_needed, reason, trust, now, progress)


@contextmanager
def _announced(config: Config, project: Path) -> Iterator[None]:
    """Whoever is to know of alarms is told what was decided here, however it ends."""
    work = project / settings.WORK
    before = len(decisions.history(work))
    try:
        yield
    finally:
        made = decisions.history(work)[before:]
        folder = work / "monitoring"
        if notice := notices.of(config.project.name, made, alarms.load(folder)):
            clock = datetime.now(UTC)
            for lost in (
                *outbox.put(config.alerts, folder, notice, clock),
                *outbox.deliver(config.alerts, folder, clock),
            ):
                decisions.record(work, lost)


def _retrain(
    config: Config, project: Path, if_needed: bool, reason: str, trust: bool, now: datetime, progress: Progress | None
) -> Record:
    why = BY_HAND
    if if_needed:
        if nothing := _nothing(config, project, now):
            return nothing
        why = needed(config, project, now)
        reason = trigger.told(why)
    elif waiting := on_trial.read(project):
        raise BusyError(f"Version {waiting.version} is on trial until {waiting.until}; retrain when that is over.")
    with attempts.only(project / settings.WORK / "monitoring", now, reason or "asked for by hand") as note:
        return _attempt(config, project, now, reason, why, trust, progress, note)


def watch(config: Config, project: Path, now: datetime) -> Decision | None:
    """End a trial that is due, or roll back a champion that does worse than its predecessor. None: nothing to do."""
    return trial.judge(config, project, now) or probation.after_promotion(config, project, now)


def needed(config: Config, project: Path, now: datetime) -> Verdict:
    """Whether to train now: the trigger asked about what is known. Changes nothing."""
    folder = project / settings.WORK / "monitoring"
    before, last = gathering.memory(config, project), attempts.last(folder)
    schema = _schema(config, project)
    rows = live.known(config, project, now, schema)
    tried = last.about.get("labels_until") if last else None
    waiting = on_trial.read(project)
    facts = trigger.Facts(
        alarms=alarms.load(folder),
        rows=gathering.fresh(rows, before, tried),
        champion=_since(config, project, now, rows),
        last=state.moment(last.when) if last else None,
        at_work=attempts.at_work(folder),
        trial=waiting.version if waiting else None,
    )
    asked = config.retraining.model_copy(update={"min_rows": gathering.least(config, schema)})
    return trigger.decide(facts, asked, now)


def _nothing(config: Config, project: Path, now: datetime) -> Record | None:
    """What `retrain --if-needed` comes to where a look is enough; None where there is something to do."""
    settled = watch(config, project, now)
    if settled is not None:
        return _record(config, settled)
    why = needed(config, project, now)
    return None if why else _not_needed(config, why)


def _not_needed(config: Config, why: Verdict) -> Record:
    reason = trigger.told(why)
    return Record(outcome="not needed", reason=reason, verdict=plain(why), headline=_said(config, reason), next=[])


def _schema(config: Config, project: Path) -> Schema | None:
    """The champion's."""
    found = champion.pointer(config, project)("champion")
    return bundles.read(found.fetch()).schema if found else None


def _since(config: Config, project: Path, now: datetime, rows: pl.DataFrame) -> datetime | None:
    """Since when there is this champion; of a replayed stream, since the first row that is known."""
    moves = [d for d in champion.history(config, project) if d.kind in probation.MOVES]
    moved = state.moment(moves[-1].when) if moves else None
    first = rows["at"].min()
    return first if config.monitoring.time and isinstance(first, datetime) else moved


def _attempt(
    config: Config, project: Path, now: datetime, reason: str, why: Verdict, trust: bool, progress: Progress | None,
    note: attempts.Note,
) -> Record:  # fmt: skip
    from keepfit.pipeline import inline  # what trains is imported when something is trained

    asked = _Asked(now, reason, why, trust)
    do: dict[str, inline.Stage] = {**inline.RUN, "ingest": partial(_ingest, asked), "promote": partial(_promote, asked)}
    try:
        record = inline.run(config, project, None, False, progress, do, kind="retraining", reason=reason)
    except RefusedError as error:
        found = why if error.verdict is None else error.verdict
        decision = _record_refusal(config, project, str(error), found)
        note("refused", str(error), labels_until=_newest(config, project, now))
        return _record(config, decision)
    except Exception as error:
        told = settings.masked(config, f"the training failed: {error or type(error).__name__}")
        _record_refusal(config, project, told, why)
        raise
    log = folders.read_json(Path(record["bundle"]) / "bundle.json")["data"]["origin"].get("log") or {}
    note(record["outcome"], version=record["version"], run=record["run"], labels_until=log.get("labels_until"))
    return record


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What a retraining was asked for: when, why in words and as the trigger's Verdict, and whom to trust."""

    now: datetime
    reason: str
    why: Verdict
    trust: bool


def _ingest(asked: _Asked, config: Config, project: Path, folder: Path, out: Path, tell: Progress) -> None:
    """In place of `stages.ingest`: the log as one source more. No profile: that is for people, and costs most."""
    found = gathering.gather(config, project, asked.now, asked.trust, asked.why is BY_HAND)
    folders.save_split(found.split, out)
    folders.write_json(out / "verdict.json", found.verdict)
    if found.anchor is not None:
        found.anchor.frame.write_parquet(out / ANCHOR)


def _promote(asked: _Asked, config: Config, project: Path, folder: Path, out: Path, tell: Progress) -> None:
    """As every run's, with the anchor; the Decision says what was retrained, and then what came of it."""
    from keepfit.pipeline import inline, stages
    from keepfit.tracking import registry

    also = anchored(config, project, folder)
    told = folders.read_verdict(folder / "ingest" / "verdict.json")
    measured = folders.read_json(folder / "train" / "measured.json")

    def settle(config: Config, project: Path, version: str, verdict: Verdict, run: str) -> Decision:
        noted = [check for check in told.checks if check.name.startswith(NOTED)]
        proof = Verdict(asked.why.subject, (*asked.why.checks, *noted))
        reason = asked.reason or "asked for by hand"
        by = "" if asked.why is BY_HAND else BY
        registry.stay("retrained", champion.store(config, project), version, reason, proof, by)
        if verdict and config.retraining.trial:
            return trial.begin(config, project, version, verdict, run, asked.now, measured)
        return stages.decide(config, project, version, verdict, run, by)

    inline.promote(config, project, folder, out, tell, also, settle)


def anchored(config: Config, project: Path, folder: Path) -> Verdict:
    """Is the challenger of a run not much worse than the champion on the source's test rows?

    A batch that teaches nonsense passes a gate that is made of the same nonsense; these rows are older than
    it. A world that changes costs something here too: with a margin of 0.05 nothing was promoted any more on
    elec2 after a year, so half of what the champion knows may go. Only a warning where `retraining.window`
    leaves the past behind on purpose: then old rows may be wrong.
    """
    title = "not much worse than the champion on the source's test rows"
    split = folders.load_split(folder / "ingest")
    data = _anchor(folder, split)
    against = champion.answers(config, project, data, split.train) if data else None
    if data is None or against is None or against.output is None:
        return Verdict("anchor", (Check(title, "not checked", detail=against.why if against else "there are none"),))
    made = loading.load(config, project, folder / "train" / "bundle")
    asked = ready.rows(config, project, data)
    frame, _ = prepare(data.frame, made.schema, made.hooks)
    compared = gate.Trial(
        asked.y, data.schema.classes, made.predict(from_frame(frame, made.schema)),
        ready.trivial(split.train, asked.columns), against.output,
    )  # fmt: skip
    found = gate.kept(
        compared, config.goals, config.gate, KEPT, config.evaluation.bootstrap, config.data.random_state
    )  # fmt: skip
    metric = found.name.rpartition(": ")[2]
    severity = "error" if config.retraining.window == "all" else "warning"
    return Verdict("anchor", (dataclasses.replace(found, name=f"{title}: {metric}", severity=severity),))  # type: ignore[arg-type]


def _anchor(folder: Path, split: Split) -> Dataset | None:
    path = folder / "ingest" / ANCHOR
    if not path.is_file():
        return None
    frame = pl.read_parquet(path)
    if not frame.height:
        return None
    origin = split.test.origin
    return Dataset(frame, split.test.schema, str(origin["log"]["source"][1]), origin)


def _record_refusal(config: Config, project: Path, reason: str, verdict: Verdict) -> Decision:
    """No challenger came of it: the champion stays, and the history says why."""
    found = champion.pointer(config, project)("champion")
    current = found.version if found else None
    refused = Decision("refused", config.project.name, f"no challenger: {reason}", verdict, None, current)
    return decisions.record(project / settings.WORK, refused)


def _newest(config: Config, project: Path, now: datetime) -> str | None:
    """The newest label that was known: what came later is new to the next attempt."""
    newest = live.known(config, project, now, _schema(config, project))["label_time"].max()
    return newest.isoformat() if isinstance(newest, datetime) else None


def _record(config: Config, decision: Decision) -> Record:
    """A Decision as the record of a command."""
    told = {"version": decision.version, "previous": decision.previous, "decision": plain(decision)}
    after = ["keepfit history"]
    return Record(
        outcome=decision.kind, reason=decision.reason, headline=_said(config, decision.reason), next=after, **told
    )


def _said(config: Config, what: str) -> str:
    return f"{config.project.name}: {what}"


# --- in a process of its own ------------------------------------------------------------------------


def apart(config: Config, project: Path, arguments: Sequence[str], if_needed: bool) -> Record:
    """`keepfit retrain` as a child that is stopped after `retraining.timeout`. Raises KeepfitError for one that died.

    `arguments` are those of the command, `-C` and `--set` included. With `if_needed` the trigger is asked
    here first, as a child that finds nothing to do has imported all that trains.
    """
    if if_needed and (nothing := _nothing(config, project, live.moment(config, project))):
        return nothing
    limit = config.retraining.timeout
    ended = asyncio.run(children.once(["retrain", "--here", "--json", *arguments], limit, shown=True))
    if ended.code in (0, 3) and isinstance(ended.document, dict) and "error" not in ended.document:
        return Record(ended.document)
    if isinstance(ended.document, dict):
        error = KeepfitError(ended.document["error"]["message"])
        error.exit_code = ended.document["error"]["exit_code"]
        raise error
    what = f"took longer than {timedelta(seconds=limit)} (retraining.timeout) and was stopped"
    told = what if ended.code is None else f"{children.how(ended.code)} and said nothing"
    _record_refusal(config, project, f"the training {told}", BY_HAND)
    raise KeepfitError(f"The training {told}. The champion stays. What it did is in .keepfit/runs.")
