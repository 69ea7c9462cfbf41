"""The measuring of the benchmarks: costs are counted whole, promises can fail, tables say so."""

from __future__ import annotations

import doctest
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the installed package
np = pytest.importorskip("numpy")

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import datasets, environments, measure, overhead, quality, results, scoring  # noqa: E402
from benchmarks.measure import CommandError, Usage  # noqa: E402
from benchmarks.results import Claim, Options, Result  # noqa: E402

BUSY = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


@pytest.mark.parametrize("module", [measure, results, quality, overhead, environments])
def test_examples_in_docstrings(module: ModuleType) -> None:
    failures, tried = doctest.testmod(module)
    assert (failures, tried > 0) == (0, True)


def test_cpu_of_children_is_counted() -> None:
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    assert 0.3 <= measure.measure([sys.executable, "-c", program]).cpu < 1.5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_cpu_of_orphans_is_counted_and_waited_for() -> None:
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}], start_new_session=True)"
    assert measure.measure([sys.executable, "-c", program]).cpu >= 0.3


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and adopted orphans")
def test_an_orphan_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    assert measure.measure([sys.executable, "-c", program]).wall < 5


def test_peak_memory_is_that_of_the_command_not_of_the_caller() -> None:
    ballast = bytearray(200_000_000)
    small = measure.measure([sys.executable, "-c", "pass"]).peak
    large = measure.measure([sys.executable, "-c", "x = bytearray(150_000_000)"]).peak
    assert small < 60e6
    assert large > 150e6
    assert len(ballast)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/stat")
def test_what_others_take_of_the_machine_is_told() -> None:
    assert measure.busy() > 0
    assert 0 <= measure.measure([sys.executable, "-c", BUSY]).others < 2


def test_a_failing_command_says_what_it_printed() -> None:
    with pytest.raises(CommandError, match=r"ended with code 3 and printed\nno such thing"):
        measure.measure([sys.executable, "-c", "print('no such thing'); raise SystemExit(3)"])


def test_a_code_that_is_expected_is_no_failure() -> None:
    assert measure.measure([sys.executable, "-c", "raise SystemExit(3)"], codes=(0, 3)).code == 3


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="cannot run no-such-command"):
        measure.measure(["no-such-command"])


def test_variables_that_slow_imports_down_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    program = "import os; print('PYTHONDONTWRITEBYTECODE' in os.environ)"
    assert measure.measure([sys.executable, "-c", program]).text == "False\n"


def test_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="no runs"):
        measure.median([])


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        (Claim("", 0.14, "<=", 0.15), "kept"),
        (Claim("", 0.16, "<=", 0.15), "missed"),
        (Claim("", 20.0, ">=", 20.0), "kept"),
        (Claim("", 19.9, ">=", 20.0), "missed"),
        (Claim("", -0.01, ">=", 0.0, unclear=True), "unclear"),
        (Claim("", 0.01, ">=", 0.0, disturbed=True), "unclear"),
        (Claim("", None, "<=", 1.0), "not measured"),
        (Claim("", float("nan"), "<=", 1.0), "not measured"),
    ],
)
def test_outcome(claim: Claim, outcome: str) -> None:
    assert claim.outcome == outcome


def test_result_as_text_and_json(tmp_path: Path) -> None:
    rows = ({"side": "keepfit", "s": 0.05}, {"side": "peer", "s": 4.8, "ratio": 96.0})
    result = Result("startup", "at once", rows, (Claim("help", 0.2, "<=", 0.15),))
    assert "missed" in results.text(result)
    assert results.table(rows).splitlines()[2].split() == ["keepfit", "0.05", "-"]
    kept = json.loads(results.save(result, tmp_path).read_text())
    assert kept["claims"][0]["outcome"] == "missed"
    assert len(list(tmp_path.glob("startup-*.json"))) == 1


class Fake:
    """A benchmark that does what a test wants."""

    PROMISE = "all is well"

    def __init__(self, answer: Result | Exception) -> None:
        self.answer = answer

    def run(self, options: Options) -> Result:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (Result("startup", "", claims=(Claim("a", 1.0, "<=", 2.0),)), 0, "kept"),
        (Result("startup", "", claims=(Claim("a", 3.0, "<=", 2.0),)), 1, "missed"),
        (datasets.NoDataError("set KEEPFIT_DATA"), 0, "not measured: set KEEPFIT_DATA"),
        (CommandError("keepfit run ended with code 1"), 1, "failed: keepfit run ended with code 1"),
    ],
)
def test_exit_code(
    answer: Result | Exception,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "WORK", tmp_path)
    monkeypatch.setitem(sys.modules, "benchmarks.startup", Fake(answer))
    assert command.main(["startup"]) == code
    assert said in capsys.readouterr().out
    assert (tmp_path / "results" / "startup.json").exists()


