"""An API server in this process that can be watched: it keeps a history, forgets it, and breaks connections."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

from aiohttp import web

from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer, status

PODS = "/api/v1/pods"


class WatchedServer:
    """Lists and watches of one path in front of a `FakeApiServer`; selectors are recorded and not applied."""

    def __init__(self, path: str = PODS) -> None:
        self.server = FakeApiServer()
        self.server.behave = self._answer
        self.path = path
        self.version = 1
        self.oldest = 0
        """Watches from an earlier version are told that it is gone."""
        self.lists = 0
        self.watches: list[str] = []
        """The resourceVersion that each watch began from."""
        self.queries: list[dict[str, str]] = []
        self.refuse: int = 0
        """Status code of every list and watch while it is not 0."""
        self.after_list: list[tuple[str, Body]] = []
        """Changes that happen when a list has been answered, and before anything is watched."""
        self._objects: dict[str, Body] = {}
        self._history: list[tuple[int, Body]] = []
        self._changed = asyncio.Condition()
        self._generation = 0

    async def put(self, name: str, **fields: Any) -> Body:
        """Create or change an object."""
        known = self._objects.get(name)
        self.version += 1
        metadata = {"name": name, "namespace": "shop", "uid": f"uid-{self.version}", **fields.pop("metadata", {})}
        if known is not None:
            metadata["uid"] = known["metadata"]["uid"]
        body: Body = {"metadata": {**metadata, "resourceVersion": str(self.version)}, **fields}
        self._objects[name] = body
        await self._record("ADDED" if known is None else "MODIFIED", body)
        return body

    async def remove(self, name: str) -> None:
        """Delete an object."""
        self.version += 1
        body = copy.deepcopy(self._objects.pop(name))
        body["metadata"]["resourceVersion"] = str(self.version)
        await self._record("DELETED", body)

    async def bookmark(self) -> None:
        """Tell watches how far they are."""
        self.version += 1
        await self._record("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    async def send(self, event: Body) -> None:
        """Send any line to the watches."""
        self._history.append((self.version, event))
        await self._wake()

    async def cut(self) -> None:
        """Break all watches."""
        self._generation += 1
        await self._wake()

    async def begun(self, count: int) -> None:
        """Wait until so many watches have begun since the start."""
        async with self._changed, asyncio.timeout(5):
            await self._changed.wait_for(lambda: len(self.watches) >= count)

    async def _record(self, kind: str, body: Body) -> None:
        self._history.append((self.version, {"type": kind, "object": copy.deepcopy(body)}))
        await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or request.path != self.path:
            return None
        self.queries.append(dict(request.query))
        if self.refuse:
            return status(self.refuse, "Trouble")
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self.lists += 1
        found = {"metadata": {"resourceVersion": str(self.version)}, "items": list(self._objects.values())}
        answer = web.json_response(copy.deepcopy(found))
        for kind, fields in self.after_list:
            await (self.put(fields["name"]) if kind == "put" else self.remove(fields["name"]))
        self.after_list = []
        return answer

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since, generation = int(request.query["resourceVersion"]), self._generation
        self.watches.append(request.query["resourceVersion"])
        if since < self.oldest:
            await self._wake()
            return status(410, "Expired", "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        sent = next((at for at, (version, _) in enumerate(self._history) if version > since), len(self._history))
        async with self._changed:
            self._changed.notify_all()
            while generation == self._generation:
                while sent < len(self._history):
                    await response.write(json.dumps(self._history[sent][1]).encode() + b"\n")
                    sent += 1
                await self._changed.wait()
        if request.transport is not None:
            request.transport.close()
        return response
