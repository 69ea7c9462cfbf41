"""Files: which ones a source means, every format, what is wrong with them in words."""

from __future__ import annotations

import gzip
import json
import os
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xlsxwriter

from keepfit import config
from keepfit.data import files
from keepfit.data.delimited import BadRow
from keepfit.data.read import batches, read
from keepfit.errors import ConfigError, DataError
from keepfit.extras import load

TYPED = pl.DataFrame({"n": [1, 2], "x": [0.5, None], "s": ["a", "ü"], "t": [True, None], "d": [date(2020, 1, 1), None]})


def data(source: str = "x", **values: object) -> config.Data:
    return config.Data(source=source, **values)  # type: ignore[arg-type]


def rows(folder: Path, source: str, **values: object) -> list[tuple[object, ...]]:
    return read(data(source, **values), folder)[0].rows()


def test_every_row_of_the_table_is_there() -> None:
    for target in files.FORMATS.values():
        assert callable(load(target, "test"))


def test_the_origin_tells_where_the_data_came_from(tmp_path: Path) -> None:
    content = b"a;b\n1;2\n3;4\n"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_bytes(content)
    _, origin = read(data("data/x.csv", documentation={"licence": "CC0"}), tmp_path)
    assert origin == {
        "source": "data/x.csv",
        "format": "csv",
        "files": [{"path": "data/x.csv", "bytes": len(content), "sha256": sha256(content).hexdigest()}],
        "found": {"separator": "semicolon"},
        "rows": 2,
        "columns": 2,
        "documentation": {"licence": "CC0"},
    }
    json.dumps(origin)


def test_another_source_than_the_config_names(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("a,b\n1,2\n")
    assert read(data("train.csv"), tmp_path, "test.csv")[0].rows() == [("1", "2")]
    assert read(data("train.csv"), Path("/"), str(tmp_path / "test.csv"))[0].rows() == [("1", "2")]
    assert read(data("train.csv"), Path("/"), f"file://{tmp_path}/test.csv")[0].rows() == [("1", "2")]
    assert read(data("train.csv"), tmp_path, "file:test.csv")[0].rows() == [("1", "2")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("Reviews.csv", "other.txt"):
        (tmp_path / "data" / name).write_text("a\n1\n")
    with pytest.raises(DataError) as caught:
        read(data("data/review.csv"), tmp_path)
    assert str(caught.value) == (
        f"No file at {tmp_path}/data/review.csv. Did you mean 'Reviews.csv'? "
        f"In {tmp_path}/data there are: Reviews.csv, other.txt."
    )
    with pytest.raises(DataError, match=rf"No file at .*/dat/x/y.csv. In {tmp_path} there are: data/\."):
        read(data("dat/x/y.csv"), tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "data" / "keepfit.yaml").touch()
    for name in ("keepfit.csv", "x.csv"):  # alike in what is no data, or in the ending alone
        with pytest.raises(DataError) as told:
            read(data(f"data/{name}"), tmp_path)
        assert "Did you mean" not in str(told.value)
    with pytest.raises(DataError, match=rf"No file at .*/empty/y.csv. {tmp_path}/empty is empty."):
        read(data("empty/y.csv"), tmp_path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x.cvs", r"x.cvs has the ending '.cvs'. Did you mean 'csv'\? Known: .csv, .tsv, .*python:module:function"),
        ("x", "x has no ending that tells its format. Known: .csv"),
        ("x.gz", "x.gz has no ending that tells its format"),
        ("x.parquet.gz", "unpack it first; a parquet file is compressed inside and is not read from .gz"),
    ],
)
def test_unknown_formats(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=problem):
        read(data(name), tmp_path)
    with pytest.raises(DataError, match=problem):
        list(batches(data(), tmp_path / name, 10))


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.json", "x.ndjson", "x.xlsx"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name} is empty: it has 0 bytes"):
        read(data(name), tmp_path)


@pytest.mark.parametrize("unreadable", ["x.csv", "closed"])
def test_no_permission(tmp_path: Path, unreadable: str) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "closed").mkdir()
    for parent in [tmp_path, *tmp_path.parents][:4]:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(0o755)
    (tmp_path / unreadable).chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(DataError, match=rf"{tmp_path}/{unreadable} may not be read by this user. .*chmod"):
            read(data(unreadable), tmp_path)
        with pytest.raises(DataError, match=rf"{tmp_path}/{unreadable} may not be read by this user"):
            list(batches(data(), tmp_path / unreadable, 10))
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / unreadable).chmod(0o700)


