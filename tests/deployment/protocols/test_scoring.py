"""MLflow's scoring protocol: bodies, answers and errors; and the same as MLflow's own server."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from keepfit.data.rows import Table
from keepfit.deployment import runtime
from keepfit.deployment.protocols import Answered, scoring, tables
from keepfit.errors import RequestError
from keepfit.models import bundle
from keepfit.tracking import mlmodel
from keepfit.types import Column, Schema
from tests.deployment.protocols import requests
from tests.models import fits

ROWS = [{"age": 41, "plan": "pro", "note": "fine"}, {"age": None, "plan": "new", "note": 'a "quoted"\nline, ü'}]
JS = {"content-type": "application/json"}
CSV = {"content-type": "text/csv"}


def rows(body, headers=JS, schema=requests.SCHEMA):
    return scoring.decode(body if isinstance(body, bytes) else requests.json_of(body), headers, schema).rows


def test_csv_with_and_without_a_header():
    wanted = [{**row, "age": "" if row["age"] is None else str(row["age"])} for row in ROWS]
    assert rows(requests.as_csv(ROWS), CSV) == wanted
    assert rows(requests.as_csv(ROWS, header=False), CSV) == wanted
    assert rows(b"\xef\xbb\xbf" + requests.as_csv(ROWS).replace(b"\n", b"\r\n"), CSV)[0] == wanted[0]
    assert rows("age,plan,note\n1,ü,x\n".encode("latin-1"), {"content-type": 'text/csv; charset="ISO-8859-1"'}) == [
        {"age": "1", "plan": "ü", "note": "x"}
    ]
    assert rows(b"note, id ,age,plan\nx,7,1,pro\n\n", CSV) == [{"note": "x", "id": "7", "age": "1", "plan": "pro"}]
    one = Schema((Column("review", "text"),), "regression")
    assert rows(b"review\ngood\n", CSV, one) == rows(b"good\n", CSV, one) == [{"review": "good"}]


def test_records_with_different_keys_have_missing_values_as_in_pandas():
    found = rows({"dataframe_records": [{"age": 1, "plan": "a"}, {"age": 2, "note": "x", "other": 1}]})
    assert found == [{"age": 1, "plan": "a", "note": None}, {"age": 2, "plan": None, "note": "x", "other": 1}]
    assert rows({"dataframe_records": [{"age": 1}]}) == [{"age": 1}]  # absent for all: told when it is read


def test_one_row_as_columns_and_python_numbers():
    assert rows({"inputs": {"age": 41, "plan": ["pro"], "note": [["fine"]]}}) == ROWS[:1]
    found = rows(b'{"dataframe_split": {"columns": ["age"], "index": [0, 1], "data": [[NaN], [1]]}}')
    assert found[0]["age"] != found[0]["age"]
    assert rows({"dataframe_split": {"columns": [0], "data": [[1]]}}) == [{"0": 1}]
    assert rows({"dataframe_split": {"columns": ["age"], "data": [1, 2]}}) == [{"age": 1}, {"age": 2}]
    body = json.dumps({"instances": [[1, "ü", "x"]]}, ensure_ascii=False).encode("utf-16")
    assert rows(body, {"content-type": "application/json; charset=utf-16"})[0]["plan"] == "ü"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([1], "Send a JSON object with exactly one of dataframe_split, dataframe_records, instances, inputs."),
        ({"instances": [], "inputs": []}, "exactly one of"),
        ({}, "exactly one of"),
        ({"inputs": []}, "inputs is empty. Send at least one row."),
        ({"inputs": 3}, "inputs must be a list of rows, not a number."),
        ({"inputs": {}}, "inputs has no columns. The model needs age, plan, note."),
        ({"inputs": {"age": [], "plan": []}}, "inputs has no rows. Send at least one."),
        ({"inputs": {"age": [1, 2], "plan": ["a"]}}, "not equally long: 'age' 2, 'plan' 1."),
        ({"instances": [{"age": 1}, [1]]}, "Each row of instances must be an object with the columns as keys."),
        ({"instances": [[1, 2]]}, "Each row of instances must have 3 values: age, plan, note."),
        ({"instances": [1, 2, 3]}, "Each row of instances must have 3 values"),
        ({"dataframe_records": {"age": 1}}, "dataframe_records must be a list of rows, not an object."),
        ({"dataframe_records": []}, "dataframe_records is empty"),
        ({"dataframe_records": ["x"]}, "Each row of dataframe_records must be an object"),
        ({"dataframe_split": []}, "'dataframe_split' must be an object with 'columns' and 'data'"),
        ({"dataframe_split": {"data": [[1]], "rows": 1}}, "'dataframe_split' must be an object"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, "Columns stand twice in .*columns: age."),
        ({"dataframe_split": {"columns": [None], "data": [[1]]}}, "columns must be a list of the columns' names"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1], [1, 2]]}}, "dataframe_split.data must have 1 values"),
        ({"inputs": [[1]], "params": []}, "'params' must be an object."),
        ({"inputs": [[1]], "params": {"method": "proba"}}, "params.method must be one of predict, predict_proba, all."),
        ({"inputs": [[1]], "params": {"method": ["all"]}}, "params.method must be one of"),
        (b'{"inputs": 1e400e}', "The body is not valid JSON"),
    ],
)
def test_json_errors(body, told):
    with pytest.raises(RequestError, match=told) as found:
        rows(body)
    assert found.value.status == 400


def test_ragged_rows_are_named():
    with pytest.raises(RequestError) as found:
        rows(b"age,plan,note\n1,a,b\n2,c\n3,d,e,f\n", CSV)
    assert found.value.details == [
        {"row": 1, "column": "", "problem": "has 2 values"},
        {"row": 2, "column": "", "problem": "has 4 values"},
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the CSV is empty. Send at least one row."),
        (b"age,plan,note\n", "the CSV is empty"),
        (b"1,2\n", "The first line is no header: its 2 cells .* nor a value for each of 3: age, plan, note."),
        (b"age,plan,age\n1,2,3\n", "Columns stand twice in the header: age."),
        (b'age,plan,note\n1,"a"b,c\n', "The body is not CSV: line 2"),
        (b'age,plan,note\n1,"a,c\n', "The body is not CSV: .*unexpected end of data"),
        (b"age,plan,note\n1,\xff,c\n", r"The body is not utf-8 text \(byte 16\)"),
        (b"age,plan,note\n1,b," + b"x" * 200_000, "larger than field limit"),
    ],
)
def test_csv_errors(body, told):
    with pytest.raises(RequestError, match=told) as found:
        rows(body, CSV)
    assert found.value.status == 400


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded' is not read here. Known"),
        ("application/octet-stream", "Content-Type 'application/octet-stream' is not read here"),
        ("text/csv; charset=zip", "The charset 'zip' is not read here. Send UTF-8."),
    ],
)
def test_content_types_that_are_not_read(kind, told):
    with pytest.raises(RequestError, match=told) as found:
        rows(b"{}", {"content-type": kind})
    assert found.value.status == 415


def test_lines():
    lines = {"content-type": "application/jsonlines", "accept": "application/jsonlines"}
    asked = scoring.decode(b'{"age": 1}\r\n\n{"age": 2}\n', lines, requests.SCHEMA)
    assert asked.rows == [{"age": 1}, {"age": 2}]
    reply = scoring.encode(asked, requests.answered())
    assert (reply.body, reply.content_type) == (
        b'{"prediction":"no"}\n{"prediction":"yes"}\n',
        "application/jsonlines",
    )
    for body, told in ((b"\n", "no lines"), (b"{}\n1", "Each row of the body must be an object"), (b"{", "not valid")):
        with pytest.raises(RequestError, match=told):
            rows(body, lines)


def test_a_million_columns_are_refused_before_they_cost_anything():
    names = [f"c{k}" for k in range(100_000)]
    for body, headers in (
        (requests.json_of({"dataframe_split": {"columns": names, "data": [[0] * len(names)]}}), JS),
        (requests.json_of({"inputs": dict.fromkeys(names, 1)}), JS),
        (requests.json_of({"instances": [dict.fromkeys(names, 1)]}), JS),
        (",".join(["age", "plan", *["age"] * 100_000]).encode() + b"\n1\n", CSV),
    ):
        with pytest.raises(RequestError, match=r"columns are more than the 10,004 that a request may have\."):
            rows(body, headers)


def predictions(method="predict", accept="", body=None, values=False, header=True):
    schema = requests.VALUES if values else requests.SCHEMA
    sent = {"inputs": [[1, "a", "b"]] * 2, "params": {"method": method}}
    asked = scoring.decode(body or requests.json_of(sent), {**(CSV if body else JS), "accept": accept}, schema)
    return scoring.encode(asked, requests.answered(values=values))


def test_answers():
    assert json.loads(predictions().body) == {"predictions": [{"prediction": "no"}, {"prediction": "yes"}]}
    assert json.loads(predictions("predict_proba").body)["predictions"][1] == {"no": 0.125, "yes": 0.875}
    assert json.loads(predictions("all").body)["predictions"][0] == {
        "prediction": "no", "confidence": 0.75, "probability_no": 0.75, "probability_yes": 0.25,
    }  # fmt: skip
    assert json.loads(predictions(values=True).body)["predictions"] == [{"prediction": 0.5}, {"prediction": 1.5}]
    assert json.loads(predictions("all", values=True).body)["predictions"][0] == {
        "prediction": 0.5, "prediction_low": -0.5, "prediction_high": 1.5,
    }  # fmt: skip
    with pytest.raises(RequestError, match="'predict_proba' is for classes; this model predicts a value"):
        predictions("predict_proba", values=True)


def test_answers_as_csv():
    reply = predictions("all", "text/csv")
    assert reply.content_type == "text/csv; charset=utf-8"
    assert reply.body == (
        b"prediction,confidence,probability_no,probability_yes\nno,0.75,0.75,0.25\nyes,0.875,0.125,0.875\n"
    )
    # a batch transform puts the answers to lines without a header beside them
    assert predictions(accept="text/csv", body=b"1,a,b\n2,c,d\n").body == b"no\nyes\n"
    assert predictions(accept="text/csv", body=b"age,plan,note\n1,a,b\n2,c,d\n").body == b"prediction\nno\nyes\n"
    assert predictions(body=b"1,a,b\n2,c,d\n").content_type == "application/json"


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "BAD_REQUEST"), (415, "BAD_REQUEST"), (401, "UNAUTHENTICATED"), (503, "TEMPORARILY_UNAVAILABLE")],
)
def test_errors_in_both_forms(status, code):
    details = [{"row": k, "column": "age", "problem": "not a number: 'x'"} for k in range(5)]
    told = json.loads(scoring.error(RequestError(status, "bad_values", "Values cannot be read.", details)))
    assert told["error_code"] == code
    assert told["message"].startswith("Values cannot be read. Row 0, column 'age': not a number: 'x'. Row 1, ")
    assert told["message"].endswith(" And 2 more.")
    assert told["error"] == {"code": "bad_values", "message": "Values cannot be read.", "details": details}


def test_mlflows_codes_for_the_same_statuses():
    exceptions = pytest.importorskip("mlflow.exceptions")
    for status, code in scoring.CODES.items():
        assert exceptions.ERROR_CODE_TO_HTTP_STATUS[code] == status


# --- beside MLflow's own server --------------------------------------------------------------------

FRAME = pd.DataFrame(
    {
        "age": [20.0, 40.5, None, 70.0],
        "income": [1e4, 2e4, 3e4, 4e4],
        "plan": ["free", "pro", "pro", "never seen"],
        "town": ["town 1", "town, 2", None, "town 3"],
        "since": ["2020-01-01", "2021-02-03", "2021-02-03T10:00:00", "2022-05-05"],
    }
)
DICTS = json.loads(FRAME.to_json(orient="records"))


@pytest.fixture(scope="module", params=["two", "values"])
def peer(request, tmp_path_factory):
    """Our runtime, and MLflow's model of the same bundle."""
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    folder, kind = tmp_path_factory.mktemp("model"), request.param
    model = fits.fitted([Ridge() if kind == "values" else LogisticRegression()], kind)
    made = bundle.write(folder / "bundle", model, fits.schema(kind), fits.ABOUT, **fits.REST)
    columns = tuple(
        Column(c.name, c.role, c.dtype, missing=0.1, formats=("%Y-%m-%d",) if c.role == "date" else ())
        for c in fits.schema(kind).columns
    )
    told = Schema(columns, fits.schema(kind).task, "y", fits.schema(kind).classes)
    mlmodel.write(folder, told, {}, "0" * 32, {})
    return runtime.load(made.path), pyfunc.load_model(str(folder))


