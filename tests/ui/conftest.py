"""What the tests of the page stand on. A module brings `trained`, the folder of a project with a champion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Server, serving
from tests.ui.browser import browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(trained: Path, chromium: Any) -> Iterator[Server]:
    """The page of the project at work."""
    with serving(trained, command="ui") as running:
        yield running
