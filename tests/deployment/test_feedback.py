"""Feedback to a server: what is said where none of it is accepted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from keepfit.deployment import access, routes
from keepfit.deployment.http import Request
from keepfit.deployment.platforms import Platform
from keepfit.deployment.served import Rules
from keepfit.errors import RequestError
from tests.deployment.test_rollout_series import Server
from tests.deployment.test_runtime_series import packed


def test_rows_of_series_that_are_refused_are_told_by_row_and_column(tmp_path: Path) -> None:
    packed(tmp_path / "1", later=False)

    async def script(server: Server) -> None:
        service = routes.Service(
            "shops", server.rollout, server.rollout.metrics, access.Keys({}), Rules(), Platform(),
            server.work / "feedback", server.work / "predictions",
        )  # fmt: skip
        entries = [
            {"shop": "north", "month": "2004-01-01", "sold": "many"},
            {"shop": "north", "sold": 3},
            {"sold": 1},
            7,
        ]
        entries += [{"id": "nobody-1", "label": 3}]
        asked = Request("POST", b"/feedback", {}, json.dumps(entries).encode(), True, "r")
        with pytest.raises(RequestError) as refused:
            await asyncio.to_thread(routes.feedback, service, asked)
        fault = refused.value
        assert (fault.status, fault.code) == (422, "no_labels")
        assert fault.message == (
            "None of these is the label of a prediction ('id' and 'label'), "
            "or a row that was observed ('month', 'shop' and 'sold')."
        )
        told = [(one["row"], one["column"]) for one in fault.details]
        assert told == [(0, "sold"), (1, "month"), (2, "shop"), (3, ""), (None, "id")]

    Server(tmp_path).run(script)
