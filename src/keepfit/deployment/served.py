"""A loaded version at work: a batch of requests in, their responses out, each row in the log first.

`answer` is the one path of every prediction over HTTP, whatever the protocol: decode, read the rows
by the Schema, predict, write to the prediction log, encode. One fault in a batch is that request's alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, repeat
from types import ModuleType
from typing import Any

from keepfit.data import pictures
from keepfit.data.log import Block, Line, Writer, flat
from keepfit.data.parse import Problem
from keepfit.data.rows import Rows, Table, joined
from keepfit.deployment import untaken
from keepfit.deployment.http import Request, Response, Send, unpacked
from keepfit.deployment.protocols import Answered, Asked, Said, forms, keys, said
from keepfit.deployment.runtime import Runtime
from keepfit.errors import RequestError
from keepfit.models.fitted import Output

log = logging.getLogger("keepfit.server")
TOLD = 100  # faults that one answer names
Offer = Callable[[Rows, Sequence[Line], int], None]  # rows, what was answered to them, bytes of their requests
LATER = 64 * 1024  # bytes; a larger body is decoded where the batch is worked on, not in the event loop


@dataclass(frozen=True)
class Rules:
    """What every request is held to."""

    rows: int = 10_000
    body: int = 16 * 2**20
    pixels: int = 200_000_000  # of all pictures of a request
    seconds: float = 30.0
    strict: bool = False  # refuse columns that the model does not know


@dataclass(slots=True)
class Job:
    """One request on its way through a version."""

    request: Request
    protocol: ModuleType
    route: str
    caller: str
    send: Send
    asked: Asked | None = None
    size: int = 0  # bytes of the body, unpacked


@dataclass(frozen=True)
class Served:
    """A version and its place in the log. `role`: champion, canary or shadow."""

    name: str
    version: str
    role: str
    runtime: Runtime
    writer: Writer | None
    rules: Rules
    since: float = field(default_factory=time.time)
    refused: Counter[str] = field(default_factory=Counter)  # values that could not be read, by column
    logging: threading.Lock = field(default_factory=threading.Lock)  # ids and the rows they name: one segment

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns that say which row of a forecast is answered."""
        return keys(self.runtime.schema)

    @cached_property
    def files(self) -> Sequence[str]:
        """The columns whose values are files."""
        return forms.files(self.runtime.schema)

    @property
    def known(self) -> frozenset[str]:
        """The columns that a request may have."""
        return frozenset(column.name for column in self.runtime.schema.columns)


