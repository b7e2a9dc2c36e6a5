"""A transport that keeps what is written and does nothing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from collectionstore_node.transport.wire.frames import Frame
from collectionstore_node.transport.wire.stream_parser import StreamParser


class RecordedTransport(asyncio.Transport):
    """What a protocol has done to it, for a test to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        """Bytes of each call of `write` or `writelines`."""
        self.reading = True
        self.closed = False
        self.aborted = False
        self._let_go = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.written.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        # As asyncio's transport for TLS: closed a second time, it lets go of the connection, and `abort` does nothing.
        self._let_go = self.closed
        self.closed = True

    def abort(self) -> None:
        if self._let_go:
            return
        self.aborted = True
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """End the connection."""
        self.closed = True
        assert isinstance(self.protocol, asyncio.BufferedProtocol)
        self.protocol.connection_lost(error)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def feed(self, data: bytes) -> None:
        """Let the protocol receive `data`."""
        assert isinstance(self.protocol, asyncio.BufferedProtocol)
        while data:
            buffer = memoryview(self.protocol.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            data = data[size:]
            self.protocol.buffer_updated(size)

    def frames(self) -> list[Frame]:
        """Return the frames written so far, and forget them."""
        parser, frames = StreamParser(), []
        for data in self.written:
            rest = memoryview(data)
            while rest:
                buffer = parser.buffer()
                size = min(len(buffer), len(rest))
                buffer[:size] = rest[:size]
                parser.received(size)
                rest = rest[size:]
                while (frame := parser.next()) is not None:
                    frames.append(Frame(frame.kind, memoryview(bytes(frame.payload))))
        self.written.clear()
        return frames
