"""The port between a connection and what carries its frames: a WebSocket, or a stream.

A connection decides what is sent and what a frame means; a channel moves frames and knows how it closes.
"""

from __future__ import annotations

import socket as sockets
from collections.abc import Sequence
from typing import Any, Final, Protocol

from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import Frame, Parts

_UNSENT_BYTES: Final = 256 << 10
"""What the kernel may buffer unsent: a ping cannot overtake what is in that buffer."""


class Receiver(Protocol):
    """The connection, as a channel sees it."""

    def heard(self) -> None:
        """Note that something came, frames or a part of one."""

    def taken(self) -> None:
        """Note that the other side has taken some of what it was slow to take."""

    def on_frame(self, frame: Frame) -> None:
        """Take a frame; its payload is valid during the call. Never raises: it ends the connection."""

    def on_writable(self) -> None:
        """Learn that `Channel.writable` is true again."""


class Channel(Protocol):
    """Carries frames both ways, in order."""

    @property
    def writable(self) -> bool:
        """Whether the other side takes more; a frame written nevertheless is kept until it does."""

    def write(self, frames: Sequence[Parts]) -> None:
        """Send frames, in as few pieces as the channel can. Nothing is sent any more once it closes."""

    def close(self, code: CloseCode, detail: str) -> None:
        """Begin to close, without waiting: the other side gets the reason, if it reads within `close_timeout_s`."""

    async def run(self, receiver: Receiver) -> CloseReason:
        """Deliver frames until the channel is closed, and return why, as far as the channel knows.

        Cancelling closes it as well.
        """


class Informed(Protocol):
    """Whatever knows the socket below."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport says."""


def prefer_latency(carrier: Informed) -> None:
    """Keep little in the kernel's send buffer, where no ping or heartbeat could overtake it (Linux, macOS)."""
    raw = carrier.get_extra_info("socket")
    if raw is not None and hasattr(sockets, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
