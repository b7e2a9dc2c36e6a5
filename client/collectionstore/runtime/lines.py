"""A response that is a stream of lines, such as an export."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from typing import Final

import aiohttp

from collectionstore.errors import ConnectionFailure, problem_error
from collectionstore.runtime.authorization import Authorization
from collectionstore.runtime.members import Members
from collectionstore.transport.failures import AttemptFailed
from collectionstore.transport.requests import open_response
from collectionstore.wire.answers import read_problem
from collectionstore.wire.requests import Request

LINE_MAX: Final = 2 << 20
SILENCE_S: Final = 60.0


class LineFeed:
    """Belongs to one event loop. `next` gives lines without their ends; it does not go on by itself when it is cut."""

    def __init__(
        self, session: aiohttp.ClientSession, members: Members, authorization: Authorization, request: Request
    ) -> None:
        self._session = session
        self._members = members
        self._authorization = authorization
        self._request = request
        self._stack = AsyncExitStack()
        self._response: aiohttp.ClientResponse | None = None
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self.revision = 0
        """`X-Revision` of the response."""

    async def next(self) -> bytes | None:
        """Return the next line, None behind the last. Raises ConnectionFailure when it is cut, and ProblemError."""
        if self._response is None:
            self._response = await self._open()
        while not self._lines:
            try:
                async with asyncio.timeout(SILENCE_S):
                    piece = await self._response.content.readany()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise ConnectionFailure(f"the answer was cut: {type(error).__name__}", retryable=True) from None
            if not piece:
                if self._rest:
                    raise ConnectionFailure("the answer was cut within a line", retryable=True)
                return None
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > LINE_MAX:
                raise ConnectionFailure(f"a line is longer than {LINE_MAX} bytes")
            self._lines.extend(lines)
        return self._lines.popleft()

    async def _open(self) -> aiohttp.ClientResponse:
        member = self._members.pick(leader=False, stale=False)
        opened = open_response(self._session, member.url, self._request, await self._authorization.headers())
        try:
            response = await self._stack.enter_async_context(opened)
        except AttemptFailed as failure:
            self._members.failed(member)
            raise ConnectionFailure(f"{member.url}: {failure}", retryable=True) from None
        if response.status >= 400:
            raise problem_error(read_problem(response.status, await response.read()))
        self.revision = int(response.headers.get("X-Revision", "0"))
        return response

    async def close(self) -> None:
        """Close the connection, whatever was read."""
        await self._stack.aclose()
