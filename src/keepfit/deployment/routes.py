"""The routes of the server: a path is a row of a table.

predict   a protocol's decode and encode around the one path of every prediction (served.answer)
plain     a function of the service and the request → Response, at once
slow      the same, in a thread: it reads or writes files
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from keepfit.data import labels
from keepfit.deployment import access, metrics, readiness, rollout
from keepfit.deployment.feedback import refused, take
from keepfit.deployment.gauges import gauges
from keepfit.deployment.http import Request, Response, Send, unpacked
from keepfit.deployment.metrics import Gauges
from keepfit.deployment.platforms import Platform
from keepfit.deployment.protocols import PROTOCOLS, native, v2
from keepfit.deployment.rollout import Active, Rollout
from keepfit.deployment.served import LATER, TOLD, Job, Rules, decoded, internal_error, refusal, weighed
from keepfit.errors import KeepfitError, RequestError
from keepfit.extras import load
from keepfit.models.bundle import version as keepfit_version

log = logging.getLogger("keepfit.server")
Need = Literal["nothing", "key", "admin"]
TEXT, HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"


@dataclass
class Service:
    """All that the routes know of the server."""

    name: str
    rollout: Rollout
    metrics: metrics.Metrics
    keys: access.Keys
    rules: Rules
    platform: Platform
    feedback: Path  # folder of the labels
    predictions: Path  # folder of the prediction log
    retention: float | None = None  # seconds that it keeps
    redact: Sequence[str] = ()  # columns that it has not
    traffic: Path | None = None  # folder of what was taken and refused, minute by minute
    watched: Callable[[], Gauges] = dict  # the figures of the last monitoring pass
    guard: Callable[[Mapping[bytes, bytes]], None] | None = None  # of every request's headers; raises RequestError
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="keepfit-slow"))
    pages: dict[str, Any] = field(default_factory=dict)  # the champion's version → its OpenAPI document


Plain = Callable[[Service, Request], Response]


class Route(NamedTuple):
    """What answers a path."""

    name: str  # as the metrics call it
    protocol: str | None = None  # of a prediction
    plain: Plain | None = None
    need: Need = "key"
    slow: bool = False


# --- predictions --------------------------------------------------------------------------------


def predict(service: Service, protocol: ModuleType, route: str, request: Request, send: Send) -> None:
    """Take a request in for prediction; `send` gets its response. Raises RequestError."""
    caller = access.caller(service.keys, request.headers)
    chosen = _chosen(service, request)
    job = Job(request, protocol, route, caller, send)
    if len(request.body) <= LATER:
        job.asked = decoded(chosen.served, job)
        request.body = b""  # the next one's may take its place: memory that the processor has at hand
        chosen.put(job, len(job.asked.rows))
    else:
        chosen.put(job, min(weighed(request), service.rules.rows))


def _chosen(service: Service, request: Request) -> Active:
    return _there(service, service.rollout.choose(request.id))


def _champion(service: Service) -> Active:
    """The champion, whose schema the documents describe whoever answers this request."""
    return _there(service, service.rollout.active.get(rollout.CHAMPION))


def _there(service: Service, chosen: Active | None) -> Active:
    if chosen is None:
        raise RequestError(503, "no_model", f"'{service.name}' has no champion yet. Try again later.", retry=5)
    return chosen


# --- the other routes -----------------------------------------------------------------------------


def health(service: Service, request: Request) -> Response:
    """Alive: the event loop answers."""
    return _json({"status": "ok"})


def ready(service: Service, request: Request) -> Response:
    """Whether there is a model, which one, and what was refused."""
    told = readiness.state(service.rollout, _trusted(service, request))
    return _json(told, 200 if told["status"] == "ready" else 503)


def ping(service: Service, request: Request) -> Response:
    """SageMaker's and MLflow's question whether requests may come."""
    return Response(200 if readiness.status(service.rollout) == "ready" else 503, b"\n", TEXT)


def version(service: Service, request: Request) -> Response:
    """keepfit's version."""
    return Response(200, keepfit_version().encode(), TEXT)


def exposition(service: Service, request: Request) -> Response:
    """Prometheus."""
    body, content_type = metrics.text(service.metrics, {**gauges(service.rollout), **service.watched()})
    return Response(200, body, content_type)


def document(service: Service, request: Request) -> Response:
    """The OpenAPI document of the champion."""
    return _json(_document(service, request))


def docs(service: Service, request: Request) -> Response:
    """The same for people. A browser that brings no key gets a page that asks for it."""
    if not _trusted(service, request):
        return _asking(service, request)
    page = load("keepfit.deployment.openapi:page", "/docs")
    return Response(200, page(_document(service, request)).encode(), HTML)


def _asking(service: Service, request: Request) -> Response:
    """Raises RequestError (401) for who is no browser."""
    if "text/html" not in request.header(b"accept"):
        access.caller(service.keys, request.headers)
    asking = load("keepfit.deployment.openapi:asking", "/docs")
    return Response(401, asking().encode(), HTML, {"www-authenticate": "Bearer", "cache-control": "no-store"})


