"""CSV and TSV: form found out, values as strings, bad rows named, nothing lost."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepfit import config
from keepfit.data import delimited, form
from keepfit.data.delimited import BadRow
from keepfit.data.read import batches
from keepfit.errors import ConfigError, DataError

NAMES = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip


def data(**values: object) -> config.Data:
    return config.Data(source="x.csv", **values)  # type: ignore[arg-type]


def csv(folder: Path, content: str | bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(folder: Path, content: str | bytes, **values: object) -> dict[str, list[str | None]]:
    frame, _ = delimited.read(csv(folder, content), data(**values))
    assert set(frame.dtypes) == {pl.String}
    columns: dict[str, list[str | None]] = frame.to_dict(as_series=False)
    return columns


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("a;b\n1,5;2\n3,4;\n", {"a": ["1,5", "3,4"], "b": ["2", None]}),
        ("a\tb, c\n1,2\t3\n", {"a": ["1,2"], "b, c": ["3"]}),
        ("a|b\n1|2", {"a": ["1"], "b": ["2"]}),
        ("only\n1\n2\n", {"only": ["1", "2"]}),
        ("\ufeffa,b\r\n1,2\r\n", {"a": ["1"], "b": ["2"]}),
        ("a,b\r1,2\r", {"a": ["1"], "b": ["2"]}),
        ("\n \n a , b \n 1 , 2 \n", {"a": ["1"], "b": ["2"]}),
        ('a,b\n"x\ny, z","say ""hi"""\n', {"a": ["x\ny, z"], "b": ['say "hi"']}),
        ('a,b\n,""\n', {"a": [None], "b": [""]}),
        ('"a", "b"\n"1", "x, y"\n2, "z"\n', {"a": ["1", "2"], "b": ["x, y", "z"]}),
        ("a,b\n1,x\n2.5,7\n", {"a": ["1", "2.5"], "b": ["x", "7"]}),
    ],
)
def test_forms_are_found_out(tmp_path: Path, content: str, expected: dict[str, list[str]]) -> None:
    assert read(tmp_path, content) == expected


@pytest.mark.parametrize("given", ["|", "bar", " | "])
def test_a_given_separator_counts(tmp_path: Path, given: str) -> None:
    assert read(tmp_path, "a,x|b\n1,2|3\n", separator=given) == {"a,x": ["1,2"], "b": ["3"]}


@pytest.mark.parametrize("wrong", ["::", '"', "x", "ß", "\n"])
def test_a_separator_that_cannot_be_one(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"data.separator: .* cannot be one; write one character"):
        read(tmp_path, "a,b\n1,2\n", separator=wrong)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, "é,b\n1,€\n".encode(encoding)) == {"é": ["1"], "b": ["€"]}


def test_another_encoding_is_found_and_reported(tmp_path: Path) -> None:
    frame, found = delimited.read(csv(tmp_path, "a,b\n1,2\n3,café\n".encode("cp1252")), data())
    assert frame["b"].to_list() == ["2", "café"]
    assert found["encoding"] == (
        "cp1252, taken because byte 0xe9 at offset 13 (line 3) is not utf-8; set data.encoding if it is another"
    )
    frame, found = delimited.read(csv(tmp_path, b"a\n\x81\xe9\n"), data())  # cp1252 has no 0x81
    assert frame["a"].to_list() == ["\x81é"]
    assert found["encoding"].startswith("latin-1")


def test_a_given_encoding_is_proved(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n1,Ж\n".encode("cp1251"), encoding="cp1251") == {"a": ["1"], "b": ["Ж"]}
    assert read(tmp_path, "a,b\n1,é\n".encode("utf-16-le"), encoding="utf-16-le") == {"a": ["1"], "b": ["é"]}
    with pytest.raises(DataError, match=r"data.encoding is ascii, but byte 0xc3 at offset 6 \(line 2\) is not ascii"):
        read(tmp_path, "a,b\n1,é\n", encoding="ascii")
    with pytest.raises(ConfigError, match=r"data.encoding: unknown encoding 'utf9'"):
        read(tmp_path, "a,b\n1,2\n", encoding="utf9")


def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"utf-8 text with damage: byte 0xff at offset 11 \(line 3\).*Repair the file"):
        read(tmp_path, "a,b\nü,2\n1,".encode() + b"\xff\n")
    with pytest.raises(DataError, match=r"utf-16 text with damage"):
        read(tmp_path, "a,b\n".encode("utf-16") + b"\x00\xd8\n")


