"""Rows in columns are the same rows."""

from __future__ import annotations

import pytest

from keepfit.data.rows import Table, columns_of, joined, values_of

ROWS = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 2.5, "b": None}]
TABLE = Table({"a": (1, None, 2.5), "b": ("x", "y", None)})


def test_a_table_is_its_rows() -> None:
    assert [*TABLE] == [TABLE[place] for place in range(len(TABLE))] == ROWS
    assert len(TABLE) == 3
    assert len(Table({})) == 0


@pytest.mark.parametrize("names", [[], ["b"], ["b", "a"]], ids=len)
def test_values_are_those_of_the_rows(names: list[str]) -> None:
    expected = [tuple(row[name] for name in names) for row in ROWS]
    assert [tuple(values) for values in values_of(names)(TABLE)] == expected
    assert [tuple(values) for values in values_of(names)(ROWS)] == expected
    columns = [tuple(row[name] for row in ROWS) for name in names]
    assert [*columns_of(names)(TABLE)] == [*columns_of(names)(ROWS)] == columns


def test_what_a_row_does_not_have() -> None:
    assert values_of(["b", "c"])(TABLE) == values_of(["b", "c"])(ROWS) == [("x", None), ("y", None), (None, None)]
    for rows in (TABLE, ROWS):
        with pytest.raises(KeyError):
            columns_of(["a", "c"])(rows)


def test_no_rows() -> None:
    assert columns_of(["a", "b"])([]) == [(), ()]
    assert values_of(["a", "b"])([]) == []


@pytest.mark.parametrize("other", [Table({"a": (7,), "b": ("z",)}), Table({"a": (7,)}), ({"a": 7, "b": "z"},)])
def test_rows_of_several_requests(other: Table) -> None:
    assert [*joined([TABLE, other, TABLE])] == [*ROWS, *other, *ROWS]
    assert joined([other]) is other


def test_what_all_requests_are_known_to_hold_is_known_of_their_rows() -> None:
    one, other = Table({"a": (1,), "b": (2,)}, frozenset("ab")), Table({"a": (1,), "b": ("2",)}, frozenset("a"))
    assert joined([one, one]).numbers == {"a", "b"}
    assert joined([one, other]).numbers == {"a"}
    assert joined([one, Table(other.columns)]).numbers == frozenset()
