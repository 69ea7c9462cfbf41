"""`Project`: the Python face of the commands.

project = keepfit.Project("churn")
project.run()                 # the whole pipeline; shows itself as a table in a notebook
project.predict(frame)        # pandas, polars or Arrow in, the same kind out
project.rollback(reason="complaints from the call centre")
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepfit import config as settings
from keepfit.config import Config
from keepfit.errors import ConfigError
from keepfit.extras import load
from keepfit.progress import Progress, Tell, silent
from keepfit.show import Record
from keepfit.types import Decision, Schema, Verdict, plain

if TYPE_CHECKING:
    from keepfit.data.labels import Report
    from keepfit.pipeline.telling import Event


class Project:
    """A folder with a keepfit.yaml. `sets` are `key=value` strings as for `--set`.

    Each method reads the config before it imports what does the work: a mistake there is told at once.
    """

    def __init__(self, folder: Path | str = ".", sets: Sequence[str] = ()) -> None:
        self.folder, self.sets = Path(folder), tuple(sets)

    def __repr__(self) -> str:
        return f"Project({str(self.folder)!r})"

    @cached_property
    def config(self) -> Config:
        """keepfit.yaml as frozen values. Raises ConfigError with every mistake at once."""
        return settings.load(self.folder, self.sets)

    @property
    def work(self) -> Path:
        """The folder of everything that keepfit makes."""
        return self.folder / settings.WORK

    def check(self) -> tuple[Schema, Verdict]:
        """What the columns are taken for, and every problem of machine and data at once. Trains nothing."""
        config = self.config
        from keepfit.pipeline import environment, ready

        here = environment.examine(config, self.folder)
        with environment.told_too(here):
            parts, verdict = ready.examine(config, self.folder)
        return parts.train.schema, Verdict("environment and data", here.checks + verdict.checks)

    def profile(self) -> Path:
        """Write the EDA report, and say where it is."""
        config = self.config
        from keepfit.pipeline import ready

        return ready.look(config, self.folder, self.work / "reports" / "profile.html")

    def run(self, stage: str | None = None, resume: bool = False, progress: Progress | None = None) -> Record:
        """The whole pipeline, one stage of the last run, or on from where the last run was stopped.

        Returns the record of the run: outcome (promoted, refused, …), version, metrics, decision, report.
        """
        config = self.config
        from keepfit.pipeline import inline

        return inline.run(config, self.folder, stage, resume, progress)

    def predict(
        self,
        data: Any = None,
        output: Path | str | None = None,
        version: str | None = None,
        progress: Tell = silent,
        horizon: int | None = None,
    ) -> Any:
        """Predictions of the champion (or of `version`).

        Without `data`: the forecasts of all known series, `horizon` periods ahead (default: as configured), as a
        polars frame, or in `output` with a report; ConfigError where the model is no forecast. A frame gives a
        frame of the same kind with the prediction columns; a path with `output` is scored as a stream, and gives a
        report. Raises TrackingError when there is no champion.
        """
        config = self.config
        from keepfit.pipeline import champion

        if data is None:
            return champion.score_ahead(
                config, self.folder, Path(output) if output else None, horizon, version, progress
            )
        if horizon is not None:
            raise ConfigError(
                "`horizon` is for a forecast without data: the rows of data say themselves what is asked."
            )
        if isinstance(data, (str, Path)):
            if output is None:
                raise ConfigError("predict of a file needs `output`: the file to write.")
            return champion.score_file(config, self.folder, Path(data), Path(output), version, progress)
        if output is not None:
            raise ConfigError("predict of a frame gives a frame and writes no `output`: write what it gives.")
        return champion.score_frame(config, self.folder, data, version)

    def serve(
        self,
        host: str | None = None,
        port: int | None = None,
        bundle: Path | str | None = None,
        insecure: bool = False,
        started: Callable[[str], None] = lambda url: None,
    ) -> None:
        """Serve the champion, or a bundle's folder, until SIGTERM or Ctrl-C. `started` is told the address."""
        asked = {"serving.host": host, "serving.port": port}
        sets = [f"{key}={value}" for key, value in asked.items() if value is not None]
        from keepfit.pipeline import serving

        folder = Path(bundle) if bundle else None
        config = serving.config_of(self.folder, folder, [*self.sets, *sets])
        serving.serve(config, self.folder, folder, insecure, started)

    def ui(
        self,
        host: str = "127.0.0.1",
        port: int = 8081,
        bundle: Path | str | None = None,
        insecure: bool = False,
        started: Callable[[str], None] = lambda url: None,
    ) -> None:
        """The web app of the champion, or of a bundle's folder, until SIGTERM or Ctrl-C. `started` is told the address.

        Raises MissingExtraError where the extra `ui` is not installed.
        """
        from keepfit.pipeline import serving

        folder = Path(bundle) if bundle else None
        config = serving.config_of(self.folder, folder, self.sets)
        run = load("keepfit.ui.app:run", "keepfit ui")
        run(config, self.folder, host, port, folder, insecure, started)

    def watch(
        self,
        folder: Path | str,
        output: Path | str,
        version: str | None = None,
        every: float = 2.0,
        pattern: str | None = None,
        say: Callable[[str], None] = print,
    ) -> dict[str, Any]:
        """Score each file of a folder that keeps receiving files, once, into `output`; until Ctrl-C or SIGTERM.

        `say` gets a line a file. Returns how many were `scored` and `failed`, and the `journal`.
        """
        config = self.config
        from keepfit.pipeline import watching

        return watching.watch(config, self.folder, Path(folder), Path(output), version, every, pattern, say)

    def feedback(self, source: Any, id: str = "id", label: str = "label") -> Report:
        """Add labels that came later: of a file or a frame with the columns `id` and `label`.

        Of several labels for one prediction the last wins. What could not be accepted is in the report.
        """
        config = self.config
        from keepfit.pipeline import feedback

        return feedback.take(config, self.folder, source, id, label)

    def up(
        self,
        host: str | None = None,
        port: int | None = None,
        ui_port: int = 8081,
        with_ui: bool = True,
        insecure: bool = False,
        say: Callable[[Event], None] = print,
    ) -> None:
        """The whole loop until SIGTERM or Ctrl-C: server, web app, monitoring and retraining.

        `say` gets an Event for whatever happens, a line as text. Without a champion one is trained first;
        raises RefusedError where the gate refuses it.
        """
        config = self.config
        from keepfit.pipeline import up

        common = ["-C", str(self.folder), *(word for text in self.sets for word in ("--set", text))]
        listen = {"--host": host, "--port": port}
        options = [word for name, value in listen.items() if value is not None for word in (name, str(value))]
        wish = up.Wish([*options, *(["--insecure"] if insecure else [])], ui_port, with_ui)
        up.up(config, self.folder, common, wish, say)

    def monitor(self, now: datetime | None = None, data: Path | str | None = None) -> Record:
        """One monitoring pass over the window that ends `now` (default: this moment); what it found.

        Data quality, drift, performance and its estimate as Verdicts; alarms; the report. Its `outcome` is
        healthy, unhealthy or "not checked". With `data`, a file of rows stands for the window, and nothing
        but the report is kept. Raises TrackingError where there is no champion.
        """
        config = self.config
        if data is not None:
            from keepfit.pipeline import monitoring_file

            return monitoring_file.monitor(config, self.folder, Path(data))
        from keepfit.pipeline import monitoring

        return monitoring.monitor(config, self.folder, now)

    def retrain(
        self,
        if_needed: bool = False,
        reason: str = "",
        trust: bool = False,
        now: datetime | None = None,
        apart: bool = False,
        progress: Progress | None = None,
    ) -> Record:
        """Train a challenger on the data known by `now` (default: this moment) and judge it.

        With `if_needed` the trigger is asked first. `trust` takes in new rows that look broken. `apart` trains
        in a child process, which is stopped after `retraining.timeout`. Returns a record with the outcome:
        promoted, refused, on_trial, rolled_back, or "not needed".
        """
        config = self.config
        from keepfit.pipeline import retraining

        if apart:
            given = {"--if-needed": if_needed, "--trust": trust}
            words = [name for name, wanted in given.items() if wanted] + (["--reason", reason] if reason else [])
            sets = [word for text in self.sets for word in ("--set", text)]
            return retraining.apart(config, self.folder, [*words, "-C", str(self.folder), *sets], if_needed)
        return retraining.retrain(config, self.folder, if_needed, reason, trust, now, progress)

    def promote(self, version: str, reason: str) -> Decision:
        """Make a registered version the champion, after it was loaded and tried."""
        config = self.config
        from keepfit.pipeline import champion

        return champion.promote(config, self.folder, str(version), reason)

    def rollback(self, to: str | None = None, reason: str = "") -> Decision:
        """Back to the previous champion, or to version `to`."""
        config = self.config
        from keepfit.pipeline import champion

        return champion.rollback(config, self.folder, to, reason)

    def models(self) -> list[Record]:
        """The registered versions with aliases and metrics, newest first."""
        config = self.config
        from keepfit.pipeline import champion

        return [Record(v) for v in champion.versions(config, self.folder)]

    def runs(self) -> list[Record]:
        """Past runs, newest first. One that says "running" while nothing works here was killed."""
        from keepfit.pipeline import folders

        found = [folders.about(run) for run in folders.runs(self.work)]
        gone = {} if folders.busy(self.work) else {"running": "killed"}
        return [Record(run, status=gone.get(run["status"], run["status"])) for run in found]

    def history(self) -> list[Decision]:
        """Every decision, oldest first."""
        config = self.config
        from keepfit.pipeline import champion

        return champion.history(config, self.folder)

    def status(self) -> Record:
        """Where the loop stands now: champion, last pass, alarms, training, decisions. Writes nothing."""
        config = self.config
        from keepfit.pipeline import state_of_loop

        return Record(plain(state_of_loop.loop(config, self.folder, datetime.now(UTC))))

    def reproduce(self, run: str) -> Verdict:
        """Train a past run again from its recorded data, config and seed, and compare the results."""
        from keepfit.pipeline import inline

        return inline.reproduce(self.folder, run)


