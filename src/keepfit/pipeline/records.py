"""What a run has to tell: from the files of its stages to one record, a report and a line a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keepfit import show
from keepfit.config import Config, masked
from keepfit.models import conformal
from keepfit.models.metrics import METRICS, ranked
from keepfit.pipeline import folders, report
from keepfit.types import Check, Decision, Schema, Verdict, plain, read

SAME = 1e-9  # relative difference of a metric that rounding may make
SCORE, AHEAD = "keepfit predict INPUT.csv -o predictions.csv", "keepfit predict -o forecasts.csv"
FORECAST = ("by_step", "series")  # what the evaluation of a forecast tells beside its metrics
BOARD = ("name", "score", "sd", "folds", "weight", "seconds", "parameters")


def record(config: Config, folder: Path, last: str) -> dict[str, Any]:
    """The record of a run whose stage `last` is finished; writes its report."""
    known: dict[str, Any] = {
        "run": folder.name,
        "name": config.project.name,
        "description": masked(config, config.project.description),
        "profile": _there(folder / "ingest" / "profile.html"),
        "data": folders.read_json(folder / "ingest" / "dataset.json")["version"],
        "goals": dict(config.goals),
        "checks": plain(folders.read_verdict(folder / "ingest" / "verdict.json")),
    }
    found = TOLD[last](config, folder, known)
    if last != "ingest":
        found["report"] = str(folder / "report.html")
        verdicts = [
            folders.read_verdict(folder / "ingest" / "verdict.json"),
            folders.read_verdict(_bundle(folder) / "parity.json"),
        ]
        report.write(folder / "report.html", found, sorted((_bundle(folder) / "plots").glob("*")), verdicts)
    return found


def _there(path: Path) -> str | None:
    return str(path) if path.is_file() else None


def _bundle(folder: Path) -> Path:
    return folder / "train" / "bundle"


def _ingested(config: Config, folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    headline = f"{config.project.name}: the data are read, checked and split."
    return {**known, "outcome": "ingested", "headline": headline, "next": ["keepfit run --stage train"]}


def _trained(config: Config, folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    judged, manifest = (folders.read_json(_bundle(folder) / name) for name in ("metrics.json", "bundle.json"))
    trained = manifest["report"]
    return {
        **known,
        "outcome": "trained",
        "headline": f"{config.project.name}: {describe(manifest)}{_interrupted(trained)}.",
        "notes": [*notes(trained.get("budget", {})), *_intervals(manifest["interval"])],
        "metrics": ranked(judged["metrics"], (config.gate.metric, *config.goals)),
        "confidence": judged["confidence"],
        "slices": judged.get("slices", []),
        "without_repeats": judged.get("without_repeats"),
        **{name: judged[name] for name in FORECAST if name in judged},
        "measured": folders.read_json(folder / "train" / "measured.json"),
        "judged_by": f"{trained['metric']}, {'higher' if METRICS[trained['metric']].sign > 0 else 'lower'} is better",
        "leaderboard": [{key: line.get(key) for key in BOARD} for line in trained["leaderboard"]],
        "bundle": str(_bundle(folder)),
        "next": ["keepfit run --stage promote"],
    }


def _interrupted(trained: Mapping[str, Any]) -> str:
    return "; interrupted: the best so far was kept" if trained.get("interrupted") else ""


def _intervals(found: Any) -> list[str]:
    """Whether a forecast's intervals rest on little."""
    little = conformal.few(found) if isinstance(found, Mapping) else ""
    return [f"Intervals were {little}"] if little else []


def notes(budget: Mapping[str, Any]) -> list[str]:
    """What time or a missing package kept from the model, in sentences.

    >>> notes({"seconds": 60, "cut": ["mlp after 2 of 30 epochs"], "left_out": {"ridge": "time budget"}})[0][:77]
    'Stopped by tuning.time_budget (60 s): mlp after 2 of 30 epochs. Not tried for'
    """
    left = {name: why for name, why in budget.get("left_out", {}).items() if name not in ("trials", "other folds")}
    late = [name for name, why in left.items() if why == "time budget"]
    told = f"Stopped by tuning.time_budget ({budget.get('seconds', 0):g} s): {', '.join(budget.get('cut', []))}. "
    told = told if budget.get("cut") else ""
    told += f"Not tried for want of time: {', '.join(late)}. " if late else ""
    more = f"With more it may be better: --set tuning.time_budget={10 * budget.get('seconds', 0):g}"
    needed = [f"{name} {why}" for name, why in left.items() if "pip install" in why]
    return [*([told + more] if told else []), *([f"Left out: {'; '.join(needed)}"] if needed else [])]


