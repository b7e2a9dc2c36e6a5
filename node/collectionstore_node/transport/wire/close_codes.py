"""Why connections are closed: WebSocket close codes, and the exception that carries one."""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """Why a connection was closed; a WebSocket close code, with a text beside it for people."""

    DONE = 1000
    """What the connection was opened for is finished."""
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
    """Another incarnation than the one dialled, or a node id that belongs to another name."""
    REFUSED = 4005
    """The replica does not want this member, for instance because it was removed."""
    SPOOFED = 4006
    """A message in another node's name, or for another node."""
    SUPERSEDED = 4007
    """Too many connections of one member, or a newer one for the same purpose: the older goes."""
    ROTATED = 4008
    """The connection has reached its greatest age; certificates are checked afresh on the next one."""
    SILENT = 4009
    """Nothing was heard for too long."""
    BUSY = 4010
    """A bound of the receiver is reached."""


class Refused(Exception):
    """The connection must end for `code`; `detail` is told to the other side."""

    def __init__(self, code: CloseCode, detail: str) -> None:
        super().__init__(f"{code.name.lower()}: {detail}")
        self.code = code
        self.detail = detail
