"""Moving the champion: promote, roll back, refuse. Each move is tried first and recorded.

    champion     serves
    challenger   was registered last and is not the champion
    previous     was champion before; what `rollback` goes back to

A move is several requests to a registry that knows no transactions. It is written down before it
begins (`.keepfit/move.json`); whoever comes next finishes the record of a move that was cut off
after the champion had changed, and undoes one that was cut off before. The champion itself is one
alias, so there is one at any moment.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keepfit import durable
from keepfit.errors import BusyError, TrackingError
from keepfit.tracking import decisions, lock, mlflow
from keepfit.tracking.store import Store
from keepfit.types import Check, Decision, Verdict, plain, read

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
JOURNAL = "move.json"
TAG = "keepfit.decision."
LONGEST = 5000  # characters of a tag that every MLflow server takes
TRIED = Check("the version verifies, loads and predicts", "passed")
Try = Callable[[Path], object]


def promote(
    store: Store,
    version: str,
    reason: str,
    try_bundle: Try,
    verdict: Verdict | None = None,
    by: str = "",
    run: str | None = None,
) -> Decision:
    """Make `version` the champion; the one before becomes `previous`.

    `try_bundle` gets the version's bundle folder and raises when it does not verify, load and
    predict; then nothing moves. Raises TrackingError for an unknown version or the champion itself,
    BusyError while another process moves.
    """
    with _moving(store) as healed:
        if healed and (healed.kind, healed.version) == ("promoted", version):
            return healed  # the same move, cut off after it had happened
        before = mlflow.aliases(store).get(CHAMPION)
        if before == version:
            raise TrackingError(f"Version {version} of '{store.model}' is the champion already; nothing moved.")
        proof = Verdict("promotion by hand") if verdict is None else verdict
        decision = Decision("promoted", store.model, reason, proof, version, before, by, run=run)
        return _move(store, decision, try_bundle)


def rollback(
    store: Store,
    try_bundle: Try,
    to: str | None = None,
    reason: str = "",
    by: str = "",
    verdict: Verdict | None = None,
) -> Decision:
    """Back to version `to`, or to the champion before this one; `verdict` is the evidence, where there is any.

    A second rollback undoes the first: the version that was left is `previous` now.
    """
    with _moving(store) as healed:
        if healed and healed.kind == "rolled_back" and to in (None, healed.version):
            return healed
        named = mlflow.aliases(store)
        target = to or named.get(PREVIOUS)
        if target is None or target == named.get(CHAMPION):
            raise TrackingError(_nowhere(store, named, to))
        proof = Verdict("rollback") if verdict is None else verdict
        decision = Decision("rolled_back", store.model, reason, proof, target, named.get(CHAMPION), by)
        return _move(store, decision, try_bundle)


def refuse(store: Store, version: str, reason: str, verdict: Verdict, by: str = "", run: str | None = None) -> Decision:
    """Record that `version` did not become champion. It stays registered, as challenger."""
    return stay("refused", store, version, reason, verdict, by, run)


def stay(
    kind: str, store: Store, version: str, reason: str, verdict: Verdict, by: str = "", run: str | None = None
) -> Decision:
    """Record a Decision (refused, on_trial, …) about a version that is challenger, and leave the champion."""
    with _moving(store):
        mlflow.known(store, version)
        before = mlflow.aliases(store).get(CHAMPION)
        decision = Decision(kind, store.model, reason, verdict, version, before, by, run=run)
        decision = decisions.signed(store.work, decision)
        if version != before:
            mlflow.move(store, CHALLENGER, version)
        _mirror(store, decision)
        return decisions.record(store.work, decision)


def history(store: Store) -> list[Decision]:
    """All decisions about this model, oldest first: those made here, and those the registry tells of.

    Those made on other machines come from the tags of the versions; their evidence may be shortened.
    """
    found = {_id(d): d for d in _shared(store)}
    found.update({_id(d): d for d in decisions.history(store.work)})
    return sorted(found.values(), key=lambda d: d.when)


def _id(decision: Decision) -> tuple[str, str, str | None]:
    return decision.when, decision.kind, decision.version


def _shared(store: Store) -> Iterator[Decision]:
    for version in mlflow.versions(store):
        for name, text in version["tags"].items():
            if name.startswith(TAG):
                yield read(Decision, json.loads(text))


def _nowhere(store: Store, named: dict[str, str], to: str | None) -> str:
    listed = ", ".join(v["version"] for v in mlflow.versions(store)) or "none"
    champion = named.get(CHAMPION)
    if to:
        return f"Version {to} of '{store.model}' is the champion already; nothing moved. Versions: {listed}."
    return (
        f"'{store.model}' has no previous champion to go back to (champion: {champion or 'none'}, versions: {listed}). "
        "Name a version: keepfit rollback --to VERSION --reason …"
    )


def _move(store: Store, decision: Decision, try_bundle: Try) -> Decision:
    """Try the version, then move the aliases: first `previous`, last what is seen by everybody.

    That it was tried is one more Check of the decision's Verdict.
    """
    version = str(decision.version)
    try_bundle(mlflow.download(store, version, store.work / "models"))
    named = mlflow.aliases(store)
    if named.get(CHAMPION) != decision.previous:
        raise BusyError(
            f"Somebody else moved the champion of '{store.model}' meanwhile, to version {named.get(CHAMPION)}. "
            "Nothing moved here; look at keepfit models, then try again."
        )
    proof = dataclasses.replace(decision.verdict, checks=(*decision.verdict.checks, TRIED))
    decision = decisions.signed(store.work, dataclasses.replace(decision, verdict=proof))
    _note(store.work, {"decision": plain(decision), "before": named})
    if decision.previous:
        mlflow.move(store, PREVIOUS, decision.previous)
    mlflow.move(store, CHAMPION, version)
    return _finish(store, decision)


def _finish(store: Store, decision: Decision) -> Decision:
    """What follows once the champion has changed; doing it twice does no harm."""
    if mlflow.alias(store, CHALLENGER) == decision.version:
        mlflow.move(store, CHALLENGER, None)
    _mirror(store, decision)
    if _id(decision) not in map(_id, decisions.history(store.work)):
        decisions.record(store.work, decision)
    (store.work / JOURNAL).unlink()
    return decision


@contextmanager
def _moving(store: Store) -> Iterator[Decision | None]:
    """Alone at moving aliases from this folder. Gives the decision of a cut-off move that was finished."""
    with lock.held(store.work / "registry.lock", f"Moving aliases of '{store.model}'"):
        yield _heal(store)


def _heal(store: Store) -> Decision | None:
    path = store.work / JOURNAL
    if not path.exists():
        return None
    noted = json.loads(path.read_text(encoding="utf-8"))
    decision: Decision = read(Decision, noted["decision"])
    named = mlflow.aliases(store)
    if named.get(CHAMPION) == decision.version:
        return _finish(store, decision)
    if decision.previous and named.get(PREVIOUS) == decision.previous:
        mlflow.move(store, PREVIOUS, noted["before"].get(PREVIOUS))
    path.unlink()
    return None


def _note(work: Path, move: dict[str, object]) -> None:
    try:
        durable.write_text(work / JOURNAL, json.dumps(move))
    except OSError as error:
        raise TrackingError(f"{work / JOURNAL} cannot be written: {error.strerror}. Nothing moved.") from error


def _mirror(store: Store, decision: Decision) -> None:
    """The decision as a tag of its version, so that whoever shares the registry can read it."""
    stamp = "".join(c for c in decision.when[:26] if c.isdigit())
    mlflow.tag(store, str(decision.version), {f"{TAG}{stamp}": _compact(decision)})


def _compact(decision: Decision) -> str:
    """As JSON, with as much of the evidence as a tag can hold."""
    checks = decision.verdict.checks
    brief = tuple(Check(c.name, c.outcome, severity=c.severity) for c in checks)
    failed = tuple(c for c in brief if c.outcome == "failed")
    for kept in (checks, brief, failed[:20], ()):
        verdict = Verdict(decision.verdict.subject, kept)
        short = {**plain(decision), "verdict": plain(verdict), "reason": decision.reason[:1000]}
        text = json.dumps(short, ensure_ascii=False, default=str)
        if len(text) <= LONGEST:
            return text
    raise AssertionError("a decision without checks is short")