def _document(service: Service, request: Request) -> dict[str, Any]:
    served = _champion(service).served
    if served.version not in service.pages:
        service.pages.clear()
        made = load("keepfit.deployment.openapi:document", "/docs")  # not before somebody asks
        more = service.platform.predict_routes
        service.pages[served.version] = made(
            served.runtime.schema, served.name, served.version,
            strict=service.rules.strict, secured=bool(service.keys.callers), routes=more,
        )  # fmt: skip
    found: dict[str, Any] = service.pages[served.version]
    return found


def feedback(service: Service, request: Request) -> Response:
    """Labels that arrived later: {"id", "label"}, or a row that was observed, or a list of them."""
    caller = access.caller(service.keys, request.headers)
    body = unpacked(request.body, request.header(b"content-encoding"), service.rules.body)
    value = native.parsed(body)
    entries = value if isinstance(value, list) else [value]
    report = take(service, entries, caller)
    if entries and not report.accepted:
        raise RequestError(422, "no_labels", refused(service), _wrong(report))
    return _json(report)


def _wrong(report: labels.Report) -> list[dict[str, Any]]:
    """Why labels were not accepted."""
    faults = [{"row": fault.row, "column": fault.column, "problem": fault.problem} for fault in report.invalid]
    faults += [{"row": None, "column": "id", "problem": f"no prediction has the id '{key}'"} for key in report.unknown]
    gone = "the row of '{}' is no longer kept"
    faults += [{"row": None, "column": "id", "problem": gone.format(key)} for key in report.expired]
    return faults[:TOLD]


def parameters(service: Service, request: Request) -> Response:
    """SageMaker's question how a batch transform should ask."""
    return _json(service.platform.execution_parameters())


def server_metadata(service: Service, request: Request) -> Response:
    """Open Inference Protocol: what this server is."""
    return _json(v2.server_metadata(keepfit_version()))


def live(service: Service, request: Request) -> Response:
    return _json({"live": True})


def v2_ready(service: Service, request: Request) -> Response:
    there = readiness.status(service.rollout) == "ready"
    return _json({"ready": there}, 200 if there else 503)


def model_metadata(service: Service, request: Request) -> Response:
    served = _champion(service).served
    interval = bool(served.runtime.bundle.manifest["interval"])
    return _json(v2.model_metadata(served.runtime.schema, served.name, served.version, interval))


def model_ready(service: Service, request: Request) -> Response:
    served = _champion(service).served
    there = readiness.status(service.rollout) == "ready"
    return _json({"name": served.name, "ready": there}, 200 if there else 503)


def plan(service: Service, request: Request) -> Response:
    """The shadow and the canary as they are to be, and who is at work."""
    wish = service.rollout.plan
    canary = {"version": wish.canary, "share": wish.share} if wish.canary else None
    return _json({"shadow": wish.shadow, "canary": canary, "state": readiness.state(service.rollout, True)})


def change(service: Service, request: Request) -> Response:
    """Another shadow or canary, from now until the server ends; the config says what a new one begins with."""
    try:
        wish = rollout.planned(service.rollout.plan, native.parsed(request.body))
    except ValueError as error:
        raise RequestError(422, "bad_plan", str(error)) from None
    service.rollout.change(wish)
    log.info("the plan is now: shadow %s, canary %s with share %s", wish.shadow, wish.canary, wish.share)
    return plan(service, request)._replace(status=202)


def _trusted(service: Service, request: Request) -> bool:
    """Whether the caller may know reasons and files' names."""
    try:
        access.caller(service.keys, request.headers)
    except RequestError:
        return False
    return True


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, native.encode_json(value))


# --- the table ------------------------------------------------------------------------------------

ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/predict"): Route("/predict", "keepfit"),
    ("POST", "/invocations"): Route("/invocations", "mlflow"),
    ("POST", "/feedback"): Route("/feedback", plain=feedback, slow=True),
    ("GET", "/health"): Route("/health", plain=health, need="nothing"),
    ("GET", "/ready"): Route("/ready", plain=ready, need="nothing"),
    ("GET", "/ping"): Route("/ping", plain=ping, need="nothing"),
    ("GET", "/version"): Route("/version", plain=version, need="nothing"),
    ("GET", "/metrics"): Route("/metrics", plain=exposition),
    ("GET", "/openapi.json"): Route("/openapi.json", plain=document),
    ("GET", "/docs"): Route("/docs", plain=docs, need="nothing"),
    ("GET", "/execution-parameters"): Route("/execution-parameters", plain=parameters, need="nothing"),
    ("GET", "/v2"): Route("/v2", plain=server_metadata, need="nothing"),
    ("GET", "/v2/health/live"): Route("/v2/health/live", plain=live, need="nothing"),
    ("GET", "/v2/health/ready"): Route("/v2/health/ready", plain=v2_ready, need="nothing"),
    ("GET", "/control/rollout"): Route("/control/rollout", plain=plan, need="admin"),
    ("PUT", "/control/rollout"): Route("/control/rollout", plain=change, need="admin"),
}
# /v2/models/{name}[/versions/{version}] + one of these
MODEL_ROUTES: dict[tuple[str, str], Route] = {
    ("GET", ""): Route("/v2/models/{name}", plain=model_metadata),
    ("GET", "/ready"): Route("/v2/models/{name}/ready", plain=model_ready, need="nothing"),
    ("POST", "/infer"): Route("/v2/models/{name}/infer", "v2"),
}


