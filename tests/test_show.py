"""What people read: aligned tables, failures first, nothing unescaped in HTML."""

from __future__ import annotations

import pytest

from keepfit import page as pages
from keepfit import show
from keepfit.models import metrics
from keepfit.pipeline import records, report
from keepfit.types import Check, Decision, Verdict, plain

GATE = Verdict(
    "gate",
    (
        Check("accuracy", "passed", 0.93, ">= 0.9"),
        Check("champion", "not checked", detail="there is none yet"),
        Check("size", "failed", 9.0, "<= 5 MB", "drop members"),
        Check("age", "failed", severity="warning", detail="old"),
    ),
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(float("nan"), "nan"), (12345, "12,345"), (12, "12"), (1e-7, "1.0e-07"), (True, "True"), ("a", "a"), (0.0, "0")],
)
def test_values_in_few_characters(value: object, expected: str) -> None:
    assert show.text(value) == expected


def test_a_verdict_shows_failures_first_and_hides_nothing_when_asked() -> None:
    brief = show.verdict(GATE).splitlines()
    assert brief[0] == "gate: failed (3 checks, 1 failed, 1 warning, 1 not checked)"
    assert brief[1:] == ["  ✗ size: 9 (limit <= 5 MB): drop members", "  ! age: old"]
    assert len(show.verdict(GATE, everything=True).splitlines()) == 5


def test_a_reproduction_shows_what_was_before() -> None:
    told = show.verdict(Verdict("again", (Check("accuracy", "failed", 0.8, 0.9),)), beside="before")
    assert "accuracy: 0.8 (before 0.9)" in told


def test_history_shows_names_without_addresses() -> None:
    by = "A very long name of a team of maintainers <team@users.noreply.example.org>"
    told = show.decisions([Decision("promoted", "churn", "passed", GATE, "1", by=by)])
    assert "A very long name of a t…   passed" in told
    assert "@" not in told


def test_history_shows_what_the_loop_did_by_itself() -> None:
    kinds = ("alarmed", "resolved", "undelivered", "on_trial", "rolled_back")
    told = show.decisions([Decision(kind, "churn", f"why {kind}", GATE, "3", by="keepfit") for kind in kinds])
    assert [line.split("   3")[0].strip() for line in told.splitlines()[1:]] == [
        "rolled back",
        "on trial",
        "undelivered",
        "resolved",
        "alarmed",
    ]
    assert "why undelivered" in told


def test_a_run_tells_what_its_data_were_warned_of() -> None:
    leak = Check("leakage.target_alone.total", "failed", 0.99, 0.98, "'total' alone tells the target", "warning")
    record = {"headline": "churn: version 1 is the champion.", "next": ["keepfit serve", "keepfit predict"]}
    told = show.run({**record, "checks": plain(Verdict("data", (leak,)))})
    assert "'total' alone tells the target" in told
    assert told.endswith("next      keepfit serve\nor        keepfit predict")
    assert "data:" not in show.run({**record, "checks": plain(Verdict("data", (Check("data.rows", "passed"),)))})


def test_a_run_tells_what_it_had_no_time_or_no_package_for() -> None:
    late = {"lightgbm": "time budget", "ridge": "no weight on the first fold", "trials": "time budget"}
    network = {"convolutional_network": "needs the package torch: pip install 'keepfit[torch]'"}
    told = records.notes({"seconds": 60, "cut": ["mlp after 2 of 30 epochs"], "left_out": {**late, **network}})
    assert told == [
        "Stopped by tuning.time_budget (60 s): mlp after 2 of 30 epochs. Not tried for want of time: lightgbm. "
        "With more it may be better: --set tuning.time_budget=600",
        "Left out: convolutional_network needs the package torch: pip install 'keepfit[torch]'",
    ]
    assert "after 2 of 30 epochs" in show.run({"headline": "h", "next": [], "notes": told})
    assert records.notes({"seconds": 60, "cut": [], "left_out": {"trials": "time budget"}}) == records.notes({}) == []


def test_a_long_cell_is_cut_and_stays_on_its_line() -> None:
    lines = show.table(["a"], [["x\n" * 90]], widest=20).splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("…")


def test_no_records_say_what_to_do() -> None:
    assert "keepfit run" in show.records([], ("run",))
    assert show.decisions([]) == "No decision yet."


def test_html_is_escaped() -> None:
    assert "<script>" not in show.html_table(["<script>"], [["<script>"]])


def test_a_report_escapes_names_and_holds_the_gate(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "report.html"
    decision = Decision("refused", "<b>", "no", GATE)
    record = {
        "name": "<b>churn</b>",
        "run": "1",
        "outcome": "refused",
        "headline": "<i>no</i>",
        "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0, "baseline": 0.5}},
        "confidence": 0.9,
        "decision": plain(decision),
        "leaderboard": [{"name": "ridge", "score": 0.5}],
        "judged_by": "rmse, lower is better",
    }
    report.write(path, record, [], [])
    text = path.read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "<i>" not in text
    assert "drop members" in text
    assert "score is out-of-fold rmse, lower is better" in text
    assert "90 % interval" in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_check_that_only_warns_is_told_as_a_warning() -> None:
    checks = (Check("few", "failed", severity="warning"), Check("gone", "failed"))
    told = pages.verdict(Verdict("data", checks))
    assert "<td class='warned'>warned</td><td>few</td>" in told
    assert "<td class='failed'>failed</td><td>gone</td>" in told


def test_the_metric_that_decides_comes_first() -> None:
    row = {"value": 0.5, "low": 0.4, "high": 0.6, "baseline": 1.0}
    found = {"metrics": {"mase": row, "rmsse": row, "bias": row}, "confidence": 0.95}
    assert [cells[0] for cells in show.metrics(found)[1]] == ["mase", "rmsse", "bias"]
    told = {name: 0.5 for name in ("baseline_mase", "bias", "bias_low", "interval_width", "mase", "size_mb")}
    [line] = show.records([{"version": "1", "metrics": metrics.ranked(told)}], ("version", "metrics")).splitlines()[1:]
    assert line.split("   ")[-1] == "mase 0.5, bias 0.5, interval_width 0.5"
