"""The command line: answers at once, one message an error, exit codes that scripts can trust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from keepfit.cli import main

HEAVY = {
    "numpy",
    "pandas",
    "polars",
    "sklearn",
    "mlflow",
    "onnxruntime",
    "lightgbm",
    "matplotlib",
    "optuna",
    "pydantic",
}


def keepfit(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after `code`."""
    script = f"{code}\nimport sys; print('\\n'.join({{m.partition('.')[0] for m in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_loads_nothing_heavy() -> None:
    assert not loaded("import keepfit") & HEAVY


@pytest.mark.parametrize("command", ["", *sorted(main.commands)])
def test_help_loads_nothing_heavy(command: str) -> None:
    arguments = [*([command] if command else []), "--help"]
    code = f"import keepfit.cli as c\ntry: c.main({arguments})\nexcept SystemExit as stop: assert not stop.code"
    assert not loaded(code) & HEAVY


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help(command: str) -> None:
    code, out, _ = keepfit(command, "--help")
    assert code == 0
    assert main.commands[command].help.splitlines()[0] in " ".join(out.split())  # a narrow terminal breaks lines


def test_no_command_is_explained_by_half_a_sentence() -> None:
    _, out, _ = keepfit("--help")
    assert "..." not in out.partition("Commands:")[2]


def test_wrong_usage_is_exit_code_2() -> None:
    for arguments in (["no-such"], ["run", "--no-such"], ["predict"], ["promote", "3"]):
        code, _, err = keepfit(*arguments)
        assert code == 2, arguments
        assert "Error" in err


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    code, out, err = keepfit("run", "-C", str(tmp_path))
    assert code == 2
    assert "keepfit init" in err
    assert not out
    assert "Traceback" not in err


def test_with_json_an_error_is_a_document_too(tmp_path: Path) -> None:
    code, out, err = keepfit("check", "-C", str(tmp_path), "--json")
    assert code == json.loads(out)["error"]["exit_code"] == 2
    assert "keepfit init" in json.loads(out)["error"]["message"]
    assert "keepfit init" in err


def test_with_json_wrong_usage_is_a_document_too() -> None:
    for arguments in (["run", "--no-such", "--json"], ["predict", "--json"], ["--json", "run"], ["no-such", "--json"]):
        code, out, err = keepfit(*arguments)
        assert code == json.loads(out)["error"]["exit_code"] == 2, arguments
        assert json.loads(out)["error"]["message"] in err


def test_the_value_of_an_option_is_no_flag(tmp_path: Path) -> None:
    for arguments in (["--set", "--json"], ["--set", "--debug"]):
        code, out, err = keepfit("check", "-C", str(tmp_path), *arguments)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
    assert main.flags(["promote", "--reason", "--json", "-C", "--debug", "--", "--json"]) == set()
    assert main.flags(["promote", "3", "--json", "--set", "a=b", "--debug"]) == {"--json", "--debug"}


@pytest.mark.parametrize("arguments", [["schema"], ["version", "--json"], ["check", "-C", "/nowhere", "--json"]])
def test_a_reader_that_is_gone_ends_it_quietly(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -1` does when it has its line
    command = [sys.executable, "-m", "keepfit.cli", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode in (1, 2)
    assert not [word for word in ("Traceback", "BrokenPipe", "ignored") if word in done.stderr]


def test_every_command_takes_the_common_options() -> None:
    for name, command in main.commands.items():
        taken = {name for option in command.params for name in option.opts}
        assert {"-C", "--set", "--json", "--debug"} <= taken, name


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", "-C", str(tmp_path), "--debug"])
    assert type(result.exception).__name__ == "ConfigError"


def test_schema_is_one_json_document() -> None:
    code, out, _ = keepfit("schema")
    assert code == 0
    assert json.loads(out)["title"] == "Config"


def test_version() -> None:
    assert keepfit("version")[1] == keepfit("--version")[1].split()[-1] + "\n"


def test_doctor_names_what_is_installed(tmp_path: Path) -> None:
    code, out, err = keepfit("doctor", "-C", str(tmp_path), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["polars"] != "not installed"
    assert "polars" in err
