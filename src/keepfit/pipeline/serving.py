"""Put the champion on HTTP: what the server is given of the project, the registry and the environment."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data.log import Writer, open_log, roller
from keepfit.deployment import server
from keepfit.deployment.access import keys, local_only
from keepfit.deployment.http import Limits
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.platforms import Platform, platform
from keepfit.deployment.rollout import CHAMPION, Found, Plan, Rollout, Tools
from keepfit.deployment.routes import Service
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.served import Rules
from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.models import bundle as bundles
from keepfit.monitoring import figures
from keepfit.pipeline import loading, observed, on_trial, remembered
from keepfit.tracking.pointer import Found as Version
from keepfit.tracking.pointer import pointer

log = logging.getLogger("keepfit.server")
MEGABYTE = 2**20
Told = dict[str, tuple[str, tuple[str, ...], dict[tuple[str, ...], float]]]  # see deployment.metrics.Gauges


def serve(
    config: Config, project: Path, bundle: Path | None = None, insecure: bool = False,
    started: Callable[[str], None] = lambda url: None,
) -> None:  # fmt: skip
    """Serve the champion, or the model of a bundle's folder, until SIGTERM or SIGINT.

    `started` is told the address. Raises TrackingError when there is no champion, BundleError when it
    does not load, ConfigError when the address is taken or is open to others without a key.
    """
    server.end_at_once()
    found = platform(settings.environment)
    section, work = config.serving, project / settings.WORK
    host, port = (found.host or section.host), (found.port or section.port)
    made = service(config, project, bundle or found.bundle, found)
    insecure = insecure or bool(found.name)  # a platform asks for credentials itself
    guarded(made, "serving.host", host, insecure)
    if not made.keys.callers and not insecure:
        made.guard = local_only()
    first(config, made)
    listener = server.listen(host, port)
    limits = Limits(made.rules.body, section.timeout)

    def answers(url: str) -> None:
        started(url)
        for line in welcome(made, config.serving.log.enabled, url):
            log.info("%s", line)
        if host not in server.LOOPBACK and hasattr(os, "getuid") and os.getuid() == 0:
            log.warning("running as root and open to others: run it as another user")

    server.serve(made, listener, limits, rolling(config, work), answers)


def welcome(made: Service, logged: bool, url: str) -> list[str]:
    """What whoever started the server should know: the model, where to try it, who may ask, where the log is."""
    served = made.rollout.active[CHAMPION].served
    callers = ", ".join(made.keys.callers)
    asked = f"API keys are asked of callers: {callers}" if callers else "no API key is set: whoever reaches it may ask"
    control = "open to the admin key" if made.keys.admin else "closed, for want of KEEPFIT_ADMIN_KEY"
    kept = f"predictions are logged in {made.predictions}" if logged else "predictions are not logged"
    return [
        f"{served.name}, version {served.version}; to try it: {url}/docs",
        f"{asked}; /control is {control}",
        f"{kept}; Ctrl-C stops",
    ]


def service(config: Config, project: Path, bundle: Path | None, found: Platform) -> Service:
    """All that answers requests: the rollout, whose champion is not loaded yet, the keys and the folders of the logs.

    `bundle` is served where it is given, else the champion is followed.
    """
    work = project / settings.WORK
    made = rollout(config, project, bundle, found)
    return Service(
        made.tools.name, made, made.metrics, keys(*_keys(config)), made.tools.rules, found,
        feedback=work / "feedback", predictions=work / "predictions", retention=config.serving.log.retention,
        redact=config.serving.log.redact,
        traffic=work / "monitoring" / "traffic", watched=lambda: watched(work / "monitoring" / "latest.json"),
    )  # fmt: skip


def watched(path: Path) -> Told:
    """The figures of the last monitoring pass as gauges; none where there was no pass or it is being written."""
    try:
        found = json.loads(path.read_bytes())
        version, numbers = str(found["model"]["version"]), list(figures.figures(found))
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    gauges: Told = {f"keepfit_monitored_{name}": (*about, {}) for name, about in figures.FAMILIES.items()}
    for figure in numbers:
        gauges[f"keepfit_monitored_{figure.family}"][2][version, *figure.labels] = figure.value
    age: dict[tuple[str, ...], float] = {(version,): time.time() - path.stat().st_mtime}
    told = {name: family for name, family in gauges.items() if family[2]}
    return {**told, "keepfit_monitored_age_seconds": ("Since the last monitoring pass.", (), age)}


def first(config: Config, made: Service) -> None:
    """Load the champion. Raises what is wrong with it, and ConfigError for a column to redact that it does not have.

    A typo there would let into the log what is to be kept out.
    """
    made.rollout.first()
    known = [column.name for column in made.rollout.active[CHAMPION].served.runtime.schema.columns]
    for name in config.serving.log.redact:
        if name not in known:
            made.rollout.close()
            told = f"{nearest(name, known)}Known: {', '.join(known)}."
            raise ConfigError(f"serving.log.redact: the model has no column '{name}'. {told}")


def guarded(made: Service, key: str, host: str, insecure: bool) -> None:
    """Raises ConfigError where others could ask and nothing keeps them out; `key` is what set the host."""
    if host not in server.LOOPBACK and not made.keys.callers and not insecure:
        raise ConfigError(
            f"{key} is {host}: others could ask, and no API key is set. Set KEEPFIT_API_KEY (or serving.keys), "
            "serve on 127.0.0.1, or say --insecure."
        )


def config_of(project: Path, bundle: Path | None, sets: Sequence[str]) -> Config:
    """The project's config; where there is no project, a bundle's own name and serving section, or the defaults."""
    bundle = bundle or platform(settings.environment).bundle
    if bundle is None or any((project / name).is_file() for name in settings.NAMES):
        return settings.load(project, sets)
    recorded, _ = settings.read(bundle / "config.yaml")
    values: dict[str, Any] = {key: recorded[key] for key in ("project", "model", "serving") if key in recorded}
    values["data"] = {"source": str(bundle)}  # nothing is read from it
    for assignment in sets:
        settings.put(values, assignment)
    return settings.parse(values, where=str(bundle / "config.yaml"))


def _keys(config: Config) -> tuple[dict[str, str], str | None]:
    """Callers' keys by name, and the admin key; from the config, else from the environment."""
    callers = {name: key for name, key in config.serving.keys.items() if key}
    if key := settings.environment("KEEPFIT_API_KEY"):
        callers.setdefault("default", key)
    return callers, config.serving.admin_key or settings.environment("KEEPFIT_ADMIN_KEY")


