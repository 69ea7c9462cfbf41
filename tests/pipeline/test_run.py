"""Whole runs as a user makes them: promoted, compared, rolled back, resumed, stopped, reproduced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from keepfit import Project
from keepfit.errors import BusyError, ConfigError, TrackingError
from keepfit.progress import Progress
from tests.projects import keepfit, project, table

pytestmark = pytest.mark.slow


def make(folder: Path, rows: int = 400, extra: str = "") -> Project:
    return Project(project(folder, table(rows), extra))


def test_the_first_model_that_meets_its_goals_is_champion_and_predicts(tmp_path: Path) -> None:
    made = make(tmp_path, extra='goals: {accuracy: ">= 0.6"}\n')
    record = made.run()
    assert record["outcome"] == "promoted"
    assert record["version"] == "1"
    low, value = record["metrics"]["accuracy"]["low"], record["metrics"]["accuracy"]["value"]
    assert low < value > record["metrics"]["accuracy"]["baseline"]
    assert Path(record["report"]).stat().st_size > 5000
    assert "champion" in str(record)
    assert "<pre>" in record._repr_html_()
    frame = table(50)
    scored = made.predict(frame)
    assert scored["prediction"].to_list() == made.predict(frame.to_pandas())["prediction"].tolist()
    assert_frame_equal(scored.select(frame.columns), frame)
    (decision,) = made.history()
    assert decision.kind == "promoted"
    assert decision.by


def test_predict_on_a_file_gives_what_predict_on_a_frame_gives(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.run()
    code, output = keepfit(
        "predict", str(tmp_path / "data.csv"), "-o", str(tmp_path / "out.parquet"), "-C", str(tmp_path)
    )
    assert code == 0, output
    assert "400 rows" in output
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out["prediction"].to_list() == made.predict(table(400))["prediction"].to_list()
    table(5).with_columns(age=pl.lit("old")).write_csv(tmp_path / "wrong.csv")
    code, output = keepfit("predict", str(tmp_path / "wrong.csv"), "-o", str(tmp_path / "o.csv"), "-C", str(tmp_path))
    assert code == 1, output
    assert "No row was scored. 5 rows could not be read, each for the reason in" in " ".join(output.split())
    assert (tmp_path / "o.csv.rejected.csv").is_file()


def test_a_second_model_is_compared_on_the_same_rows_and_rollback_goes_back(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.run()
    second = Project(tmp_path, ["model.C=0.5"]).run()
    names = {check["name"]: check for check in second["decision"]["verdict"]["checks"]}
    (compared,) = [check for name, check in names.items() if "worse than the champion" in name]
    assert compared["outcome"] in ("passed", "failed")
    with pytest.raises(ConfigError, match="reason"):
        made.rollback(reason=" ")
    if second["outcome"] == "promoted":
        assert made.rollback(reason="a try").version == "1"
    made.promote("2", "a try") if second["outcome"] == "refused" else None
    assert next(d.kind for d in made.history()) == "promoted"
    with pytest.raises(TrackingError, match="Known"):
        made.promote("77", "no such")
    assert {"champion"} <= {alias for version in made.models() for alias in version["aliases"]}


def test_a_champion_that_was_trained_on_the_test_rows_is_told(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.run()

    def seen(*changes: str) -> dict[str, object]:
        record = Project(tmp_path, changes).run()
        (found,) = [c for c in record["decision"]["verdict"]["checks"] if "not trained on the test rows" in c["name"]]
        return found

    assert seen()["detail"] == "the same test rows as it was judged by"
    other = seen("data.random_state=7", "gate.margin=0.5")
    assert (other["outcome"], other["severity"]) == ("failed", "warning")
    assert 0.6 < other["value"] < 1.0  # four fifths of all rows are training rows
    assert "data.random_state" in other["detail"]


def test_a_worse_model_is_refused_and_the_champion_stays(tmp_path: Path) -> None:
    made = make(tmp_path, rows=1500)
    made.run()
    worse = Project(tmp_path, ["model.type=dummy"]).run()
    assert worse["outcome"] == "refused"
    assert "version 1 stays the champion" in worse["headline"]


def test_the_same_config_and_data_give_the_same_model(tmp_path: Path) -> None:
    made = make(tmp_path)
    run = made.run()["run"]
    verdict = made.reproduce(run)
    assert verdict, [c for c in verdict.checks if c.outcome == "failed"]
    bundle = tmp_path / ".keepfit" / "reproduced" / run / "bundle" / "metrics.json"
    assert bundle.exists()
    with pytest.raises(ConfigError, match=run):
        made.reproduce("no-such-run")


def test_hooks_add_features_that_serving_makes_too(tmp_path: Path) -> None:
    made = make(tmp_path)
    code = "import polars as pl\n\ndef spend_per_year(frame):\n    return frame['spend'] / frame['age']\n"
    (tmp_path / "features.py").write_text(code)
    assert made.run()["outcome"] == "promoted"
    frame = table(30)
    before = made.predict(frame)
    (tmp_path / "features.py").write_text(code.replace("/", "*"))
    assert_frame_equal(made.predict(frame), before)  # the champion keeps the code it was trained with
    (tmp_path / "features.py").write_text("def centred(frame):\n    return frame['age'] - frame['age'].mean()\n")
    got, output = keepfit("run", "-C", str(tmp_path))
    assert got == 3
    assert "looks at other rows" in output


def test_an_estimator_beside_keepfit_yaml_is_found_and_predicts(tmp_path: Path) -> None:
    code = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
class Nearest(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == c].mean(axis=0) for c in self.classes_])
        return self
    def predict_proba(self, X):
        far = ((X[:, None, :] - self.means_) ** 2).mean(axis=2)
        return np.exp(-far) / np.exp(-far).sum(axis=1, keepdims=True)
    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
"""
    (tmp_path / "nearest_of_ours.py").write_text(code)
    model = "model: {type: 'nearest_of_ours:Nearest', trusted: ['nearest_of_ours.Nearest']}\n"
    folder = project(tmp_path, table())
    file = folder / "keepfit.yaml"
    file.write_text(file.read_text().replace("model: {type: logistic_regression}\n", model))
    assert Project(folder).run()["version"] == "1"
    sys.modules.pop("nearest_of_ours")  # as in another process
    assert Project(folder).predict(table(5)).height == 5