def ours(loaded, body, kind):
    asked = scoring.decode(body, {"content-type": kind}, loaded.schema)
    output, problems = loaded.rows(asked.rows)
    assert problems == []
    ids = [str(k) for k in range(len(asked.rows))]
    return json.loads(scoring.encode(asked, Answered(ids, output, loaded.schema.classes, "small", "1")).body)


def bodies():
    lists = [list(row.values()) for row in DICTS]
    columns = {name: [row[name] for row in DICTS] for name in FRAME}
    whole = {name: values[:2] for name, values in columns.items()}
    methods = ["predict", "all"]
    for method in methods:
        params = {"params": {"method": method}}
        yield {"dataframe_split": {"columns": list(FRAME), "data": lists}, **params}
        yield {"dataframe_split": {"columns": list(FRAME), "data": lists, "index": [5, 6, 7, 8]}, **params}
        yield {"dataframe_records": DICTS, **params}
        yield {"inputs": whole, **params}
        yield {"inputs": DICTS[:2], **params}
        yield {"instances": whole, **params}
        yield {"instances": DICTS[:2], **params}
    yield {"dataframe_records": [DICTS[0], {k: v for k, v in DICTS[1].items() if k != "town"}]}


@pytest.mark.slow
@pytest.mark.parametrize("body", list(bodies()), ids=lambda body: "+".join(body))
def test_the_answers_of_mlflows_server(peer, body):
    server = pytest.importorskip("mlflow.pyfunc.scoring_server")
    loaded, model = peer
    text = json.dumps(body)
    theirs = server.invocations(text, "application/json", model, model.metadata.get_input_schema())
    assert theirs.status == 200
    check(ours(loaded, text.encode(), "application/json; charset=utf-8"), json.loads(theirs.response))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text/csv", "application/vnd.apache.parquet", "application/json; charset=utf-8"])
