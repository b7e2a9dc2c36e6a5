"""Tests of the load generator of streams: each operation is counted once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import time

from collectionstore_bench.load.http_load import Round, Target
from collectionstore_bench.load.stream_load import _Stream


class Aborted(asyncio.Transport):
    """Tells the protocol of its end as soon as it is aborted."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def abort(self) -> None:
        self.protocol.connection_lost(None)


def test_an_operation_that_timed_out_is_not_lost_as_well() -> None:
    """Three of five are late; the other two are lost with the stream that is ended for them."""
    state = Round()
    stream = _Stream(state, Target("127.0.0.1", 1, tls=False), [b""] * 8, 0, 5)
    stream.connection_made(Aborted(stream))
    now = time.perf_counter()
    stream._sent_at = {7: now - 9.0, 1: now - 8.0, 5: now - 7.0, 2: now, 3: now}
    late = stream.waits_longer(5.0, now)
    state.open = state.ended = True

    stream.time_out(late)

    assert late == 3
    assert state.errors == {"timeout": 3, "connection lost": 2}
    assert stream._sent_at == {}