def test_typed_formats_keep_their_types(tmp_path: Path) -> None:
    TYPED.write_parquet(tmp_path / "x.parquet")
    assert read(data("x.parquet"), tmp_path)[0].equals(TYPED)
    TYPED.drop("d").write_json(tmp_path / "x.json")
    assert read(data("x.json"), tmp_path)[0].equals(TYPED.drop("d"))
    TYPED.drop("d").write_ndjson(tmp_path / "x.ndjson")
    assert read(data("x.ndjson"), tmp_path)[0].equals(TYPED.drop("d"))
    TYPED.write_excel(tmp_path / "x.xlsx")
    frame, origin = read(data("x.xlsx"), tmp_path)
    assert frame.equals(TYPED)
    assert origin["found"] == {"sheet": "Sheet1"}


@pytest.mark.parametrize("name", ["x.csv.gz", "x.tsv.zst", "x.json.gz", "x.ndjson.zst", "x.jsonl.gz"])
def test_compressed_files(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"]})
    kind = files.suffix(Path(name))
    write = {
        "csv": frame.write_csv,
        "json": frame.write_json,
        "ndjson": frame.write_ndjson,
        "jsonl": frame.write_ndjson,
    }
    text = frame.write_csv(separator="\t") if kind == "tsv" else write[kind]()
    raw = str(text).encode()
    packed = gzip.compress(raw) if name.endswith("gz") else pa.compress(raw, codec="zstd", asbytes=True)
    (tmp_path / name).write_bytes(packed)
    found, origin = read(data(name), tmp_path)
    assert found.equals(frame)
    assert origin["format"] == kind
    assert origin["files"][0]["sha256"] == sha256(packed).hexdigest()


def test_damaged_parquet(tmp_path: Path) -> None:
    TYPED.write_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"x.parquet is not a whole Parquet file: .* get it again"):
        read(data("x.parquet"), tmp_path)
    with pytest.raises(DataError, match=r"x.parquet is not a whole Parquet file: .* get it again"):
        list(batches(data(), tmp_path / "x.parquet", 10))


def test_parquet_of_pandas_leaves_the_row_labels_out(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}, index=["x", "y"]).to_parquet(tmp_path / "x.parquet")
    frame, origin = read(data("x.parquet"), tmp_path)
    assert frame.columns == ["a"]
    assert origin["found"]["index"] == "pandas' row labels (__index_level_0__) are left out"
    assert pl.concat(batches(data(), tmp_path / "x.parquet", 1)).equals(frame)


def test_nested_columns_are_named(tmp_path: Path) -> None:
    pl.DataFrame({"a": [[1, 2]], "b": [{"x": 1}], "c": [1]}).write_parquet(tmp_path / "x.parquet")
    wanted = r"x.parquet: a cell must hold one .*: 'a' \(List\(Int64\)\), 'b' \(Struct.*Take them apart"
    with pytest.raises(DataError, match=wanted):
        read(data("x.parquet"), tmp_path)
    for name, content in (("x.json", '[{"a": [1, 2], "c": 1}]'), ("x.ndjson", '{"a": {"x": 1}}\n{"a": 2}\n')):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=rf"{name}: a cell must hold one .*: 'a' "):
            read(data(name), tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1, 2", r"x.json is not JSON: Expecting ',' delimiter \(line 1, column 6\)"),
        ('{"a": 1}\n{"a": 2}', "is not JSON: Extra data .* It looks like an object a line: name it .ndjson"),
        ('{"a": 1}', r"holds an object; it should hold an array of objects: \[\{…\}, \{…\}\]"),
        ('[{"a": 1}, 3, "x"]', r"element 2 is a number, not an object \(2 such in all\)"),
        ("[]", "x.json has no rows"),
        ("[{}]", "x.json has no rows"),
    ],
)
def test_json_that_is_no_table(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=problem):
        read(data("x.json"), tmp_path)


def test_json_of_mixed_types(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"a": 1, "b": null}, {"a": "x", "c": NaN}, {"b": 2.5, "c": true}]')
    frame = read(data("x.json"), tmp_path)[0]
    assert frame.to_dict(as_series=False) == {"a": ["1", "x", None], "b": [None, None, 2.5], "c": [None, None, True]}


