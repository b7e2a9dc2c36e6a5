"""Requests that are no HTTP, or HTTP that a server must refuse: each with the answers that are right."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_attack.field import Address, Attack, Field
from collectionstore_attack.raw import CLOSED, exchange, request

PUT: Final = "/api/v1/kv/attack/edge"
ANSWER_TIMEOUT_S: Final = 10.0
CONCURRENCY: Final = 6


def _lines(*lines: str, body: bytes = b"") -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("utf-8", "surrogateescape") + body


def _requests(address: Address) -> list[tuple[str, bytes, frozenset[str]]]:
    """Return (what, bytes, right answers). CLOSED is a connection that is closed without an answer."""
    host = f"Host: {address}"
    put = f"PUT {PUT} HTTP/1.1"
    cases: list[tuple[str, bytes, str]] = [
        (
            "Transfer-Encoding: gzip, chunked",
            _lines(put, host, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
            "400 501",
        ),
        (
            "two Content-Encoding lines",
            request("PUT", PUT, address, {"Content-Encoding": "identity\r\nContent-Encoding: gzip"}, b"x"),
            "415",
        ),
        ("Content-Encoding: gzip", request("PUT", PUT, address, {"Content-Encoding": "gzip"}, b"x"), "415"),
        ("Expect: 200-ok", request("PUT", PUT, address, {"Expect": "200-ok"}, b"x"), "417"),
        ("200 headers", request("GET", "/status", address, {f"X-{number}": "v" for number in range(200)}), "431"),
        ("a header of 100 kB", request("GET", "/status", address, {"X": "v" * 100_000}), "431"),
        ("a target of 100 kB", request("GET", "/status?x=" + "v" * 100_000, address), "414 431 400"),
        ("an absolute target with an invalid host", _lines("GET http://xn--a/ HTTP/1.1", host), "400 404 421"),
        ("HTTP/2.0", _lines("GET /status HTTP/2.0", host), "505 400"),
        ("HTTP/9.9", _lines("GET /status HTTP/9.9", host), "505 400"),
        (
            "HTTP/1.0 with Transfer-Encoding",
            _lines(f"PUT {PUT} HTTP/1.0", host, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
            "400 501 505",
        ),
        (
            "Content-Length and Transfer-Encoding",
            _lines(put, host, "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
            "400",
        ),
        ("two Content-Length lines", _lines(put, host, "Content-Length: 1", "Content-Length: 2", body=b"xx"), "400"),
        ("Content-Length: +1", _lines(put, host, "Content-Length: +1", body=b"x"), "400"),
        ("Content-Length: -1", _lines(put, host, "Content-Length: -1"), "400"),
        ("Content-Length beyond 64 bits", _lines(put, host, f"Content-Length: {1 << 70}"), "400 413"),
        ("a body of 1 TiB announced", _lines(put, host, f"Content-Length: {1 << 40}"), "413"),
        ("a chunk of invalid size", _lines(put, host, "Transfer-Encoding: chunked", body=b"zz\r\n"), "400"),
        (
            "a chunk size of 17 digits",
            _lines(put, host, "Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n"),
            "400 413",
        ),
        ("no Host", _lines("GET /status HTTP/1.1"), "400"),
        ("two Host lines", _lines("GET /status HTTP/1.1", host, "Host: evil.example"), "400 421"),
        ("a foreign Host", _lines("GET /status HTTP/1.1", "Host: evil.example"), "421"),
        ("a space before the colon", _lines("GET /status HTTP/1.1", host, "X : y"), "400"),
        ("a folded header", _lines("GET /status HTTP/1.1", host, "X: y", " z"), "400"),
        ("NUL in a header", _lines("GET /status HTTP/1.1", host, "X: a\0b"), "400"),
        ("a bare CR in a header", _lines("GET /status HTTP/1.1", host, "X: a\rb"), "400"),
        ("an invalid method", _lines("G@T /status HTTP/1.1", host), "400 405 501"),
        ("a method of 10 kB", _lines("G" * 10_000 + " /status HTTP/1.1", host), "400 405 414 431 501"),
        ("TRACE", _lines("TRACE /status HTTP/1.1", host), "405 501"),
        ("CONNECT", _lines("CONNECT example.org:443 HTTP/1.1", host), "400 404 405 421 501"),
        ("OPTIONS *", _lines("OPTIONS * HTTP/1.1", host), "200 204 400 404 405"),
        ("a percent-encoded NUL", request("GET", "/api/v1/kv/attack/a%00b", address), "400"),
        ("overlong UTF-8", request("GET", "/api/v1/kv/attack/a%c0%af", address), "400"),
        ("dot segments", request("GET", "/api/v1/kv/attack/../../status", address), "400 404"),
        ("an unfinished escape", request("GET", "/api/v1/kv/attack/a%2", address), "400 404"),
        (
            "CRLF in a content type",
            _lines(put, host, "Content-Type: a%0d%0ab", "Content-Length: 1", body=b"x"),
            "200 201 400 415",
        ),
        ("an unknown parameter", request("GET", "/api/v1/kv/attack?evil=1", address), "400"),
        ("a parameter twice", request("GET", "/api/v1/kv/attack?limit=1&limit=2", address), "400"),
        ("limit=1e9", request("GET", "/api/v1/kv/attack?limit=1000000000", address), "400"),
        ("timeout=NaN", request("GET", "/api/v1/kv/attack?timeout=NaN", address), "400"),
        ("a foreign cursor", request("GET", "/api/v1/kv/attack?cursor=AAAA", address), "400"),
        (
            "a WebSocket upgrade",
            request("GET", "/status", address, {"Connection": "Upgrade", "Upgrade": "websocket"}),
            "200 400 426",
        ),
        ("noise", bytes(range(256)) * 8, f"400 {CLOSED}"),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, f"400 {CLOSED}"),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", f"400 405 505 {CLOSED}"),
        ("empty lines", b"\r\n" * 1_000, f"400 {CLOSED} silent"),
    ]
    return [(what, content, frozenset(right.split())) for what, content, right in cases]


async def malformed(field: Field) -> None:
    """Send every request of the list again and again, to all members."""
    seen: set[str] = set()

    async def work(address: Address) -> None:
        cases = _requests(address)
        number = 0
        # Every case once, however long it takes; a member that answers slowly is not excused from the last ones.
        while field.remaining() or number < len(cases):
            what, content, right = cases[number % len(cases)]
            number += 1
            # A server waits for what an unfinished request announces: the answer, or the end, must come first.
            timeout_s = 1.0 if "silent" in right else ANSWER_TIMEOUT_S
            answer = await exchange(address, content, timeout_s)
            field.count(answer)
            if answer not in right and what not in seen:
                seen.add(what)
                field.broken.append(f"{what}: answered {answer}, right is {' or '.join(sorted(right))}")

    addresses = [field.clients[number % len(field.clients)] for number in range(CONCURRENCY)]
    await asyncio.gather(*(work(address) for address in addresses))


ATTACKS: Final = (Attack("malformed", "requests that no client sends, each with its right answer", malformed),)
