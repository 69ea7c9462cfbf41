"""Object stores (`s3://`, `gs://`, `az://`) through fsspec: objects, globs and folders of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import polars as pl

from keepfit import config
from keepfit.data import archive, files
from keepfit.data.redact import redacted, scrubbed
from keepfit.errors import DataError
from keepfit.extras import load, nearest


class Store(NamedTuple):
    """How a store is reached: the package, its own errors, and where its credentials come from."""

    package: str
    errors: str
    credentials: str


STORES = {
    "s3": Store("s3fs", "botocore.exceptions:BotoCoreError", "AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL"),
    "gs": Store("gcsfs", "google.auth.exceptions:GoogleAuthError", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": Store("adlfs", "azure.core.exceptions:AzureError", "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY"),
}


def read(source: str, data: config.Data, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The frame of an object, a glob of objects or a folder of them, and its origin.

    Objects are downloaded to a temporary folder and read by their format. Credentials and endpoint
    come from the store's usual environment variables. Raises MissingExtraError without the store's
    package, DataError for what is missing, denied or unreachable.
    """
    scheme = source.partition("://")[0].lower()
    with reached(source, "data.source") as (filesystem, path):
        return _read(filesystem, _keys(filesystem, path, redacted(source)), scheme, data)


@contextmanager
def reached(uri: str, key: str, verb: str = "read") -> Iterator[tuple[Any, str]]:
    """The file system of an object store, and the path in it that `uri` means.

    `key` of the config named it. What fails in the block is a DataError without secrets, which says
    that the store cannot be `verb`: denied, unreachable, not there.
    Raises MissingExtraError without the store's package, DataError for a scheme that is none of STORES.
    """
    scheme, _, path = uri.partition("://")
    shown = redacted(uri)
    store = STORES.get(scheme.lower())
    if store is None:
        raise DataError(f"{key} '{shown}' is no object store. Known: {', '.join(f'{name}://' for name in STORES)}")
    load(store.package, f"{key} '{shown}'")
    own: type[Exception] = load(store.errors, f"{key} '{shown}'")
    try:
        yield fsspec.filesystem(scheme.lower(), skip_instance_cache=True, use_listings_cache=False), path
    except (own, OSError, ValueError) as error:
        reason = scrubbed(error or type(error).__name__, uri)
        raise DataError(
            f"{shown} cannot be {verb}: {reason}. "
            f"Credentials and endpoint come from the environment: {store.credentials}."
        ) from error


def _read(filesystem: Any, keys: Sequence[str], scheme: str, data: config.Data) -> tuple[pl.DataFrame, dict[str, Any]]:
    addresses = [f"{scheme}://{key}" for key in keys]
    with tempfile.TemporaryDirectory(prefix="keepfit-") as temporary:
        paths = [Path(temporary) / str(n) / key.rpartition("/")[2] for n, key in enumerate(keys)]
        for key, path in zip(keys, paths, strict=True):
            path.parent.mkdir()
            filesystem.get_file(_object(filesystem, key), str(archive.place(path)[0]))
        try:
            return files.load_all(paths, data, addresses)
        except DataError as error:
            text = str(error)
            for path, address in zip(paths, addresses, strict=True):
                text = text.replace(str(path), address)
            raise DataError(text) from error


def _keys(filesystem: Any, path: str, shown: str) -> list[str]:
    """The objects that a path means, sorted; never none."""
    if any(sign in path for sign in "*?["):
        found = sorted(key for key in filesystem.glob(path) if not key.endswith("/"))
    elif filesystem.isdir(path):
        found = sorted(key for key in filesystem.ls(path, detail=False) if files.suffix(Path(key)) in files.FORMATS)
    else:
        found = [path] if filesystem.exists(_object(filesystem, path)) else []
    if found:
        return found
    raise DataError(f"Nothing at {shown}. {_neighbours(filesystem, path)}")


def _object(filesystem: Any, key: str) -> str:
    """The object that a key means, which may name a part of an archive behind `#`."""
    found = archive.PART.fullmatch(key)
    return found[1] if found and not filesystem.exists(key) else key


def _neighbours(filesystem: Any, path: str) -> str:
    parent, _, name = path.rstrip("/").rpartition("/")
    try:
        names = sorted(key.rstrip("/").rpartition("/")[2] for key in filesystem.ls(parent, detail=False))
    except FileNotFoundError:
        return f"There is no '{parent}' either."
    more = ", …" if len(names) > files.SHOWN else ""
    return f"{nearest(name, names)}In '{parent}' there are: {', '.join(names[: files.SHOWN]) or 'no objects'}{more}."