def rollout(config: Config, project: Path, bundle: Path | None, found: Platform) -> Rollout:
    """Follows the champion of the project's registry, or serves a bundle's folder as if it were one."""
    section, work = config.serving, project / settings.WORK
    name = bundles.read(bundle).manifest["name"] if bundle else config.project.name
    body = (found.max_body_mb or section.max_body_mb) * MEGABYTE
    follow = observed.follower(config, project)
    tools = Tools(
        look=_only(bundle) if bundle else _champion(config, work),
        load=lambda path: loading.load(config, project, path, follow=follow),
        open_log=lambda runtime, version, role: _log(config, work, runtime, version, role),
        name=name,
        rules=Rules(
            rows=found.max_rows or section.max_rows,
            body=int(body),
            pixels=int(section.max_megapixels * 1e6),
            seconds=section.timeout,
            strict=section.extra_columns == "reject",
        ),
        queue=section.queue,
        every=section.follow,
        planned=partial(on_trial.plan, project),
        mark=lambda: observed.mark(work),
        observed=follow,
    )
    canary = section.canary
    plan = Plan(section.shadow, canary.version if canary else None, canary.share if canary else 0.0)
    return Rollout(tools, plan, Metrics(name))


def _champion(config: Config, work: Path) -> Callable[[str], Found | None]:
    return remembered.remembering(pointer(config.tracking, work, config.project.name), work / "monitoring")


def _only(bundle: Path) -> Callable[[str], Found | None]:
    """A bundle's folder as a registry of one version, which is champion; its number is the hash of its checksums."""
    number = hashlib.sha256((bundle / bundles.SUMS).read_bytes()).hexdigest()[:12]
    version = Version(number, lambda: bundle)
    return lambda which: version if which == "champion" else None


def _log(config: Config, work: Path, runtime: Runtime, version: str, role: str) -> Writer | None:
    section = config.serving.log
    if not section.enabled:
        return None
    return open_log(
        work / "predictions", runtime.schema, config.project.name, version, role, section.redact, section.durable
    )


def rolling(config: Config, work: Path) -> server.Rolling | None:
    """How the prediction log becomes Parquet; None where there is no log."""
    section = config.serving.log
    if not section.enabled:
        return None
    return server.Rolling(tuple(roller(work / "predictions", section.uri, section.retention)), section.roll)


def tell() -> None:
    """Let the server's log lines go to stderr, as a server's do."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