def test_damage_is_found_beyond_the_first_block(tmp_path: Path) -> None:
    start = "a,b\n" + "é,2\n" * 400_000
    place = len(start.encode())
    with pytest.raises(DataError, match=rf"byte 0xff at offset {place} \(line 400,?002\)"):
        read(tmp_path, start.encode() + b"\xff,2\n")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"NUL byte at offset 6 \(line 2\): it is not text, or .*utf-16-le"):
        read(tmp_path, "a,b\n1,\0\n")
    with pytest.raises(DataError, match=r"NUL byte at offset 1 "):
        read(tmp_path, "a,b\n".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty: it has no bytes"),
        ("\n \n\t\n", "is empty: it holds only blanks"),
        ("a,b\n", r"has column names \(a, b\) but no rows"),
        ("a,b", r"has column names \(a, b\) but no rows"),
        (
            "a,b,a,c,b\n1,2,3,4,5\n",
            r"duplicate column names: 'a' \(columns 1 and 3\), 'b' \(columns 2 and 5\)\. Rename them, or, where the "
            r"first row holds values and not names, list the names in data\.header",
        ),
    ],
)
def test_files_without_a_table(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(tmp_path, content)


def test_an_unnamed_column_gets_a_name(tmp_path: Path) -> None:
    frame, found = delimited.read(csv(tmp_path, ",b\n0,1\n"), data())
    assert frame.columns == ["column_1", "b"]
    assert found["names"] == "column 1 has no name and is called column_1"


def test_names_that_look_like_values_are_mentioned(tmp_path: Path) -> None:
    _, found = delimited.read(csv(tmp_path, "39,State,77516\n50,Self,83311\n"), data())
    assert found["header"] == "names such as '39' look like values; a file without a header needs data.header"


def test_names_from_the_config(tmp_path: Path) -> None:
    assert read(tmp_path, "1,2\n3,4", header=["x", "y"]) == {"x": ["1", "3"], "y": ["2", "4"]}
    assert read(tmp_path, "1,2", header=["x", "y"]) == {"x": ["1"], "y": ["2"]}
    assert read(tmp_path, "1,5;2\n3,5;4\n", header=["x", "y"]) == {"x": ["1,5", "3,5"], "y": ["2", "4"]}
    assert read(tmp_path, "x,y\n3,4\n", header=["x", "y"]) == {"x": ["3"], "y": ["4"]}  # the file has them too


def test_a_header_of_the_wrong_length(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.header has 3 names, but the rows have 2 fields; the first is '1,2'"):
        read(tmp_path, "1,2\n3,4\n", header=["x", "y", "z"])
    with pytest.raises(ConfigError, match=r"data.header: duplicate column names: 'x' \(columns 1 and 2\)"):
        read(tmp_path, "1,2\n3,4\n", header=["x", "x"])


def test_ragged_rows_are_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, '\na,b\n1,"x\ny"\n3\n\n4,5\n6,7,8\n')
    assert str(caught.value).split(": ", 1)[1] == (
        "2 rows cannot be read; every row should have 2 fields (separator: comma).\n"
        "  line 5 has 1 field: 3\n"
        "  line 8 has 3 fields: 6,7,8\n"
        "Put quotes around values that hold the separator, remove these rows, or set data.separator."
    )


def test_many_ragged_rows_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1,200 rows cannot be read") as caught:
        read(tmp_path, "a,b\n" + "1,2\n3\n" * 1200)
    assert str(caught.value).count("has 1 field") == delimited.SHOWN
    assert "  …" in str(caught.value)


def test_ragged_rows_of_the_slower_parser(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3 has 1 field: 3"):
        read(tmp_path, 'a, "b"\n1, "x, y"\n3\n')


def test_a_line_that_cannot_be_counted(tmp_path: Path) -> None:
    huge = "x" * 200_000  # longer than the csv module, which counts the lines, takes
    with pytest.raises(DataError, match=r"line \? has 1 field: 3"):
        read(tmp_path, f"a,b\n1,{huge}\n3\n")
    with pytest.raises(DataError, match=r"x.csv, line 3: field larger than field limit .* never closed\?"):
        read(tmp_path, f'a, "b"\n1, "2"\n3,"{huge}"\n')


def test_a_comment_above_the_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1 has 1 field: \|1x3 Cross validator"):
        read(tmp_path, "|1x3 Cross validator\n" + "39, State, x\n" * 3, header=["a", "b", "c"])


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3 has a quote that is never closed: x 5,6"):
        read(tmp_path, 'a,b\n1,2\n3,"x\n5,6\n')
    assert read(tmp_path, 'a,b\n1,2\n3,"x\n5,6"\n')["b"] == ["2", "x\n5,6"]


def test_a_quote_that_swallows_more_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK", 1 << 20)
    with pytest.raises(DataError, match=r"a row after row 1 is longer than 1 MB. Most likely a quote is opened"):
        read(tmp_path, 'a,b\n1,2\n3,"x\n' + "5,6\n" * 700_000)


@pytest.mark.parametrize("pack", [gzip.compress, lambda raw: pa.compress(raw, codec="zstd", asbytes=True)])
def test_compression_is_told_by_the_content(tmp_path: Path, pack: object) -> None:
    content = pack(b"a;b\n1;2\n") + pack("3;é\n".encode())  # type: ignore[operator]
    assert read(tmp_path, content) == {"a": ["1", "3"], "b": ["2", "é"]}  # two members, one after the other


def test_a_compressed_file_that_is_cut_off(tmp_path: Path) -> None:
    content = gzip.compress(b"".join(b"%d,%d\n" % (n, n * n) for n in range(50_000)))[:-2000]
    with pytest.raises(DataError, match=r"cannot be read to its end: .*The file is damaged or cut off; get it again"):
        read(tmp_path, content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)] * 2), min_size=1))
