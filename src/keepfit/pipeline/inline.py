"""The stages one after the other, in this process: what `keepfit run` does.

A run is a folder; a stage that is whole there is not made again by `--resume`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit.config import Config
from keepfit.errors import ConfigError, DataError, KeepfitError, RefusedError
from keepfit.models import bundle as bundles
from keepfit.pipeline import champion, folders, loading, ready, records, stages
from keepfit.progress import Progress
from keepfit.show import Record
from keepfit.tracking import git
from keepfit.types import Verdict

STAGES = ("ingest", "train", "promote")


Stage = Callable[[Config, Path, Path, Path, Progress], None]


def run(
    config: Config, project: Path, stage: str | None, resume: bool, progress: Progress | None,
    do: Mapping[str, Stage] | None = None, **about: Any,
) -> Record:  # fmt: skip
    """All stages, or `stage` alone on what the last run finished before it; the record of the run.

    `do` has other functions than RUN for the stages, and `about` is noted of such a run.

    Raises BusyError when another run works in the project, RefusedError when the data's checks
    stop, and whatever a stage raises; the run's folder then says "failed" and keeps what is whole.
    """
    work = project / settings.WORK
    tell = progress or Progress()
    with folders.alone(work):
        folder = (
            _last(work, config) if resume or stage not in (None, "ingest") else _new(work, config, project, **about)
        )
        last = stage or STAGES[-1]
        with _told(folder, config):
            record = _stages(config, project, folder, STAGES[: STAGES.index(last) + 1], tell, stage, do or RUN)
        there = "" if project == Path() else f" -C {project}"
        record["next"] = [command + there for command in record["next"]]
        folders.note(folder, **{**record, "status": record["outcome"]})
    return Record(record)


@contextmanager
def _told(folder: Path, config: Config) -> Iterator[None]:
    """However a run ends, its record says so."""
    status, why = "failed", ""
    try:
        yield
        status = "finished"
    except KeepfitError as error:
        status, why = "refused" if isinstance(error, RefusedError) else "failed", str(error)
        raise
    except KeyboardInterrupt:
        status = "stopped"
        raise
    finally:
        folders.note(folder, status=status, error=settings.masked(config, why))


def _stages(
    config: Config, project: Path, folder: Path, wanted: tuple[str, ...], tell: Progress, again: str | None,
    do: Mapping[str, Stage],
) -> dict[str, Any]:  # fmt: skip
    """Run the stages that are not whole yet, and `again` in any case."""
    for name in wanted:
        if (folder / name).is_dir() and name != again:
            stages.permit(folder / STAGES[0])
            continue
        if again and name != again:
            raise DataError(f"--stage {again} needs the stage '{name}' of the last run, which is not finished.")
        tell.begin(name)
        before = _cpu()
        if name != STAGES[-1] or (folder / name).is_dir():
            folders.note(folder, tracked=None)  # what was registered is another model, or is judged anew
        for later in STAGES[STAGES.index(name) :]:
            folders.drop(folder / later)
        with folders.whole(folder / name) as out:
            do[name](config, project, folder, out, tell)
        folders.note(folder, timings={name: round(_cpu() - before, 3)})
        stages.permit(folder / STAGES[0])
        tell.end(records.summary(config, folder, name))
    return records.record(config, folder, wanted[-1])


def _ingest(config: Config, project: Path, folder: Path, out: Path, tell: Progress) -> None:
    stages.ingest(config, project, out)


def _train(config: Config, project: Path, folder: Path, out: Path, tell: Progress) -> None:
    stages.train(config, project, folders.load_split(folder / "ingest"), out, tell)


def promote(
    config: Config, project: Path, folder: Path, out: Path, tell: Progress, also: Verdict | None = None,
    settle: stages.Settle = stages.decide,
) -> None:  # fmt: skip
    """Track, register and judge what the folder's earlier stages made; see `stages.promote`."""
    made, measured = bundles.read(folder / "train" / "bundle"), folders.read_json(folder / "train" / "measured.json")
    data = folders.load_split(folder / "ingest")
    known = folders.about(folder).get("tracked")  # by an attempt that was cut off
    tracked = known or champion.track(config, project, folder.name, data.train.version)
    folders.note(folder, tracked=tracked)
    decision = stages.promote(config, project, data, made, measured, tracked, also, settle)
    folders.write_json(out / "decision.json", decision)


RUN: Mapping[str, Stage] = {
    "ingest": _ingest,
    "train": _train,
    "promote": promote,
}


def _cpu() -> float:
    """CPU seconds of this process and its children so far."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _new(work: Path, config: Config, project: Path, **what: Any) -> Path:
    now = datetime.now(UTC)
    folder = work / "runs" / f"{now:%Y%m%d-%H%M%S-%f}"  # in the order of time, also by name
    folder.mkdir(parents=True)
    about = {"run": folder.name, "started": now.isoformat(timespec="seconds"), "status": "running", **what}
    made_by = {"config": settings.recorded(config), "hooks": ready.hooks_hash(config, project)}
    folders.note(folder, **about, **made_by, code=git.state(project))
    return folder


def _last(work: Path, config: Config) -> Path:
    """The last run's folder, if its config and hooks are today's: its stages are today's stages."""
    for folder in folders.runs(work)[:1]:
        about = folders.about(folder)
        if about.get("kind"):
            raise ConfigError(f"The last run, {folder.name}, is a {about['kind']}, which only keepfit retrain does.")
        same = {
            "keepfit.yaml": about["config"] == settings.recorded(config),
            "features.code": about["hooks"] == ready.hooks_hash(config, work.parent),
        }
        if all(same.values()):
            return folder
        changed = " and ".join(name for name, kept in same.items() if not kept)
        raise ConfigError(f"{changed} has changed since run {folder.name}: run it whole, without --resume or --stage.")
    raise ConfigError("There is no run to go on with. Next: keepfit run")


def reproduce(project: Path, name: str) -> Verdict:
    """Train run `name` again from its recorded frames, config, hooks and seed, and compare what comes out.

    Raises ConfigError for an unknown run, naming the known ones.
    """
    work = project / settings.WORK
    known = {folder.name: folder for folder in folders.runs(work) if (folder / "train").is_dir()}
    if name not in known:
        raise ConfigError(f"No finished run '{name}'. Known: {', '.join(known) or 'none yet'}")
    config = settings.parse(folders.about(known[name])["config"])
    hooks = loading.code(project, bundles.read(known[name] / "train" / "bundle"))
    if hooks:  # as they were then
        code = config.features.model_copy(update={"code": str(hooks.resolve())})
        config = config.model_copy(update={"features": code})
    again = work / "reproduced" / name
    started = time.monotonic()
    with folders.alone(work), folders.whole(again) as out:
        stages.train(config, project, folders.load_split(known[name] / "ingest"), out, Progress())
    return records.compare(known[name] / "train", again, time.monotonic() - started)