def test_an_unknown_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["sturtup"])
    assert end.value.code == 2
    assert "no benchmark is called sturtup; known: startup," in capsys.readouterr().err


def test_an_unknown_data_set_is_told_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="no data set is called nope; known: telco, adult, california, king_county"):
        quality.run(Options(only=("telco", "nope")))


def test_scores_are_the_textbook_ones() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    truth = (random.random(500) < 0.3).astype(float)
    probability = np.round(np.clip(truth * 0.3 + random.random(500) * 0.7, 0.01, 0.99), 2)  # with ties
    assert quality.roc_auc(truth, probability) == pytest.approx(metrics.roc_auc_score(truth, probability))
    assert quality.log_loss(truth, probability) == pytest.approx(metrics.log_loss(truth, probability))
    assert quality.rmse(truth, probability) == pytest.approx(metrics.root_mean_squared_error(truth, probability))


def test_the_difference_has_the_sign_of_progress_and_an_interval_around_it() -> None:
    random = np.random.default_rng(4)
    truth = random.normal(size=400)
    good, bad = truth + random.normal(size=400) * 0.1, truth + random.normal(size=400) * 0.5
    gain, low, high = quality.difference("rmse", truth, good, bad)
    assert 0 < low < gain < high
    assert quality.difference("rmse", truth, bad, good)[0] == -gain
    assert quality.difference("rmse", truth, good, good) == (0.0, 0.0, 0.0)


def test_quality_is_claimed_over_all_seeds() -> None:
    row = {"data": "telco", "metric": "roc_auc", "low": -0.01, "high": 0.02, "autogluon cpu": 60.0, "others %": 3.0}
    rows = [{**row, "gain": 0.004, "keepfit cpu": 20.0}, {**row, "gain": -0.006, "keepfit cpu": 16.0}]
    gain, share = quality.claims(rows)
    assert (gain.measured, gain.outcome) == (pytest.approx(-0.001), "unclear")
    assert (share.measured, share.outcome) == (pytest.approx(0.3), "missed")
    starved = quality.claims([{**row, "others %": 60.0, "gain": 0.1, "keepfit cpu": 30.0} for row in rows])
    assert starved[1].outcome == "unclear"  # the peer's budget of wall seconds bought it less than it should


def test_a_split_takes_every_row_once_and_cells_as_they_are(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPFIT_DATA", str(shared_data))
    header, train, test = datasets.split(datasets.SOURCES["telco"], 0, 0.2)
    assert (len(train), len(test), header[0]) == (5634, 1409, "customerID")
    assert len({row[0] for row in train + test}) == 7043
    assert " " in {row[header.index("TotalCharges")] for row in train + test}


def test_the_official_split_has_one_spelling_of_the_labels(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPFIT_DATA", str(shared_data))
    _, train, test = datasets.split(datasets.SOURCES["adult"], 0, 0.2)
    assert (len(train), len(test)) == (32561, 16281)
    assert {row[-1] for row in train} == {row[-1] for row in test} == {"<=50K", ">50K"}


def test_without_data_it_says_how_to_name_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEEPFIT_DATA", str(tmp_path / "absent"))
    with pytest.raises(datasets.NoDataError, match="set KEEPFIT_DATA"):
        datasets.root()


def test_overhead_is_what_is_neither_fitting_nor_scoring() -> None:
    assert overhead.outside(50.0, {"fit": 35.0, "score": 5.0}) == pytest.approx(0.2)
    assert overhead.outside(50.0, {"fit": 0.0, "score": 0.0}) is None


def test_throughput_whole_and_net_of_start_up() -> None:
    costs = {"keepfit predict": Usage(0, 1.5, 1.0, 10), "MLflow": Usage(0, 30.0, 25.0, 10)}
    starts = {"keepfit predict": Usage(0, 0.5, 0.5, 10), "MLflow": Usage(0, 5.0, 5.0, 10)}
    ours, theirs = scoring.throughput(1000, costs, starts)
    assert (theirs["ratio"], theirs["CPU ratio"], theirs["net ratio"]) == (25.0, 20.0, 40.0)
    assert ours["net rows/s"] == 2000.0
    assert scoring.net(1, starts["MLflow"], starts["MLflow"]) is None
