"""`http://` and `https://`: downloads to a temporary file, then reads it by its format."""

from __future__ import annotations

import base64
import http.client
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import polars as pl

from keepfit import config
from keepfit.data import files
from keepfit.data.redact import redacted, scrubbed
from keepfit.errors import DataError

TIMEOUT = 60  # seconds without a byte
WAITS = (0.5, 2.0, 5.0)  # seconds before each new try
AGAIN = (429, 500, 502, 503, 504)
TYPES = {  # media types of servers whose address has no ending
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


def read(source: str, data: config.Data, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The file behind an address; ETag and Last-Modified are kept in the origin.

    The format is told by the address's end, else by the server's name for the file, else by the
    media type. Connection errors, 429 and 5xx are tried again three times. Raises DataError with
    the status for what the server refuses, for a web page in place of data, and for a download that
    breaks off.
    """
    shown = redacted(source)
    with tempfile.TemporaryDirectory(prefix="keepfit-") as temporary:
        part = Path(temporary) / "part"
        try:
            headers = _downloaded(source, part)
        except OSError as error:
            raise DataError(f"{shown} cannot be stored in {temporary}: {error.strerror}. Make room there.") from error
        path = part.rename(Path(temporary) / _name(source, headers))
        if (fragment := urlsplit(source).fragment) and files.suffix(path) in files.ARCHIVES:
            path = Path(f"{path}#{fragment}")  # a part of the archive
        try:
            frame, origin = files.load_all([path], data, [shown])
        except DataError as error:
            raise DataError(str(error).replace(str(path), shown)) from error
    known = {"etag": headers.get("ETag"), "last_modified": headers.get("Last-Modified")}
    return frame, {**origin, **{name: value for name, value in known.items() if value}}


def _downloaded(source: str, path: Path) -> Message:
    """Downloads into `path`, with new tries; gives the headers."""
    for wait in (*WAITS, None):
        try:
            return _once(source, path)
        except urllib.error.HTTPError as error:
            problem = f"the server answered {error.code} {error.reason}"
            if error.code not in AGAIN:
                raise DataError(f"{redacted(source)}: {problem}.{_hint(error.code)}") from None
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            problem = scrubbed(getattr(error, "reason", None) or error or type(error).__name__, source)
        if wait is not None:
            time.sleep(wait)
    raise DataError(f"{redacted(source)}: {problem}, {len(WAITS) + 1} times. Is the address right and the server up?")


def _once(source: str, path: Path) -> Message:
    with urllib.request.urlopen(request(source), timeout=TIMEOUT) as answer, path.open("wb") as file:
        headers: Message = answer.headers
        if headers.get_content_type() == "text/html":
            raise DataError(
                f"{redacted(source)} is a web page (text/html), not data. "
                "Use the address of the file itself; perhaps it needs a login."
            )
        shutil.copyfileobj(answer, file, 1 << 20)
        expected = int(headers.get("Content-Length") or file.tell())
        if file.tell() != expected:
            raise ConnectionError(f"the connection broke off after {file.tell():,} of {expected:,} bytes")
        return headers


def request(source: str) -> urllib.request.Request:
    """The request; user and password of the address go into a header that no redirect takes along."""
    parts = urlsplit(source)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers={"User-Agent": "keepfit"})
    if at:
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(unquote(user).encode()).decode())
    return request


def _hint(code: int) -> str:
    hints = {
        401: " It needs a login: https://${USER}:${PASSWORD}@host/…",
        403: " Access is denied.",
        404: " Check the path.",
    }
    return hints.get(code, "")


def _name(source: str, headers: Message) -> str:
    """A file name with the ending that tells the format."""
    names = [unquote(PurePosixPath(urlsplit(source).path).name), headers.get_filename() or ""]
    known = [name for name in names if files.suffix(Path(name)) in files.FORMATS]
    if known:
        return PurePosixPath(known[0]).name
    kind = TYPES.get(headers.get_content_type())
    if kind:
        return f"data.{kind}"
    raise DataError(
        f"{redacted(source)}: neither the address nor the media type ({headers.get_content_type()}) tells the format. "
        "Download it and name the file as data.source."
    )
