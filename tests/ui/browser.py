"""A headless Chromium, and what the tests of the page ask of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT = 20_000  # milliseconds; the machine may be busy


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium of the system's, driven by Playwright; the test is skipped where either is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'keepfit[dev]'")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


@contextmanager
def visiting(running: Any, url: str, **options: Any) -> Iterator[Any]:
    """A page at `url` in a profile of its own. Errors of its scripts and requests to elsewhere are failures."""
    wrong: list[str] = []
    context = running.new_context(**options)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else wrong.append(asked.url))
    try:
        page.goto(url)
        yield page
        assert wrong == []
    finally:
        context.close()
