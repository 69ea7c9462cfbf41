"""The commands. Each imports what it needs inside itself, so that `--help` answers at once.

Exit codes: 0 done; 1 failed; 2 wrong usage or config; 3 the answer is "no". See `edge` for the errors.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keepfit import __version__
from keepfit.edge import Commands

if TYPE_CHECKING:
    from keepfit.pipeline.telling import Event
    from keepfit.project import Project

NO = 3


class Session:
    """What the options of every command say: the project's folder, --set, --json, --debug."""

    def __init__(self, folder: Path, sets: Sequence[str], as_json: bool) -> None:
        self.folder, self.sets, self.as_json = folder, sets, as_json

    @property
    def project(self) -> Project:
        from keepfit.project import Project

        return Project(self.folder, self.sets)

    def say(self, text: str) -> None:
        """Human text: on stdout, or on stderr where stdout is for the JSON document."""
        click.echo(text, err=self.as_json)

    def answer(self, document: Any, text: str) -> None:
        """The result of the command, as text and with --json as one document."""
        from keepfit.types import plain

        if text:
            self.say(text)
        if self.as_json:
            click.echo(json.dumps(plain(document), ensure_ascii=False, indent=2, default=str))


def command(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with the options that every command takes."""

    def make(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(directory: Path, sets: tuple[str, ...], as_json: bool, **rest: Any) -> None:
            code = function(Session(directory, sets, as_json), **rest)
            if code:
                raise SystemExit(code)

        for option in reversed((*options, *COMMON)):
            run = option(run)
        return main.command(function.__name__.rstrip("_"))(run)

    return make


COMMON = (
    click.option("-C", "directory", type=click.Path(path_type=Path), default=Path(), help="The project's folder."),
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key of keepfit.yaml."),
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; text on stderr."),
    click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
)
REASON = click.option("--reason", required=True, help="Why; it is written down with your name.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="keepfit")
def main() -> None:
    """Train a model, put it to work, keep it fit."""


@command(
    click.argument("directory_new", metavar="DIR", type=click.Path(path_type=Path)),
    click.option("--data", "source", default=None, help="Where the data is.  [default: sklearn:iris]"),
    click.option("--target", default=None, help="The column to predict."),
    click.option("--template", default=None, help="Begin with an example: classification, regression, text, …"),
)
def init(session: Session, directory_new: Path, source: str | None, target: str | None, template: str | None) -> None:
    """Write a commented keepfit.yaml from a look at the data."""
    from keepfit.project import init as write

    path = write(session.folder / directory_new, source, target, template, session.sets)
    session.answer({"config": path}, f"Wrote {path}\nNext: keepfit check -C {directory_new}")


@command()
def check(session: Session) -> int:
    """Check config, data and environment; all problems at once."""
    from keepfit import show

    schema, verdict = session.project.check()
    session.answer(
        {"schema": schema, "verdict": verdict, "outcome": verdict.outcome},
        f"{show.schema(schema)}\n\n{show.verdict(verdict, notes='data.')}",
    )
    return NO if verdict.failures else 0


@command()
def profile(session: Session) -> None:
    """Write the EDA report (HTML)."""
    path = session.project.profile()
    session.answer({"report": path}, f"Profile: {path}")


@command(
    click.option("--stage", type=click.Choice(["ingest", "train", "promote"]), help="Only this stage."),
    click.option("--resume", is_flag=True, help="Go on from the last finished stage of the last run."),
)
def run(session: Session, stage: str | None, resume: bool) -> int:
    """The whole pipeline: data, checks, training, registry, gate."""
    from keepfit import show
    from keepfit.progress import Progress

    with Progress() as progress:
        result = session.project.run(stage=stage, resume=resume, progress=progress)
    session.answer(result, show.run(result))
    return NO if result.get("outcome") == "refused" else 0


@command(
    click.option("--data", default=None, metavar="FILE", help="Look at the rows of a file instead; no alarms."),
)
def monitor(session: Session, data: str | None) -> int:
    """One monitoring pass: quality, drift, performance, alarms.

    Looks at what was answered in the last monitoring.window, writes a report, and sends what has to be
    told. Exit code 3 when something is wrong. Run it from cron as often as monitoring.every says, or let
    keepfit up do so.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # a fifth less memory than with Arrow's own
    from keepfit import show

    found = session.project.monitor(data=data)
    session.answer(found, show.monitored(found))
    return NO if found["outcome"] == "unhealthy" else 0


@command(
    click.option("--if-needed", is_flag=True, help="Only if the trigger of retraining.on says so."),
    click.option("--reason", default="", help="Why; it is written down."),
    click.option("--trust", is_flag=True, help="Take in new rows that look broken."),
    click.option("--here", is_flag=True, hidden=True, help="In this process, without a limit of time."),
)
def retrain(session: Session, if_needed: bool, reason: str, trust: bool, here: bool) -> int:
    """Train a challenger on what is known by now; promote or refuse it.

    The data are data.source and the labelled log. With --if-needed a trial and a probation are looked
    after first, and nothing is trained without a reason: run it from cron as often as you like.
    """
    from keepfit import show
    from keepfit.progress import Progress

    with Progress() as progress:
        result = session.project.retrain(if_needed, reason, trust, None, not here, progress)
    session.answer(result, "" if here else show.run(result))  # whoever asked for it here tells it himself
    return NO if result["outcome"] == "refused" else 0


@command()
def runs(session: Session) -> None:
    """Past runs, newest first."""
    from keepfit import show

    found = session.project.runs()
    session.answer(found, show.records(found, ("run", "started", "status", "version", "metrics")))


@command()
def models(session: Session) -> None:
    """Registered versions with their aliases and metrics."""
    from keepfit import show

    found = session.project.models()
    session.answer(found, show.records(found, ("version", "aliases", "created", "run", "metrics")))


@command()
def history(session: Session) -> None:
    """Every decision: who was champion when and why."""
    from keepfit import show

    found = session.project.history()
    session.answer(found, show.decisions(found))


@command(click.argument("version"), REASON)
def promote(session: Session, version: str, reason: str) -> None:
    """Make VERSION the champion; it is loaded and tried first."""
    from keepfit import show

    decision = session.project.promote(version, reason)
    session.answer(decision, show.decision(decision))


@command(click.option("--to", default=None, help="The version to go back to; default: the previous champion."), REASON)
def rollback(session: Session, to: str | None, reason: str) -> None:
    """Go back to the previous champion; it is loaded and tried first."""
    from keepfit import show

    decision = session.project.rollback(to, reason)
    session.answer(decision, show.decision(decision))


@command(click.argument("run_id", metavar="RUN"))
def reproduce(session: Session, run_id: str) -> int:
    """Run a past run again from what it recorded, and compare."""
    from keepfit import show

    verdict = session.project.reproduce(run_id)
    session.answer(verdict, show.verdict(verdict, everything=True, beside="before"))
    return 0 if verdict else NO


@command(
    click.argument("source", metavar="[INPUT]", required=False, type=click.Path(path_type=Path)),
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="CSV, Parquet or NDJSON."),
    click.option("--horizon", type=click.IntRange(1), help="Forecasts without INPUT: periods ahead, of all series."),
    click.option("--version", "version", default=None, help="A registered version; default: the champion."),
    click.option("--watch", is_flag=True, help="INPUT is a folder that keeps receiving files, the output another."),
    click.option("--every", type=click.FloatRange(0.05), help="With --watch: seconds between two looks.  [default: 2]"),
    click.option("--pattern", metavar="GLOB", help="With --watch: the names that are meant, as 'orders-*.csv'."),
)
def predict(
    session: Session,
    source: Path | None,
    output: Path,
    horizon: int | None,
    version: str | None,
    watch: bool,
    every: float | None,
    pattern: str | None,
) -> int:
    """Score a file; with --watch, each file that comes. A forecast needs no INPUT: what comes of all series."""
    from keepfit import show
    from keepfit.progress import Progress

    if horizon and source:
        raise click.UsageError("--horizon is for forecasts without INPUT: the rows of a file say what is asked.")
    if watch:
        if source is None:
            raise click.UsageError("--watch needs INPUT: the folder that receives files.")
        found = session.project.watch(source, output, version, every or 2.0, pattern, session.say)
        session.answer(found, f"{found['scored']} files scored, {found['failed']} failed: {found['journal']}")
        return 0
    if every or pattern:
        raise click.UsageError("--every and --pattern belong to --watch.")
    with Progress() as progress:
        report = session.project.predict(source, output=output, version=version, progress=progress, horizon=horizon)
    session.answer(report, show.prediction(report))
    return 1 if report["rejected"] and not report["rows"] else 0


