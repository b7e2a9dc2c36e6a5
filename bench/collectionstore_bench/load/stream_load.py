"""A load generator for streams: a number of operations in flight over some connections, as cheap as Python allows.

Operations are encoded beforehand, each with its place as its tag. As many operations as a message has answers are sent
at once, so that messages are as large as the node makes them: the loop is closed, as that of `http_load`. Frames are
masked with zeros, which is a mask, and costs nothing.

`python -m collectionstore_bench.load.stream_load --target http://127.0.0.1:7400 --inflight 1000 --seconds 10 -o json`
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, cast

import aiohttp
import msgspec
import uvloop

from collectionstore_bench.load.documents import COLLECTION, make_documents
from collectionstore_bench.load.http_load import (
    REFUSED_PAUSE_S,
    Client,
    Measured,
    Probe,
    Round,
    Target,
    measure,
)
from collectionstore_bench.machine import cpu_seconds
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.node_status import Nodes

PATH: Final = "/api/v1/stream"
PROTOCOL: Final = "collectionstore.v1.msgpack"
STREAM_OPERATIONS_MAX: Final = 1_024
"""A node's credits for one stream."""
MESSAGE_OPERATIONS_MAX: Final = 256
"""Operations in one message: a larger one would leave the node without work while it is put together."""
GENERATOR: Final = "generator"

_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_ZERO_MASK: Final = bytes(4)


class _Answer(msgspec.Struct):
    """As much of an answer as is looked at; an event has no tag."""

    tag: int = -1
    status: int = 0


_decode: Final = msgspec.msgpack.Decoder(list[_Answer]).decode


