"""Text in columns by polars' parser, for as long as it is plain: UTF-8, no quote, no blank line, no short row.

Most files are so, and this is the fastest way to read them; it needs no pyarrow. Polars fills short rows up
without a word and skips no blank line, hence the block that may have one is not taken: `blocks` ends
there, and `data.quoted` goes on with that block. Both give the same frames of the same blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from keepfit.data import decode
from keepfit.data.form import Form

BLANKS = (b"\t", b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x1f")  # of ASCII, besides the space and line ends


def blocks(known: Form, size: int) -> Iterator[tuple[pl.DataFrame, int]]:
    """Frames of stripped strings, each of the whole rows in `size` bytes, and the byte where the next one begins."""
    if known.text.encoding not in decode.PLAIN or known.skip or len(known.names) == 1:
        return
    with known.text.path.open("rb") as file:
        if file.read(4).startswith(tuple(decode.COMPRESSIONS)):
            return
        file.seek(0)
        at = _after_names(file.readline(size), known.header)
        while at is not None:
            file.seek(at)
            block = file.read(size)
            end = len(block) if len(block) < size else block.rfind(b"\n") + 1
            frame = _frame(block[:end], known)
            if frame is None:
                return
            at += end
            yield frame, at


def _after_names(line: bytes, header: bool) -> int | None:
    """Where the rows begin; None where the first line is no whole row of names."""
    if not header:
        return None if line.startswith(b"\xef\xbb\xbf") else 0
    return len(line) if line.endswith(b"\n") and line.count(b'"') % 2 == 0 and line.count(b"\r") < 2 else None


def _frame(block: bytes, known: Form) -> pl.DataFrame | None:
    """The rows of a block; None where it is empty or not plain."""
    if not block or b'"' in block:
        return None
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
        if b"\r" in block:
            return None
    try:
        frame = pl.read_csv(
            block,
            has_header=False,
            new_columns=list(known.names),
            separator=known.separator,
            quote_char=None,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError:  # a row is too long: `data.quoted` says which
        return None
    if frame.width != len(known.names) or frame.to_series(-1).null_count():
        return None  # the last value is missing: perhaps the row is short, or the line blank
    return frame.with_columns(pl.all().str.strip_chars()) if _blank_ends(block, known.separator) else frame


def _blank_ends(block: bytes, separator: str) -> bool:
    """Whether a value may have a blank at one of its ends."""
    if not block.isascii():
        return True  # other scripts have blanks of their own
    if any(blank in block for blank in BLANKS if blank != separator.encode()):
        return True
    if b" " not in block:
        return False
    beside = (separator.encode(), b"\n")
    return block[:1] == b" " or block[-1:] == b" " or any(b" " + b in block or b + b" " in block for b in beside)
