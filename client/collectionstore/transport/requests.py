"""Plain requests to a member: what streams do not have, and all where there are none."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import yarl

from collectionstore.errors import IncompatibleServer
from collectionstore.transport.failures import AttemptFailed, AttemptTimedOut
from collectionstore.wire.answers import Answer, answer_of
from collectionstore.wire.requests import Request

PREFIX = "/api/v1"
GRACE_S = 0.25
LARGE_BYTES = 256 << 10
BODY_MAX = 64 << 20
"""A larger answer is no answer of a Collection Store."""


def target(url: str, request: Request, timeout_s: float | None) -> yarl.URL:
    """Return where a request goes. Paths are percent-encoded already."""
    made = yarl.URL(f"{url}{PREFIX}{request.path}", encoded=True)
    parameters = dict(request.parameters)
    if timeout_s is not None and request.timed:
        parameters["timeout"] = f"{max(1, min(60_000, int(timeout_s * 1_000)))}ms"
    return made.update_query(parameters) if parameters else made


async def send(
    session: aiohttp.ClientSession, url: str, request: Request, headers: Mapping[str, str], timeout_s: float
) -> Answer:
    """Send a request and return its answer, whatever its status. Raises AttemptFailed."""
    raw = request.method == "GET" and request.path.startswith("/kv/") and request.path.count("/") > 2
    try:
        async with (
            asyncio.timeout(timeout_s + GRACE_S),
            session.request(
                request.method,
                target(url, request, timeout_s),
                data=_payload(request.body),
                headers={**headers, **request.headers},
                allow_redirects=False,
            ) as response,
        ):
            body = await _body(response)
            _check_store(url, response)
            return answer_of(response.status, response.headers, body, raw=raw)
    except TimeoutError:
        raise AttemptTimedOut("no answer in time", sent=True) from None
    except aiohttp.ClientConnectorError as error:
        raise AttemptFailed(f"no connection: {type(error).__name__}", sent=False) from None
    except (aiohttp.ClientError, OSError) as error:
        raise AttemptFailed(f"the connection was lost: {type(error).__name__}", sent=True) from None


def _check_store(url: str, response: aiohttp.ClientResponse) -> None:
    """Refuse a success that is not one of a store: a page of a proxy must not pass for a write that was made."""
    status, kind = response.status, response.headers.get("Content-Type", "")
    if status < 300:
        known = "X-Revision" in response.headers or kind.startswith("application/json")
    else:
        known = status >= 400 or status == 304
    if not known:
        raise IncompatibleServer(f"{url} answered {status} as no Collection Store does: is there a proxy between?")


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    # As a file a large body is sent piece by piece; in one, it would hold the event loop.
    return io.BytesIO(body) if body is not None and len(body) > LARGE_BYTES else body


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        body += piece
        if len(body) > BODY_MAX:
            raise AttemptFailed("the answer is too large", sent=True)
    return bytes(body)


@asynccontextmanager
async def open_response(
    session: aiohttp.ClientSession, url: str, request: Request, headers: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a request whose answer is a stream. Raises AttemptFailed for what fails before the answer."""
    opened = session.request(
        request.method,
        target(url, request, None),
        data=_payload(request.body) if request.pieces is None else request.pieces,
        headers={**headers, **request.headers},
        allow_redirects=False,
    )
    try:
        response = await opened
    except aiohttp.ClientConnectorError as error:
        raise AttemptFailed(f"no connection: {type(error).__name__}", sent=False) from None
    except (aiohttp.ClientError, OSError) as error:
        raise AttemptFailed(f"the connection was lost: {type(error).__name__}", sent=True) from None
    try:
        yield response
    finally:
        response.close()