def test_a_stage_that_is_made_again_is_judged_again(tmp_path: Path) -> None:
    made = make(tmp_path)
    first = made.run()
    made.run(stage="train")
    second = made.run(stage="promote")
    assert (first["version"], second["version"]) == ("1", "2")
    assert [d.version for d in made.history()] == ["1", "2"]


def test_hooks_are_reproduced_as_they_were_and_a_changed_file_is_not_gone_on_with(tmp_path: Path) -> None:
    made = make(tmp_path)
    file = tmp_path / "features.py"
    file.write_text("def spend_per_year(frame):\n    return frame['spend'] / frame['age']\n")
    run = made.run()["run"]
    file.write_text(file.read_text().replace("/", "*"))
    with pytest.raises(ConfigError, match=r"features.code has changed since run"):
        made.run(stage="train")
    assert made.reproduce(run)
    file.unlink()
    assert made.reproduce(run)


def test_a_champion_that_needs_a_column_that_is_gone_is_not_replaced_unseen(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.run()
    table(400).drop("spend").write_csv(tmp_path / "data.csv")
    record = made.run()
    assert record["outcome"] == "refused"
    assert "champion version 1 cannot be asked" in record["decision"]["reason"]
    assert made.promote("2", "the column is gone for good").version == "2"


def test_goals_and_slices_that_name_nothing_are_told_before_training(tmp_path: Path) -> None:
    made = make(tmp_path, extra='goals: {acuracy: ">= 0.6", size_mb: "< 9"}\ngate: {slices: {plans: 0.5}}\n')
    with pytest.raises(
        ConfigError, match=r"'acuracy'. Did you mean 'accuracy'(.|\n)*'plans'. Did you mean 'plan'"
    ) as told:
        made.run()
    assert "size_mb'" not in str(told.value)
    sets = [f"{key}=nope" for key in ("model.type", "tuning.metric", "gate.metric", "engine")]
    with pytest.raises(ConfigError) as told:
        Project(tmp_path, sets).check()
    assert str(told.value).count("unknown name 'nope'") == len(sets)
    with pytest.raises(ConfigError, match=r"project\.name: must name a registered model, without .* not .a/b"):
        Project(tmp_path, ["project.name=a/b"]).check()
    assert not list((tmp_path / ".keepfit").glob("runs/*/train*"))


def test_nothing_that_a_run_leaves_behind_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2secret")
    made = make(tmp_path, extra="project: {description: 'by ${DB_PASSWORD}'}\n")
    table(400).write_database("t", f"sqlite:///{tmp_path / 'data.db'}", engine="sqlalchemy")
    query = "SELECT * FROM t WHERE plan <> '${DB_PASSWORD}'"
    sets = ["data.source=sqlite:///data.db", f"data.query={query}", "data.documentation={notes: '${DB_PASSWORD}'}"]
    assert Project(made.folder, sets).run()["outcome"] == "promoted"
    left = [path for path in (tmp_path / ".keepfit").rglob("*") if path.is_file()]
    assert any(b"${DB_PASSWORD}" in path.read_bytes() for path in left)
    assert not [path for path in left if b"hunter2secret" in path.read_bytes()]


def test_nothing_in_the_model_depends_on_the_test_rows(tmp_path: Path) -> None:
    project(tmp_path, table(400))
    usual = table(100)
    usual.write_csv(tmp_path / "usual.csv")
    other = usual.with_columns(age=pl.col("age") * 1000, plan=pl.lit("never seen"), spend=-pl.col("spend"))
    other.write_csv(tmp_path / "other.csv")
    learned = []
    for test in ("usual", "other"):
        sets = [f"data.test={test}.csv", "data.leakage.duplicates=ignore"]
        record = Project(tmp_path, sets).run(stage="ingest") and Project(tmp_path, sets).run(stage="train")
        sums = (Path(record["bundle"]) / "checksums.sha256").read_text().splitlines()
        files = [line for line in sums if line.partition("  ")[2].startswith(("models", "features"))]
        reference = json.loads((Path(record["bundle"]) / "reference.json").read_bytes())
        columns = {one["name"]: one["counts"] for one in reference["signals"] if one["column"]}
        learned.append((files, columns))  # what the reference says of the model itself is of the test rows
    assert len(learned[0][0]) >= 2
    assert len(learned[0][1]) == 3
    assert learned[0] == learned[1]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "keepfit.cli", "run", "-C", str(folder), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(folder: Path, what: str) -> None:
    for _ in range(600):
        if list((folder / ".keepfit" / "runs").glob(f"*/{what}")):
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} never came")


