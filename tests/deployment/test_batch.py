"""Batch scoring: the input comes back whole and in order, with predictions; nothing is lost or half written."""

from __future__ import annotations

import csv
import gzip
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from keepfit import show
from keepfit.config import Data
from keepfit.data.conform import conform
from keepfit.deployment import batch, runtime, sinks
from keepfit.errors import ConfigError, DataError
from keepfit.features.frame import from_frame
from keepfit.models import bundle
from tests.deployment.test_runtime_series import packed
from tests.models import fits
from tests.models.series.rows import values
from tests.pipeline import test_forecast as forecasts
from tests.projects import keepfit

WORDS = ("good film", "bad", "", "very, very good", 'a "quoted" word', "two\nlines", "Ünïcode 😀")


def loaded(folder, estimator, kind="two", style="linear", text=False, **rest):
    model = fits.fitted([estimator], kind, style, text, **rest)
    return runtime.load(bundle.write(folder, model, fits.schema(kind, text), fits.ABOUT, **fits.REST).path)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("two") / "b", LogisticRegression(), text=True)


def table(count=1000, seed=0):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "id": [f"{k:05d}" for k in range(count)],
            "age": random.integers(18, 90, count).astype(float),
            "income": random.lognormal(10, 1, count).round(2),
            "plan": random.choice(["free", "pro", "new"], count),
            "town": [f"town {k % 45}" for k in range(count)],
            "since": ["2020-05-06", "2021-12-31"] * (count // 2),
            "note": [WORDS[k % len(WORDS)] for k in range(count)],
            "y": ["?"] * count,
        }
    ).with_columns(age=pl.when(pl.int_range(count) % 7 == 0).then(None).otherwise("age"))


def expected(model, frame):
    return batch.frame(model, frame)


WRITE = {
    "csv": lambda frame, path: frame.write_csv(path),
    "tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "parquet": lambda frame, path: frame.write_parquet(path),
    "ndjson": lambda frame, path: frame.write_ndjson(path),
}
READ = {
    "csv": lambda path: pl.read_csv(path, infer_schema_length=None, schema_overrides={"id": pl.String}),
    "tsv": lambda path: pl.read_csv(path, separator="\t", infer_schema_length=None, schema_overrides={"id": pl.String}),
    "csv.gz": lambda path: pl.read_csv(path, infer_schema_length=None, schema_overrides={"id": pl.String}),
    "parquet": pl.read_parquet,
    "ndjson": lambda path: pl.read_ndjson(path, infer_schema_length=None),
}
FORMS = [
    ("csv", "csv"),
    ("tsv", "parquet"),
    ("csv.gz", "ndjson"),
    ("parquet", "csv.gz"),
    ("ndjson", "tsv"),
    ("parquet", "parquet"),
]


@pytest.mark.parametrize(("given", "wanted"), FORMS)
def test_every_form_in_and_out(tmp_path, two, given, wanted):
    frame, source, output = table(), tmp_path / f"in.{given}", tmp_path / f"out.{wanted}"
    WRITE[given](frame, source)
    report = batch.predict(two, source, output, rows=300)
    got, want = READ[wanted](output), expected(two, frame)
    assert got.columns == want.columns
    assert (report["rows"], report["rejected"], report["rejected_file"]) == (1000, 0, None)
    for name in frame.columns:
        mine, theirs = got[name].cast(pl.String), want[name].cast(pl.String)
        assert mine.fill_null("").to_list() == theirs.fill_null("").to_list(), name
    assert got["prediction"].to_list() == want["prediction"].to_list()
    for name in ("confidence", "probability_no", "probability_yes"):
        np.testing.assert_allclose(got[name], want[name], atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, output.name])


def test_answers_are_those_of_the_training_pipeline(two):
    output = two.predict(fits.rows(300, True, seed=4)[0])
    found = batch.answers(output, ("no", "yes"))
    assert found["prediction"].to_list() == output.values.tolist()
    np.testing.assert_array_equal(found["confidence"], output.probabilities.max(axis=1))


def test_confidence_is_that_of_the_predicted_label_not_of_the_likeliest(tmp_path):
    model = loaded(tmp_path / "b", LogisticRegression(), threshold=0.9)
    found = batch.frame(model, table(400)).filter(pl.col("probability_yes").is_between(0.5, 0.9))
    assert len(found) > 10
    assert (found["prediction"] == "no").all()
    assert (found["confidence"] == found["probability_no"]).all()


