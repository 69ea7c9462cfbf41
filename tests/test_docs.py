"""The examples of the documentation are run as they stand there.

A block ```console holds commands, each after `$ ` (`> ` goes on with it), and what they print. One that
begins with `keepfit serve` or `keepfit up` is started and stays until the next one; what it prints comes in
lines. A block ```python that a block ```text follows is run, and prints that. A block ```yaml is a part of a config.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from keepfit import config
from keepfit.sections import Canary, Forecast, Log, Monitoring, Retraining, Section, Serving
from tests.servers import free_port

ROOT = Path(__file__).parents[1]
SERVING = ROOT / "docs" / "serving.md"
PAGES = [ROOT / "README.md", SERVING, *(ROOT / "docs" / name for name in ("monitoring.md", "loop.md"))]
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVE = re.compile(r"([A-Z_]+=\S+ )*keepfit (serve|up)\b")
CHANGING = (  # what differs from one run to the next, and what stands for it
    (re.compile(r"^.* WARNING running as root .*$", re.M), ""),  # who runs the tests is not the page's business
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"\d{8}T\d{6}-\d{6}"), "STAMP"),
    (re.compile(r"the first (now|in [\d:]+)"), "FIRST"),
    (re.compile(r"\b0m[0-9a-z]{11}-[0-9a-f]+\b"), "ID"),
    (re.compile(r"(?<![\d.])\d+e-\d+"), "NUMBER"),
    (re.compile(r"(?<![\d.])\d+\.\d+(e-\d+)?(?![.\d])"), "NUMBER"),
    (re.compile(r"\s+"), ""),
)
FOREIGN = ("KEEPFIT_", "AIP_", "SAGEMAKER_", "MLFLOW_")  # variables that would make it another server
PARTS: dict[str, type[Section]] = {"": Serving, "canary.": Canary, "log.": Log}
PATIENCE = 60.0  # seconds for a server to start, and for what is asked again to be so


class Block(NamedTuple):
    language: str
    text: str
    line: int


class Command(NamedTuple):
    text: str
    printed: str


def blocks(text: str) -> list[Block]:
    return [Block(m[1], m[2], text[: m.start()].count("\n") + 1) for m in FENCE.finditer(text)]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block.

    >>> list(commands(Block("console", "$ cat <<E\\n> a\\n> E\\na\\n$ true\\n", 1)))
    [Command(text='cat <<E\\na\\nE', printed='a\\n'), Command(text='true', printed='')]
    """
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        first, *lines = part.splitlines(keepends=True)
        more = [line for line in lines if line.startswith("> ")]
        yield Command("".join([first, *(line[2:] for line in more)]).strip(), "".join(lines[len(more) :]))


def same(text: str) -> str:
    """Text without what changes.

    >>> same('{"id": "0mwq29u9nldxe-0", "p": 0.25}'), same("2026-11-21 07:05:44,444 INFO version 1 at 127.0.0.1")
    ('{"id":"ID","p":NUMBER}', 'TIMEINFOversion1at127.0.0.1')
    """
    for pattern, instead in CHANGING:
        text = pattern.sub(instead, text)
    return text


