"""Receiving a request's body: its declared length, type and encoding, its size, and the time it takes to arrive."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import CONTENT_TYPE, CONTENT_TYPE_CHARACTERS_MAX

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"

_JSON_TYPE: Final = re.compile(
    r'application/(?:json|[a-z0-9.!#$&^_-]+\+json)(?:\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE
)


class Arrivals:
    """Counts the bytes of bodies that are still arriving, so that slow uploads cannot exhaust memory."""

    __slots__ = ("_bytes", "_bytes_max")

    def __init__(self, bytes_max: int) -> None:
        self._bytes = 0
        self._bytes_max = bytes_max

    @property
    def size_bytes(self) -> int:
        """Sum of the reserved sizes."""
        return self._bytes

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes for a body. Raises `Problem` when too many are reserved already."""
        if self._bytes + size > self._bytes_max:
            raise Problem("overloaded", f"bodies of more than {self._bytes_max} bytes are arriving already")
        self._bytes += size

    def release(self, size: int) -> None:
        """Release a reservation of `size` bytes."""
        self._bytes -= size


def body_at_hand(request: web.BaseRequest, bytes_max: int) -> bytes:
    """Return the body of a request that has arrived completely: no await, no copy. Raises `Problem`."""
    headers = request.headers
    if hdrs.CONTENT_ENCODING in headers:
        _check_encoding(headers[hdrs.CONTENT_ENCODING])
    try:
        body = request.content.read_nowait()
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise _broken() from error
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    # Without either header a request has no body (RFC 9112 6.3). A write without one is rather a mistake than an empty
    # value, so the client must say that it means an empty one.
    if not body and hdrs.CONTENT_LENGTH not in headers and hdrs.TRANSFER_ENCODING not in headers:
        raise Problem("length_required", "send Content-Length, also for an empty body, or a chunked body")
    return body


async def receive_body(request: web.BaseRequest, *, bytes_max: int, timeout_s: float, arrivals: Arrivals) -> bytes:
    """Return the body of a request that is still arriving. Raises `Problem`."""
    if hdrs.CONTENT_ENCODING in request.headers:
        _check_encoding(request.headers[hdrs.CONTENT_ENCODING])
    declared = request.content_length
    if declared is not None and declared > bytes_max:
        raise _too_large(bytes_max)
    # A chunked body declares no size: reserve the most that will be accepted.
    size = bytes_max if declared is None else declared
    arrivals.reserve(size)
    try:
        # AFTER all that can be refused by the headers alone (RFC 9110 10.1.1): the client need not send the body then.
        await _send_continue(request)
        async with asyncio.timeout(timeout_s):
            return await _collect(request, bytes_max)
    except TimeoutError:
        raise Problem("request_timeout", f"the body did not arrive within {timeout_s:g} s") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        # A client that disconnects reads no answer, but what it is counted as matters: a 5xx would be a fault of ours.
        raise _broken() from error
    finally:
        arrivals.release(size)


def require_json(request: web.BaseRequest) -> None:
    """Check that the body is declared as JSON. Raises `Problem`.

    A missing type is refused too: a web page of another origin can send one without a CORS preflight.
    """
    given = request.headers.get(hdrs.CONTENT_TYPE)
    if given == "application/json":
        return
    if given is None or not _JSON_TYPE.fullmatch(given):
        shown = "none" if given is None else quoted(given)
        raise Problem(
            "unsupported_content_type",
            f"Content-Type must be application/json, given: {shown}",
            headers=b"Accept: application/json\r\n",
        )


def kept_content_type(request: web.BaseRequest) -> str:
    """Return the Content-Type to store with a raw value. Raises `Problem` when it could not be sent in a response."""
    given = request.headers.get(hdrs.CONTENT_TYPE)
    return DEFAULT_CONTENT_TYPE if given is None else check_content_type(given)


def check_content_type(text: str) -> str:
    """Return `text` if it can be sent as a Content-Type: `type/subtype` in printable ASCII, at most 255 bytes."""
    if len(text) > CONTENT_TYPE_CHARACTERS_MAX or not CONTENT_TYPE.fullmatch(text):
        raise Problem("invalid_header", "Content-Type must be type/subtype in printable ASCII, at most 255 bytes")
    return text


async def _collect(request: web.BaseRequest, bytes_max: int) -> bytes:
    body = bytearray()
    content = request.content
    while chunk := await content.readany():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


async def _send_continue(request: web.BaseRequest) -> None:
    expected = request.headers.get(hdrs.EXPECT)
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise Problem("expectation_failed", "the only expectation that can be met is 100-continue")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _check_encoding(encoding: str) -> None:
    if encoding.lower() != "identity":
        raise Problem("unsupported_encoding", f"Content-Encoding must be identity, given: {quoted(encoding)}")


def _too_large(bytes_max: int) -> Problem:
    return Problem("too_large", f"the body may have at most {bytes_max} bytes", limit_bytes=bytes_max)


def _broken() -> Problem:
    return Problem("malformed_request", "the body is not framed as its headers say, or ended early")
