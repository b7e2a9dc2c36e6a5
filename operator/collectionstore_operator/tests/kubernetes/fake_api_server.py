"""An API server in this process: stores objects by path, checks preconditions, and injects faults.

It knows no schema and no admission, and an apply is a merge: what depends on those is tried on a real one.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from collectionstore_operator.kubernetes.api import Kind

Body = dict[str, Any]
PLURALS = {kind.plural for kind in Kind}
Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
Afterthought = Callable[[web.Request, web.StreamResponse], web.StreamResponse]


def status(code: int, reason: str, message: str = "", **details: Any) -> web.Response:
    """Return an error response as an API server formats it."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message or reason, "details": details}
    return web.json_response(body, status=code)


class FakeApiServer:
    """Objects by path, and every request received."""

    def __init__(self) -> None:
        self.objects: dict[str, Body] = {}
        self.requests: list[tuple[str, str]] = []
        self.queries: list[dict[str, str]] = []
        self.bodies: list[Any] = []
        self.behave: Behaviour | None = None
        """Asked first for every request; what it returns is the answer."""
        self.spoil: Afterthought | None = None
        """Given what was done and the answer; returns the answer that arrives."""
        self.held: set[str] = set()
        """Objects that are only marked when they are deleted, as those with a finalizer."""
        self._versions = itertools.count(1)
        self._server: TestServer | None = None

    async def start(self) -> ApiClient:
        """Listen, and return a client of it."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(application)
        await self._server.start_server()
        return ApiClient(Configuration(host=str(self._server.make_url("")).rstrip("/")))

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.close()

    def put(self, path: str, body: Body) -> Body:
        """Keep an object as if it had been changed."""
        body = copy.deepcopy(body)
        metadata = body.setdefault("metadata", {})
        metadata["resourceVersion"] = str(next(self._versions))
        metadata.setdefault("uid", f"uid-{metadata['resourceVersion']}")
        self.objects[path] = body
        return body

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append((request.method, request.path))
        self.queries.append(dict(request.query))
        self.bodies.append(json.loads(text) if text else None)
        if self.behave is not None:
            answer = await self.behave(request)
            if answer is not None:
                return answer
        done: web.Response = getattr(self, f"_{request.method.lower()}")(request.path, self.bodies[-1])
        return self.spoil(request, done) if self.spoil is not None else done

    def _get(self, path: str, _body: Any) -> web.Response:
        if path in self.objects:
            return web.json_response(self.objects[path])
        if path.rsplit("/", 1)[-1] in PLURALS:
            items = [body for key, body in sorted(self.objects.items()) if key.rsplit("/", 1)[0] == path]
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})
        return status(404, "NotFound", f"{path} not found")

    def _post(self, path: str, body: Body) -> web.Response:
        if path.endswith("/eviction"):
            return self._delete(path.removesuffix("/eviction"), body["deleteOptions"])
        key = f"{path}/{body['metadata']['name']}"
        if key in self.objects:
            return status(409, "AlreadyExists", f"{key} already exists")
        return web.json_response(self.put(key, body), status=201)

    def _put(self, path: str, body: Body) -> web.Response:
        refusal = self._refusal(path, body.get("metadata", {}))
        return refusal or web.json_response(self.put(path, body))

    def _patch(self, path: str, body: Body) -> web.Response:
        path = path.removesuffix("/status").removesuffix("/approval")
        if path not in self.objects:
            return web.json_response(self.put(path, body), status=201)
        refusal = self._refusal(path, body.get("metadata", {}))
        return refusal or web.json_response(self.put(path, _merged(self.objects[path], body)))

    def _delete(self, path: str, body: Body) -> web.Response:
        refusal = self._refusal(path, (body or {}).get("preconditions", {}))
        if refusal is not None:
            return refusal
        if path in self.held and (body or {}).get("gracePeriodSeconds") != 0:
            metadata = {**self.objects[path]["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            return web.json_response(self.put(path, {**self.objects[path], "metadata": metadata}))
        return web.json_response(self.objects.pop(path))

    def _refusal(self, path: str, preconditions: Body) -> web.Response | None:
        if path not in self.objects:
            return status(404, "NotFound", f"{path} not found")
        found = self.objects[path]["metadata"]
        for key in ("uid", "resourceVersion"):
            if preconditions.get(key, found[key]) != found[key]:
                return status(409, "Conflict", f"{key} is {found[key]}")
        return None


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    merged = {key: _merged(old.get(key), value) for key, value in new.items() if value is not None}
    return {**{key: value for key, value in old.items() if key not in new}, **merged}
