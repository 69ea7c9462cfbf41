"""The same rows as every protocol sends them, and a small schema to send them to."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keepfit.deployment.protocols import Answered, scoring, tensors, v2, vertex
from keepfit.models.fitted import Output
from keepfit.types import Column, Schema

SCHEMA = Schema(
    (
        Column("age", "number", "float", low=18, high=90, example="41"),
        Column("plan", "category", levels=("free", "pro")),
        Column("note", "text", example="fine"),
        Column("y", "target"),
    ),
    "classification",
    "y",
    ("no", "yes"),
)
NAMES = ["age", "plan", "note"]
VALUES = Schema((*SCHEMA.columns[:3], Column("y", "target")), "regression", "y")


def answered(rows=2, values=False):
    """Made-up answers to so many rows."""
    ids = [f"id.{k}" for k in range(rows)]
    if values:
        found = np.arange(rows) + 0.5
        return Answered(ids, Output(found, None, found - 1, found + 1), (), "small", "3")
    labels = np.array(["no", "yes"] * rows, object)[:rows]
    chances = np.array([[0.75, 0.25], [0.125, 0.875]] * rows)[:rows]
    return Answered(ids, Output(labels, chances), ("no", "yes"), "small", "3")


def as_csv(rows, header=True):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(NAMES)
    writer.writerows([row[name] for name in NAMES] for row in rows)
    return text.getvalue().encode()


def as_parquet(rows, **options):
    sink = io.BytesIO()
    table = pa.table({name: [row[name] for row in rows] for name in NAMES})
    pyarrow.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def json_of(value):
    return json.dumps(value).encode()


def v2_body(rows, binary=False, **more):
    """An infer request, and its headers."""
    kinds = {"age": "FP64", "plan": "BYTES", "note": "BYTES"}
    inputs, raw = [], b""
    for name, kind in kinds.items():
        values = [row[name] for row in rows]
        entry = {"name": name, "shape": [len(rows)], "datatype": kind}
        if binary:
            data = tensors.packed(values, kind)
            entry["parameters"] = {"binary_data_size": len(data)}
            raw += data
        else:
            entry["data"] = values
        inputs.append(entry)
    head = json_of({"inputs": inputs, **more})
    return head + raw, {v2.HEADER: str(len(head))} if binary else {}


def everyway(rows):
    """How the rows are sent → (decode, body, headers)."""
    columns = {name: [row[name] for row in rows] for name in NAMES}
    lists = [[row[name] for name in NAMES] for row in rows]
    js = {"content-type": "application/json; charset=utf-8"}
    found = {
        "split": (scoring.decode, json_of({"dataframe_split": {"columns": NAMES, "data": lists}}), js),
        "split without names": (scoring.decode, json_of({"dataframe_split": {"data": lists}}), js),
        "records": (scoring.decode, json_of({"dataframe_records": rows}), js),
        "instances": (scoring.decode, json_of({"instances": rows, "params": {"x": 1}}), js),
        "instances, lists": (scoring.decode, json_of({"instances": lists}), js),
        "instances, columns": (scoring.decode, json_of({"instances": columns}), js),
        "inputs": (scoring.decode, json_of({"inputs": columns}), js),
        "inputs, nested": (scoring.decode, json_of({"inputs": {k: [[v] for v in c] for k, c in columns.items()}}), js),
        "lines": (scoring.decode, b"\n".join(map(json_of, rows)), {"content-type": "application/jsonlines"}),
        "parquet": (scoring.decode, as_parquet(rows), {"content-type": "application/x-parquet"}),
        "bytes": (scoring.decode, as_parquet(rows), {"content-type": "application/octet-stream"}),
        "vertex": (vertex.decode, json_of({"instances": rows, "parameters": None}), {}),
        "vertex, lists": (vertex.decode, json_of({"instances": lists}), {}),
        "v2": (v2.decode, *v2_body(rows)),
    }
    if all(value is not None for row in rows for value in row.values()):
        found["v2, binary"] = (v2.decode, *v2_body(rows, binary=True))
    return found
