"""Ask the model as the HTTP server does: through the rollout, checked, logged, counted. The route is "ui"."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from keepfit.deployment import feedback
from keepfit.deployment.http import Request, Response
from keepfit.deployment.protocols import native
from keepfit.deployment.routes import Service
from keepfit.deployment.served import Job, Served, decoded
from keepfit.errors import RequestError

ROUTE = "ui"
Row = Mapping[str, Any]


class Told(NamedTuple):
    """The answers to some rows, in their order, the version that gave them, and what is to be told beside them."""

    served: Served
    predictions: Sequence[Mapping[str, Any]]
    notes: Sequence[Mapping[str, Any]] = ()


async def predict(service: Service, rows: Sequence[Row], caller: str) -> Told:
    """The answers to `rows`, which are in the prediction log when this returns.

    Raises RequestError as the HTTP server would tell it: with the row and the column of each fault.
    Must be called in the loop that the rollout was started in.
    """
    key = f"{ROUTE}-{uuid.uuid4().hex[:16]}"
    chosen = service.rollout.choose(key)
    if chosen is None:
        raise RequestError(503, "no_model", f"'{service.name}' has no champion yet. Try again later.", retry=5)
    found: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    request = Request("POST", b"/ui", {}, native.encode_json(list(rows)), True, key)
    job = Job(request, native, ROUTE, caller, lambda response: None if found.done() else found.set_result(response))
    job.asked = decoded(chosen.served, job)
    chosen.put(job, len(rows))
    response = await found
    value = json.loads(response.body)
    if response.status != 200:
        fault = value["error"]
        raise RequestError(response.status, fault["code"], fault["message"], fault["details"])
    return Told(chosen.served, value["predictions"], value.get("notes", ()))


async def label(service: Service, key: str, value: Any, caller: str) -> str:
    """Send what was true of a prediction; the sentence that tells it arrived.

    Raises RequestError that says why it is no label.
    """
    report = await asyncio.to_thread(feedback.take, service, [{"id": key, "label": value}], caller)
    if report.invalid:
        raise RequestError(422, "no_label", report.invalid[0].problem)
    if not report.accepted:
        raise RequestError(422, "no_label", "This prediction is not in the log any more.")
    if report.held_back:
        return f"Noted, but held back: {report.held_back[0].problem}."
    return "Noted; it replaces the earlier answer." if report.repeated else "Noted. Thank you."