def encode_operations(op: str, collection: str, documents: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """Return an operation for each of `documents`, (ID, JSON text): op is put_document or get_document."""
    operations = []
    for tag, (name, text) in enumerate(documents):
        fields: dict[str, object] = {"op": op, "tag": tag, "collection": collection, "id": name}
        if op == "put_document":
            fields["document"] = text
        operations.append(msgspec.msgpack.encode(fields))
    return operations


class _Stream(Client):
    """One stream with `inflight` operations in flight, which replaces itself when it is lost."""

    def __init__(self, state: Round, target: Target, operations: Sequence[bytes], start: int, inflight: int) -> None:
        super().__init__(state, target)
        self._operations = operations
        self._position = start
        self._inflight = inflight
        self._ready = False
        self._sent_at: dict[int, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ready = False
        cast(asyncio.Transport, transport).write(
            f"GET {PATH} HTTP/1.1\r\nHost: {self._target.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent_at:
            self._round.count_error("connection lost", len(self._sent_at))
            self._sent_at.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if not self._ready:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101 "):
                self._round.count_error(f"handshake: {data[9:12].decode('ascii', 'replace')}")
                self.close()
                return
            self._ready, data = True, data[end + 4 :]
            self._send(self._inflight)
        again = 0
        at = 0
        while (found := _frame(data, at)) is not None:
            opcode, begin, at = found
            if opcode == _BINARY:
                again += self._answered(data[begin:at])
            elif opcode == _PING:
                self._write(_PONG, data[begin:at])
            elif opcode == _CLOSE:
                self._round.count_error(f"closed: {int.from_bytes(data[begin : begin + 2], 'big')}")
                self.close()
                return
        self._buffer = data[at:]
        if again:
            self._send(again)

    def waits_longer(self, seconds: float, now: float) -> int:
        """Return how many operations have waited for longer."""
        return sum(now - sent > seconds for sent in self._sent_at.values())

    def time_out(self, late: int) -> None:
        """Count what is late and end the stream; what is not late is lost with it."""
        self._round.count_error("timeout", late)
        # In the order of sending: the late ones are the first. They must not be counted as lost, too.
        for tag in tuple(islice(self._sent_at, late)):
            del self._sent_at[tag]
        self.close()

    def _answered(self, message: bytes) -> int:
        """Count the answers of a message; return how many operations may follow at once."""
        state, sent_at, now = self._round, self._sent_at, time.perf_counter()
        good = bad = 0
        for one in _decode(message):
            sent = sent_at.pop(one.tag, None)
            if sent is None:
                continue  # an event
            if 200 <= one.status < 300:
                good += 1
                if state.open:
                    state.latencies.append(now - sent)
            else:
                bad += 1
                state.count_error(str(one.status))
        if bad:
            asyncio.get_running_loop().call_later(REFUSED_PAUSE_S, self._send, bad)
        return good

    def _send(self, count: int) -> None:
        if self._transport is None or not self._ready or self._round.ended:
            return
        operations, size, now = self._operations, len(self._operations), time.perf_counter()
        while count > 0:
            part = min(count, MESSAGE_OPERATIONS_MAX)
            begin = self._position
            picked = operations[begin : begin + part]
            part = len(picked)
            self._sent_at.update(dict.fromkeys(range(begin, begin + part), now))
            self._position = (begin + part) % size
            self._write(_BINARY, b"\xdc%s%s" % (part.to_bytes(2, "big"), b"".join(picked)))
            count -= part

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is None:
            return
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 1 << 16:
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
        self._transport.write(head + _ZERO_MASK + payload)


async def run_stream_round(
    targets: Sequence[Target],
    operations: Sequence[bytes],
    *,
    connections: int,
    inflight: int,
    seconds: float,
    warm_up_s: float = 1.0,
    probe: Probe = dict,
) -> Measured:
    """Keep `inflight` operations in flight for `warm_up_s` + `seconds`; return what happened in the last `seconds`.

    Stream i goes to target i modulo their number, and has its share of `inflight`. `operations` are of
    `encode_operations`, at least as many as are in flight. Raises ValueError for more than a node's credits.
    """
    shares = [inflight // connections + (number < inflight % connections) for number in range(connections)]
    if not 0 < min(shares) <= max(shares) <= STREAM_OPERATIONS_MAX:
        raise ValueError(f"each of {connections} streams takes 1 to {STREAM_OPERATIONS_MAX} operations in flight")
    if len(operations) < max(shares):
        raise ValueError(f"{len(operations)} operations are fewer than are in flight on one stream")
    state = Round()
    streams = [
        _Stream(state, targets[number % len(targets)], operations, number * len(operations) // connections, share)
        for number, share in enumerate(shares)
    ]
    return await measure(state, streams, seconds=seconds, warm_up_s=warm_up_s, probe=probe)


async def send_all_once(target: Target, operations: Sequence[bytes], *, timeout_s: float = 120.0) -> None:
    """Send every operation once, over one stream, and return when all were answered with 2xx.

    Raises RuntimeError at the first other answer, OSError when the node cannot be reached, TimeoutError.
    """
    url = f"{'https' if target.tls else 'http'}://{target.authority}{PATH}"
    async with (
        asyncio.timeout(timeout_s),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=(PROTOCOL,), max_msg_size=0) as socket,
    ):
        await socket.receive_bytes()
        for part in _parts(operations, MESSAGE_OPERATIONS_MAX):
            await socket.send_bytes(b"\xdc%s%s" % (len(part).to_bytes(2, "big"), b"".join(part)))
            left = len(part)
            while left:
                for one in _decode(await socket.receive_bytes()):
                    if not 200 <= one.status < 300:
                        raise RuntimeError(f"{target.authority} answered {one.status}")
                    left -= 1


def _parts(operations: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for begin in range(0, len(operations), size):
        yield operations[begin : begin + size]


def _frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return the opcode of the frame at `at`, and where its payload begins and ends; None if it is not complete."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    if size >= 126:
        begin += 2 if size == 126 else 8
        if len(data) < begin:
            return None
        size = int.from_bytes(data[at + 2 : begin], "big")
    return (data[at] & 0x0F, begin, begin + size) if len(data) >= begin + size else None


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", action="append", required=True, help="base URL of a node; may be repeated")
    parser.add_argument("--workload", choices=("write", "read"), default="write")
    parser.add_argument("--inflight", type=int, default=1_000, help="operations in flight, of all streams (1000)")
    parser.add_argument("--connections", type=int, default=4, help="streams (4)")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--keys", type=int, default=10_000, help="documents (10000)")
    parser.add_argument("--payload", type=int, default=255, help="bytes of a document (255)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser.parse_args(arguments)


def _cpu(pids: Mapping[str, int]) -> Mapping[str, float]:
    times = {name: cpu_seconds(pid) for name, pid in pids.items()}
    return {GENERATOR: time.process_time()} | {name: spent for name, spent in times.items() if spent is not None}


async def _run(options: argparse.Namespace) -> dict[str, object]:
    targets = [Target.parse(url) for url in options.target]
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{options.target[0].rstrip('/')}/api/v1/collections/{COLLECTION}") as created,
    ):
        if created.status not in (200, 201):
            raise RuntimeError(f"creating a collection was answered with {created.status}")
        statuses = await Nodes(session).statuses(options.target)
    # Processor time can be read of nodes on this machine only.
    here = all(target.host in ("127.0.0.1", "localhost", "::1") for target in targets)
    pids = {f"{one.name} ({one.role})": one.pid for one in statuses.values()} if here else {}
    documents = make_documents(options.keys, options.payload)
    await send_all_once(targets[0], encode_operations("put_document", COLLECTION, documents))
    op = "put_document" if options.workload == "write" else "get_document"
    operations = encode_operations(op, COLLECTION, documents)
    gc.collect()
    gc.freeze()
    gc.disable()
    measured = await run_stream_round(
        targets,
        operations,
        connections=options.connections,
        inflight=options.inflight,
        seconds=options.seconds,
        probe=lambda: _cpu(pids),
    )
    count = len(measured.latencies)
    return {
        "workload": options.workload,
        "connections": options.connections,
        "inflight": options.inflight,
        "seconds": measured.seconds,
        "operations": count,
        "per_second": measured.per_second,
        "p50_s": measured.quantile(0.5),
        "p99_s": measured.quantile(0.99),
        "worst_s": measured.quantile(1.0),
        "processor_us": {name: spent / count * 1e6 for name, spent in measured.spent.items()} if count else {},
        "errors": dict(measured.errors),
    }


def _shown(result: Mapping[str, object]) -> str:
    processor = cast("dict[str, float]", result["processor_us"])
    line = (
        str(result["workload"]),
        str(result["connections"]),
        str(result["inflight"]),
        f"{cast(float, result['per_second']):,.0f}",
        *(milliseconds(cast("float | None", result[name])) for name in ("p50_s", "p99_s", "worst_s")),
        *(f"{spent:.1f}" for spent in processor.values()),
        ", ".join(f"{count} x {cause}" for cause, count in cast("dict[str, int]", result["errors"]).items()) or "none",
    )
    headings = ("workload", "streams", "in flight", "operations/s", "p50 ms", "p99 ms", "worst ms")
    columns = (*headings, *(f"{name} µs" for name in processor), "errors")
    return table(columns, [line], right=range(1, len(columns) - 1))


def main() -> int:
    """Run; return the exit code: 0 measured, 1 the cluster failed."""
    options = _parse()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(_run(options))
    except (OSError, RuntimeError, ValueError, TimeoutError, aiohttp.ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result) if options.output == "json" else _shown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
