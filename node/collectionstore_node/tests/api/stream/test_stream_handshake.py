"""Who may open a stream, and how."""

from __future__ import annotations

import aiohttp
import pytest

from collectionstore_node.api.stream import settings
from collectionstore_node.tests.api.http_clients import Client, RawClient
from collectionstore_node.tests.api.memory_replica import RecordedMetrics
from collectionstore_node.tests.api.stream.conftest import Open
from collectionstore_node.tests.api.stream.frames import handshake
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK


async def test_the_response_accepts_the_key_of_the_rfc(raw: RawClient) -> None:
    """RFC 6455 1.3."""
    reader, writer = await raw.connect()
    writer.write(handshake(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="))

    head = await reader.readuntil(b"\r\n\r\n")

    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert b"Sec-WebSocket-Protocol: collectionstore.v1.msgpack\r\n" in head
    assert b"Sec-WebSocket-Extensions" not in head
    writer.close()


@pytest.mark.parametrize(
    ("changed", "without", "status", "code"),
    [
        ({}, "Upgrade", 426, b"upgrade_required"),
        ({"Upgrade": "h2c"}, "", 426, b"upgrade_required"),
        ({"Connection": "close"}, "", 426, b"upgrade_required"),
        ({"Sec_WebSocket_Version": "8"}, "", 426, b"upgrade_required"),
        ({}, "Sec-WebSocket-Version", 426, b"upgrade_required"),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, "", 400, b"invalid_header"),
        ({"Sec_WebSocket_Key": "!"}, "", 400, b"invalid_header"),
        ({}, "Sec-WebSocket-Key", 400, b"invalid_header"),
        ({"Sec_WebSocket_Protocol": "mqtt"}, "", 400, b"invalid_header"),
        ({}, "Sec-WebSocket-Protocol", 400, b"invalid_header"),
        ({"Origin": "http://evil.example"}, "", 403, b"forbidden"),
        ({"Origin": "http://127.0.0.1:81"}, "", 403, b"forbidden"),
        ({"Origin": "null"}, "", 403, b"forbidden"),
    ],
)
async def test_what_is_no_handshake_is_a_problem(
    raw: RawClient, changed: dict[str, str], without: str, status: int, code: bytes
) -> None:
    reader, writer = await raw.connect()
    writer.write(handshake(MSGPACK, without=without, **changed))

    head = await reader.readuntil(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in head
    assert b'"code":"%s"' % code in await reader.readuntil(b"}")
    if status == 426:
        assert b"\r\nUpgrade: websocket\r\n" in head
    writer.close()


@pytest.mark.parametrize("origin", ["http://127.0.0.1", "https://127.0.0.1"])
async def test_a_page_of_the_same_origin_may(raw: RawClient, origin: str) -> None:
    reader, writer = await raw.connect()
    writer.write(handshake(Origin=origin))

    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.close()


async def test_a_plain_request_is_told_what_the_path_is(client: Client) -> None:
    reply = await client.get("/api/v1/stream")

    reply.problem(426, "upgrade_required")
    (await client.send("PUT", "/api/v1/stream", b"")).problem(405, "method_not_allowed")
    (await client.get("/api/v1/stream?timeout=1s")).problem(400, "unknown_parameter")


async def test_the_first_protocol_that_is_known_is_spoken(port: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/api/v1/stream", protocols=("other", JSON, MSGPACK)) as socket,
    ):
        assert socket.protocol == JSON
        assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT


async def test_compression_is_not_negotiated(port: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/api/v1/stream", protocols=(MSGPACK,), compress=15) as socket,
    ):
        assert socket.compress == 0


async def test_streams_are_bounded(
    open_stream: Open, monkeypatch: pytest.MonkeyPatch, metrics: RecordedMetrics
) -> None:
    monkeypatch.setattr(settings, "STREAMS_MAX", 2)
    first = await open_stream()
    await open_stream()

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await open_stream()

    assert refused.value.status == 503
    assert metrics.problems["overloaded"] == 1
    await first.close()
    await open_stream()


async def test_an_open_stream_takes_no_place_among_the_requests(open_stream: Open, client: Client) -> None:
    """More streams than the eight requests that may be in flight."""
    for _ in range(12):
        await open_stream()

    assert (await client.get("/api/v1/collections")).status == 200
