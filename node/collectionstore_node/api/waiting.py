"""The metrics port of a node that is no member yet: it is alive, it is not ready, and it says what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from collectionstore_node.api.answers import Answer, json_answer
from collectionstore_node.api.problems import Problem, render

_REQUEST_ID: Final = "waiting"


def make_waiting_server(reason: Callable[[], str]) -> web.Server:
    """Return a server that answers /livez as a member does, and all else with 503 and `reason()`."""

    async def answer(request: web.BaseRequest) -> Answer:
        if request.path == "/livez":
            return json_answer({"alive": True}, headers=b"Cache-Control: no-store\r\n")
        return render(Problem("not_ready", reason()), request_id=_REQUEST_ID, revision=0)

    return web.Server(answer, access_log=None)