def describe(manifest: Mapping[str, Any]) -> str:
    """The model in a few words: its members by weight.

    >>> describe({"members": [{"name": "lightgbm", "weight": 0.6}, {"name": "mlp", "weight": 0.4}]})
    'lightgbm 60 %, mlp 40 %'
    """
    weights: dict[str, float] = {}
    for member in manifest["members"]:
        weights[member["name"]] = weights.get(member["name"], 0.0) + member["weight"]
    total = sum(weights.values())
    if len(weights) == 1:
        return next(iter(weights))
    ordered = sorted(weights.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {weight / total:.0%}".replace("%", " %") for name, weight in ordered)


def _judged(config: Config, folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    trained = _trained(config, folder, known)
    decision: Decision = read(Decision, folders.read_json(folder / "promote" / "decision.json"))
    manifest = folders.read_json(_bundle(folder) / "bundle.json")
    model = describe(manifest) + _interrupted(manifest["report"])
    promoted = decision.kind == "promoted"
    is_now = "is the champion" if promoted else f"is {decision.kind.replace('_', ' ')}; " + _still(decision)
    headline = f"{config.project.name}: version {decision.version} ({model}) {is_now}."
    return {
        **trained,
        "outcome": decision.kind,
        "headline": headline,
        "version": decision.version,
        "previous": decision.previous,
        "decision": plain(decision),
        "next": ["keepfit serve", _scoring(read(Schema, manifest["schema"]))] if promoted else ["keepfit history"],
    }


def _scoring(schema: Schema) -> str:
    """The command that scores. What comes of known series needs no input, unless columns have to be known ahead."""
    needed = [column for column in schema.required if column.role not in ("series", "moment")]
    return SCORE if schema.rhythm is None or needed else AHEAD


def _still(decision: Decision) -> str:
    return f"version {decision.previous} stays the champion" if decision.previous else "there is no champion"


TOLD: Mapping[str, Callable[[Config, Path, dict[str, Any]], dict[str, Any]]] = {
    "ingest": _ingested,
    "train": _trained,
    "promote": _judged,
}


def summary(config: Config, folder: Path, stage: str) -> str:
    """What a finished stage came to, in one line."""
    if stage == "ingest":
        about = folders.read_json(folder / "ingest" / "dataset.json")
        verdict = folders.read_verdict(folder / "ingest" / "verdict.json")
        counts = f"{show.text(about['rows'])} + {show.text(about['test']['rows'])} rows"
        return f"{counts}, {about['how']}; {show.counted(len(verdict.warnings), 'warning')}"
    if stage == "train":
        trained = _trained(config, folder, {})
        return f"{trained['headline'].partition(': ')[2]} {_best(trained['metrics'])}"
    return f"{_judged(config, folder, {})['outcome']}"


def _best(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {show.text(metrics[name]['value'])}" for name in list(metrics)[:2])


def compare(first: Path, again: Path, seconds: float) -> Verdict:
    """Whether two trainings of one run came to the same: every model file, and every metric."""
    sums = [_sums(folder / "bundle") for folder in (first, again)]
    names = sorted(name for name in sums[0] if name.startswith(("models/", "features/")))
    differ = [name for name in names if sums[0][name] != sums[1].get(name)]
    files = Check("model files that differ", "failed" if differ else "passed", len(differ), None, ", ".join(differ[:5]))
    metrics = [folders.read_json(folder / "bundle" / "metrics.json")["metrics"] for folder in (first, again)]
    checks = [_same(name, metrics[0][name]["value"], metrics[1].get(name, {}).get("value")) for name in metrics[0]]
    return Verdict(f"reproduction in {seconds:.0f} s", (files, *checks))


def _sums(folder: Path) -> dict[str, str]:
    lines = (folder / "checksums.sha256").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _same(name: str, before: float | None, now: float | None) -> Check:
    if before is None or now is None:
        return Check(name, "passed" if before == now else "failed", now, before)
    close = abs(before - now) <= SAME * max(abs(before), abs(now), 1e-300)
    return Check(name, "passed" if close else "failed", now, before)