class Headers(Mapping[str, str]):
    """A request's headers as text, made when they are asked for."""

    __slots__ = ("raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self.raw = raw

    def __getitem__(self, name: str) -> str:
        return self.raw[name.encode("latin-1")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def decoded(served: Served, job: Job) -> Asked:
    """The rows of a request. Raises RequestError."""
    request, rules = job.request, served.rules
    body = request.body
    if b"content-encoding" in request.headers:
        body = unpacked(body, request.header(b"content-encoding"), rules.body)
    job.size = len(body)
    asked: Asked = job.protocol.decode(body, Headers(request.headers), served.runtime.schema)
    if len(asked.rows) > rules.rows:
        told = f"{len(asked.rows):,} rows are more than the {rules.rows:,} that one request may have."
        raise RequestError(413, "too_many_rows", f"{told} Send them in several requests.")
    wish = served.runtime.wish
    if wish:
        rows, observed = wish(asked.rows)
        asked = asked._replace(rows=rows, observed=observed)
    if rules.strict:
        _strict(asked.rows, served.known)
    return asked


def _affordable(served: Served, rows: Rows) -> None:
    """Raises RequestError (413) for pictures that together have more pixels than may be decoded for one request.

    By their headers alone; not in the event loop, where many headers would keep others waiting.
    """
    names = served.files
    if not names:
        return
    pixels = sum(pictures.area(row.get(name)) for row in rows if isinstance(row, Mapping) for name in names)
    if pixels > served.rules.pixels:
        told = (
            f"The pictures have {pixels / 1e6:,.0f} million pixels together, of {served.rules.pixels / 1e6:,g} million"
        )
        raise RequestError(
            413, "too_many_pixels", f"{told} that one request may have. Send smaller ones, or several requests."
        )


def weighed(request: Request) -> int:
    """About how many rows a body has that is not decoded yet: parts of a form, objects or lists of JSON, lines of CSV.

    >>> weighed(Request("POST", b"/", {}, b'[{"a": 1}, {"a": 2}, {"a": 3}]', True, ""))
    3
    >>> weighed(Request("POST", b"/", {b"content-type": b"image/jpeg"}, b"{{{", True, ""))
    1
    """
    body, kind = request.body, request.header(b"content-type").lower()
    if kind.startswith(("image/", "application/x-image", "multipart/")) or (
        kind.startswith("application/octet-stream") and not body.startswith(b"PAR1")
    ):
        return max(1, body.count(b"\r\n--"))
    return max(1, *(body.count(sign) for sign in (b"{", b"[", b"\n")))


def _strict(rows: Sequence[Any], known: frozenset[str]) -> None:
    """Raises RequestError for columns that the model does not know."""
    if type(rows) is Table and known.issuperset(rows.columns):
        return
    details = [
        {"row": place, "column": str(name), "problem": "is not a column of the model"}
        for place, row in enumerate(rows)
        if isinstance(row, dict) and not known.issuperset(row)
        for name in row
        if name not in known
    ]
    if details:
        raise RequestError(422, "unknown_columns", "There are columns that the model does not know.", details[:TOLD])


def answer(served: Served, jobs: Sequence[Job], offer: Offer | None = None) -> list[Response]:
    """A response for each job. `offer` is shown rows and lines of what was answered (for a shadow)."""
    results: dict[int, Response] = {}
    live: list[tuple[int, Job, Asked]] = []
    for place, job in enumerate(jobs):
        try:
            if time.perf_counter() - job.request.began > served.rules.seconds:
                raise RequestError(503, "timeout", "The answer took too long. Try again later.", retry=1)
            job.asked = job.asked or decoded(served, job)
            _affordable(served, job.asked.rows)
            live.append((place, job, job.asked))
        except RequestError as fault:
            results[place] = refusal(fault, job.protocol)
        except Exception as error:  # noqa: BLE001 - the edge: a fault of ours must not take the others along
            results[place] = internal_error(job.request, error, job.protocol)
    if live:
        for (place, _, _), response in zip(live, _answered(served, live, offer), strict=True):
            results[place] = response
    return [results[place] for place in range(len(jobs))]


def _answered(served: Served, live: Sequence[tuple[int, Job, Asked]], offer: Offer | None) -> list[Response]:
    if len(live) > 1 and _apart(served, live):
        return [response for one in live for response in _answered(served, [one], offer)]
    try:
        return _together(served, live, offer)
    except Exception as error:  # noqa: BLE001 - the edge: find out whose fault it is
        if len(live) == 1:
            job = live[0][1]
            if isinstance(error, RequestError):
                return [refusal(error, job.protocol)]
            return [internal_error(job.request, error, job.protocol)]
        return [response for one in live for response in _answered(served, [one], offer)]


def _apart(served: Served, live: Sequence[tuple[int, Job, Asked]]) -> bool:
    """Does what one request brings bear on its other rows, and must not on those of other requests?

    So do what it observed, and what it says of the steps between now and the one that it asks about.
    """
    known = served.runtime.wish
    return known is not None and (bool(known.ahead) or any(asked.observed for _, _, asked in live))


def _together(served: Served, live: Sequence[tuple[int, Job, Asked]], offer: Offer | None) -> list[Response]:
    """Responses to requests that are predicted as one batch."""
    rows = joined([asked.rows for _, _, asked in live])
    output, problems = served.runtime.rows(rows)
    problems = _but_gaps(served, live, problems) if problems else problems
    if not problems:
        return _told(served, *_wanted(served, live, rows, output), offer)
    bounds = _bounds(live)
    served.refused.update(problem.column for problem in problems)
    faults = _faults(problems, bounds)
    good = [place for place in range(len(live)) if place not in faults]
    found: Iterator[Response] = iter(())
    if good:
        taken = [row for place in good for row in range(bounds[place], bounds[place + 1])]
        its = [live[place] for place in good]
        found = iter(_told(served, its, joined([asked.rows for _, _, asked in its]), output[taken], offer))
    return [
        refusal(faults[place], job.protocol) if place in faults else next(found)
        for place, (_, job, _) in enumerate(live)
    ]


def _but_gaps(served: Served, live: Sequence[tuple[int, Job, Asked]], problems: list[Problem]) -> list[Problem]:
    """Without those of rows of a history that have no value: nobody asked what it may have been."""
    asked, known = live[0][2], served.runtime.wish
    if known is None or not asked.observed:
        return problems
    gaps = {row for row in asked.observed if known.gap(asked.rows[row].get(known.target))}
    return [problem for problem in problems if problem.row not in gaps]


def _wanted(
    served: Served, live: Sequence[tuple[int, Job, Asked]], rows: Rows, output: Output
) -> tuple[Sequence[tuple[int, Job, Asked]], Rows, Output]:
    """The same without the rows that were observed, which only a request alone has; notes of what is not taken."""
    place, job, asked = live[0]
    if not asked.observed or served.runtime.wish is None:
        return live, rows, output
    seen = frozenset(asked.observed)
    wanted = [row for row in range(len(rows)) if row not in seen]
    left = [rows[row] for row in wanted]
    notes = untaken.notes(served.runtime.wish, (rows[row] for row in asked.observed))
    return [(place, job, asked._replace(rows=left, observed=(), notes=notes))], left, output[wanted]


def _bounds(live: Sequence[tuple[int, Job, Asked]]) -> list[int]:
    """Where each job's rows begin among all of them, and the end."""
    return [0, *accumulate(len(asked.rows) for _, _, asked in live)]


def _told(
    served: Served, live: Sequence[tuple[int, Job, Asked]], rows: Rows, output: Output, offer: Offer | None
) -> list[Response]:
    """Responses to requests whose rows are all good, when these are in the log."""
    bounds, classes, keys = _bounds(live), served.runtime.schema.classes, served.keys
    told = said(output, classes)
    parts = [told] if len(live) == 1 else [*map(partial(_part, told), bounds, bounds[1:])]
    with served.logging:
        ids = _logged(served, live, rows, told, parts, offer)
    responses: list[Response] = []
    for (_, job, asked), start, end, mine in zip(live, bounds, bounds[1:], parts, strict=False):
        its = (ids, output) if len(live) == 1 else (ids[start:end], output[start:end])
        answered = Answered(*its, classes, served.name, served.version, mine, keys)
        reply = job.protocol.encode(asked, answered)
        responses.append(Response(200, reply.body, reply.content_type, reply.headers))
    return responses


def _faults(problems: Sequence[Problem], bounds: Sequence[int]) -> dict[int, RequestError]:
    """Job → what is wrong with its rows, all of it, rows counted from the job's own first."""
    place, found = 0, dict[int, list[dict[str, Any]]]()
    for problem in problems:  # in the order of their rows
        while problem.row >= bounds[place + 1]:
            place += 1
        told = {"row": problem.row - bounds[place], "column": problem.column, "problem": problem.problem}
        found.setdefault(place, []).append(told)
    return {place: _unreadable(details) for place, details in found.items()}


def _unreadable(details: list[dict[str, Any]]) -> RequestError:
    count = f"{len(details):,} values" if len(details) > 1 else "1 value"
    more = f" The first {TOLD} are listed." if len(details) > TOLD else ""
    return RequestError(422, "bad_values", f"{count} cannot be read as the model's columns need.{more}", details[:TOLD])


def _logged(
    served: Served,
    live: Sequence[tuple[int, Job, Asked]],
    rows: Rows,
    told: Said,
    parts: Sequence[Said],
    offer: Offer | None,
) -> list[str]:
    """Ids of the rows, which are in the log when this returns. `parts` are what is told, for each request."""
    writer = served.writer
    if writer:
        ids = writer.ids(len(rows))
    else:
        ids = [f"{job.request.id}.{n}" for _, job, asked in live for n in range(len(asked.rows))]
    if not writer and not offer:
        return ids
    records = _lines(writer, live, rows, ids, told) if len(rows) == len(live) else _blocks(writer, live, ids, parts)
    if writer:
        writer.write(records)  # a RequestError (503) here: what is not logged is not answered
    if offer:
        size = sum(job.size for _, job, _ in live)
        offer(rows, [line for record in records for line in flat(record)], size)
    return ids


def _lines(
    writer: Writer | None, live: Sequence[tuple[int, Job, Asked]], rows: Rows, ids: Sequence[str], told: Said
) -> Sequence[Line | Block]:
    """The log's records of requests with one row each."""
    now, clock = time.time(), time.perf_counter()
    origins = zip(
        *((job.request.id, job.caller, job.route, clock - job.request.began) for _, job, _ in live), strict=True
    )
    inputs = writer.inputs(rows) if writer else [()] * len(rows)
    return [*map(Line, ids, repeat(now), *origins, inputs, *fields(told))]


def _blocks(
    writer: Writer | None, live: Sequence[tuple[int, Job, Asked]], ids: Sequence[str], parts: Sequence[Said]
) -> Sequence[Line | Block]:
    """The log's records of requests, one for each."""
    now, clock = time.time(), time.perf_counter()
    found, bounds = [], _bounds(live)
    for (_, job, asked), start, end, mine in zip(live, bounds, bounds[1:], parts, strict=False):
        seconds, inputs = clock - job.request.began, writer.columns(asked.rows) if writer else ()
        found.append(Block(ids[start:end], now, job.request.id, job.caller, job.route, seconds, inputs, *mine))
    return found


def _part(told: Said, start: int, end: int) -> Said:
    parts: Sequence[Any] = told
    return Said(*[part and part[start:end] for part in parts])


def fields(told: Said) -> Iterator[Iterable[Any]]:
    """The last fields of each row's Line, prediction to scale; None for what the task does not have."""
    parts: Sequence[Any] = told
    return (repeat(None) if part is None else part for part in parts)


def refusal(fault: RequestError, protocol: ModuleType) -> Response:
    """The response that tells a fault, in the form that the protocol's clients expect."""
    headers = {"retry-after": str(max(1, round(fault.retry)))} if fault.retry else {}
    if fault.status == 401:
        headers["www-authenticate"] = "Bearer"
    elif fault.status == 405:
        headers["allow"] = ", ".join(str(detail["allow"]) for detail in fault.details)
    return Response(fault.status, protocol.error(fault), headers=headers)


def internal_error(request: Request, error: Exception, protocol: ModuleType) -> Response:
    """A fault of ours: the log has all of it, the client only the id to ask about."""
    log.exception("request %s failed: %s", request.id, type(error).__name__, exc_info=error)
    told = f"The server met a fault of its own. Its log has it under the request id {request.id}."
    return refusal(RequestError(500, "internal", told), protocol)
