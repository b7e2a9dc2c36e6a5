"""The fuzzer of the peer port: `python -m collectionstore_node.tests.fuzz.peer_fuzzer --inputs 100000 --seed 1`.

Every connection has a certificate, a greeting and a few frames, drawn from the seed. What must hold after each:
- nothing was logged as a bug, the member's driver runs, and its process would not have exited;
- a connection that is not in order ended with a reason, and holds nothing any more;
- who is no member has changed nothing: neither term, vote nor leader;
- the next correct member is welcomed and answered, and the member's memory has not grown without bound.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog
import uvloop
from structlog.testing import capture_logs

from collectionstore_node.raft.messages import NO_NODE, NodeId
from collectionstore_node.replica.peers import calls
from collectionstore_node.tests.fuzz.peer_inputs import Inputs
from collectionstore_node.tests.fuzz.peer_target import LEARNER, REMOVED, STRANGER, Target, target
from collectionstore_node.transport.requests.client import Reply, ReplyStatus, Request, _encoder, _replies_decoder
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import FrameKind, decode_frame, encode_frame, encode_list
from collectionstore_node.transport.wire.handshake import (
    STREAM_VERSION,
    Hello,
    Purpose,
    decode_welcome,
    encode_handshake,
)

BUGS: Final = frozenset({"peer.failed", "request.failed", "snapshot.not_installed"})
"""Log events that say that something was not foreseen."""
LEGITIMATE_EVERY: Final = 50
GROWTH_BYTES_MAX: Final = 300 << 20
FRAMES_MAX: Final = 6
IDS: Final = {"member": LEARNER, "removed": REMOVED, "stranger": STRANGER}


class PeerFuzzer:
    """Runs connections against a target and raises AssertionError at the first that breaks a rule."""

    def __init__(self, attacked: Target, seed: int) -> None:
        self._target = attacked
        self._random = Random(seed)
        self._inputs = Inputs(self._random, attacked.member.id)
        self.sent = 0
        self.ends: Counter[str] = Counter()
        """How connections ended, by close code; `hung_up` is the fuzzer's own end."""

    async def run(self, inputs: int) -> None:
        """Send at least so many frames."""
        before = _memory_bytes()
        connections = 0
        while self.sent < inputs:
            await self._connection()
            connections += 1
            if connections % LEGITIMATE_EVERY == 0:
                await self._legitimate()
        await self._legitimate()
        grown = _memory_bytes() - before
        assert grown < GROWTH_BYTES_MAX, f"the memory grew by {grown} bytes"

    async def _connection(self) -> None:
        random, member = self._random, self._target.member
        label = random.choice(tuple(self._target.certificates)) if random.random() < 0.4 else "member"
        credential = self._target.certificates[label]
        node_id = (
            IDS.get(label, LEARNER) if random.random() < 0.9 else NodeId(random.choice((1, 2, 3, member.id, 2**40)))
        )
        if label == "removed" and random.random() < 0.5:
            node_id = STRANGER
        frames = [self._inputs.hello(node_id, credential.name)] if random.random() < 0.97 else []
        frames += [self._inputs.frame(node_id) for _ in range(random.randrange(FRAMES_MAX))]
        self.sent += len(frames)
        raft = member.consensus.raft
        foreign = credential.name != "demo-1"
        if foreign:
            # What the one before has disturbed must not be taken for this one's doing.
            await member.until(lambda: member.replica.is_leader)
        term = raft.term
        shown = f"input {self.sent}, {label}: {[frame[:60] for frame in frames]}"
        with capture_logs() as logs:
            socket = await self._target.connect(credential, frames, random)
            await asyncio.sleep(0)
        bugs = [one for one in logs if one["event"] in BUGS]
        assert not bugs, f"{shown}: {bugs}"
        assert not member.task.done(), f"{shown}: the driver ended: {member.task.exception()!r}"
        assert member.local.wakeup.failure is None, f"{shown}: {member.local.wakeup.failure!r}"
        assert socket.closed or socket.hung_up, f"{shown}: the connection is open"
        assert not self._target.left_behind(), f"{shown}: {self._target.left_behind()}"
        if foreign:
            after = raft.term, raft.vote, raft.leader
            # Of itself it may step down, when its disk is slow, and elect itself again in the next term.
            own = raft.vote == member.id and raft.leader in (member.id, NO_NODE) and raft.term <= term + 1
            assert own, f"{shown}: from term {term} to {after}"
        self.ends[CloseCode(socket.code).name.lower() if socket.code is not None else "hung_up"] += 1

    async def _legitimate(self) -> None:
        """A correct member must be served, once the member leads again."""
        member = self._target.member
        await member.until(lambda: member.replica.is_leader)
        for stream in (0, STREAM_VERSION):
            await self._served(stream)

    async def _served(self, stream: int) -> None:
        hello = Hello(
            1, 1, "demo", LEARNER, "demo-1", "demo-1:7401", self._target.member.id, Purpose.MESSAGES, stream=stream
        )
        call = _encoder.encode(Request(1, 1_000, calls.encode_call(calls.GetDigests())))
        frames = [
            encode_frame(FrameKind.HELLO, encode_handshake(hello)),
            b"".join(encode_list(FrameKind.REQUESTS, [call])),
            encode_frame(FrameKind.PING, bytes(8)),
        ]
        socket = await self._target.connect(self._target.certificates["member"], frames, NO_CUTS)
        answers = [decode_frame(frame) for frame in socket.sent]
        assert answers[0].kind is FrameKind.WELCOME, answers
        assert decode_welcome(answers[0].payload).stream == stream
        assert FrameKind.PONG in [answer.kind for answer in answers], answers
        replies: list[Reply] = []
        for answer in answers[1:]:
            if answer.kind is FrameKind.REPLIES:
                replies += _replies_decoder.decode(answer.payload)
        assert [one.status for one in replies] == [ReplyStatus.OK], answers


class _NoCuts(Random):
    """Chance of the kind that a well-meaning dialer has: everything in one piece, and STREAM first."""

    def random(self) -> float:
        return 1.0

    def choice(self, seq: Any) -> Any:
        return seq[-1]


NO_CUTS: Final = _NoCuts()


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def fuzz(directory: Path, inputs: int, seed: int) -> PeerFuzzer:
    """Run a fuzzer against a new target and return it."""
    async with target(directory) as attacked:
        fuzzer = PeerFuzzer(attacked, seed)
        await fuzzer.run(inputs)
        return fuzzer


def main() -> None:
    """Run by hand: any number of inputs."""
    parser = argparse.ArgumentParser(description="Attack the peer port with random input.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        fuzzer = runner.run(fuzz(Path(directory), options.inputs, options.seed))
    print(f"{fuzzer.sent} inputs, seed {options.seed}: no rule broken; connections by end: {dict(fuzzer.ends)}")  # noqa: T201


if __name__ == "__main__":
    main()
