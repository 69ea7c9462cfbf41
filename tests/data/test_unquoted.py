import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keepfit import config
from keepfit.data import delimited, form, quoted, unquoted

SIGNS = st.sampled_from(
    [*'a1,;"\n\r\t \x0b\x1d', ",", ",", "\n", "\n", "\r\n", "\u00a0", "\u3000", "é", "\x85", "nan", "\\N"]
)
VALUES = st.sampled_from(["", " a", "b ", "1", "-1.5e3", "a b", "\u3000x", "null", "NA", '"q"', '""', "x\ty", "#", "é"])
ROWS = st.lists(st.lists(VALUES, min_size=3, max_size=3).map(",".join)).map("\n".join)
ROUGH = st.lists(SIGNS, max_size=60).map("".join)
SIZE = 32  # bytes of a block: rows of one file are read by both


def form_of(path, **options):
    return form.examine(path, config.Data(source=str(path), **options))


def by_pyarrow(known, size):
    refused = []
    frames = list(quoted.blocks(known, size, 0, 0, lambda *bad: refused.append(bad)))
    return [row for frame in frames for row in frame.rows()], refused


def by_both(known, size):
    rows, refused, at = [], [], 0
    for frame, end in unquoted.blocks(known, size):
        rows += frame.rows()
        at = end
    if not at or at < known.text.path.stat().st_size:
        more = quoted.blocks(known, size, at, len(rows), lambda *bad: refused.append(bad))
        rows += [row for frame in more for row in frame.rows()]
    return rows, refused


@pytest.mark.parametrize("size", [SIZE, 1 << 16])
@given(body=st.one_of(ROWS, ROUGH), end=st.sampled_from(["", "\n", "\r\n", "\n\n"]))
@example(body="1,2,3\n4,5\n6,7,8", end="\n")
@example(body="1,2,3\n4,5,6,7\n6,7,8", end="\n")
@example(body="1,2,3\n\n6,7,8", end="")
@example(body="1,2\n3,4,5", end="")
@example(body="1,2,3,4\n3,4,5", end="")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_parsers_agree(tmp_path, size, body, end):
    path = tmp_path / "x.csv"
    path.write_bytes(f"a,b,c\n{body}{end}".encode())
    known = form_of(path, separator=",", header=None)
    if known.alone or known.blanks:
        return
    try:
        expected = by_pyarrow(known, size)
    except delimited.DataError as error:
        with pytest.raises(delimited.DataError, match=str(error)[-20:].replace(".", r"\.")):
            by_both(known, size)
    else:
        assert by_both(known, size) == expected


def test_plain_rows_need_no_other_parser(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,x\n" * 1000)
    frames = list(unquoted.blocks(form_of(path), 100))
    assert len(frames) > 30
    assert pl.concat([frame for frame, _ in frames]).height == 1000
    assert frames[-1][1] == path.stat().st_size


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,\n", 'a,b\n1,"2"\n', "a,b\n1,2\n\n3,4\n", "a,b\n1,2,3\n", "\n\na,b\n1,2\n", "a\n1\n2\n", "a,b\n1\r,2\n"],
)
def test_what_is_not_plain_is_left_alone(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_text(text, newline="")
    assert list(unquoted.blocks(form_of(path, separator=","), 1 << 16)) == []


def test_the_lines_of_bad_rows_after_plain_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", SIZE)
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 100 + "3\n" + "1,2\n" * 100 + "4,5,6\n")
    bad = []
    frames = list(delimited.chunks(form_of(path), bad.append))
    assert sum(frame.height for frame in frames) == 200
    assert [(row.line, row.text) for row in bad] == [(102, "3"), (203, "4,5,6")]