def test_what_polars_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    path = tmp_path / "round.csv"
    frame.write_csv(path)
    back, _ = delimited.read(path, data(separator=","))
    assert back.equals(frame.with_columns(pl.all().str.strip_chars()))


def test_the_census_files(shared_data: Path) -> None:
    train, _ = delimited.read(shared_data / "adult_income" / "adult.data", data(header=NAMES))
    test, _ = delimited.read(shared_data / "adult_income" / "adult.test", data(header=NAMES))
    assert (train.shape, test.shape) == ((32561, 15), (16281, 15))
    assert sorted(train["income"].unique()) == ["<=50K", ">50K"]
    assert sorted(test["income"].unique()) == ["<=50K.", ">50K."]
    assert train["workclass"].to_list().count("?") == 1836


def test_telco_keeps_its_blanks_as_text(shared_data: Path) -> None:
    frame, found = delimited.read(shared_data / "telco_churn" / "Telco-Customer-Churn.csv", data())
    assert frame.shape == (7043, 21)
    assert found == {"separator": "comma"}
    assert frame["TotalCharges"].to_list().count("") == 11


def test_imdb_agrees_with_polars(shared_data: Path) -> None:
    path = shared_data / "imdb" / "imdb_reviews.csv.gz"
    frame, _ = delimited.read(path, data())
    assert frame.equals(pl.read_csv(path, infer_schema=False).with_columns(pl.all().str.strip_chars()))


def test_batches_are_the_whole_file_in_order(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f'{n},"x\n{n}"\n' for n in range(1000))
    path = csv(tmp_path, gzip.compress(content.encode()), "x.csv.gz")
    whole, _ = delimited.read(path, data())
    parts = list(batches(data(), path, 300))
    assert [part.height for part in parts] == [300, 300, 300, 100]
    assert pl.concat(parts).equals(whole)


@pytest.mark.parametrize("size", [delimited.BLOCK, 64])
def test_bad_rows_are_handed_out_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(delimited, "BLOCK", size)
    lines = ["a,b", *(f"{n},{n}" for n in range(200))]
    lines[7], lines[150], lines[200] = "6", "149,149,1", "1,2,3"
    bad: list[BadRow] = []
    frame = pl.concat(batches(data(), csv(tmp_path, "\n".join(lines) + "\n"), 50, bad.append))
    assert bad == [
        BadRow(8, "6", "1 field"),
        BadRow(151, "149,149,1", "3 fields"),
        BadRow(201, "1,2,3", "3 fields"),
    ]
    assert frame["a"].to_list() == [str(n) for n in range(200) if n not in (6, 149, 199)]


def test_batches_without_a_taker_of_bad_rows_stop(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x.csv: line 3 cannot be read, it has 1 field: 3"):
        list(batches(data(), csv(tmp_path, "a,b\n1,2\n3\n"), 10))


def test_what_the_taker_raises_comes_through(tmp_path: Path) -> None:
    def full(row: BadRow) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left"):
        list(batches(data(), csv(tmp_path, "a,b\n1,2\n3\n"), 10, full))


def test_the_open_quote_at_the_end_is_a_bad_row_of_batches(tmp_path: Path) -> None:
    bad: list[BadRow] = []
    frames = list(batches(data(), csv(tmp_path, 'a,b\n1,2\n3,"x\n5,6\n'), 10, bad.append))
    assert frames[0].rows() == [("1", "2")]
    assert bad == [BadRow(3, "x\n5,6", "a quote that is never closed")]


def test_header_only_gives_no_batches(tmp_path: Path) -> None:
    assert list(batches(data(), csv(tmp_path, "a,b\n"), 10)) == []


def test_the_form_looks_at_the_beginning_only(tmp_path: Path) -> None:
    content = "a;b\n" + "1;x\n" * form.SAMPLE + "2;y,z\n"
    assert form.examine(csv(tmp_path, content), data()).separator == ";"
