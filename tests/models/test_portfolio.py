import threading
import time

import numpy as np
import pytest

from keepfit.models import crossfit, portfolio, train
from keepfit.models.job import Candidate
from tests.models.tables import config, fit, folds, table

MANY = 9000


def waves(count=MANY, skewed=False):
    """A number that trees learn and straight lines do not."""
    random = np.random.default_rng(0)
    X = random.normal(size=(count, 4))
    signal = 3 * np.cos(2 * X[:, 0]) * np.sign(X[:, 1]) + random.normal(size=count) / 3
    return table(X, np.exp(signal) if skewed else signal)


def labels(count=MANY):
    columns, y, _ = waves(count)
    return table(np.column_stack(list(columns.values.values())), np.where(y > 0, "yes", "no").astype(object))


def job(rows, cuts=None, **sections):
    columns, y, schema = rows
    return train._job(columns, y, schema, config(**sections), cuts or folds(y), 7, None, None)


def titles(rows):
    return [candidate.title for candidate in portfolio.candidates(job(rows))]


def test_members_follow_the_rows_and_the_target():
    assert titles(waves()) == ["ridge", "lightgbm", "lightgbm (large leaves)"]
    assert "extra_trees" in titles(waves(600))
    assert titles(labels()) == ["logistic_regression (C 1)", "lightgbm", "lightgbm (large leaves)"]
    assert [title for title in titles(waves(skewed=True)) if "log target" in title] == [
        "ridge of log target", "lightgbm of log target", "lightgbm (large leaves) of log target"
    ]  # fmt: skip


def test_on_few_columns_a_tree_sees_all_of_them():
    boosters = [c for c in portfolio.candidates(job(waves())) if c.name == "lightgbm"]
    assert [c.parameters["colsample_bytree"] for c in boosters] == [1.0, 1.0]


def test_what_one_fold_finds_useless_is_not_fitted_on_the_others():
    report = fit(waves()).report
    board = {line["name"]: line for line in report["leaderboard"]}
    assert (board["ridge"]["folds"], board["ridge"]["weight"]) == (1, 0.0)
    assert report["budget"]["left_out"]["ridge"] == "no weight on the first fold"
    kept = [line for line in board.values() if line["weight"]]
    assert kept
    assert all(line["folds"] == 5 and line["name"] not in report["budget"]["left_out"] for line in kept)
    assert report["score"] < board["ridge"]["score"]


def test_no_fold_is_fitted_twice(monkeypatch):
    fitted = []
    part = crossfit.part
    monkeypatch.setattr(crossfit, "part", lambda j, c, number: fitted.append((c.title, number)) or part(j, c, number))
    fit(waves())
    assert len(fitted) == len(set(fitted))
    assert ("lightgbm", 0) in fitted


def test_few_rows_are_told_by_all_folds():
    report = fit(waves(600)).report
    assert {line["folds"] for line in report["leaderboard"]} == {5}
    assert report["budget"]["left_out"] == {}


def test_the_same_rows_give_the_same_bytes():
    rows = labels()
    first, second = (train.predict(fit(rows), rows[0]).probabilities for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_when_time_is_up_after_the_first_fold_what_began_is_fitted_to_all_rows(monkeypatch):
    rows, told = waves(), []
    begun = job(rows)
    tried = [c for c in portfolio.candidates(begun) if c.name == "lightgbm"]
    each = portfolio._each

    def slow(*arguments):
        each(*arguments)
        begun.deadline = time.monotonic() - 1
        told.append(arguments[2])

    monkeypatch.setattr(portfolio, "_each", slow)
    found = portfolio.run(begun, tried)
    assert told == [[0]]
    assert found.left_out["other folds"] == "time budget"
    assert [len(result.parts) for result in found.results] == [1, 1]
    begun.deadline = float("inf")
    members = crossfit.members(begun, found.results[0], 1.0)
    assert len(members) == 1
    assert members[0].estimator.n_estimators == crossfit.boosting.rounds(found.results[0].parts[0].estimator)


def test_stopping_in_the_first_fold_keeps_what_was_fitted():
    rows, stop = waves(), threading.Event()

    def progress(done, total, message, best):
        if best:
            stop.set()

    model = fit(rows, stop=stop, progress=progress)
    assert model.report["interrupted"] is True
    assert [(line["name"], line["folds"]) for line in model.report["leaderboard"]] == [("ridge", 1)]
    assert np.isfinite(train.predict(model, rows[0]).values).all()


def test_stopping_in_the_other_folds_keeps_the_first():
    rows, stop, told = waves(), threading.Event(), []

    def progress(done, total, message, best):
        told.append(message)
        if told.count("lightgbm") == 2 or told.count("lightgbm (large leaves)") == 2:
            stop.set()

    model = fit(rows, stop=stop, progress=progress)
    assert model.report["interrupted"] is True
    assert {line["folds"] for line in model.report["leaderboard"]} == {1}
    assert len(model.report["leaderboard"]) == 3


def test_progress_never_goes_back_and_ends_with_the_blend():
    told = []
    fit(waves(), progress=lambda done, total, *rest: told.append((done / total if total else None, *rest)))
    shares = [share for share, *_ in told if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert "blending" in [message for _, message, _ in told]


def test_in_time_order_the_longest_fold_decides():
    rows = waves(9000)
    forward = [(np.arange(end), np.arange(end, end + 1500)) for end in range(1500, 9000, 1500)]
    assert portfolio.widest(job(rows, forward)) == 4
    report = fit(rows, forward).report
    assert {line["folds"] for line in report["leaderboard"] if line["weight"]} == {5}


def test_a_member_that_cannot_be_fitted_is_left_out_with_its_reason():
    begun = job(waves())
    broken = Candidate("ridge", {"alpha": -1.0}, "broken")
    found = portfolio.run(begun, [broken, *portfolio.candidates(begun)[:2]])
    assert found.left_out["broken"].startswith("broken could not be fitted: ")
    with pytest.raises(portfolio.ModelError, match="No estimator could be fitted: broken could not be fitted"):
        portfolio.run(begun, [broken])
