"""Exchanges the handshake over a socket: hello one way, welcome or a close code the other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType

from collectionstore_node.transport.connection.close_reason import CloseReason, WebSocket
from collectionstore_node.transport.security.tls import check_role, peer_proof
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import FrameKind, FrameRejected, decode_frame, encode_frame
from collectionstore_node.transport.wire.handshake import (
    Hello,
    Proof,
    Welcome,
    decode_hello,
    decode_welcome,
    encode_handshake,
)


class HandshakeClosed(Exception):
    """The other side closed during the handshake; `reason` has the code."""

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(str(reason))
        self.reason = reason


def certificate_proof(socket: WebSocket) -> Proof:
    """Return what the other side's certificate proves. Raises `Refused`."""
    certificate: Mapping[str, Any] | None = socket.get_extra_info("peercert")
    return peer_proof(certificate)


def check_member_certificate(socket: WebSocket) -> None:
    """Check that the other side's certificate was issued to a member and not to a client. Raises `Refused`."""
    secured = socket.get_extra_info("ssl_object")
    # None in a simulation, whose network leaves TLS out and says itself who is who.
    if secured is not None:
        check_role(secured.getpeercert(binary_form=True))


async def send_hello(socket: WebSocket, hello: Hello, timeout_s: float) -> Welcome:
    """Send the hello and return the welcome. Raises `HandshakeClosed`, `Refused`, or `OSError`."""
    await socket.send_bytes(encode_frame(FrameKind.HELLO, encode_handshake(hello)))
    return decode_welcome(await _receive(socket, FrameKind.WELCOME, timeout_s))


async def receive_hello(socket: WebSocket, timeout_s: float) -> Hello:
    """Return the hello of the dialer. Raises `HandshakeClosed` or `Refused`."""
    return decode_hello(await _receive(socket, FrameKind.HELLO, timeout_s))


async def send_welcome(socket: WebSocket, welcome: Welcome) -> None:
    """Admit the dialer. Raises `OSError` when it is gone."""
    await socket.send_bytes(encode_frame(FrameKind.WELCOME, encode_handshake(welcome)))


async def _receive(socket: WebSocket, kind: FrameKind, timeout_s: float) -> memoryview:
    try:
        async with asyncio.timeout(timeout_s):
            message = await socket.receive()
    except TimeoutError as error:
        raise Refused(CloseCode.SILENT, f"no {kind.name.lower()} within {timeout_s:g} s") from error
    if message.type is WSMsgType.CLOSE:
        raise HandshakeClosed(CloseReason(message.data, message.extra or "", by_peer=True))
    if message.type is not WSMsgType.BINARY:
        raise HandshakeClosed(CloseReason(None, f"connection lost before its {kind.name.lower()}", by_peer=True))
    try:
        frame = decode_frame(message.data)
    except FrameRejected as error:
        raise Refused(CloseCode.PROTOCOL, str(error)) from error
    if frame.kind is not kind:
        raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} in place of {kind.name.lower()}")
    return frame.payload
