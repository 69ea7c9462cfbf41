"""The stages of the loop. Read this first: everything else is called from here.

    ingest   data → schema → hooks → checks → split → leakage guard → profile      Split
    train    features, tuning, ensemble → evaluation → bundle, proved              Bundle
    promote  tracking → registry → gate → the alias moves, or does not             Decision

A stage takes the config and what came before and gives what comes next. What it makes lies whole
in its folder (folders.py), so it can run inline, in a process of its own, or again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import leakage, profile, split, trace
from keepfit.data.conform import asking
from keepfit.deployment.runtime import Runtime
from keepfit.errors import RefusedError
from keepfit.extras import importable
from keepfit.features.ahead import enough
from keepfit.features.frame import watched
from keepfit.features.values import Columns
from keepfit.models import bundle as bundles
from keepfit.models import evaluate, export, metrics, plots, tasks
from keepfit.models import train as training
from keepfit.models.fitted import Fitted, Output
from keepfit.monitoring import reference
from keepfit.pipeline import answers, champion, folders, given, loading, measure, ready
from keepfit.progress import Tell
from keepfit.tracking import gate, git, mlflow, registry
from keepfit.types import Bundle, Decision, Schema, Split, Verdict


def ingest(config: Config, project: Path, folder: Path) -> Split:
    """Read, understand, check and split the data.

    Writes both frames as they were read, the Verdict (see `permit`), and the profile.
    """
    parts, verdict = ready.examine(config, project)
    folders.save_split(parts, folder)
    folders.write_json(folder / "verdict.json", verdict)
    profile.profile(ready.typed(config, project, parts.train), folder / "profile.html", (verdict,))
    return parts


def permit(folder: Path) -> None:
    """Raises RefusedError when the checks of an ingested folder stop: nothing is trained on such data."""
    verdict = folders.read_verdict(folder / "verdict.json")
    if verdict.failures:
        found = "\n".join(f"  {check.name}: {check.detail or check.value}" for check in verdict.failures)
        profile = folder / "profile.html"
        seen = f"\nThe data as they are: {profile}" if profile.is_file() else ""
        raise RefusedError(f"The checks of the data say no, so nothing was trained:\n{found}{seen}", verdict)


def train(config: Config, project: Path, data: Split, folder: Path, tell: Tell) -> Bundle:
    """Train, evaluate on the test rows, package, and prove that the package answers like the model."""
    schema, seed = data.train.schema, config.data.random_state
    known, asked = ready.rows(config, project, data.train), ready.rows(config, project, data.test)
    cuts = split.folds(known.frame, schema, config.tuning.cv, seed, config.data)
    with importable(project):  # an estimator of the user's own stands beside keepfit.yaml
        options = given.options(config, project, schema, known.columns)
        learned = given.seen(known.columns, schema, options, project, tell)
        fitted = training.train(learned, known.y, schema, config, cuts, seed, tell, options=options)
    tell(0, 0, "evaluating on the test rows")
    proof = ready.proof(known, asked, schema, enough(schema, ready.PROOF_ROWS))
    # begins with the test rows: they are asked once, for both uses
    expected = training.predict(fitted, given.seen(proof, schema, options, project, tell))
    output = expected[slice(len(asked.y))]
    trivial = tasks.baseline(known.columns, known.y, asked.columns, schema)
    judged = evaluate.evaluate(asked.y, output, schema, trivial, asked.frame, config.evaluation, seed)
    judged |= _unseen(known, asked, schema, output)
    code = loading.keep(project, ready.hooks_file(config, project))
    drawn = plots.draw(asked.y, output, schema, folder / "plots", known.frame, asked.frame)
    files = {f"plots/{file.name}": file for file in drawn} | {trace.FILE: _trace(known.frame, schema, folder)}
    tell(0, 0, "packaging and proving")
    stored: list[tuple[Runtime, Output]] = []
    made = bundles.write(
        folder / "bundle",
        fitted,
        schema,
        {"name": config.project.name, "data": _data(data), "code": git.state(project), "seed": seed},
        metrics=judged,
        reference=_reference(known, asked, schema, output),
        config=settings.recorded(config),
        hooks=code,
        files=files | _later(fitted, asked, schema, folder) | given.fused(fitted, proof, expected, schema, folder),
        prove=lambda path: _prove(config, project, path, fitted, proof, expected, stored),
    )
    runtime, said = stored[-1]  # of the bundle as it was proved last
    if len(said) == len(asked.y):  # asked with other rows beside them, rows may differ in their last digit
        answers.save(folder / answers.NAME, said, schema.classes)
    folders.write_json(folder / "measured.json", measure.measure(runtime, asking(asked.frame, schema), made.path))
    return made


def _reference(known: ready.Rows, asked: ready.Rows, schema: Schema, output: Output) -> dict[str, Any]:
    """What monitoring compares with, see `keepfit.monitoring.reference`."""
    learned, judged = (watched(rows.frame, rows.columns) for rows in (known, asked))
    return reference.plain(reference.make(learned, judged, schema, output, asked.y))


def _trace(typed: pl.DataFrame, schema: Schema, folder: Path) -> Path:
    """The hashes of the training rows, by which a later gate can tell whether it compares on them."""
    np.save(folder / trace.FILE, trace.trace(typed, schema))
    return folder / trace.FILE


def _later(fitted: Fitted, asked: ready.Rows, schema: Schema, folder: Path) -> dict[str, Path]:
    """Where observations are an input, those of the test rows: the model is to go on from there once it is judged."""
    if not schema.observes:
        return {}
    np.savez(folder / bundles.LATER, **export.later(fitted, ready.observed(asked, schema)))
    return {bundles.LATER: folder / bundles.LATER}


def _prove(
    config: Config,
    project: Path,
    path: Path,
    fitted: Fitted,
    proof: Columns,
    expected: Output,
    stored: list[tuple[Runtime, Output]],
) -> Verdict:
    """Whether the bundle in `path` answers as the trained model did. Its runtime and answers go to `stored`."""
    runtime = loading.load(config, project, path, later=False)
    said = runtime.predict(proof)
    stored.append((runtime, said))
    return export.parity(fitted, runtime.predict, proof, expected=expected, got=said)


def _unseen(known: ready.Rows, asked: ready.Rows, schema: Schema, output: Output) -> dict[str, Any]:
    """The metrics once more without test rows that repeat a training row, where there are such rows."""
    new = ~leakage.seen(known.frame, asked.frame, schema)
    if new.all() or not new.any():
        return {}
    return {"without_repeats": {"rows": int(new.sum()), **metrics.point(asked.y[new], output[new], schema.classes)}}


def _data(data: Split) -> dict[str, Any]:
    return {
        "version": data.train.version,
        "test_version": data.test.version,
        "split": data.how,
        "origin": data.train.origin,
        "log_until": (data.train.origin.get("log") or {}).get("until"),  # how far the labelled log was trained on
    }


Settle = Callable[[Config, Path, str, Verdict, str], Decision]


def decide(config: Config, project: Path, version: str, verdict: Verdict, run: str, by: str = "") -> Decision:
    """Make a registered version the champion if its Verdict says so; record the Decision either way.

    `by` is who decides; without it whoever runs this.
    """
    store = champion.store(config, project)
    if verdict:
        attempt = lambda path: champion.attempt(config, project, path)
        return registry.promote(store, version, "passed the gate", attempt, verdict, by, run)
    return registry.refuse(store, version, f"refused by the gate: {gate.failed(verdict)}", verdict, by, run)


def promote(
    config: Config, project: Path, data: Split, made: Bundle, measured: Mapping[str, float], run: str,
    also: Verdict | None = None, settle: Settle = decide,
) -> Decision:  # fmt: skip
    """Log to the tracking run, register the version, judge it, and move the champion alias or leave it.

    The checks of `also` count like the gate's; `settle` does what its Verdict says. Doing it again for the
    same run (after a crash) registers no second version and moves nothing twice.
    """
    store = champion.store(config, project)
    found = folders.read_json(made.path / "metrics.json")["metrics"]
    try:
        mlflow.log_run(store, run, settings.recorded(config), {**found, **measured}, {}, [made.path / "plots"])
        version = mlflow.register(store, run, made.path, made.schema, ready.example(data.train))
        known = [decision for decision in champion.history(config, project) if decision.run == run]
        if known:  # decided before a crash
            decision = known[-1]
        else:
            verdict = judge(config, project, data, made, measured)
            decision = settle(config, project, version, verdict if also is None else verdict + also, run)
    except BaseException as error:
        why = settings.masked(config, str(error))
        mlflow.end(store, run, "FAILED" if isinstance(error, Exception) else "KILLED", why)
        raise
    mlflow.end(store, run)
    return decision


def judge(config: Config, project: Path, data: Split, made: Bundle, measured: Mapping[str, float]) -> Verdict:
    """The gate's Verdict: the new bundle, the trivial baseline and the champion on the same test rows."""
    schema = data.test.schema
    asked = ready.rows(config, project, data.test)
    said = answers.load(made.path.with_name(answers.NAME), schema.classes)
    against = champion.answers(config, project, data.test, data.train)
    trial = gate.Trial(
        y=asked.y,
        classes=schema.classes,
        challenger=_asked(config, project, made, asked) if said is None else said,
        baseline=ready.trivial(data.train, asked.columns),
        champion=against.output,
        without=against.why or gate.FIRST,
        seen=against.seen,
        intervals=folders.read_json(made.path / "metrics.json")["metrics"],
        measured=measured,
        slices={name: evaluate.groups(asked.frame, name, schema) for name in config.gate.slices},
        parity=folders.read_verdict(made.path / "parity.json"),
        together=evaluate.together(asked.frame, schema),
    )
    return gate.judge(trial, config.goals, config.gate, config.evaluation.bootstrap, config.data.random_state)


def _asked(config: Config, project: Path, made: Bundle, asked: ready.Rows) -> Output:
    """What a bundle answers for test rows, of which it knows nothing yet."""
    return loading.load(config, project, made.path, later=False).predict(asked.columns)
