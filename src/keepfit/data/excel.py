"""The first sheet of a workbook (Excel, OpenDocument) as a frame; needs the extra `excel`."""

from __future__ import annotations

from pathlib import Path

import fastexcel
import polars as pl

from keepfit import config
from keepfit.data import frames
from keepfit.errors import DataError


def read(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """The first sheet: names in its first row (or `data.header`), cells with their own types.

    A column of mixed types is read as strings. Raises DataError for a damaged workbook, an empty
    sheet, duplicate names, and a `data.header` of another length.
    """
    try:
        book = fastexcel.read_excel(path)
        sheet = book.sheet_names[0]
        top = book.load_sheet(0, header_row=None, n_rows=1).to_polars()
        names = _names(path, sheet, [str(cell or "").strip() for cell in (top.row(0) if top.height else ())], data)
        body = book.load_sheet(0, header_row=None, column_names=names, skip_rows=0 if data.header else 1)
        frame = body.to_polars() if body.height else pl.DataFrame()
    except fastexcel.FastExcelError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as a workbook: {reason}. Save it again as .xlsx, or as CSV.") from error
    others = f" of {', '.join(book.sheet_names)}" if len(book.sheet_names) > 1 else ""
    return frames.tidy(frame, str(path)), {"sheet": sheet + others}


def _names(path: Path, sheet: str, first: list[str], data: config.Data) -> list[str]:
    if not any(first):
        raise DataError(f"{path}: the first sheet, '{sheet}', is empty. Put the table into the first sheet.")
    if data.header and len(data.header) != len(first):
        raise DataError(
            f"{path}: data.header has {len(data.header)} names, but the sheet '{sheet}' has {len(first)} columns."
        )
    names = list(data.header or [name or f"column_{n}" for n, name in enumerate(first, 1)])
    frames.unique(names, f"{path}, sheet '{sheet}'")
    return names
