"""The hosting platforms whose contract for containers the server keeps, as their environment tells.

    SageMaker   `serve` as argument, port 8080 (or SAGEMAKER_BIND_TO_PORT), GET /ping, POST /invocations,
                the model under /opt/ml/model; for a batch transform GET /execution-parameters, and
                SAGEMAKER_BATCH, _BATCH_STRATEGY, _MAX_PAYLOAD_IN_MB, _MAX_CONCURRENT_TRANSFORMS
    Vertex AI   AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE, AIP_STORAGE_URI

Both put a proxy of their own before the container, which asks for credentials; so the server listens on
all addresses there. The routes /ping and /invocations are always there and not repeated here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepfit.errors import ConfigError

Getter = Callable[[str], str | None]
EVERYWHERE = "0.0.0.0"
MODEL = Path("/opt/ml/model")  # where SageMaker unpacks model.tar.gz
SAGEMAKER = (
    "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BATCH", "SAGEMAKER_BATCH_STRATEGY", "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "SAGEMAKER_SAFE_PORT_RANGE",
)  # fmt: skip
MULTI = "MULTI_RECORD"
STRATEGIES = {"MULTIRECORD": MULTI, "SINGLERECORD": "SINGLE_RECORD"}  # SageMaker writes them both ways
PAYLOAD, MOST = 6, 100  # MB of a batch transform's request: SageMaker's default, and its limit
TRANSFORMS = 4  # requests that a batch transform should send at once
BATCH_ROWS = 1_000_000  # rows of one request of a batch transform


@dataclass(frozen=True)
class Platform:
    """What the platform asks of the server. Empty: none is known, and the config decides.

    `bundle` is the folder of the model that the platform has put there, `storage` the URI where it is
    instead. `health_routes` (GET) and `predict_routes` (POST, in `protocol`, a key of PROTOCOLS) are
    those besides the server's own.
    """

    name: str = ""
    host: str | None = None
    port: int | None = None
    health_routes: tuple[str, ...] = ()
    predict_routes: tuple[str, ...] = ()
    protocol: str = "keepfit"
    bundle: Path | None = None
    storage: str | None = None
    max_body_mb: float | None = None
    max_rows: int | None = None
    strategy: str = MULTI
    transforms: int = TRANSFORMS

    def execution_parameters(self) -> dict[str, Any]:
        """The answer to SageMaker's `GET /execution-parameters`, before a batch transform.

        >>> Platform().execution_parameters()
        {'MaxConcurrentTransforms': 4, 'BatchStrategy': 'MULTI_RECORD', 'MaxPayloadInMB': 6}
        """
        payload = int(self.max_body_mb or PAYLOAD)
        return {
            "MaxConcurrentTransforms": min(self.transforms, max(1, MOST // payload)),  # together at most 100 MB
            "BatchStrategy": self.strategy,
            "MaxPayloadInMB": payload,
        }


def platform(get: Getter, model: Path = MODEL) -> Platform:
    """The platform that this process runs on, by what `get` says of the environment's variables.

    `model` is SageMaker's folder for the model; that it is there is a sign of SageMaker. Raises
    ConfigError for a variable with a value that makes no sense, with its name.

    >>> platform({"AIP_HTTP_PORT": "8080", "AIP_PREDICT_ROUTE": "/v1/predict"}.get, Path("/nowhere")).predict_routes
    ('/v1/predict',)
    """
    if get("AIP_HTTP_PORT") or get("AIP_PREDICT_ROUTE") or get("AIP_HEALTH_ROUTE"):
        return _vertex(get)
    if any(get(name) for name in SAGEMAKER) or model.is_dir():
        return _sagemaker(get, model)
    return Platform()


def _vertex(get: Getter) -> Platform:
    storage = get("AIP_STORAGE_URI")
    return Platform(
        "vertex",
        EVERYWHERE,
        _whole(get, "AIP_HTTP_PORT", 1, 65535) or 8080,
        health_routes=_route(get, "AIP_HEALTH_ROUTE"),
        predict_routes=_route(get, "AIP_PREDICT_ROUTE"),
        protocol="vertex",
        bundle=bundle(Path(storage)) if storage and "://" not in storage else None,
        storage=storage if storage and "://" in storage else None,
    )


def _sagemaker(get: Getter, model: Path) -> Platform:
    payload = _whole(get, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 0, MOST)
    strategy = STRATEGIES.get((get("SAGEMAKER_BATCH_STRATEGY") or MULTI).replace("_", "").upper())
    if strategy is None:
        known = ", ".join(STRATEGIES.values())
        raise ConfigError(f"SAGEMAKER_BATCH_STRATEGY is '{get('SAGEMAKER_BATCH_STRATEGY')}'. Known: {known}.")
    batch = (get("SAGEMAKER_BATCH") or "").lower() == "true"
    return Platform(
        "sagemaker",
        EVERYWHERE,
        _whole(get, "SAGEMAKER_BIND_TO_PORT", 1, 65535) or 8080,
        protocol="mlflow",
        bundle=bundle(model),
        max_body_mb=None if payload is None else payload or MOST,  # 0: no limit, in chunks
        max_rows=BATCH_ROWS if batch else None,
        strategy=strategy,
        transforms=_whole(get, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", 1, 1000) or TRANSFORMS,
    )


def bundle(folder: Path) -> Path | None:
    """The bundle in a folder that was unpacked from an archive: itself, or at most two folders down.

    An MLflow model has its bundle in `bundle/`. None where there is none. Raises ConfigError where
    there are several.
    """
    for pattern in ("bundle.json", "*/bundle.json", "*/*/bundle.json"):
        found = sorted(path.parent for path in folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(str(path) for path in found)
            raise ConfigError(f"{folder} has several models: {names}. Leave one there.")
        if found:
            return found[0]
    return None


def _whole(get: Getter, name: str, low: int, high: int) -> int | None:
    text = get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise ConfigError(f"{name} is '{text}'; it must be a whole number from {low} to {high}.")
    return int(text)


def _route(get: Getter, name: str) -> tuple[str, ...]:
    path = get(name)
    if path is None:
        return ()
    if not path.startswith("/") or "?" in path or not path.isascii():
        raise ConfigError(f"{name} is '{path}'; it must be a path that begins with '/'.")
    return (path,)