def test_ndjson_of_mixed_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepfit.data.objects.ROWS", 2)
    (tmp_path / "x.ndjson").write_text('{"a":1}\n{"a":2,"b":1}\n\n{"a":"x"}\n{"b":true}\n{"b":2}')
    frame = read(data("x.ndjson"), tmp_path)[0]
    assert frame["a"].to_list() == ["1", "2", "x", None, None]
    assert frame["b"].to_list() == [None, "1", None, "True", "2"]
    parts = list(batches(data(), tmp_path / "x.ndjson", 2))
    assert len(parts) == 3
    assert pl.concat(parts).equals(frame)  # each frame has the columns and types of the whole


def test_ndjson_lines_that_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text('{"a":1}\n{"a":\n\n[1]\n"x"\n{"a":2}\n')
    with pytest.raises(DataError) as caught:
        read(data("x.ndjson"), tmp_path)
    assert str(caught.value).split(": ", 1)[1] == (
        "3 lines cannot be read as JSON objects.\n"
        '  line 2: Expecting value (column 6): {"a":\n'
        "  line 4: an array, not an object: [1]\n"
        '  line 5: a text, not an object: "x"'
    )
    bad: list[BadRow] = []
    frame = pl.concat(batches(data(), tmp_path / "x.ndjson", 2, bad.append))
    assert frame["a"].to_list() == [1, 2]
    assert [row.line for row in bad] == [2, 4, 5]


def workbook(path: Path, *sheets: list[list[object]]) -> None:
    book = xlsxwriter.Workbook(str(path))
    for number, content in enumerate(sheets, 1):
        sheet = book.add_worksheet(f"s{number}")
        for row, cells in enumerate(content):
            sheet.write_row(row, 0, cells)
    book.close()


def test_workbooks(tmp_path: Path) -> None:
    workbook(tmp_path / "x.xlsx", [["a ", "b", None], [1, "x", 7], [2, 3.5, 8]], [["other"], [1]])
    frame, origin = read(data("x.xlsx"), tmp_path)
    assert frame.to_dict(as_series=False) == {"a": [1.0, 2.0], "b": ["x", "3.5"], "column_3": [7.0, 8.0]}
    assert origin["found"] == {"sheet": "s1 of s1, s2"}
    workbook(tmp_path / "y.xlsx", [[1, "x"], [2, "y"]])
    assert rows(tmp_path, "y.xlsx", header=["n", "s"]) == [(1.0, "x"), (2.0, "y")]


@pytest.mark.parametrize(
    ("sheet", "header", "problem"),
    [
        ([], None, "the first sheet, 's1', is empty"),
        ([["a", "b", "a"], [1, 2, 3]], None, "sheet 's1': duplicate column names: 'a'"),
        ([["a", "b"]], None, "x.xlsx has no rows"),
        ([[1, 2]], ["a"], "data.header has 1 names, but the sheet 's1' has 2 columns"),
    ],
)
def test_workbooks_without_a_table(tmp_path: Path, sheet: list[list[object]], header: list[str], problem: str) -> None:
    workbook(tmp_path / "x.xlsx", sheet)
    with pytest.raises(DataError, match=problem):
        read(data("x.xlsx", header=header), tmp_path)


def test_a_damaged_workbook(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match=r"x.xlsx cannot be read as a workbook: .*Save it again as .xlsx, or as CSV"):
        read(data("x.xlsx"), tmp_path)


def test_globs_are_a_union_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "2024-02.csv").write_text("b,a\n2,x\n")
    (tmp_path / "2024-01.csv").write_text("a;b\ny;1\n")
    (tmp_path / "2023-12.csv").write_text("c\n1\n")
    frame, origin = read(data("2024-*.csv"), tmp_path)
    assert frame.to_dict(as_series=False) == {"a": ["y", "x"], "b": ["1", "2"]}
    assert [file["path"] for file in origin["files"]] == ["2024-01.csv", "2024-02.csv"]
    assert [part.rows() for part in batches(data(), tmp_path / "2024-*.csv", 5)] == [[("y", "1")], [("x", "2")]]
    with pytest.raises(DataError, match=r"No file matches .*/2022-\*.csv. Did you mean .* there are: 2023-12.csv"):
        read(data("2022-*.csv"), tmp_path)
    wanted = r"2024-01.csv has other columns than .*2023-12.csv: it lacks 'c' and has 'a', 'b' besides"
    with pytest.raises(DataError, match=wanted):
        read(data("20*.csv"), tmp_path)
    with pytest.raises(DataError, match=wanted):
        list(batches(data(), tmp_path / "20*.csv", 5))


