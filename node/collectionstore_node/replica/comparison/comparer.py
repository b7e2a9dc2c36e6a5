"""Asks the members for the digests of their states, and acts on what comparing them shows.

The leader does so once a second. Whoever differs from a majority of the voters ends itself and marks its data
directory, so that no restart brings it back: the leader as soon as it finds that of itself, a follower when the leader
has told it that it is suspected and it has found the same by asking everybody itself. So nobody is talked into
stopping: only what a majority of the voters, asked one by one, says of its own state can end a member. Where there is
no majority, all that disagree are named and go on; a person has to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec
import structlog

from collectionstore_node.metrics import DigestSeries
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.raft.ready import RaftStatus
from collectionstore_node.replica.comparison.digests import Digests, Patience, Split, Verdict, by_index, compare
from collectionstore_node.replica.comparison.state_check import StateCheck
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.peers import calls
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.transport.failures import PeerUnavailable, RequestLost

log = structlog.get_logger()

INTERVAL_S: Final = 1.0
ANSWER_S: Final = 1.0
"""How long a member may take to tell its digests, which it has in memory."""


class Subject(Protocol):
    """The member on whose behalf digests are compared."""

    @property
    def suspicion(self) -> asyncio.Event:
        """Set when another member says that the state of this one differs."""

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return what is known of the own state's digests; nothing while the state is being replaced."""

    def raft_status(self) -> RaftStatus:
        """Return a view of the core."""

    def quarantine(self, reason: str) -> None:
        """Fence the member: mark its data directory and end it."""