@command(
    click.option("--host", default=None, help="Where to listen; default: serving.host."),
    click.option("--port", type=click.IntRange(0, 65535), default=None, help="Default: serving.port; 0: any free one."),
    click.option("--bundle", type=click.Path(path_type=Path), help="Serve this bundle's folder, not the champion."),
    click.option("--insecure", is_flag=True, help="Listen for others although no API key is set."),
)
def serve(session: Session, host: str | None, port: int | None, bundle: Path | None, insecure: bool) -> None:
    """Serve the champion over HTTP.

    The champion is followed: promote and rollback reach the server within 2 s. GET /docs shows how to
    ask it. Keys come from KEEPFIT_API_KEY and KEEPFIT_ADMIN_KEY, the rest from the section serving of
    keepfit.yaml. Ctrl-C or SIGTERM stops it; what was accepted is answered first.
    """
    from keepfit.pipeline import serving

    serving.tell()
    project = session.project
    project.serve(host, port, bundle, insecure, lambda url: session.answer({"url": url}, f"Serving at {url}"))


@command(
    click.argument("source", metavar="FILE", type=click.Path(path_type=Path)),
    click.option("--id", "id_", default="id", show_default=True, help="The column of the predictions' ids."),
    click.option("--label", default="label", show_default=True, help="The column of what was true."),
)
def feedback(session: Session, source: Path, id_: str, label: str) -> int:
    """Add labels that came later, from a file, by prediction id."""
    from keepfit import show

    report = session.project.feedback(source, id_, label)
    session.answer(report, show.feedback(report))
    return 0 if report.accepted else 1