def test_other_content_types_as_in_mlflows_server(peer, kind, tmp_path):
    server = pytest.importorskip("mlflow.pyfunc.scoring_server")
    loaded, model = peer
    if kind == "text/csv":
        body = FRAME.to_csv(index=False).encode()
    elif "parquet" in kind:
        FRAME.to_parquet(tmp_path / "rows.parquet", index=True)
        body = (tmp_path / "rows.parquet").read_bytes()
    else:  # as MLflow's client writes a frame: with NaN
        body = json.dumps({"dataframe_split": FRAME.to_dict(orient="split")}).encode()
        assert b"NaN" in body
    theirs = server.invocations(body, kind, model, model.metadata.get_input_schema())
    assert theirs.status == 200
    check(ours(loaded, body, kind), json.loads(theirs.response))


def check(found, wanted):
    assert len(found["predictions"]) == len(wanted["predictions"])
    for mine, their in zip(found["predictions"], wanted["predictions"], strict=True):
        assert mine.keys() == their.keys()
        for name, value in their.items():
            assert mine[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9))


LEVELS = Schema(
    (
        Column("age", "number"),
        Column("plan", "category", distinct=2, levels=("free", "pro")),
        Column("note", "text"),
        Column("y", "target"),
    ),
    "regression",
    "y",
)