def table(platform: Platform) -> dict[tuple[str, str], Route]:
    """ROUTES with those that the platform asks for under other paths."""
    found = dict(ROUTES)
    found.update({("GET", path): ROUTES["GET", "/ready"] for path in platform.health_routes})
    found.update({("POST", path): Route(path, platform.protocol) for path in platform.predict_routes})
    return found


def model_route(service: Service, method: str, path: str) -> tuple[Route | None, set[str]]:
    """The route of a path under /v2/models/, and the methods that the path has. Raises RequestError (404)."""
    name, *rest = path.removeprefix("/v2/models/").rstrip("/").split("/")
    champion = service.rollout.active.get(rollout.CHAMPION)
    if unquote(name) != service.name:
        raise RequestError(404, "no_such_model", "There is no model of this name here.")
    if len(rest) >= 2 and rest[0] == "versions":
        if champion is None or unquote(rest[1]) != champion.served.version:
            raise RequestError(404, "no_such_version", "This version of the model is not served.")
        rest = rest[2:]
    tail = "".join(f"/{part}" for part in rest)
    methods = {known for known, end in MODEL_ROUTES if end == tail}
    return MODEL_ROUTES.get((method, tail)), methods


def application(service: Service) -> Callable[[Request, Send], None]:
    """The whole server as one function: `app(request, send)`."""
    known, guard = table(service.platform), service.guard
    protocols = {name: load(target, "the protocol") for name, target in PROTOCOLS.items()}
    paths: dict[str, set[str]] = {}
    for method, path in known:
        paths.setdefault(path, set()).add(method)

    def app(request: Request, send: Send) -> None:
        route = known.get((request.method, request.path))
        protocol = v2 if request.path.startswith("/v2") else native  # whose form a fault is told in
        try:
            if route is None:
                route = _other(service, request, paths, known)
            if route.protocol:
                protocol = protocols[route.protocol]
            if guard:
                guard(request.headers)
            if route.protocol:
                predict(service, protocol, route.name, request, send)
            elif route.slow:
                _later(service, route, request, send)
            else:
                send(_counted(service, route.name, request, _plain(service, route, request)))
        except RequestError as fault:
            send(_counted(service, route.name if route else "other", request, refusal(fault, protocol)))
        except Exception as error:  # noqa: BLE001 - the edge: a client gets an id, the log the rest
            send(_counted(service, route.name if route else "other", request, internal_error(request, error, protocol)))

    return app


def _other(
    service: Service, request: Request, paths: Mapping[str, set[str]], known: Mapping[tuple[str, str], Route]
) -> Route:
    """The route of what is not in the table as it is asked. Raises RequestError (404, 405)."""
    path, method = request.path, request.method
    methods: Sequence[str] | set[str] = paths.get(path) or paths.get(path.rstrip("/")) or ()
    if path.startswith("/v2/models/"):
        route, methods = model_route(service, "GET" if method == "HEAD" else method, path)
        if route:
            return route
    elif methods:
        found = known.get(("GET" if method == "HEAD" else method, path if path in paths else path.rstrip("/")))
        if found:
            return found
    if not methods:
        raise RequestError(404, "no_such_path", "There is nothing at this path. GET /docs lists what there is.")
    allowed = ", ".join(sorted(methods))
    raise RequestError(405, "wrong_method", f"This path answers {allowed} only.", [{"allow": allowed}])


def _plain(service: Service, route: Route, request: Request) -> Response:
    if route.need == "admin":
        access.administrator(service.keys, request.headers)
    elif route.need == "key":
        access.caller(service.keys, request.headers)
    assert route.plain is not None
    return route.plain(service, request)


def _later(service: Service, route: Route, request: Request, send: Send) -> None:
    """A plain route in a thread."""
    loop = asyncio.get_running_loop()
    access.caller(service.keys, request.headers)

    def work() -> Response:
        try:
            return _plain(service, route, request)
        except RequestError as fault:
            return refusal(fault, native)
        except (KeepfitError, OSError) as error:
            log.error("%s failed: %s", route.name, error)
            return refusal(RequestError(503, "unavailable", "This cannot be done now. Try again.", retry=5), native)
        except Exception as error:  # noqa: BLE001 - the edge, as in `application`
            return internal_error(request, error, native)

    def done(future: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: a second Ctrl-C does not wait
            loop.call_soon_threadsafe(lambda: send(_counted(service, route.name, request, future.result())))

    service.pool.submit(work).add_done_callback(done)


def _counted(service: Service, route: str, request: Request, response: Response) -> Response:
    service.metrics.request("", route, response.status, time.perf_counter() - request.began)
    return response
