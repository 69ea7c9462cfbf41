"""keepfit.yaml: mistakes at once, nearest names, secrets that stay out of records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keepfit import config
from keepfit.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    (folder / "keepfit.yaml").write_text(text, encoding="utf-8")
    return folder


def test_the_smallest_file_has_all_defaults_and_the_folders_name(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, "data: {source: a.csv, target: y}"))
    assert loaded.project.name == tmp_path.name
    assert (loaded.data.test_size, loaded.data.random_state, loaded.model.type) == (0.2, 42, "auto")


def test_three_mistakes_are_reported_at_once_with_lines(tmp_path: Path) -> None:
    text = "data:\n  source: a.csv\n  test_sise: 0.3\nmodell: {}\ntuning:\n  cv: one\n"
    with pytest.raises(ConfigError) as error:
        config.load(write(tmp_path, text))
    message = str(error.value)
    assert "3 mistakes" in message
    assert "data.test_sise (line 3): unknown key. Did you mean 'test_size'?" in message
    assert "modell (line 4): unknown key. Did you mean 'model'?" in message
    assert "tuning.cv (line 6)" in message
    assert "not 'one'" in message


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 3: 'data.target' stands twice"):
        config.load(write(tmp_path, "data:\n  target: a\n  target: b\n  source: x.csv\n"))


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "holds no sections"), ("- a\n", "holds no sections"), ("a: [", "is not YAML"), ("data: 3", "data")],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config.load(write(tmp_path, text))


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keepfit init"):
        config.load(tmp_path)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "keepfit.yaml").write_bytes(b"data: {source: \xff}")
    with pytest.raises(ConfigError, match="Save it as UTF-8"):
        config.load(tmp_path)


def test_set_overrides_any_key(tmp_path: Path) -> None:
    folder = write(tmp_path, "data: {source: a.csv}\n")
    loaded = config.load(folder, ["data.test_size=0.3", "model.type=ridge", "model.alpha=2", "goals.r2=>= 0.5"])
    assert loaded.data.test_size == 0.3
    assert loaded.model.parameters == {"alpha": 2}
    assert loaded.goals == {"r2": ">= 0.5"}


@pytest.mark.parametrize("assignment", ["data.test_size", "=3", "data.source.inner=2"])
def test_set_that_cannot_be_applied(tmp_path: Path, assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        config.load(write(tmp_path, "data: {source: a.csv}"), [assignment])


def test_secrets_are_filled_in_but_never_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    folder = write(tmp_path, "data: {source: 'postgresql://u:${DB_PASSWORD}@h/d', query: select 1}\n")
    loaded = config.load(folder)
    assert "hunter2" in loaded.data.source
    assert "hunter2" not in json.dumps(config.recorded(loaded))
    assert "${DB_PASSWORD}" in config.recorded(loaded)["data"]["source"]


def test_what_a_variable_brought_is_masked_wherever_it_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    monkeypatch.setenv("ENV", "eu")
    loaded = config.load(write(tmp_path, "data: {source: 'https://h/${ENV}/${TOKEN}/a.csv', query: '${UNSET_:-x}'}\n"))
    origin = {"source": loaded.data.source, "files": [{"url": "see hunter2"}], "rows": 3}
    assert config.masked(loaded, origin) == {
        "source": "https://h/eu/${TOKEN}/a.csv",
        "files": [{"url": "see ${TOKEN}"}],
        "rows": 3,
    }


def test_a_mistake_does_not_show_what_a_variable_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    write(tmp_path, "data: {source: a.csv, test_size: '${DB_PASSWORD}'}\nfeatures: {keep: '${DB_PASSWORD}'}\n")
    with pytest.raises(ConfigError, match=r"data.test_size.*not '\$\{DB_PASSWORD\}'") as told:
        config.load(tmp_path)
    assert "hunter2" not in str(told.value)


def test_keys_that_stand_in_the_file_are_never_recorded_and_asked_for_instead() -> None:
    serving = {"keys": {"my-shop": "hunter2", "app": "${APP_KEY:-hunter3}"}, "admin_key": "hunter4"}
    loaded = config.parse({"data": {"source": "a.csv"}, "serving": serving})
    assert loaded.serving.keys == {"my-shop": "hunter2", "app": "hunter3"}
    recorded = config.recorded(loaded)
    assert "hunter" not in json.dumps(recorded)
    assert recorded["serving"]["keys"] == {"my-shop": "${KEY_OF_MY_SHOP}", "app": "${APP_KEY}"}
    assert config.masked(loaded, "hunter2 or hunter4") == "${KEY_OF_MY_SHOP} or ${KEEPFIT_ADMIN_KEY}"
    with pytest.raises(ConfigError, match=r"\$\{KEY_OF_MY_SHOP\} is not set"):
        config.parse(recorded)


@pytest.mark.parametrize("serving", [{"keys": "1234567"}, {"keys": {"shop": 1234567}}, {"admin_key": 1234567}])
def test_a_mistake_does_not_show_a_key(serving: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"serving\.(keys|admin_key)") as told:
        config.parse({"data": {"source": "a.csv"}, "serving": serving})
    assert "1234567" not in str(told.value)


def test_an_unset_variable_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ConfigError, match=r"\$\{NOT_THERE\} is not set"):
        config.load(write(tmp_path, "data: {source: '${NOT_THERE}/a.csv'}"))


def test_a_variable_may_have_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_FOLDER", raising=False)
    write(tmp_path, "data: {source: '${DATA_FOLDER:-data}/a.csv'}")
    assert config.load(tmp_path).data.source == "data/a.csv"
    monkeypatch.setenv("DATA_FOLDER", "other")
    assert config.load(tmp_path).data.source == "other/a.csv"


@pytest.mark.parametrize("bad", ["0.9", ">= high", "=> 0.9", ""])
def test_goals_are_comparisons(bad: str) -> None:
    with pytest.raises(ConfigError, match="is no goal"):
        config.parse({"data": {"source": "a.csv"}, "goals": {"accuracy": bad}})


def test_a_goal_that_is_a_bare_number_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"write 'accuracy: \">= 0.9\"'"):
        config.parse({"data": {"source": "a.csv"}, "goals": {"accuracy": 0.9}})


def test_the_schema_knows_every_section() -> None:
    schema = config.schema()
    assert {"project", "data", "model", "tuning", "goals", "gate"} <= set(schema["properties"])
    json.dumps(schema)


@given(
    st.fixed_dictionaries(
        {"data": st.fixed_dictionaries({"source": st.just("a.csv"), "test_size": st.floats(0.01, 0.99)})},
        optional={
            "tuning": st.fixed_dictionaries({"trials": st.integers(0, 99), "cv": st.integers(2, 9)}),
            "goals": st.dictionaries(
                st.sampled_from(["accuracy", "rmse"]), st.floats(0, 9).map(lambda x: f">= {x}"), max_size=2
            ),
            "model": st.dictionaries(st.sampled_from(["max_iter", "alpha"]), st.integers(1, 9)),
        },
    )
)
def test_what_is_recorded_parses_to_the_same_config(values: dict[str, object]) -> None:
    first = config.parse(values)
    again = config.parse(yaml.safe_load(yaml.safe_dump(config.recorded(first))))
    assert again.model_dump() == first.model_dump()


def test_words_that_old_yaml_takes_for_truth_values_are_words(tmp_path: Path) -> None:
    checks = "checks: {left: {values: [yes, no, on]}, a: {unique: true}}"
    text = f"data: {{source: a.csv}}\nretraining:\n  on: [rows]\n{checks}\n"
    (tmp_path / "keepfit.yaml").write_text(text, encoding="utf-8")
    assert config.load(tmp_path).retraining.on == ["rows"]
    found = config.load(tmp_path, ["retraining.on=[drift]"])
    assert found.retraining.on == ["drift"]
    assert found.checks["left"].values == ["yes", "no", "on"]
    assert found.checks["a"].unique is True
