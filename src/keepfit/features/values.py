"""How the values of columns travel: plain arrays, the same in training, batch and serving.

`Columns` is what every fitted thing is trained on and asked about. It is made by
`features.frame.from_frame` (training, batch) and `features.rows.from_rows` (serving); after that
there is one code path. Nothing here, or below it, needs pandas, polars or scikit-learn.

    role       values
    number     float64 (n,), NaN = missing
    date       float64 (n,), seconds since 1970 UTC, NaN = missing
    category   Coded: codes into levels, -1 = missing
    text       Tokens: word ids of each document; or Documents, which gives them when asked
    image      Pictures: the bytes of their files
    series     Coded
    moment     float64 (n,), as date or number
    past       float64 (n,), NaN = not observed (yet)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Coded:
    """Categories: `levels[codes[i]]` is the value of row i; code -1 is missing."""

    codes: NDArray[np.int32]
    levels: list[str]

    def __getitem__(self, rows: Any) -> Coded:
        return Coded(self.codes[rows], self.levels)

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Tokens:
    """Documents as word ids: document i is `ids[starts[i] : starts[i] + lengths[i]]` of `words`."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    words: list[str]

    def __getitem__(self, rows: Any) -> Tokens:
        return Tokens(self.ids, self.starts[rows], self.lengths[rows], self.words)

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Documents:
    """Texts as they are, to be asked about: not every model needs the ids of their words."""

    texts: Sequence[str | None]

    def __getitem__(self, rows: Any) -> Documents:
        return Documents([self.texts[row] for row in np.arange(len(self.texts))[rows].tolist()])

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def tokens(self) -> Tokens:
        """The texts as word ids, made when they are first asked for."""
        from keepfit.features.text import tokens  # only models of texts need that file

        return tokens(self.texts)


def documents(texts: Sequence[str | None], tokens: Tokens) -> Documents:
    """Texts whose word ids are there already."""
    made = Documents(texts)
    made.__dict__["tokens"] = tokens  # where cached_property keeps it
    return made


@dataclass(frozen=True)
class Pictures:
    """Pictures as the bytes of their files; None is a missing one.

    `made` has rows that were worked out before, by the name of how they were (see `features.ahead`): arrays
    with a first axis as long as `data`, of which the second says which pictures could be decoded.
    """

    data: Sequence[bytes | None]
    made: dict[str, tuple[NDArray[Any], ...]] = field(default_factory=dict)

    def __getitem__(self, rows: Any) -> Pictures:
        places = np.arange(len(self.data))[rows]
        made = {name: tuple(array[places] for array in arrays) for name, arrays in self.made.items()}
        return Pictures([self.data[place] for place in places.tolist()], made)

    def __len__(self) -> int:
        return len(self.data)


class Sparse(NamedTuple):
    """A float32 matrix in compressed rows (the arrays of scipy's csr_matrix)."""

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    width: int


@dataclass(frozen=True)
class Columns:
    """Column name → values, all of the same number of rows. Indexing takes rows."""

    values: Mapping[str, Any]
    rows: int

    def __getitem__(self, rows: NDArray[Any]) -> Columns:
        taken = {name: value[rows] for name, value in self.values.items()}
        count = int(rows.sum()) if rows.dtype == bool else len(rows)
        return Columns(taken, count)

    def __len__(self) -> int:
        return self.rows