def framed(names, rows, **more):
    return json.dumps({"dataframe_split": {"columns": names, "data": rows, **more}}).encode()


MANY = [[k, ("free", "pro", None)[k % 3], f"note {k}"] for k in range(200)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0)])
@pytest.mark.parametrize("odd", [None, [0.5, "pro", ""], [10**25, "pro", ""], ["7", "new", ""], [True, 1, None]])
def test_many_rows_are_what_few_of_them_are(order, odd):
    names = [["age", "plan", "note"][k] for k in order]
    given = [[row[k] for k in order] for row in ([*MANY, odd] if odd else MANY)]
    body = framed(names, given, index=list(range(len(given))))
    assert len(body) > tables.SHORT
    assert [*rows(body, schema=LEVELS)] == [dict(zip(names, row, strict=True)) for row in given]


def test_columns_of_many_rows_are_read_as_such_in_any_order():
    for names in (["age", "plan", "note"], ["note", "plan", "age"]):
        row = [{"age": 1, "plan": "pro", "note": "x"}[name] for name in names]
        found = rows(framed(names, [row] * 200), schema=LEVELS)
        assert type(found) is Table
        assert [*found.columns] == names
        assert [*found] == [dict(zip(names, row, strict=True))] * 200


@pytest.mark.parametrize(
    ("names", "row", "code"),
    [
        (["age", "plan", "age"], [1, "pro", 2], "duplicate_columns"),
        (["age", "plan"], [1, "pro", 2], "bad_shape"),
        (["age", 7], [1, [2]], None),  # told when it is read
        (["age", "plan", "note", "other"], [1, "pro", "x", 1], None),
    ],
)
def test_many_rows_are_judged_as_few_are(names, row, code):
    body = framed(names, [row] * 200)
    if code is None:
        assert [*rows(body, schema=LEVELS)] == [dict(zip(map(str, names), row, strict=True))] * 200
    else:
        with pytest.raises(RequestError) as found:
            rows(body, schema=LEVELS)
        assert found.value.code == code


def test_params_of_many_rows():
    body = json.loads(framed(["age", "plan", "note"], MANY))
    asked = scoring.decode(json.dumps({**body, "params": {"method": "all"}}).encode(), JS, LEVELS)
    assert asked.context.method == "all"
    with pytest.raises(RequestError, match="predict_proba"):
        scoring.decode(json.dumps({**body, "params": {"method": "predict_proba"}}).encode(), JS, LEVELS)
    with pytest.raises(RequestError, match="exactly one"):
        scoring.decode(json.dumps({**body, "inputs": [1]}).encode(), JS, LEVELS)
