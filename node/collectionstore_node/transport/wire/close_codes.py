"""Why connections are closed: WebSocket close codes, also on streams, and the exception that carries one."""

from __future__ import annotations

import enum
from typing import Final

from collectionstore_node.transport.wire.frames import FrameKind, encode_frame

_TEXT_BYTES_MAX: Final = 120
"""WebSocket allows 123."""
_CODES: Final = range(1000, 5000)


class CloseCode(enum.IntEnum):
    """Why a connection was closed; a WebSocket close code, with a text beside it for people."""

    DONE = 1000
    """The connection has served its purpose."""
    SHUTTING_DOWN = 1001
    INTERNAL = 1011
    PROTOCOL = 4000
    """Bytes that are no frame, or a frame that has no place here."""
    VERSION = 4001
    """No common protocol version."""
    WRONG_CLUSTER = 4002
    WRONG_NAME = 4003
    """The name claimed or expected is not the one in the certificate."""
    WRONG_NODE = 4004
    """Another incarnation than the one dialed, or a node id that belongs to another name."""
    REFUSED = 4005
    """The replica refuses this member, for instance because it was removed."""
    SPOOFED = 4006
    """A message from or for another node than the connection's."""
    SUPERSEDED = 4007
    """Too many connections of one member, or a newer one for the same purpose: the older one is closed."""
    ROTATED = 4008
    """The connection has reached its maximum age; certificates are verified again on the next one."""
    SILENT = 4009
    """Nothing was heard for too long."""
    BUSY = 4010
    """A bound of the receiver is reached."""
    DUPLICATE = 4011
    """Another process with the same node ID is connected too: a data directory was copied."""


class Refused(Exception):
    """Close the connection with `code`; `detail` is sent to the other side."""

    def __init__(self, code: CloseCode, detail: str) -> None:
        super().__init__(f"{code.name.lower()}: {detail}")
        self.code = code
        self.detail = detail


def close_text(detail: str) -> bytes:
    """Return `detail` in UTF-8, cut to what a WebSocket's close frame holds."""
    return detail.encode()[:_TEXT_BYTES_MAX].decode(errors="ignore").encode()


def encode_close(code: int, detail: str) -> bytes:
    """Return the CLOSE frame of a stream."""
    return encode_frame(FrameKind.CLOSE, code.to_bytes(2, "big"), close_text(detail))


def decode_close(payload: memoryview) -> tuple[int, str]:
    """Return code and text of a CLOSE frame's payload. Raises `Refused` for what WebSocket would not allow either."""
    code = int.from_bytes(payload[:2], "big")
    if not 2 <= len(payload) <= 2 + _TEXT_BYTES_MAX or code not in _CODES:
        raise Refused(CloseCode.PROTOCOL, f"a close frame of {len(payload)} bytes with code {code}")
    return code, bytes(payload[2:]).decode(errors="replace")