def test_few_rows_and_many_give_the_same_columns(two, monkeypatch):
    few = expected(two, table(60))
    monkeypatch.setattr(batch, "FEW", 0)
    assert few.equals(expected(two, table(60)))
    assert few.schema == expected(two, table(60)).schema


def test_a_plain_csv_needs_no_pyarrow(tmp_path, two):
    table(60).drop("note").with_columns(note=pl.lit("good film")).write_csv(tmp_path / "in.csv")
    program = """
        import sys
        from pathlib import Path
        from keepfit.deployment import batch, runtime

        bundle, source, output = map(Path, sys.argv[1:])
        batch.predict(runtime.load(bundle), source, output)
        print([name for name in ("pyarrow", "numpy.ma", "sklearn") if name in sys.modules])
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(program),
        two.bundle.path,
        tmp_path / "in.csv",
        tmp_path / "out.csv",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
    assert pl.read_csv(tmp_path / "out.csv").height == 60


def test_values_have_intervals(tmp_path):
    model = loaded(tmp_path / "b", Ridge(), "values", interval=3.5)
    found = batch.frame(model, table(20))
    assert found.columns[-3:] == ["prediction", "prediction_low", "prediction_high"]
    np.testing.assert_allclose(found["prediction_high"] - found["prediction_low"], 7.0)
    without = loaded(tmp_path / "c", Ridge(), "values")
    assert batch.frame(without, table(20)).columns[-1] == "prediction"


@pytest.mark.parametrize("kind", ["pandas", "arrow", "dict", "rows", "polars"])
def test_frames_come_back_as_they_came(two, kind):
    frame = table(8)
    given = {
        "pandas": lambda: frame.to_pandas().set_index(pd.Index(list("abcdefgh"))),
        "arrow": frame.to_arrow,
        "dict": lambda: frame.to_dict(as_series=False),
        "rows": frame.to_dicts,
        "polars": lambda: frame,
    }[kind]()
    found = batch.frame(two, given)
    assert type(found) is type(given)
    if kind == "pandas":
        assert list(found.index) == list("abcdefgh")
        found = pl.from_pandas(found)
    elif kind != "polars":
        found = pl.from_arrow(found) if isinstance(found, pa.Table) else pl.DataFrame(found)
    assert found["prediction"].to_list() == batch.frame(two, frame)["prediction"].to_list()


def test_a_frame_with_cells_that_cannot_be_read_is_refused(two):
    with pytest.raises(DataError, match=r"1 cell cannot be read.*\n  row 2, column 'age': not a number: 'old'"):
        batch.frame(two, table(4).with_columns(age=pl.Series(["1", "2", "old", None])))


def test_columns_that_are_taken_get_another_name(tmp_path, two):
    frame = table(10).with_columns(prediction=pl.lit(1), confidence=pl.lit(2), keepfit_confidence=pl.lit(3))
    frame.write_csv(tmp_path / "in.csv")
    report = batch.predict(two, tmp_path / "in.csv", tmp_path / "out.csv")
    got = pl.read_csv(tmp_path / "out.csv")
    assert report["columns"] == {
        "prediction": "keepfit_prediction",
        "confidence": "keepfit_keepfit_confidence",
        "probability_no": "probability_no",
        "probability_yes": "probability_yes",
    }
    assert got.columns == [*frame.columns, *report["columns"].values()]
    assert got["prediction"].to_list() == [1] * 10


def test_bad_rows_are_set_aside_and_good_ones_go_on(tmp_path, two):
    lines = table(60).write_csv().splitlines(keepends=True)
    text = "".join(lines)
    text = text.replace("00003,", "00003,extra,", 1)  # a field too many
    frame = pl.read_csv(text.replace("00003,extra,", "00003,").encode(), infer_schema_length=0)
    text = text.replace(f"00010,{frame['age'][10]}", "00010,young", 1)
    (tmp_path / "in.csv").write_text(text)
    report = batch.predict(two, tmp_path / "in.csv", tmp_path / "out.csv", rows=25)
    got = pl.read_csv(tmp_path / "out.csv", schema_overrides={"id": pl.String})
    assert (report["rows"], report["rejected"]) == (58, 2)
    assert got["id"].to_list() == [f"{k:05d}" for k in range(60) if k not in (3, 10)]
    with (tmp_path / "out.csv.rejected.csv").open(newline="") as file:
        bad = list(csv.DictReader(file))
    ragged, cell = sorted(bad, key=lambda row: row["row"])
    assert ragged["problem"] == "9 fields"
    assert int(ragged["line"]) > 3
    assert "00003,extra" in ragged["text"]
    assert (cell["row"], cell["column"], cell["problem"]) == ("10", "age", "not a number: 'young'")
    assert '"id": "00010"' in cell["text"]
    assert report["rejected_file"] == str(tmp_path / "out.csv.rejected.csv")


def test_bad_cells_of_columns_that_are_no_features_do_not_matter(tmp_path, two):
    table(10).with_columns(y=pl.lit("a label nobody knows")).write_csv(tmp_path / "in.csv")
    assert batch.predict(two, tmp_path / "in.csv", tmp_path / "out.csv")["rows"] == 10


def test_an_older_side_file_goes_when_nothing_is_rejected(tmp_path, two):
    table(10).write_csv(tmp_path / "in.csv")
    (tmp_path / "out.csv.rejected.csv").write_text("old")
    batch.predict(two, tmp_path / "in.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv.rejected.csv").exists()


def refused(tmp_path, two, frame, pattern, output="out.csv", **options):
    """An error with this text, an older output untouched, and nothing new in the folder."""
    if frame is not None:
        frame.write_csv(tmp_path / "in.csv")
    (tmp_path / "out.csv").write_text("older")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError, match=pattern):
        batch.predict(two, tmp_path / "in.csv", tmp_path / output, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "out.csv").read_text() == "older"


def test_absent_columns_are_all_named(tmp_path, two):
    refused(tmp_path, two, table(10).drop("age", "note"), "lack 2 columns.*'age'.*'note'")


def test_what_cannot_be_read_or_written(tmp_path, two):
    refused(tmp_path, two, None, "No file at .*in.csv")
    refused(tmp_path, two, table(4), r"unknown format of the output. Known: \.csv", output="out.xlsx")
    refused(tmp_path, two, table(4), r"unknown format of the output", output="out.parquet.gz")
    refused(tmp_path, two, table(4), r"is the input\. Choose another name", output="in.csv")
    refused(tmp_path, two, table(4), r"There is no folder", output="in.csv/out.csv")
    (tmp_path / "in.csv").write_text("")
    refused(tmp_path, two, None, "is empty")
    refused(tmp_path, two, table(0), r"in\.csv has no rows\. Nothing was written")


def test_where_no_row_is_good_the_output_has_none(tmp_path, two):
    table(4).with_columns(age=pl.lit("old")).write_csv(tmp_path / "in.csv")
    report = batch.predict(two, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (report["rows"], report["rejected"]) == (0, 4)
    assert (tmp_path / "out.csv").read_text().startswith("id,age,")


def test_types_that_change_from_frame_to_frame_fit_no_parquet(tmp_path):
    frames = [pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2.0]}), pl.DataFrame({"a": ["text"]})]
    with pytest.raises(DataError, match=r"changes its type within the input.*Write \.ndjson"):
        store(tmp_path / "out.parquet", frames)
    assert list(tmp_path.iterdir()) == []
    store(tmp_path / "out.parquet", frames[:2])
    assert pl.read_parquet(tmp_path / "out.parquet")["a"].to_list() == [1, 2]
    store(tmp_path / "out.ndjson", frames)
    assert (tmp_path / "out.ndjson").read_text().splitlines() == ['{"a":1}', '{"a":2.0}', '{"a":"text"}']


def store(path, frames):
    with sinks.sink(path) as write:
        for frame in frames:
            write(frame)


def test_a_full_disk_leaves_nothing(tmp_path, two):
    """The process may write no file beyond 20 kB: the system refuses as on a full disk."""
    table(2000).write_csv(tmp_path / "in.csv")
    (tmp_path / "out.csv").write_text("older")
    code = """
        import pathlib, resource, signal, sys
        from keepfit.deployment import batch, runtime
        from keepfit.errors import DataError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        model, source, output = map(pathlib.Path, sys.argv[1:])
        loaded = runtime.load(model)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            batch.predict(loaded, source, output, rows=100)
        except DataError as error:
            print(error)
    """
    done = run(code, two.bundle.path, tmp_path / "in.csv", tmp_path / "out.csv")
    out, err = done.communicate(timeout=60)
    assert "cannot be written: File too large. Nothing is left of it; what was there before is untouched." in out, err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "older"


def run(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_output(tmp_path, two, kill):
    table(20_000).write_csv(tmp_path / "in.csv")
    code = """
        import pathlib, sys, time
        from keepfit.deployment import batch, runtime
        model, source, output = map(pathlib.Path, sys.argv[1:])
        def slow(done, total, message, best=None):
            print(done, flush=True)
            time.sleep(0.2)
        batch.predict(runtime.load(model), source, output, rows=200, progress=slow)
    """
    process = run(code, two.bundle.path, tmp_path / "in.csv", tmp_path / "out.csv")
    assert process.stdout.readline()
    process.send_signal(kill)
    process.wait(timeout=30)
    process.stdout.close()
    process.stderr.close()
    assert not (tmp_path / "out.csv").exists()
    left = [path.name for path in tmp_path.iterdir() if path.name != "in.csv"]
    assert len(left) == (1 if kill == signal.SIGKILL else 0), left
    batch.predict(two, tmp_path / "in.csv", tmp_path / "out.csv")  # the next run clears it away
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_progress_is_told(tmp_path, two):
    told = []
    table(100).write_parquet(tmp_path / "in.parquet")
    batch.predict(two, tmp_path / "in.parquet", tmp_path / "out.csv", rows=40, progress=lambda *now: told.append(now))
    assert [(done, total) for done, total, *_ in told] == [(40, 100), (80, 100), (100, 100)]


def test_a_headerless_file_with_blanks_as_the_config_says(tmp_path, two):
    frame = table(10).drop("y")
    (tmp_path / "in.data").write_text(frame.write_csv(include_header=False, separator=";").replace(";", " ; "))
    data = Data(source="in.data", header=frame.columns, separator=";")
    batch.predict(two, tmp_path / "in.data", tmp_path / "out.csv", data=data)
    got, want = pl.read_csv(tmp_path / "out.csv"), expected(two, frame)
    assert got["prediction"].to_list() == want["prediction"].to_list()


@pytest.mark.slow
def test_memory_is_bounded(tmp_path):
    """A million rows take hardly more memory than a tenth of them."""
    model = loaded(tmp_path / "b", LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), style="tree")
    code = """
        import pathlib, resource, sys
        from keepfit.deployment import batch, runtime
        model, source, output = map(pathlib.Path, sys.argv[1:])
        batch.predict(runtime.load(model), source, output)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    most = []
    for count in (100_000, 1_000_000):
        frame = pl.concat([table(100_000).drop("note", "y")] * (count // 100_000))
        frame.write_parquet(tmp_path / "in.parquet", row_group_size=100_000)
        began = time.monotonic()
        out, err = run(code, model.bundle.path, tmp_path / "in.parquet", tmp_path / "out.parquet").communicate(
            timeout=300
        )
        assert out, err
        most.append(int(out))
        assert time.monotonic() - began < 300
    assert most[1] < most[0] + 250
    assert pl.scan_parquet(tmp_path / "out.parquet").select(pl.len()).collect().item() == 1_000_000


# --- forecasts --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_comes_of_all_series_needs_no_input(tmp_path):
    made = forecasts.make(tmp_path)
    assert made.run()["outcome"] == "promoted"
    out = tmp_path / "ahead.parquet"
    code, told = keepfit("predict", "-C", str(tmp_path), "-o", str(out), "--horizon", "4")
    assert code == 0, told
    found = pl.read_parquet(out)
    assert found.columns == ["shop", "month", "step", "prediction", "prediction_low", "prediction_high"]
    assert found["step"].to_list() == [1, 2, 3, 4] * 3
    assert found.height == 12
    assert found.null_count().sum_horizontal().item() == 0
    assert made.predict(horizon=4).equals(found)
    assert made.predict().height == 18
    rows = found.select("shop", "month")
    assert made.predict(rows)["prediction"].to_list() == pytest.approx(found["prediction"].to_list(), rel=1e-9)
    with pytest.raises(ConfigError, match="more than 60 periods"):
        made.predict(horizon=61)
    with pytest.raises(ConfigError, match="without data"):
        made.predict(rows, horizon=4)
    (tmp_path / "asked.csv").write_text("shop,month,sold\nnorth,2005-01,100\nnorth,2005-02,\nnobody,2005-01,\n")
    report = made.predict(tmp_path / "asked.csv", tmp_path / "out.csv")
    assert (report["rows"], report["rejected"]) == (2, 1)  # the observation is there, and its own prediction
    assert pl.read_csv(tmp_path / "out.csv")["prediction"][0] == 100


def test_what_was_observed_bears_on_rows_that_are_far_from_it_and_in_other_files(tmp_path, monkeypatch):
    packed(tmp_path / "bundle", later=False)
    model, told = runtime.load(tmp_path / "bundle"), values()[0]
    months = [f"{2000 + at // 12}-{at % 12 + 1:02}-01" for at in range(len(told) + 2)]
    names = [f"new {k}" for k in range(900)]
    history = [
        pl.DataFrame({"shop": name, "month": months[:-2], "sold": told * (k + 1)}) for k, name in enumerate(names)
    ]
    wanted = [pl.DataFrame({"shop": name, "month": months[-2:]}) for name in names]
    asked = pl.concat([*history, *wanted], how="diagonal")
    assert asked.height > batch.ROWS
    (tmp_path / "one.csv").write_text(asked.write_csv())
    expected = model.predict(from_frame(conform(asked, model.schema)[0], model.schema))
    report = batch.predict(model, tmp_path / "one.csv", tmp_path / "out.parquet")
    assert (report["rows"], report["rejected"]) == (asked.height, 0)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert np.allclose(found["prediction"], expected.values, rtol=1e-9)
    assert found["step"][-2:].to_list() == [1, 2]
    (tmp_path / "parts").mkdir()
    for k, part in enumerate((pl.concat(wanted), pl.concat(history))):  # the questions come first
        part.write_csv(tmp_path / "parts" / f"{k}.csv")
    with pytest.raises(DataError, match="sold"):  # files of other columns are refused, as for every task
        batch.predict(model, tmp_path / "parts", tmp_path / "parted.parquet")
    pl.concat(wanted).with_columns(sold=pl.lit(None, pl.Float64)).write_csv(tmp_path / "parts" / "0.csv")
    monkeypatch.setattr(batch, "WHOLE", 7_000)
    report = batch.predict(model, tmp_path / "parts", tmp_path / "parted.parquet")
    assert (report["rows"], report["rejected"]) == (asked.height, 0)
    parted = pl.read_parquet(tmp_path / "parted.parquet")
    assert np.allclose(parted["prediction"][: len(wanted) * 2], found["prediction"][-len(wanted) * 2 :], rtol=1e-9)


def test_a_history_that_says_otherwise_than_what_is_known_is_told(tmp_path):
    packed(tmp_path / "bundle", later=False)
    model, told = runtime.load(tmp_path / "bundle"), values()
    rows = [{"shop": "north", "month": f"2003-{at + 1:02}-01", "sold": str(told[0, 36 + at])} for at in range(12)]
    rows += [{"shop": shop, "month": "2004-01-01", "sold": ""} for shop in ("north", "south")]
    pl.DataFrame(rows).write_csv(tmp_path / "asked.csv")
    assert batch.predict(model, tmp_path / "asked.csv", tmp_path / "out.csv")["notes"] == []
    rows[3]["sold"] = rows[5]["sold"] = "1"
    pl.DataFrame(rows).write_csv(tmp_path / "asked.csv")
    report = batch.predict(model, tmp_path / "asked.csv", tmp_path / "out.csv")
    [note] = report["notes"]
    assert (note["series"], note["periods"]) == ({"shop": "north"}, 2)
    said = show.prediction({**report, "version": "1"})
    assert "2 periods (2003-04-01 to 2003-06-01) of 'north' was not taken" in said


def test_other_tasks_need_an_input(two, tmp_path):
    with pytest.raises(ConfigError, match="needs an input"):
        batch.ahead(two, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