def test_a_union_of_types_that_differ(tmp_path: Path) -> None:
    for name, values in {"1": [1], "2": [2.5], "3": [None]}.items():
        pl.DataFrame({"n": values, "s": [values[0]]}).write_parquet(tmp_path / f"{name}.parquet")
    pl.DataFrame({"n": [3], "s": ["x"]}).write_parquet(tmp_path / "4.parquet")
    assert rows(tmp_path, "*.parquet") == [(1.0, "1"), (2.5, "2.5"), (None, None), (3.0, "x")]


def test_a_folder_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    with pytest.raises(
        DataError, match=r"parts is a folder without files that can be read. .* is empty. Known endings"
    ):
        read(data("parts"), tmp_path)
    for n in (2, 1):
        pl.DataFrame({"n": [n]}).write_parquet(folder / f"{n}.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".x.parquet.crc").touch()
    assert rows(tmp_path, "parts") == [(1,), (2,)]
    (folder / "x.csv").write_text("n\n3\n")
    with pytest.raises(
        DataError, match=r"parts holds files of several formats \(csv, parquet\): .*data.source: parts/\*"
    ):
        read(data("parts"), tmp_path)


def test_texts_by_class(tmp_path: Path) -> None:
    for name, text in {"pos/1.txt": "good", "pos/0.txt": "gréat", "neg/1.txt": "bad\n\nfilm"}.items():
        path = tmp_path / "reviews" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "reviews" / "urls.txt").write_text("not a review")
    (tmp_path / "reviews" / "neg" / "2.txt").write_bytes("caf\xe9".encode("latin-1"))
    frame, origin = read(data("reviews", target="sentiment"), tmp_path)
    assert frame.to_dict(as_series=False) == {
        "text": ["bad\n\nfilm", "café", "gréat", "good"],
        "path": ["neg/1.txt", "neg/2.txt", "pos/0.txt", "pos/1.txt"],
        "sentiment": ["neg", "neg", "pos", "pos"],
    }
    assert origin["format"] == "text files"
    assert origin["found"] == {
        "texts": "4 files",
        "encoding": "1 files are not UTF-8 and were read as cp1252 or latin-1",
        "classes": "neg: 2, pos: 2",
    }
    before = origin["files"][0]["sha256"]
    (tmp_path / "reviews" / "pos" / "1.txt").write_text("goof")
    frame, origin = read(data("reviews"), tmp_path)
    assert origin["files"][0]["sha256"] != before
    assert frame.columns == ["text", "path", "label"]


def test_texts_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "1.txt").write_bytes(b"ab\0c")
    with pytest.raises(DataError, match=r"1.txt has a NUL byte at offset 2: it is not text"):
        read(data("."), tmp_path)
    (tmp_path / "pos" / "1.txt").write_bytes("ü".encode("utf-16"))
    assert rows(tmp_path, ".") == [("ü", "pos/1.txt", "pos")]
    (tmp_path / "pos" / "1.txt").write_text("ü")
    with pytest.raises(DataError, match=r"data.encoding is ascii, but byte 0xc3 at offset 0 is not ascii"):
        read(data(".", encoding="ascii"), tmp_path)
    with pytest.raises(ConfigError, match=r"unknown encoding 'utf9'"):
        read(data(".", encoding="utf9"), tmp_path)


def test_texts_without_classes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    assert read(data("."), tmp_path)[0].to_dict(as_series=False) == {"text": ["one"], "path": ["a.txt"]}


def test_batches_of_typed_files(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(1000), "when": [datetime(2020, 1, 1)] * 1000})
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=300)
    parts = list(batches(data(), tmp_path / "x.parquet", 256))
    assert max(part.height for part in parts) <= 256
    assert pl.concat(parts).equals(frame)
    frame.drop("when").write_json(tmp_path / "x.json")
    assert [part.height for part in batches(data(), tmp_path / "x.json", 400)] == [400, 400, 200]
