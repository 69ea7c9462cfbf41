"""What a URI names, and how it may be shown. Light: whoever scores needs it too."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keepfit import config


def stores(tracking: config.Tracking, work: Path) -> tuple[str, str]:
    """The URIs of the tracking store and of the registry: the environment's, the config's, or the project's own."""
    uri = config.environment("MLFLOW_TRACKING_URI") or tracking.uri or f"sqlite:///{work.resolve() / 'mlflow.db'}"
    return uri, config.environment("MLFLOW_REGISTRY_URI") or uri


def copy(folder: Path, model: str, version: str, registry: str, source: str) -> Path:
    """Where the copy of a version's bundle is kept: another registry may have another version of the same number."""
    mark = hashlib.sha256(f"{registry} {source}".encode()).hexdigest()[:8]
    return folder / f"{model}-{version}-{mark}"


def local(uri: str) -> Path | None:
    """The folder that a URI or path names, if it is one of this machine."""
    parts = urlsplit(uri)
    path = Path(unquote(parts.path) if parts.scheme == "file" else uri)
    return path if parts.scheme in ("", "file") and path.is_dir() else None


def shown(uri: str) -> str:
    """A URI without the user and password in it.

    >>> shown("postgresql://ann:secret@db.example:5432/mlflow")
    'postgresql://db.example:5432/mlflow'
    """
    place = urlsplit(uri).netloc
    return uri.replace(place, place.rpartition("@")[2], 1) if "@" in place else uri


def redacted(text: str, *uris: str) -> str:
    """A message without the credentials of `uris`, however they were quoted in it.

    >>> redacted("no such user ann:secret", "postgresql://ann:secret@db.example/mlflow")
    'no such user ann:***'
    """
    for uri in uris:
        text = text.replace(uri, shown(uri))
        secret = urlsplit(uri).password
        text = text.replace(secret, "***") if secret else text
    return text
