"""Messages that aiohttp's parser (llhttp) accepts and this server refuses. Pure.

All of them are ways to make two readers of one connection disagree about where a message ends, or to use the server
under a foreign name. What the parser refuses itself - two lengths, a length beside chunks, bare line feeds, folded
lines, NUL - is in tests/api/test_http_edges.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs
from aiohttp.http import RawRequestMessage

from collectionstore_node.api.http.problems import Problem

HEAD_BYTES_MAX: Final = 32 << 10
"""Request line and headers together."""

IsOurs = Callable[[str], bool]
"""Returns whether a Host header names this server."""


def check_message(message: RawRequestMessage, is_ours: IsOurs | None) -> Problem | None:
    """Return why `message` is refused, or None. `is_ours` is None when every host is served."""
    version = message.version
    if version is not HttpVersion11 and version != HttpVersion10:
        return Problem("version_not_supported", "this server speaks HTTP/1.1 and HTTP/1.0")
    if message.chunked:
        problem = _check_coding(message)
        if problem is not None:
            return problem
    absolute = not message.path.startswith("/")
    if absolute:
        problem = _check_target(message)
        if problem is not None:
            return problem
    return None if is_ours is None else _check_host(message, is_ours, absolute=absolute)


def check_head_size(message: RawRequestMessage) -> Problem | None:
    """Return why the head of `message` is too large, or None. For heads that arrived in many bytes only."""
    size = len(message.path) + sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return too_large_head() if size > HEAD_BYTES_MAX else None


def too_large_head() -> Problem:
    """Return the problem of a head that is over its bound."""
    return Problem("header_too_large", f"request line and headers may have at most {HEAD_BYTES_MAX} bytes together")


def _check_coding(message: RawRequestMessage) -> Problem | None:
    if message.version is not HttpVersion11:
        # RFC 9112 6.1: to be handled as if the framing is faulty, and the connection closed.
        return Problem("malformed_request", "HTTP/1.0 has no Transfer-Encoding")
    codings = ",".join(message.headers.getall(hdrs.TRANSFER_ENCODING, ()))
    if codings.strip(" \t").lower() != "chunked":
        # RFC 9112 6.1: a server that does not understand a coding answers 501.
        return Problem("transfer_coding_unsupported", "the only Transfer-Encoding is chunked")
    return None


def _check_target(message: RawRequestMessage) -> Problem | None:
    """Check a target in another form than a path (RFC 9112 3.2)."""
    if message.method == hdrs.METH_CONNECT or message.path == "*":
        return None  # no route takes them
    url = message.url
    try:
        # `host` decodes the name, which fails for a broken one only here.
        if url.scheme in ("http", "https") and url.host:
            url.relative()
            return None
    except ValueError:
        pass
    return Problem("malformed_request", "the target is neither a path nor a valid http or https URL")


def _check_host(message: RawRequestMessage, is_ours: IsOurs, *, absolute: bool) -> Problem | None:
    # RFC 9112 3.2.2: a target with a host overrides the header. HTTP/1.0 may have neither; browsers always send one.
    given = message.url.raw_authority if absolute and message.path != "*" else message.headers.get(hdrs.HOST)
    if given is None or is_ours(given):
        return None
    return Problem(
        "misdirected_request",
        "the Host header does not name this server; COLLECTIONSTORE_ALLOWED_HOSTS lists further names",
    )
