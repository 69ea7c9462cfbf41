"""What the page shows, as HTML: right numbers, and nothing of the data as markup."""

from __future__ import annotations

from keepfit.deployment.explain import Effect, Explanation, Word
from keepfit.types import Column, Schema
from keepfit.ui import views

BAD = "<script>alert(1)</script>"
CLASSES = Schema((Column("a", "number"), Column("y", "target")), "classification", "y", ("no", "yes"))


def test_an_answer_is_the_label_how_sure_and_all_classes() -> None:
    told = {"prediction": "yes", "confidence": 0.7, "probabilities": {"no": 0.3, "yes": 0.7}}
    shown = views.answer(told, CLASSES)
    assert "<strong>yes</strong> <span class=kf-sure>70 % sure</span>" in shown
    assert shown.index("<span>yes</span>") < shown.index("<span>no</span>")
    assert "threshold" not in shown


def test_a_label_that_the_threshold_chose_is_told_so() -> None:
    told = {"prediction": "yes", "confidence": 0.3, "probabilities": {"no": 0.7, "yes": 0.3}}
    assert "Chosen with the threshold" in views.answer(told, CLASSES)


def test_many_classes_are_added_up() -> None:
    shown = views.bars({f"c{n}": 0.1 for n in range(10)}, "c0")
    assert "<span>2 others</span><em>20 %</em>" in shown


def test_a_value_stands_in_its_interval() -> None:
    schema = Schema((Column("y", "target"),), "regression", "y")
    shown = views.answer({"prediction": 1500.0, "interval": [1000.0, 3000.0]}, schema)
    assert "<strong>1,500</strong>" in shown
    assert "left:25.0%" in shown
    assert "kf-interval" not in views.answer({"prediction": 1.0}, schema)


def test_effects_go_to_both_sides() -> None:
    found = Explanation("yes", 0.7, (Effect("a", 3.0, 1.0, 0.4), Effect("b", None, "x", -0.1), Effect("c", 1, 1, 0.0)))
    shown = views.moved(found, "it")
    assert "<strong>a</strong> 3 <small>instead of 1</small></span><em>+40 pts</em>" in shown
    assert "<strong>b</strong> unknown <small>instead of x</small></span><em>−10 pts</em>" in shown
    assert "One input made hardly any difference." in shown
    assert "<strong>c</strong>" not in shown


def test_nothing_moved_it() -> None:
    assert "Nothing: with typical values" in views.moved(Explanation("yes", 0.5, (Effect("a", 1, 1, 0.0),)), "it")


def test_words_are_marked_where_they_stand() -> None:
    found = Explanation("pos", 0.9, (Effect("t", f"So GOOD {BAD}", None, 0.4),), (Word("t", "good", 0.4),), 7)
    shown = views.moved(found, "it")
    assert '<mark class=kf-up style="--much:100%">GOOD</mark>' in shown
    assert "The last 7 different words were not tried." in shown
    assert "<script" not in shown


def test_markup_in_data_stays_text() -> None:
    schema = Schema((Column(BAD, "number"), Column(BAD, "target")), "classification", BAD, (BAD, "x"))
    told = {"prediction": BAD, "confidence": 1.0, "probabilities": {BAD: 1.0, "x": 0.0}}
    effect = Explanation(BAD, 1.0, (Effect(BAD, BAD, BAD, 1.0),), (Word(BAD, BAD, 1.0),))
    parts = [
        views.answer(told, schema), views.moved(effect, views.shown(BAD)), views.table([BAD], [[BAD]], BAD),
        views.facts([(BAD, BAD)]), views.notice(BAD), views.metrics({BAD: {"value": 1.0}}, {}, {}),
    ]  # fmt: skip
    assert not [part for part in parts if "<script" in part]


def test_measures_stand_beside_their_goals() -> None:
    found = {"mae": {"value": 5.0}, "r2": {"value": 0.91239, "low": 0.9, "high": 0.92, "baseline": -0.00001}}
    shown = views.metrics(found, {"r2": ">= 0.95"}, {"r2": False})
    assert shown.index("R²") < shown.index("MAE")  # what has a goal comes first
    assert "≥ 0.95 <b class=kf-missed>missed</b>" in shown
    assert "0.9 to 0.92" in shown
    assert ">0.9124<" in shown
    assert ">0<" in shown
