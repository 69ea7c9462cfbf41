"""`keepfit ui`: the web app as one process that follows the champion and logs what it is asked."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from nicegui import ui

from keepfit import config as settings
from keepfit.config import Config
from keepfit.deployment import server
from keepfit.deployment.platforms import platform
from keepfit.deployment.routes import Service
from keepfit.pipeline import serving
from keepfit.ui.gate import CALLER, Gate
from keepfit.ui.moving import Where
from keepfit.ui.page import build

GRACE = 3  # seconds for open pages when it ends
ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><circle cx='16' cy='16' r='11' fill='none' "
    "stroke='#2f6f62' stroke-width='5' stroke-dasharray='52 18' stroke-linecap='round'/></svg>"
)


def run(
    config: Config, project: Path, host: str, port: int, bundle: Path | None = None, insecure: bool = False,
    started: Callable[[str], None] = lambda url: None,
) -> None:  # fmt: skip
    """Show the page of the champion, or of a bundle's folder, until SIGTERM or SIGINT.

    `started` is told the address. Raises TrackingError when there is no champion, BundleError when it
    does not load, ConfigError when the address is taken or is open to others without a key.
    """
    service = serving.service(config, project, bundle, platform(settings.environment))
    serving.guarded(service, "--host", host, insecure)
    service.rollout.first()
    listener = server.listen(host, port)
    rolling = serving.rolling(config, project / settings.WORK)
    with asyncio.Runner() as runner:
        runner.run(
            _main(
                service, listener, rolling, host in server.LOOPBACK, None if bundle else Where(config, project), started
            )
        )


def application(service: Service, alone: bool, where: Where | None = None) -> FastAPI:
    """The page as an ASGI application. One a process: the framework keeps its pages in its module."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "alive"}  # what `keepfit up` looks at

    @ui.page("/")
    def index(request: Request) -> None:
        build(service, request.scope[CALLER], leave=bool(service.keys.callers), where=where)

    ui.run_with(
        app, title=service.name, favicon=ICON, dark=None, tailwind=False, show_welcome_message=False,
        reconnect_timeout=10.0, language="en-US",
    )  # fmt: skip
    app.add_middleware(Gate, keys=service.keys, title=service.name, alone=alone)
    return app


async def _main(
    service: Service, listener: socket.socket, rolling: server.Rolling | None, alone: bool, where: Where | None,
    started: Callable[[str], None],
) -> None:  # fmt: skip
    before = [(number, signal.signal(number, _heard)) for number in (signal.SIGTERM, signal.SIGINT)]
    service.rollout.start()
    made = uvicorn.Config(
        application(service, alone, where), log_level="warning", access_log=False, lifespan="on", server_header=False,
        timeout_graceful_shutdown=GRACE, ws="wsproto",
    )  # fmt: skip
    page = uvicorn.Server(made)
    serving_page = asyncio.create_task(page.serve(sockets=[listener]))
    while not page.started and not serving_page.done():
        await asyncio.sleep(0.02)
    if page.started:
        address, number = listener.getsockname()[:2]
        started(f"http://{f'[{address}]' if ':' in address else address}:{number}")
    rolls = asyncio.create_task(server.roll(service, rolling))
    await serving_page
    rolls.cancel()
    await asyncio.to_thread(server.end, service, rolling)
    for number, handler in before:
        signal.signal(number, handler)


def _heard(number: int, frame: Any) -> None:
    """The page's server hears a signal first and, when it has ended, sends it once more: to nobody."""
    logging.getLogger("keepfit.server").info("stopped")
