"""http and https, against a real web server."""

from __future__ import annotations

import base64
import gzip
import io
import resource
import socket
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit import config
from keepfit.data import download
from keepfit.data.read import read
from keepfit.errors import DataError
from tests.data.drawings import picture
from tests.servers import WebServer, free_port

CSV = b"a,b\n1,2\n"
HTML = "text/html; charset=utf-8"


def get(url: str, folder: Path, **values: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    return read(config.Data(source=url, **values), folder)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAITS", (0.0, 0.0, 0.0))


def test_a_file_and_its_origin(web_server: WebServer, tmp_path: Path) -> None:
    url = web_server.put("/data/x.csv", CSV, ETag='"v1"', Last_Modified="Sat, 21 Nov 2026 03:00:00 GMT")
    frame, origin = get(url, tmp_path)
    assert frame.rows() == [("1", "2")]
    assert origin["files"] == [{"path": url, "bytes": len(CSV), "sha256": sha256(CSV).hexdigest()}]
    assert origin["etag"] == '"v1"'
    assert origin["last_modified"] == "Sat, 21 Nov 2026 03:00:00 GMT"
    assert list(tmp_path.iterdir()) == []


def test_formats_by_ending_name_and_media_type(web_server: WebServer, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1]})
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    for url in (
        web_server.put("/x.csv.gz", gzip.compress(b"a\n1\n")),
        web_server.put("/x", b"a\n1\n", Content_Type="text/csv; charset=utf-8"),
        web_server.put("/y", gzip.compress(b"a\n1\n"), Content_Type="text/csv", Content_Encoding="gzip"),
    ):
        assert get(url, tmp_path)[0].rows() == [("1",)]
    for url in (
        web_server.put("/x.parquet", parquet.getvalue()),
        web_server.put("/download", parquet.getvalue(), Content_Disposition='attachment; filename="x.parquet"'),
        web_server.put("/p", parquet.getvalue(), Content_Type="application/vnd.apache.parquet"),
        web_server.put("/j", b'[{"a": 1}]', Content_Type="application/json"),
    ):
        assert get(url, tmp_path)[0].equals(frame)
    with pytest.raises(DataError, match=r"neither the address nor the media type \(image/png\) tells the format"):
        get(web_server.put("/z", b"a\n1\n", Content_Type="image/png"), tmp_path)


def test_an_archive_of_pictures_and_a_part_of_it(web_server: WebServer, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for n, name in enumerate(("train/ants/1.png", "train/bees/1.png", "val/ants/2.png")):
            file.writestr(name, picture(n))
    url = web_server.put("/photos.zip", packed.getvalue())
    frame, origin = get(url, tmp_path)
    assert (frame["label"].to_list(), origin["test"]) == (["ants", "bees"], f"{url}#val")
    assert get(origin["test"], tmp_path)[0]["path"].to_list() == ["val/ants/2.png"]
    with pytest.raises(DataError, match="no pictures in 'vla'"):
        get(f"{url}#vla", tmp_path)
    assert get(web_server.put("/y.csv", CSV) + "#top", tmp_path)[0].rows() == [("1", "2")]


def test_errors_of_the_server_are_told(web_server: WebServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/gone.csv: the server answered 404 Not Found. Check the path"):
        get(f"{web_server.url}/gone.csv", tmp_path)
    assert len(web_server.requests) == 1
    with pytest.raises(DataError, match=r"401 Unauthorized. It needs a login"):
        get(web_server.put("/closed.csv", b"", 401), tmp_path)
    with pytest.raises(DataError, match=r"the server answered 503 Service Unavailable, 4 times"):
        get(web_server.put("/down.csv", b"", 503), tmp_path)
    assert [path for path, _ in web_server.requests].count("/down.csv") == 4
    with pytest.raises(DataError, match=r"/login.csv is a web page \(text/html\), not data"):
        get(web_server.put("/login.csv", b"<html>", Content_Type=HTML), tmp_path)


def test_passing_trouble_is_tried_again(web_server: WebServer, tmp_path: Path) -> None:
    web_server.put("/x.csv", b"", 500)
    web_server.put("/x.csv", CSV[:4], Content_Length="400")  # breaks off
    url = web_server.put("/x.csv", CSV)
    assert get(url, tmp_path)[0].rows() == [("1", "2")]
    with pytest.raises(DataError, match=r"the connection broke off after 4 of 400 bytes, 4 times"):
        get(web_server.put("/cut.csv", CSV[:4], Content_Length="400"), tmp_path)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Connection refused, 4 times. Is the address right and the server up\?"):
        get(f"http://127.0.0.1:{free_port()}/x.csv", tmp_path)


def test_a_silent_server(web_server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DataError, match=r"timed out, 4 times"):
            get(f"http://127.0.0.1:{silent.getsockname()[1]}/x.csv", tmp_path)


def test_the_login_of_the_address_is_sent_and_never_shown(web_server: WebServer, tmp_path: Path) -> None:
    url = web_server.put("/x.csv", CSV).replace("http://", "http://ann:s3cr%40t@") + "?token=t0ken"
    frame, origin = get(url, tmp_path)
    assert frame.rows() == [("1", "2")]
    path, headers = web_server.requests[0]
    assert path == "/x.csv?token=t0ken"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"ann:s3cr@t").decode()
    assert "s3cr" not in str(origin)
    assert "t0ken" not in str(origin)
    for broken in (url.replace("x.csv", "gone.csv"), url.replace("x.csv", "ragged.csv")):
        web_server.put("/ragged.csv", b"a,b\n1\n")
        with pytest.raises(DataError) as caught:
            get(broken, tmp_path)
        assert "s3cr" not in str(caught.value)
        assert "t0ken" not in str(caught.value)


def test_the_login_does_not_follow_to_another_host(web_server: WebServer, tmp_path: Path) -> None:
    web_server.put("/x.csv", CSV)
    moved = web_server.put("/moved.csv", b"", 302, Location=web_server.url.replace("127.0.0.1", "localhost") + "/x.csv")
    assert get(moved.replace("http://", "http://ann:s3c@"), tmp_path)[0].rows() == [("1", "2")]
    assert "Authorization" in web_server.requests[0][1]
    assert "Authorization" not in web_server.requests[1][1]


def test_a_full_disk(web_server: WebServer, tmp_path: Path) -> None:
    url = web_server.put("/big.csv", b"a\n" * 2_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(DataError, match=r"/big.csv cannot be stored in .*: File too large. Make room there"):
            get(url, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_errors_name_the_address_not_the_temporary_file(web_server: WebServer, tmp_path: Path) -> None:
    url = web_server.put("/ragged.csv", b"a,b\n1\n")
    with pytest.raises(DataError, match=rf"^{url}: 1 row cannot be read"):
        get(url, tmp_path)