class StateComparer:
    """The comparisons of one member. Belongs to the event loop; `failed` is told of bugs in here."""

    def __init__(
        self,
        own: NodeId,
        subject: Subject,
        transport: PeerTransport,
        series: DigestSeries,
        *,
        silence_ticks_max: int,
        failed: Callable[[BaseException], None],
        clock: Callable[[], float] | None = None,
    ) -> None:
        """A member that was not heard for `silence_ticks_max` cannot be expected to be compared.

        `clock` is monotonic, in seconds; the loop's when absent.
        """
        self._own = own
        self._subject = subject
        self._transport = transport
        self._series = series
        self._silence_ticks_max = silence_ticks_max
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._patience = Patience()
        self._checks: dict[NodeId, StateCheck] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Compare once a second while this member leads, and whenever another member suspects it."""
        self._spawn(self._compare_while_leading(), "digests")
        self._spawn(self._compare_when_suspected(), "digests of a suspect")

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def checks(self) -> dict[NodeId, StateCheck]:
        """Return what the last comparisons showed of each member; empty unless this one leads."""
        return dict(self._checks)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    # Rounds

    async def _compare_while_leading(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._subject.raft_status().progress:
                await self.round()
            else:
                self._forget()

    async def round(self) -> None:
        """Ask everybody once, as the leader, and act on it."""
        verdict = await self._compare()
        raft = self._subject.raft_status()
        if not raft.progress:
            return
        heard = [
            one.node_id
            for one in raft.progress
            if one.node_id != self._own and one.silent_ticks < self._silence_ticks_max
        ]
        differing = verdict.differing()
        late = self._patience.look(heard, verdict.agreed.keys() | differing.keys(), self._clock())
        self._note(verdict, late, raft.configuration.members())
        if self._own in verdict.diverged:
            self._subject.quarantine(_reason(self._own, verdict.diverged[self._own]))
        for node_id in sorted(verdict.diverged):
            if node_id != self._own:
                await self._tell(node_id)

    async def _compare_when_suspected(self) -> None:
        """Compare at once when suspected; at most once a second, whatever other members claim."""
        compared_at = float("-inf")
        while True:
            await self._subject.suspicion.wait()
            self._subject.suspicion.clear()
            now = self._clock()
            if now - compared_at >= INTERVAL_S:
                compared_at = now
                await self._check_own_state()

    async def _check_own_state(self) -> None:
        verdict = await self._compare()
        if self._own in verdict.diverged:
            self._subject.quarantine(_reason(self._own, verdict.diverged[self._own]))

    async def _compare(self) -> Verdict:
        members = sorted(self._subject.raft_status().configuration.members() - {self._own})
        answers = await asyncio.gather(*[self._ask(node_id) for node_id in members])
        # The own ones last: whatever the others have reached meanwhile, this member is likely to know too.
        digests = {node_id: known for node_id, known in zip(members, answers, strict=True) if known is not None}
        own = by_index(self._subject.checkpoints())
        digests[self._own] = own if own is not None else {}
        return compare(self._own, digests, self._subject.raft_status().configuration)

    async def _ask(self, node_id: NodeId) -> Digests | None:
        """Return what a member says of its state; None when it does not answer, or not to the question."""
        try:
            answer = await self._transport.request(node_id, calls.encode_call(calls.TellDigests()), ANSWER_S)
            known = by_index(calls.decode_checkpoints(answer))
        except (PeerUnavailable, RequestLost):
            return None
        except msgspec.DecodeError as error:
            log.warning("digests.unreadable", node_id=show_id(node_id), reason=str(error))
            return None
        if known is None:
            log.warning("digests.unreadable", node_id=show_id(node_id), reason="not what a member remembers")
        return known

    async def _tell(self, node_id: NodeId) -> None:
        """Tell a member that it is suspected. Repeated every round for as long as it is there and differs."""
        try:
            await self._transport.request(node_id, calls.encode_call(calls.CompareYourself()), ANSWER_S)
        except (PeerUnavailable, RequestLost) as error:
            log.warning("state.suspect_not_told", node_id=show_id(node_id), reason=str(error))

    # What is known

    def _note(self, verdict: Verdict, late: frozenset[NodeId], members: frozenset[NodeId]) -> None:
        """Remember and report. Who was found to differ stays so until it agrees or is replaced, though it is down."""
        before = self._checks
        checks = {node_id: check for node_id, check in before.items() if check.differs and node_id in members}
        checks |= {node_id: StateCheck("Agrees", index) for node_id, index in verdict.agreed.items()}
        checks |= {node_id: StateCheck("Inconclusive", None) for node_id in late if node_id not in checks}
        checks |= {node_id: StateCheck("Disputed", split.index) for node_id, split in verdict.disputed.items()}
        checks |= {node_id: StateCheck("Differs", split.index) for node_id, split in verdict.diverged.items()}
        for node_id, split in verdict.differing().items():
            if node_id not in before or before[node_id].result != checks[node_id].result:
                _report(node_id, split, decided=node_id in verdict.diverged)
        for node_id in sorted(late):
            if checks[node_id].result == "Inconclusive" and before.get(node_id) != checks[node_id]:
                log.error("state.not_comparable", node_id=show_id(node_id))
        self._checks = checks
        self._series.compared(
            index=min(verdict.agreed.values(), default=None),
            differing=sum(check.differs for check in checks.values()),
            inconclusive=len(late),
        )

    def _forget(self) -> None:
        """Another member compares now."""
        if self._checks:
            self._checks = {}
            self._series.compared(index=None, differing=0, inconclusive=0)
        self._patience = Patience()


def _report(node_id: NodeId, split: Split, *, decided: bool) -> None:
    sides = {digest.hex()[:16]: [show_id(one) for one in holders] for digest, holders in split.sides}
    if decided:
        log.error("state.diverged", node_id=show_id(node_id), index=split.index, digests=sides)
    else:
        log.error("state.disputed", node_id=show_id(node_id), index=split.index, digests=sides)


def _reason(own: NodeId, split: Split) -> str:
    """Return what the node says when it ends, and at every later start: what was found, and what to do."""
    (mine,) = (digest for digest, holders in split.sides if own in holders)
    others = ", ".join(show_id(one) for digest, holders in split.sides if digest != mine for one in holders)
    return (
        f"The state of this node differs from the majority's at index {split.index}: its digest is {mine.hex()[:16]}, "
        f"another one than that of {others}. It would give wrong answers, so it must not run. Replace the member: "
        "remove it from the cluster and start it again on an empty directory; the others send it everything. Keep this "
        "directory to find out why; the usual causes are a faulty disk or memory, or files that were edited."
    )
