"""MLflow's REST interface with the standard library: who is champion, and its files.

A process that serves asks every half second and must stay small, so nothing of MLflow is imported.
The variables of MLflow's own client are honoured: MLFLOW_TRACKING_USERNAME and _PASSWORD, _TOKEN,
_INSECURE_TLS, _SERVER_CERT_PATH, _CLIENT_CERT_PATH. What only MLflow can do (`beyond`) is left to it.

https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit

from keepfit import config
from keepfit.errors import TrackingError
from keepfit.models import bundle
from keepfit.tracking.places import shown

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
ASK, READ = 5.0, 60.0  # seconds without a byte: of a question, of a file
MOST = 1 << 20  # bytes of an answer, and of a piece of a file
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second: of an alias, or no number
SHOWN = 300  # characters of an error that MLflow tells
CHECK = "Check MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI or tracking.uri."
# ways to log in, and to pick a part of a server, that MLflow's own client knows
BEYOND = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE")


@dataclass(frozen=True)
class Server:
    """An MLflow server: its address without credentials, and what opens a request to it."""

    address: str
    opener: urllib.request.OpenerDirector
    login: str  # the Authorization header, or ""


def beyond(uri: str) -> bool:
    """Whether a store is none that is asked here."""
    return urlsplit(uri).scheme not in ("http", "https") or any(config.environment(name) for name in BEYOND)


def server(uri: str) -> Server:
    """The server at an http(s) URI, which may hold a user and a password. Nothing is asked yet."""
    context = _context() if uri.startswith("https") else None
    handlers = [urllib.request.HTTPSHandler(context=context)] if context else []
    return Server(shown(uri).rstrip("/"), urllib.request.build_opener(*handlers), _login(uri))


def _context() -> ssl.SSLContext:
    trusted = config.environment("MLFLOW_TRACKING_SERVER_CERT_PATH")
    mine = config.environment("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    try:
        folder = trusted is not None and Path(trusted).is_dir()
        context = ssl.create_default_context(cafile=None if folder else trusted, capath=trusted if folder else None)
        if mine:
            context.load_cert_chain(mine)
    except OSError as error:  # of ssl's errors too
        named = ", ".join(name for name in (trusted, mine) if name)
        raise TrackingError(f"The certificates for MLflow cannot be read ({named}): {error}.") from error
    if (config.environment("MLFLOW_TRACKING_INSECURE_TLS") or "").lower() in ("true", "1"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _login(uri: str) -> str:
    parts = urlsplit(uri)
    user = unquote(parts.username or "") or config.environment("MLFLOW_TRACKING_USERNAME")
    secret = unquote(parts.password or "") or config.environment("MLFLOW_TRACKING_PASSWORD")
    token = config.environment("MLFLOW_TRACKING_TOKEN")
    if user and secret:
        return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode("ascii")
    return f"Bearer {token}" if token else ""


def version(server: Server, model: str, which: str) -> str | None:
    """The version that carries the alias `which`, or of that number; None where there is none."""
    path, name = ("model-versions/get", "version") if which.isdigit() else ("registered-models/alias", "alias")
    try:
        found = _ask(server, path, {"name": model, name: which})["model_version"]
        ready = found.get("status", "READY") == "READY" and found.get("current_stage") != "Deleted_Internal"
        return str(found["version"]) if ready else None
    except _AbsentError:
        return None
    except (KeyError, TypeError, AttributeError) as error:
        raise TrackingError(f"{server.address} answers, but not as MLflow's registry does. {CHECK}") from error


def source(server: Server, model: str, version: str) -> str:
    """The URI of a version's files."""
    try:
        found = _ask(server, "model-versions/get-download-uri", {"name": model, "version": version})
        return str(found["artifact_uri"])
    except (_AbsentError, KeyError, TypeError) as error:
        raise TrackingError(f"Version {version} of '{model}' is not at {server.address} any more.") from error


def proxied(server: Server, uri: str) -> str | None:
    """The URL of files that go through `server` itself; None for those of any other store.

    Not of another host: whoever may register a version could so ask for the password.
    """
    parts, mine = urlsplit(uri), urlsplit(server.address)
    if parts.scheme == "mlflow-artifacts" and parts.netloc in ("", mine.netloc):
        path = parts.path.removeprefix(FILES).lstrip("/")
        return f"{server.address}{FILES}/{quote(unquote(path))}"
    through = uri.startswith(f"{server.address}{FILES}/")
    return uri if through else None


def download(server: Server, url: str, folder: Path) -> Path:
    """The files of the bundle at `url`, into `folder`: first the list of its checksums, then each file that it names.

    Raises TrackingError when one does not come, BundleError for names that lead out of the folder.
    """
    _save(server, f"{url}/{bundle.SUMS}", folder / bundle.SUMS)
    for name in bundle.names(folder):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _save(server, f"{url}/{quote(name)}", target)
    return folder


def _save(server: Server, url: str, target: Path) -> None:
    with target.open("wb") as file:
        for piece in _pieces(server, url, READ):
            file.write(piece)


def _ask(server: Server, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    url = f"{server.address}{API}/{path}?{urlencode(query)}"
    try:
        answer: dict[str, Any] = json.loads(next(_pieces(server, url, ASK), b""))
    except ValueError as error:
        raise TrackingError(f"{server.address} answers, but not as MLflow does: no JSON. {CHECK}") from error
    return answer


def _pieces(server: Server, url: str, seconds: float) -> Iterator[bytes]:
    """The body of an answer, piece by piece; raises TrackingError, or of it _AbsentError, where there is none."""
    request = urllib.request.Request(url)
    if server.login:  # not for where a redirect may lead
        request.add_unredirected_header("Authorization", server.login)
    with _told(server), server.opener.open(request, timeout=seconds) as answer:
        while piece := answer.read(MOST):
            yield piece


@contextmanager
def _told(server: Server) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        with error:
            raise _refused(server, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        what = "it does not answer in time" if isinstance(reason, TimeoutError) else str(reason) or repr(reason)
        raise TrackingError(f"MLflow at {server.address} cannot be asked: {what}. Is it up? {CHECK}") from error


def _refused(server: Server, error: HTTPError) -> TrackingError:
    if error.code in (401, 403):
        return TrackingError(
            f"MLflow at {server.address} refused the login (HTTP {error.code}). "
            "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    try:
        told = json.loads(error.read(MOST))
        code, message = str(told["error_code"]), str(told["message"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        code, message = "", str(error.reason)
    if error.code in (400, 404) and code in ABSENT:
        return _AbsentError(f"MLflow at {server.address} says: {message[:SHOWN]}")
    return TrackingError(f"MLflow at {server.address} answered HTTP {error.code}: {message[:SHOWN]}. {CHECK}")


class _AbsentError(TrackingError):
    """The registry has no such thing."""
