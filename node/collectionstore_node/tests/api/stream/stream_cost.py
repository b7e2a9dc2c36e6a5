"""What a stream costs the event loop per operation, without sockets, Raft and disk.

`python -m collectionstore_node.tests.api.stream.stream_cost`: bytes of a client are handed to a stream over a store
whose writes are decided in the next turn of the loop, and whose documents are one object. Microseconds of processor
time per operation, the least of several rounds, by how many operations a message has.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import msgspec
import orjson
import uvloop

from collectionstore_node.api import HttpLimits
from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.budgets.clients import Clients
from collectionstore_node.api.budgets.sending import Sending
from collectionstore_node.api.budgets.uploads import Uploads
from collectionstore_node.api.connections.connection import Connection
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.instruments import Diagnostics
from collectionstore_node.api.stream.codec import JSON, MSGPACK, Codec
from collectionstore_node.api.stream.endpoint import StreamEndpoint
from collectionstore_node.api.stream.session import Session
from collectionstore_node.metrics import HttpSeries, member_metrics
from collectionstore_node.replica.observation.command import Waiter
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    CreateCollection,
    DocumentRef,
    Outcome,
    Put,
    encode_command,
)
from collectionstore_node.tests.api.memory_replica import MemoryReplica, render_nothing

ROUNDS = 7
OPERATIONS = 20_000
SIZES = (1, 16, 64, 256, 1_000)
DOCUMENT = orjson.dumps({"number": 4711, "text": "x" * 228})


class DecidingReplica(MemoryReplica):
    """Decides all writes of a turn of the loop in the next one, as the driver does, and applies nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Waiter[Outcome]] = []
        self._loop = asyncio.get_running_loop()
        self._outcome = Outcome(Code.OK, 4711)

    def submit(self, command: Command, *, timeout_s: float, parent: bytes | None = None) -> asyncio.Future[Outcome]:
        encode_command(command)
        if not self._waiting:
            self._loop.call_soon(self._decide)
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append(future)
        return future

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        encode_command(command)
        if not self._waiting:
            self._loop.call_soon(self._decide)
        self._waiting.append(waiter)

    def _decide(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.set_result(self._outcome)


class Outlet:
    """The connection and the transport in one: it counts answers, and is never full."""

    writing_paused = False

    def __init__(self) -> None:
        self.transport = self
        self.messages = 0

    def write(self, data: bytes) -> None:
        self.messages += 1

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


def masked(payload: bytes, opcode: int) -> bytes:
    """Return a client's frame."""
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    stretched = (mask * (size // 4 + 1))[:size]
    content = (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")
    return head + mask + content


def messages(kind: str, count: int, codec: Codec) -> list[bytes]:
    """Return frames with OPERATIONS operations, `count` in each message."""
    frames = []
    for first in range(0, OPERATIONS, count):
        operations: list[dict[str, Any]] = [
            {"op": kind, "tag": tag, "collection": "people", "id": f"document-{tag:08}"}
            for tag in range(first, first + count)
        ]
        if kind == "put_document":
            for one in operations:
                one["document"] = msgspec.Raw(DOCUMENT) if codec is JSON else DOCUMENT
        payload = (
            msgspec.json.Encoder().encode_lines(operations) if codec is JSON else msgspec.msgpack.encode(operations)
        )
        frames.append(masked(payload, 1 if codec is JSON else 2))
    return frames


def context(replica: MemoryReplica) -> ApiContext:
    """Return what a server of a node has, with real metrics."""
    clock = asyncio.get_running_loop().time
    limits = HttpLimits()
    store = Store(replica, StoreLimits())
    return ApiContext(
        store=store,
        limits=limits,
        metrics=HttpSeries(member_metrics(enabled=True), inflight_max=1_024),
        render_metrics=render_nothing,
        authorize_admin=lambda request: False,
        tls=False,
        budgets=Budgets(
            Sending(limits.unsent_bytes_max, clock),
            Uploads(limits.receiving_bytes_max, limits.uploads_max, clock),
            Clients(768),
        ),
        diagnostics=Diagnostics(),
    )


@contextmanager
def profiled(*, wanted: bool) -> Iterator[None]:
    """Print a profile of the block."""
    if not wanted:
        yield
        return
    profile = cProfile.Profile()
    profile.enable()
    yield
    profile.disable()
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(30)


async def measure(kind: str, count: int, codec: Codec) -> float:
    """Return microseconds of processor time per operation."""
    replica = DecidingReplica()
    await replica.propose(Command(CreateCollection("people")), timeout_s=1)
    if kind == "get_document":
        for tag in range(OPERATIONS):
            await replica.propose(Command(Put(DocumentRef("people", f"document-{tag:08}"), DOCUMENT)), timeout_s=1)
    api = context(replica)
    endpoint = StreamEndpoint(api)
    frames = messages(kind, count, codec)
    best = float("inf")
    for _ in range(ROUNDS):
        outlet = Outlet()
        client = api.budgets.clients.connected("127.0.0.1")
        session = Session(endpoint.streams, cast(Connection, outlet), client, codec)
        gc.collect()
        began = time.process_time()
        for one in frames:
            session.feed_data(one)
            while session.operations or session.waiting:  # noqa: ASYNC110 - turns of the loop are what is measured
                await asyncio.sleep(0)
        spent = time.process_time() - began
        best = min(best, spent / OPERATIONS)
    return best * 1e6


async def _table(*, profile: bool) -> None:
    with profiled(wanted=profile):
        sys.stdout.write(f"{'operation':<16} {'messages':<8} {'operations in one':>18} {'us each':>8}\n")
        for kind in ("put_document", "get_document"):
            for codec in (MSGPACK, JSON):
                for count in SIZES if not profile else SIZES[-1:]:
                    spent = await measure(kind, count, codec)
                    sys.stdout.write(f"{kind:<16} {codec.name.rpartition('.')[2]:<8} {count:>18} {spent:>8.1f}\n")
                    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="print where the time goes, instead of all sizes")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_table(profile=options.profile))


if __name__ == "__main__":
    main()
