"""Why connections are closed: WebSocket close codes, and the exception that carries one."""

from __future__ import annotations

import enum


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