def init(
    folder: Path | str, source: str | None = None, target: str | None = None, template: str | None = None,
    sets: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write a commented keepfit.yaml into `folder`: for `source` (default: sklearn:iris), or from a template.

    `sets` are assignments such as "task=forecast", which are set in the file.

    Never overwrites one. Raises ConfigError for an unknown template, naming the nearest.
    """
    from keepfit.pipeline import ready

    folder = Path(folder)
    if any((folder / name).exists() for name in settings.NAMES):
        raise ConfigError(f"{folder} has a keepfit.yaml already; nothing was written. Choose another folder.")
    if template is None:
        return ready.init(folder, source or "sklearn:iris", target, sets=sets)
    if source or target or sets:
        raise ConfigError("--template brings data and settings of its own: leave out --data, --target and --set.")
    return ready.begin(folder, template)


def doctor(folder: Path) -> dict[str, str]:
    """What is installed, and where things are."""
    from importlib import metadata  # no other command needs it

    packages = ("polars", "pandas", "scikit-learn", "lightgbm", "onnxruntime", "mlflow-skinny", "mlflow", "optuna")
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in ("keepfit", "numpy", *packages):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    try:
        found["config"] = str(settings.find(folder))
    except ConfigError as error:
        found["config"] = str(error)
    return found