class Session:
    """A shell in a folder, and the server that it has started; port 8080 of the page is a free one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, str(free_port())
        self.server: subprocess.Popen[bytes] | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environment = {
            **kept,
            "no_proxy": "*",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def here(self, text: str) -> str:
        return text.replace("8080", self.port)

    def run(self, arguments: list[str]) -> str:
        done = subprocess.run(
            arguments, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        progress = re.compile(r"^(ingest|train|promote) .*\n", re.MULTILINE)
        return (done.stdout + progress.sub("", done.stderr)).replace(self.port, "8080")

    def console(self, command: Command) -> str:
        """What a command prints; one that only asks is asked again until it says what is expected."""
        shell = ["bash", "-c", self.here(command.text)]
        end = time.monotonic() + (PATIENCE if command.text.startswith("curl -s localhost") else 0)
        while same(found := self.run(shell)) != same(command.printed) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def serve(self, command: Command) -> str:
        """Start a server; what it prints, when it is as much as is expected."""
        self.stop()
        log, shell = self.folder / "server.log", re.sub(r"keepfit (serve|up)\b", r"exec \g<0>", self.here(command.text))
        with log.open("wb") as written:
            self.server = subprocess.Popen(
                ["bash", "-c", f"{shell} --port {self.port}"],
                cwd=self.folder, env=self.environment, stdout=written, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end, lines = time.monotonic() + PATIENCE, command.printed.count("\n")
        while (told := log.read_text()).count("\n") < lines and time.monotonic() < end and self.server.poll() is None:
            time.sleep(0.05)
        return "".join(told.replace(self.port, "8080").splitlines(keepends=True)[:lines])

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.server:
            self.server.send_signal(signal.SIGINT)
            assert self.server.wait(30) == 0, (self.folder / "server.log").read_text()
            self.server = None


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    if made.server and made.server.poll() is None:
        made.server.kill()
        made.server.wait()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_says_what_happens(page: Path, session: Session) -> None:
    ignored = shutil.ignore_patterns(".keepfit", "__pycache__")
    shutil.copytree(ROOT / "examples" / "iris", session.folder / "examples" / "iris", ignore=ignored)
    found = blocks(page.read_text(encoding="utf-8"))
    assert any(block.language == "console" for block in found)
    for block, after in zip(found, [*found[1:], Block("", "", 0)], strict=True):
        where = f"{page.name}, line {block.line}"
        if block.language == "console":
            for command in commands(block):
                starts = SERVE.match(command.text) and not command.printed.startswith("Error")
                printed = session.serve(command) if starts else session.console(command)
                assert same(printed) == same(command.printed), f"{where}: {command.text}\n{printed}"
        elif after.language == "text" and all(map(find_spec, imported(block.text))):
            printed = session.run([sys.executable, "-c", session.here(block.text)])
            assert printed == after.text, where
    session.stop()


@pytest.mark.parametrize(
    "printed", ['{"prediction": "setosa", "p": 0.5}', '{"prediction": "virginica", "p": 1}', "", "Error: it does not"]
)
def test_another_answer_is_another_answer(printed: str) -> None:
    assert same('{"prediction": "virginica", "p": 0.25}') != same(printed)


def imported(code: str) -> set[str]:
    """The packages that a piece of Python imports."""
    return set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE))


def test_the_configs_on_the_page_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHOP_KEY", "APP_KEY", "ADMIN_KEY"):
        monkeypatch.setenv(name, name)
    for page in (*PAGES[1:], SERVING.with_name("prediction-log.md")):
        parts = [block for block in blocks(page.read_text(encoding="utf-8")) if block.language == "yaml"]
        assert parts
        for part in parts:
            values = yaml.load(part.text, Loader=config.Loader)  # noqa: S506 - a safe one
            config.parse({"data": {"source": "a.csv", "target": "b"}, **values})


def test_every_key_of_serving_is_on_the_page_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\S+) \|", SERVING.read_text(encoding="utf-8"), re.MULTILINE)
    told = {key: default.strip("`") for key, default in rows}
    keys = {f"{prefix}{name}" for prefix, section in PARTS.items() for name in section.model_fields} - {"log"}
    assert told.keys() == keys
    for key, shown in told.items():
        prefix, name = key[: key.find(".") + 1], key.rpartition(".")[2]
        section = PARTS[prefix]
        value = getattr(section.model_validate({} if shown == "none" else {name: yaml.safe_load(shown)}), name)
        default = section.model_fields[name].default
        assert (value, shown == "none") == (default, default is None), key


@pytest.mark.parametrize("name", ["monitoring", "loop", "forecasting"])
def test_the_settings_on_the_page_are_the_defaults(name: str) -> None:
    sections: dict[str, Section] = {"monitoring": Monitoring(), "retraining": Retraining(), "forecast": Forecast()}
    examples = {"time", "slices", "schedule", "series", "past"}  # which have no default
    (text,) = (b.text for b in blocks((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
               if b.language == "yaml" and b.text.partition(":")[0] in sections)  # fmt: skip
    ((key, shown),) = yaml.load(text, Loader=config.Loader).items()  # noqa: S506 - a safe one
    default = sections[key]
    told = type(default).model_validate(shown)
    named = set(shown) - examples
    assert len(named) > 4
    assert {one: getattr(told, one) for one in named} == {one: getattr(default, one) for one in named}


def test_every_code_of_an_error_on_the_page_is_one() -> None:
    (table,) = re.findall(r"\| status \| codes .*?\n\n", SERVING.read_text(encoding="utf-8"), re.DOTALL)
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "keepfit").rglob("*.py"))
    codes = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", table)) - {"details"}
    assert len(codes) > 20
    assert [code for code in sorted(codes) if f'"{code}"' not in sources] == []


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    for page in [*pages, *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} → {target}"