@command(
    click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen."),
    click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0: any free one."),
    click.option("--bundle", type=click.Path(path_type=Path), help="Show this bundle's folder, not the champion."),
    click.option("--insecure", is_flag=True, help="Listen for others although no API key is set."),
)
def ui(session: Session, host: str, port: int, bundle: Path | None, insecure: bool) -> None:
    """The web app where people use the champion."""
    project = session.project
    project.ui(host, port, bundle, insecure, lambda url: session.answer({"url": url}, f"Serving at {url}"))


@command(
    click.option("--host", default=None, help="Where the server listens; default: serving.host."),
    click.option("--port", type=click.IntRange(0, 65535), default=None, help="Default: serving.port; 0: any free one."),
    click.option("--ui-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="Of the web app."),
    click.option("--no-ui", is_flag=True, help="Without the web app."),
    click.option("--insecure", is_flag=True, help="Listen for others although no API key is set."),
)
def up(session: Session, host: str | None, port: int | None, ui_port: int, no_ui: bool, insecure: bool) -> None:
    """The loop: server, web app, monitoring, retraining.

    Every monitoring.every a pass looks at what was answered; what it finds may start a retraining, and
    a better model is promoted, a worse one rolled back. Without a champion one is trained first. What
    happens is told in a line each, what happens again only when it changes; --json gives each event as a
    JSON document on a line of stdout. Ctrl-C or SIGTERM ends all, what was accepted is answered first; a
    second one does not wait. How it stands is in .keepfit/monitoring/up.json, what was decided in keepfit
    history. The same passes can be run by cron: keepfit monitor, keepfit retrain --if-needed.
    """

    def say(event: Event) -> None:
        line = click.style(str(event), fg="red") if event.bad and "NO_COLOR" not in os.environ else str(event)
        session.say(line)
        if session.as_json:
            click.echo(json.dumps(plain(event), ensure_ascii=False))

    from keepfit.types import plain

    session.project.up(host, port, ui_port, not no_ui, insecure, say)


@command()
def doctor(session: Session) -> None:
    """What is installed, and where things are."""
    from keepfit import show
    from keepfit.project import doctor as look

    found = look(session.folder)
    session.answer(found, show.table(["what", "is"], found.items(), widest=100))


@command()
def schema(session: Session) -> None:
    """The JSON Schema of keepfit.yaml, for editors."""
    from keepfit import config

    click.echo(json.dumps(config.schema(), indent=2))


@command()
def version(session: Session) -> None:
    """The version of keepfit."""
    session.answer({"version": __version__}, __version__)


if __name__ == "__main__":
    main()
