"""Receiving a request's body: its declared length, type and encoding, its size, and the time it takes to arrive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import HttpVersion10, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.uploads import TooSlow, Upload, Uploads
from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import CONTENT_TYPE, CONTENT_TYPE_CHARACTERS_MAX

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"

_JSON_TYPE: Final = re.compile(
    r'application/(?:json|[a-z0-9.!#$&^_-]+\+json)(?:\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE
)


def body_at_hand(request: web.BaseRequest, bytes_max: int) -> bytes:
    """Return the body of a request that has arrived completely: no await, no copy. Raises `Problem`."""
    headers = request.headers
    if hdrs.CONTENT_ENCODING in headers:
        _check_encoding(headers)
    try:
        body = request.content.read_nowait()
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise _broken() from error
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    # Without either header a request has no body (RFC 9112 6.3). A write without one is rather a mistake than an empty
    # value, so the client must say that it means an empty one.
    if not body and not _framed(headers):
        raise Problem("length_required", "send Content-Length, also for an empty body, or a chunked body")
    return body


def arrived(request: web.BaseRequest) -> bool:
    """Return whether `body_at_hand` is possible: the body is complete, and the client waits for no 100."""
    # With `Expect` the slow way is taken always: what is answered must not depend on how packets were cut.
    return request.content.is_eof() and (hdrs.EXPECT not in request.headers or not _framed(request.headers))


async def receive_body(
    request: web.BaseRequest, *, bytes_max: int, timeout_s: float, uploads: Uploads, client: Client | None
) -> bytes:
    """Return the body of a request that is still arriving. Raises `Problem`, or `Overloaded`."""
    if hdrs.CONTENT_ENCODING in request.headers:
        _check_encoding(request.headers)
    declared = request.content_length
    if declared is not None and declared > bytes_max:
        raise _too_large(bytes_max)
    upload = uploads.open(client, request.content.set_exception)
    try:
        # AFTER all that can be refused by the headers alone (RFC 9110 10.1.1): the client need not send the body then.
        await _send_continue(request)
        async with asyncio.timeout(timeout_s):
            return await _collect(request, bytes_max, uploads, upload)
    except TooSlow as error:
        raise Problem("request_timeout", str(error)) from None
    except (OSError, web.RequestPayloadError, HttpProcessingError) as error:
        # A client that disconnects reads no answer, but what it is counted as matters: a 5xx would be a fault of ours.
        # First of all, as the reason of a lost connection may be a timeout, too (ETIMEDOUT).
        if request.transport is None:
            raise Problem("client_closed", "the client closed the connection before its body was complete") from error
        if isinstance(error, TimeoutError):
            raise Problem("request_timeout", f"the body did not arrive within {timeout_s:g} s") from None
        raise _broken() from error
    finally:
        uploads.close(upload)


class BodyStream:
    """A body of any length, which is taken in parts: between two of them nothing is read from the client.

    While a part is awaited it is an upload as others are: bounded in bytes, and ended when it arrives too slowly.
    """

    __slots__ = ("_client", "_request", "_uploads", "received_bytes")

    def __init__(self, request: web.BaseRequest, uploads: Uploads, client: Client | None) -> None:
        self.received_bytes = 0
        """How many have arrived."""
        self._request = request
        self._uploads = uploads
        self._client = client

    async def begin(self) -> None:
        """Tell a client that waits for it to send the body: BEFORE the head of an answer. Raises `Problem`.

        Refuses a body that is encoded, or that the headers do not announce.
        """
        if hdrs.CONTENT_ENCODING in self._request.headers:
            _check_encoding(self._request.headers)
        if not _framed(self._request.headers):
            raise Problem("length_required", "send Content-Length, or a chunked body")
        await _send_continue(self._request)

    async def read(self, enough: Callable[[bytes], bool]) -> bool:
        """Hand what arrives to `enough` until that is true; return False at the end. Raises `Problem`, `Overloaded`."""
        content = self._request.content
        upload = self._uploads.open(self._client, content.set_exception)
        try:
            while chunk := await content.readany():
                self._uploads.grow(upload, len(chunk))
                self.received_bytes += len(chunk)
                if enough(chunk):
                    return True
        except TooSlow as error:
            raise Problem("request_timeout", str(error)) from None
        except (OSError, web.RequestPayloadError, HttpProcessingError) as error:
            if self._request.transport is None:
                raise Problem(
                    "client_closed", "the client closed the connection before its body was complete"
                ) from error
            raise _broken() from error
        finally:
            self._uploads.close(upload)
        return False


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


async def _collect(request: web.BaseRequest, bytes_max: int, uploads: Uploads, upload: Upload) -> bytes:
    body = bytearray()
    content = request.content
    while chunk := await content.readany():
        uploads.grow(upload, len(chunk))
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


async def _send_continue(request: web.BaseRequest) -> None:
    expected = request.headers.getall(hdrs.EXPECT, ())
    # RFC 9110 10.1.1: a server must ignore the expectation of an HTTP/1.0 client, which knows no 1xx.
    if not expected or request.version == HttpVersion10:
        return
    if any(one.lower() != "100-continue" for one in expected):
        raise Problem("expectation_failed", "the only expectation that can be met is 100-continue")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _framed(headers: Mapping[str, str]) -> bool:
    """Return whether a request has a body (RFC 9112 6.3)."""
    return hdrs.CONTENT_LENGTH in headers or hdrs.TRANSFER_ENCODING in headers


def _check_encoding(headers: CIMultiDictProxy[str]) -> None:
    # All lines: together they are one list (RFC 9110 5.3).
    encoding = ", ".join(headers.getall(hdrs.CONTENT_ENCODING))
    if any(one.strip(" \t").lower() != "identity" for one in encoding.split(",")):
        raise Problem("unsupported_encoding", f"Content-Encoding must be identity, given: {quoted(encoding)}")


def _too_large(bytes_max: int) -> Problem:
    return Problem("too_large", f"the body may have at most {bytes_max} bytes", limit_bytes=bytes_max)


def _broken() -> Problem:
    return Problem("malformed_request", "the body is not framed as its headers say, or ended early")
