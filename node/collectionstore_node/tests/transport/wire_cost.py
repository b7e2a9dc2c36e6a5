"""What a Raft message costs on the wire: `python -m collectionstore_node.tests.transport.wire_cost [--turns N]`.

One sender and one receiver for each wire, each a process of its own, over TLS on 127.0.0.1. Measured is processor time
per message of the whole process, system calls included: encoding and sending on one side, receiving and decoding on the
other. Wires take turns; printed is the least of the rounds, which other processes of the machine change little.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from collectionstore_node.raft.messages import Heartbeat, Message, NodeId, encode
from collectionstore_node.tests.transport.doubles import Authority, Node, append, eventually, heartbeat
from collectionstore_node.transport import PeerAddress, TlsFiles, TransportSettings

SENDER: Final = NodeId(1)
WIRES: Final = ("websocket", "stream")
SIZES: Final = (300, 18 << 10)
COUNTS: Final = (1, 8)
QUIET: Final = TransportSettings(ping_interval_s=30.0, silence_max_s=120.0)
"""No ping in the middle of a round."""


@dataclass
class _Tap:
    """Measurements of a peer, of which only the frames sent are looked at."""

    frames: int = 0
    waiter: asyncio.Future[None] | None = None

    def sent(self, messages: int, size_bytes: int) -> None:
        del size_bytes
        if messages:
            self.frames += 1
            if self.waiter is not None and not self.waiter.done():
                self.waiter.set_result(None)

    def received(self, messages: int, size_bytes: int) -> None: ...
    def dropped(self, messages: int) -> None:
        raise RuntimeError("a message was dropped")

    def send_failed(self) -> None: ...
    def round_trip(self, seconds: float) -> None: ...
    def handshake(self, seconds: float) -> None: ...
    def connected(self, count: int) -> None: ...


class _Taps:
    """Measurements of a sender."""

    def __init__(self) -> None:
        self.taps: dict[str, _Tap] = {}

    def peer(self, name: str) -> _Tap:
        return self.taps.setdefault(name, _Tap())

    def forget(self, name: str) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def snapshot_received(self, size_bytes: int, seconds: float) -> None: ...
    def snapshot_failed(self) -> None: ...


class _Receiver(Node):
    """Answers every heartbeat with the processor time that its process has used, in nanoseconds."""

    def on_messages(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        if isinstance(messages[-1], Heartbeat):
            self.transport.send([heartbeat(self.id, sender, time.process_time_ns())])


async def receive(directory: Path, wire: str, sender: PeerAddress) -> None:
    """Run a receiver, whose address is its first line, until its input ends."""
    name = directory.name
    files = TlsFiles(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
    settings = dataclasses.replace(QUIET, streams=wire == "stream")
    node = _Receiver(2 + WIRES.index(wire), name, files, directory / "spool", settings=settings)
    node.replica.on_messages = node.on_messages  # type: ignore[method-assign]
    await node.transport.start()
    node.transport.set_peers([sender])
    print(json.dumps([node.id, name, node.address.address]), flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)
    await node.transport.close()


class _Sender:
    """The sending side, connected to one receiver per wire."""

    def __init__(self, node: Node, taps: _Taps, receivers: dict[str, PeerAddress]) -> None:
        self._node = node
        self._taps = taps
        self._receivers = receivers

    async def round(self, wire: str, count: int, size: int, turns: int) -> tuple[float, float]:
        """Return microseconds per message of the sender and of the receiver."""
        to = self._receivers[wire].node_id
        tap = self._taps.peer(self._receivers[wire].name)
        messages = [append(self._node.id, to, size) for _ in range(count)]
        theirs, ours = await self._settle(to), time.process_time_ns()
        for turn in range(turns):
            tap.waiter = asyncio.get_running_loop().create_future()
            self._node.transport.send(messages)
            # A turn ends when its frame was written, so that no two share one.
            await tap.waiter
            if turn % 64 == 63:
                await self._settle(to)
        spent = time.process_time_ns() - ours
        return spent / turns / count / 1e3, (await self._settle(to) - theirs) / turns / count / 1e3

    async def _settle(self, to: NodeId) -> int:
        """Wait until everything has arrived, and return the receiver's processor time."""
        replica = self._node.replica
        replica.messages.clear()
        self._node.transport.send([heartbeat(self._node.id, to)])
        await eventually(lambda: replica.messages)
        return replica.sequences()[-1]


async def measure(turns: int, rounds: int) -> None:
    """Print the table."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority, taps = Authority(), _Taps()
        node = Node(SENDER, "n1", authority.issue(directory / "n1", "n1"), directory / "spool", settings=QUIET)
        node.transport._traffic._metrics = taps
        await node.transport.start()
        stack.push_async_callback(node.transport.close)
        receivers = {}
        for at, wire in enumerate(WIRES):
            authority.issue(directory / f"n{at + 2}", f"n{at + 2}")
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __spec__.name if __spec__ else "", "--receive", str(directory / f"n{at + 2}"),
                "--wire", wire, "--sender", node.address.address,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert child.stdin is not None
            assert child.stdout is not None
            stack.push_async_callback(child.wait)
            stack.callback(child.stdin.close)
            node_id, name, address = json.loads(await child.stdout.readline())
            receivers[wire] = PeerAddress(NodeId(node_id), name, address)
        node.transport.set_peers(receivers.values())
        await eventually(lambda: all(status.connected for status in node.transport.peers()))
        sender = _Sender(node, taps, receivers)
        print(f"{'entries':>8} {'a turn':>6} {'wire':>10} {'sender us':>10} {'receiver us':>12}   per message")  # noqa: T201
        for size in SIZES:
            print(f"{size:>8} {'':>6} {'encoding':>10} {_encoding_us(append(node.id, NodeId(2), size)):>10.1f}")  # noqa: T201
            for count in COUNTS:
                spent: dict[str, list[tuple[float, float]]] = {wire: [] for wire in WIRES}
                for _ in range(rounds):
                    for wire in WIRES:
                        spent[wire].append(await sender.round(wire, count, size, max(64, turns // count)))
                for wire, results in spent.items():
                    ours, theirs = (min(column) for column in zip(*results, strict=True))
                    print(f"{size:>8} {count:>6} {wire:>10} {ours:>10.1f} {theirs:>12.1f}")  # noqa: T201


def _encoding_us(message: Message) -> float:
    """Return what it takes to encode a message, which is a part of the sender's share."""
    best = float("inf")
    for _ in range(100):
        began = time.process_time_ns()
        for _ in range(500):
            encode((message,))
        best = min(best, (time.process_time_ns() - began) / 500 / 1e3)
    return best


def main() -> None:
    """Measure, or receive for a process that does."""
    parser = argparse.ArgumentParser(description="Processor time of a Raft message on the wire.")
    parser.add_argument("--turns", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--receive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--wire", choices=WIRES, help=argparse.SUPPRESS)
    parser.add_argument("--sender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if options.receive is not None:
            runner.run(receive(options.receive, options.wire, PeerAddress(SENDER, "n1", options.sender)))
        else:
            runner.run(measure(options.turns, options.rounds))


if __name__ == "__main__":
    main()