SLOW = ["model.type=random_forest", "model.n_estimators=10", "tuning.trials=200", "tuning.time_budget=6"]
SLOW = [word for change in SLOW for word in ("--set", change)]


def test_a_killed_run_goes_on_from_its_last_whole_stage(tmp_path: Path) -> None:
    made = make(tmp_path, rows=3000)
    running = start(tmp_path, *SLOW)
    wait_for(tmp_path, "train.partial")
    with pytest.raises(BusyError, match=str(running.pid)):
        made.run()
    assert [run["status"] for run in made.runs()] == ["running"]
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert [run["status"] for run in made.runs()] == ["killed"]
    (folder,) = (tmp_path / ".keepfit" / "runs").glob("*")
    assert (folder / "ingest").is_dir()
    assert not (folder / "train").exists()
    before = (folder / "ingest" / "train.parquet").stat().st_mtime_ns
    code, output = keepfit("run", "--resume", "-C", str(tmp_path))
    assert code == 2
    assert "has changed" in output  # the killed run had another config
    resumed = start(tmp_path, "--resume", *SLOW)
    out, told = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, told
    assert (folder / "ingest" / "train.parquet").stat().st_mtime_ns == before
    assert "ingest" not in told  # of the stages only those that were not whole
    assert "version 1 (random_forest) is the champion" in out
    assert [(run["run"], run["status"]) for run in made.runs()] == [(folder.name, "promoted")]


class Impatient(Progress):
    """Presses Ctrl-C as soon as there is a best score."""

    pressed = False

    def __call__(self, done: float, total: float, message: str, best: str | None = None) -> None:
        if best and not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_the_best_so_far_and_says_so(tmp_path: Path) -> None:
    make(tmp_path, rows=1000)
    changes = ["model.type=random_forest", "model.n_estimators=20", "tuning.trials=500", "tuning.time_budget=300"]
    record = Project(tmp_path, changes).run(progress=Impatient())
    assert record["outcome"] in ("promoted", "refused")
    assert "interrupted" in record["headline"]


def test_json_is_one_document_on_stdout(tmp_path: Path) -> None:
    make(tmp_path)
    command = [sys.executable, "-m", "keepfit.cli", "run", "-C", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["outcome"] == "promoted"
    assert "champion" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_leaves_no_half_output(tmp_path: Path) -> None:
    make(tmp_path).run()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from keepfit.cli import main; main(sys.argv[1:])"
    )
    out = tmp_path / "out.csv"
    command = [sys.executable, "-c", code, "predict", str(tmp_path / "data.csv"), "-o", str(out), "-C", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*out.csv*"))


def test_resume_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    make(tmp_path)
    code, output = keepfit("run", "--resume", "-C", str(tmp_path))
    assert code == 2
    assert "keepfit run" in output


def test_an_auto_run_blends_and_tells_its_leaderboard(tmp_path: Path) -> None:
    made = Project(project(tmp_path, table(600)), ["model={type: auto}", "tuning={time_budget: 20}"])
    record = made.run()
    assert len(record["leaderboard"]) >= 2
    weights = np.array([line["weight"] for line in record["leaderboard"]])
    assert weights.sum() == pytest.approx(1.0)
