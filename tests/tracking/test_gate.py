"""The gate: each check passes, fails and stays open where it should; its error rates are measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keepfit import config
from keepfit.errors import ConfigError
from keepfit.models.fitted import Ahead, Output
from keepfit.tracking import gate
from keepfit.tracking.gate import Trial
from keepfit.types import Check, Verdict

CLASSES = ("no", "yes")
PARITY = Verdict("parity", (Check("largest difference", "passed", 1e-7, 1e-5, "10,000 rows, labels agree"),))


def labels(codes: NDArray[Any]) -> NDArray[Any]:
    return np.array(CLASSES, object)[codes.astype(int)]


def output(p: NDArray[Any]) -> Output:
    return Output(labels(p >= 0.5), np.column_stack([1 - p, p]))


def trial(rows: int = 2000, noise: float = 0.1, champion: float | None = 0.1, seed: int = 0, **more: Any) -> Trial:
    """A challenger and a champion that see the true probability through noise."""
    random = np.random.default_rng(seed)
    p = random.beta(1, 2, rows)
    y = labels(random.random(rows) < p)

    def seen(amount: float) -> Output:
        return output(np.clip(p + amount * random.normal(size=rows), 0.001, 0.999))

    return Trial(
        y,
        CLASSES,
        seen(noise),
        output(np.full(rows, 1 / 3)),
        None if champion is None else seen(champion),
        **{"measured": {"size_mb": 2.0, "latency_p50_ms": 0.4, "latency_p99_ms": 1.5}, "parity": PARITY, **more},
    )


def judge(given: Trial, goals: dict[str, str] | None = None, **settings: Any) -> dict[str, Check]:
    return {c.name: c for c in gate.judge(given, goals or {}, config.Gate(**settings), 300).checks}


CHAMPION = "not worse than the champion: roc_auc"
BASELINE = "better than the baseline: roc_auc"


def test_a_good_challenger_passes_everything() -> None:
    verdict = gate.judge(trial(champion=0.3), {"accuracy": ">= 0.6", "auc": "> 0.6"}, config.Gate())
    assert verdict.outcome == "passed"
    assert [c.outcome for c in verdict.checks] == ["passed"] * len(verdict.checks)
    assert {"goal accuracy", "goal auc", "bundle size, MB", "single row, median ms"} < {c.name for c in verdict.checks}


# goals


def test_a_goal_shows_the_value_beside_its_interval() -> None:
    intervals = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}
    checks = judge(trial(intervals=intervals), {"accuracy": ">= 0.65"})
    assert checks["goal accuracy"].outcome == "passed"
    assert checks["goal accuracy"].limit == ">= 0.65"
    assert "interval 0.6 to 0.8; the goal lies in it" in checks["goal accuracy"].detail
    assert judge(trial(intervals=intervals), {"accuracy": ">= 0.3"})["goal accuracy"].detail == "interval 0.6 to 0.8"


@pytest.mark.parametrize(
    "goals", [{"accuracy": ">= 0.99"}, {"log_loss": "< 0.01"}, {"latency_p99_ms": "<= 1"}, {"size_mb": "<= 1"}]
)
def test_a_missed_goal_fails(goals: dict[str, str]) -> None:
    given = trial(champion=0.3)
    assert judge(given, goals)[f"goal {next(iter(goals))}"].outcome == "failed"
    assert not gate.judge(given, goals, config.Gate(), 300)


def test_a_goal_on_an_unknown_metric_fails_and_names_the_nearest() -> None:
    check = judge(trial(), {"acuracy": ">= 0.5"})["goal acuracy"]
    assert check.outcome == "failed"
    assert "unknown goal. Did you mean 'accuracy'? Known: accuracy, balanced_accuracy, brier," in check.detail
    assert "latency_p99_ms" in check.detail


def test_a_goal_that_is_undefined_fails() -> None:
    given = trial(50)
    given = dataclasses.replace(given, y=np.array(["no"] * 50, object))
    checks = judge(given, {"roc_auc": ">= 0.5"})
    assert checks["goal roc_auc"].outcome == checks[BASELINE].outcome == checks[CHAMPION].outcome == "failed"
    assert "one class only" in checks[BASELINE].detail


# baseline and champion


def test_a_model_that_knows_nothing_does_not_beat_the_baseline() -> None:
    noise = output(np.random.default_rng(1).random(2000))
    check = judge(dataclasses.replace(trial(), challenger=noise))[BASELINE]
    assert check.outcome == "failed"
    assert "lead at least -0.0" in check.detail


def test_a_champion_that_is_worse_still_is_replaced_though_the_baseline_is_not_beaten() -> None:
    """Refusing would leave the worse of the two at work; where it is not surely worse, the challenger is refused."""
    y = np.array(["no"] * 700 + ["yes"] * 300, object)
    draw = np.random.default_rng(1)
    noisy = lambda wrong: Output(np.where(draw.random(1000) < wrong, np.where(y == "no", "yes", "no"), y))
    given = Trial(y, CLASSES, noisy(0.3), Output(np.full(1000, "no", object)), noisy(0.45))
    title = "better than the baseline: accuracy"
    check = judge(given, metric="accuracy")[title]
    assert (check.outcome, check.severity) == ("failed", "warning")
    assert check.detail.endswith("; the champion is worse still")
    for champion in (noisy(0.3), None):
        assert judge(dataclasses.replace(given, champion=champion), metric="accuracy")[title].severity == "error"


def test_few_rows_that_do_not_settle_it_say_how_many_would() -> None:
    check = judge(trial(40, noise=0.5), metric="accuracy", margin=0.01)["not worse than the champion: accuracy"]
    assert check.outcome == "failed"
    assert "the 40 rows do not tell: about " in check.detail
    needed = int(check.detail.split("about ")[1].split(" ")[0].replace(",", ""))
    assert 1000 < needed < 100_000


def test_no_margin_and_no_lead_is_said_to_be_hopeless() -> None:
    y = np.array(["no", "yes"] * 50, object)
    one, other = y.copy(), y.copy()
    one[0], other[1] = "yes", "no"  # each wrong on one row
    given = Trial(y, CLASSES, Output(one), Output(np.full(100, "no", object)), Output(other))
    check = judge(given, margin=0.0)["not worse than the champion: accuracy"]
    assert (check.outcome, check.value) == ("failed", 0)
    assert "the 100 rows do not tell, and there is no lead or margin that more rows could prove" in check.detail


def test_without_a_champion_that_check_is_open_with_the_reason() -> None:
    check = judge(trial(champion=None))[CHAMPION]
    assert (check.outcome, check.detail) == ("not checked", "there is no champion yet")


def test_a_champion_that_cannot_be_compared_with_is_not_replaced_unseen() -> None:
    check = judge(trial(champion=None, without="the champion needs the column 'age'"))[CHAMPION]
    assert check.outcome == "failed"
    assert check.detail.startswith("the champion needs the column 'age'. Where that is meant, promote it by hand")


def test_the_same_answers_are_not_worse_even_on_few_rows() -> None:
    given = trial(12, noise=0.0)
    check = judge(dataclasses.replace(given, champion=given.challenger))[CHAMPION]
    assert check.outcome == "passed"
    assert "same answers as the champion on all 12 rows" in check.detail


def test_a_surely_worse_model_is_told_so() -> None:
    check = judge(trial(noise=1.0, champion=0.0))[CHAMPION]
    assert check.outcome == "failed"
    assert "that it falls short is 95% sure" in check.detail
    assert check.value < -0.05


def test_the_margin_of_an_error_is_a_share_of_the_champions() -> None:
    random = np.random.default_rng(0)
    y = random.normal(100_000, 20_000, 5000)
    error = random.normal(0, 5000, 5000)
    champion, challenger, baseline = (Output(y + f * error) for f in (1.0, 1.03, 20.0))
    given = Trial(y, (), challenger, baseline, champion)
    title = "not worse than the champion: rmse"
    refused = judge(given, metric="rmse", margin=0.02)[title]
    assert (refused.outcome, refused.limit) == ("failed", ">= -0.02 × champion's")
    assert refused.value == pytest.approx(-150, abs=10)
    assert judge(given, metric="rmse", margin=0.04)[title].outcome == "passed"


@pytest.mark.parametrize(
    ("metric", "goals", "classes", "wanted"),
    [
        ("auto", {}, CLASSES, "roc_auc"),
        ("auto", {"latency_p99_ms": "< 1", "logloss": "< 1", "f1": "> 0"}, CLASSES, "log_loss"),
        ("auto", {}, ("a", "no", "yes"), "accuracy"),
        ("auto", {}, (), "r2"),
        ("auto", {"interval_coverage": "> 0.8", "rmse": "< 1"}, (), "rmse"),
        ("average_precision", {}, CLASSES, "pr_auc"),
    ],
)
def test_the_metric_that_compares(metric: str, goals: dict[str, str], classes: tuple[str, ...], wanted: str) -> None:
    given = trial(20)
    if not classes:
        given = Trial(np.arange(20.0), (), Output(np.arange(20.0), None, np.zeros(20), np.ones(20)), given.baseline)
    given = dataclasses.replace(given, classes=classes)
    assert gate.metric(given, goals, config.Gate(metric=metric)) == wanted


def test_an_unknown_metric_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"gate.metric: no metric 'rmse' for classification"):
        judge(trial(20), metric="rmse")


# slices


def test_the_worst_slice_is_held_against_the_floor() -> None:
    given = trial(900)
    group = np.array(["a", "b", "c"] * 300, object)
    group[:5] = "rare"
    wrong = given.challenger.values.copy()
    rows = group == "b"
    wrong[rows] = np.where(given.y[rows] == "no", "yes", "no")
    given = dataclasses.replace(
        given, challenger=Output(wrong, None), baseline=Output(given.baseline.values), champion=None
    )
    given = dataclasses.replace(given, slices={"plan": group})
    check = judge(given, slices={"plan": 0.5})["slices of plan: accuracy"]
    assert (check.outcome, check.value, check.limit) == ("failed", 0.0, ">= 0.5")
    assert check.detail.startswith("worst: plan = b (")
    assert "1 of 3 slices miss it; 1 with under 30 rows or one class not checked" in check.detail
    assert judge(given, slices={"plan": 0.0})["slices of plan: accuracy"].outcome == "passed"


def test_a_floor_that_cannot_be_shown_fails_and_so_do_unknown_columns() -> None:
    given = trial(100, slices={"plan": np.array([f"p{n}" for n in range(100)], object)})
    open_ = judge(given, slices={"plan": 0.99})["slices of plan: roc_auc"]
    assert open_.outcome == "failed"
    assert open_.detail.startswith("no slice has 30 rows and a defined roc_auc")
    unknown = judge(given, slices={"plna": 0.5})["slices of plna: roc_auc"]
    assert unknown.outcome == "failed"
    assert "Did you mean 'plan'? Known: plan" in unknown.detail


# size, latency, parity


def test_size_latency_and_parity_can_fail_and_can_be_left_open() -> None:
    broken = Verdict("parity", (Check("labels", "failed", 3, 0, "3 labels differ"),))
    checks = judge(trial(parity=broken), size_mb=1, latency_ms=0.1)
    titles = ("bundle size, MB", "single row, median ms", "the bundle answers like the trained model")
    assert [checks[t].outcome for t in titles] == ["failed"] * 3
    assert "labels: 3 labels differ" in checks[titles[2]].detail
    checks = judge(trial(parity=None, measured={}))
    assert [checks[t].outcome for t in titles] == ["not checked"] * 3
    checks = judge(trial(parity=Verdict("parity")), size_mb=None, latency_ms=None)
    assert [checks[t].outcome for t in titles] == ["not checked"] * 3


# error rates


def compare(rows: int, worse: float, disagree: float, times: int, seed: int) -> float:
    """How often a challenger passes whose true accuracy is lower by `worse`.

    The two are right on different rows with probability `disagree`; both draw from one world.
    """
    random = np.random.default_rng(seed)
    passed = 0
    for number in range(times):
        y = labels(random.random(rows) < 0.5)
        where = random.random(rows)
        only_champion, only_challenger = where < (disagree + worse) / 2, where > 1 - (disagree - worse) / 2
        both = ~only_champion & ~only_challenger & (random.random(rows) < 0.9)
        wrong = np.where(y == "no", "yes", "no").astype(object)
        challenger = Output(np.where(only_challenger | both, y, wrong))
        champion = Output(np.where(only_champion | both, y, wrong))
        given = Trial(y, CLASSES, challenger, champion, champion)
        check = gate._not_worse(given, "accuracy", config.Gate(margin=0.01), 200, number)
        passed += check.outcome == "passed"
    return passed / times


@pytest.mark.parametrize(("rows", "disagree"), [(60, 0.1), (300, 0.05), (300, 0.2), (1000, 0.1)])
def test_a_model_worse_by_the_margin_gets_through_rarely(rows: int, disagree: float) -> None:
    # 300 trials at a true 5 % stay below 9 % in all but one of a thousand cases
    assert compare(rows, 0.01, disagree, 300, seed=1) < 0.09


def test_a_clearly_worse_model_never_gets_through() -> None:
    assert compare(1000, 0.04, 0.1, 100, seed=2) == 0


def test_a_clearly_better_or_equal_model_gets_through_with_enough_rows() -> None:
    assert compare(2000, -0.03, 0.1, 50, seed=3) > 0.95
    assert compare(20_000, 0.0, 0.05, 12, seed=4) > 0.9


def forecasts(error: float, series: int = 40, steps: int = 12, seed: int = 0, scale: float = 1.0) -> Output:
    """Forecasts of zeros that are off by `error` scales, each series by the same amount all the way."""
    random = np.random.default_rng(seed)
    off = np.repeat(random.normal(size=series), steps) * error
    ahead = Ahead(np.full(series * steps, scale), np.tile(np.arange(1.0, steps + 1), series))
    return Output(off, low=off - 1.0, high=off + 1.0, ahead=ahead)


def of_forecasts(challenger: Output, champion: Output | None, baseline: Output | None, **more: Any) -> Trial:
    return Trial(np.zeros(len(challenger)), (), challenger, baseline, champion, **more)


MASE = "better than the baseline: mase"


def test_forecasts_are_compared_by_mase_and_a_goal_for_coverage_holds() -> None:
    given = of_forecasts(forecasts(0.2), None, forecasts(2.0, seed=1))
    found = judge(given, {"coverage": ">= 0.85", "mase": "<= 1"})
    assert found["goal coverage"].outcome == found["goal mase"].outcome == found[MASE].outcome == "passed"
    assert judge(of_forecasts(forecasts(2.0), None, None), {"coverage": ">= 0.85"})["goal coverage"].outcome == "failed"
    with pytest.raises(ConfigError, match="no metric 'accuracy' for forecast"):
        judge(given, metric="accuracy")


def test_rows_of_one_series_are_no_more_evidence_than_the_series() -> None:
    """Two models that are equally good: rows taken apart make a sure thing of what five series leave open."""
    together = np.repeat(np.arange(5), 200)
    sure = {"apart": 0, "whole": 0}
    for seed in range(40):
        one, two = (forecasts(1.0, 5, 200, seed=number) for number in (seed, seed + 1000))
        for how, units in (("apart", None), ("whole", together)):
            check = judge(of_forecasts(one, None, two, together=units))[MASE]
            sure[how] += check.outcome == "passed"
    assert sure["apart"] > 12
    assert sure["whole"] <= 6


def test_all_are_measured_by_the_challengers_scales() -> None:
    wide = forecasts(0.2, scale=100.0)  # a champion that thinks the series swing more
    found = judge(of_forecasts(forecasts(0.2), wide, forecasts(2.0, seed=1)))
    assert found["not worse than the champion: mase"].value == 0.0
    worse = judge(of_forecasts(forecasts(0.8, seed=2), wide, forecasts(2.0, seed=1)))
    assert worse["not worse than the champion: mase"].outcome == "failed"


def test_without_a_baseline_it_is_not_checked() -> None:
    assert judge(of_forecasts(forecasts(0.2), None, None))[MASE].outcome == "not checked"
