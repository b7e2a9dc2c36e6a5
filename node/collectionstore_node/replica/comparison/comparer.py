"""Compares the state of the members by their digests, and fences a member that diverged.

The leader compares once a second. A member that differs from a majority of the voters quarantines its data directory
and stops, so that no restart brings it back: the leader as soon as it finds itself divergent; a follower after the
leader has notified it, and only if its own comparison finds the same. A member never stops because of another member's
claim: a majority of the voters, each asked for its own state, has to differ. Without a majority, all members that
disagree are logged and keep running; an operator has to decide.

With their digests members say which feature level they support. Once all members of the configuration have answered a
round, voters and learners alike, the leader raises the cluster's level to the highest that all of them support. A new
cluster has the highest level of its founder's version from the start (`Consensus`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, Protocol

import msgspec
import structlog

from collectionstore_node.metrics import DigestSeries
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.raft.ready import RaftStatus
from collectionstore_node.replica.comparison.digests import (
    Digests,
    InconclusiveTracker,
    Split,
    Verdict,
    by_index,
    compare,
)
from collectionstore_node.replica.comparison.state_check import StateCheck
from collectionstore_node.replica.health.space import MemberReports
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.peers import calls
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.statemachine.levels import FIRST, HIGHEST
from collectionstore_node.transport.failures import PeerUnavailable, RequestLost

log = structlog.get_logger()

INTERVAL_S: Final = 1.0
ANSWER_S: Final = 1.0
"""How long a member may take to return its digests, which it has in memory."""


class Subject(Protocol):
    """The member that compares."""

    @property
    def suspicion(self) -> asyncio.Event:
        """Set when another member says that the state of this one differs."""

    @property
    def reports(self) -> MemberReports:
        """What the other members report of their disks."""

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the digests of its own state; none while the state is being replaced."""

    def raft_status(self) -> RaftStatus:
        """Return a view of the core."""

    def raise_level(self, level: int) -> None:
        """Raise the feature level of the cluster, unless it is that high already or this member does not lead."""

    def quarantine(self, reason: str) -> None:
        """Fence the member: mark its data directory and end it."""


class StateComparer:
    """The comparisons of one member. Belongs to the event loop; `failed` is called when a comparison raises."""

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
        """A member that was silent for `silence_ticks_max` is not expected to be comparable.

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
        self._inconclusive = InconclusiveTracker()
        self._checks: dict[NodeId, StateCheck] = {}
        self._supports: dict[NodeId, int] = {}
        """The feature level that each member supports, of those that answered the last round."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Compare once a second while this member leads, and whenever another member suspects it."""
        self._spawn(self._compare_while_leading(), "digests")
        self._spawn(self._compare_when_suspected(), "digests of a suspect")

    async def close(self) -> None:
        """Stop comparing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def checks(self) -> dict[NodeId, StateCheck]:
        """Return the results of the last comparisons by member; empty unless this one leads."""
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
        """Compare all members once, as the leader, and act on the result."""
        verdict = await self._compare()
        raft = self._subject.raft_status()
        if not raft.progress:
            # Leadership was lost while the members answered: the next leader reports, and knows who is active.
            return
        active = [
            one.node_id
            for one in raft.progress
            if one.node_id != self._own and one.silent_ticks < self._silence_ticks_max
        ]
        differing = verdict.differing()
        late = self._inconclusive.update(active, verdict.agreed.keys() | differing.keys(), self._clock())
        self._record(verdict, late, raft.configuration.members())
        self._subject.raise_level(self._supported_by(raft.configuration.members() - {self._own}))
        if self._own in verdict.diverged:
            self._subject.quarantine(_reason(self._own, verdict.diverged[self._own]))
        for node_id in sorted(verdict.diverged):
            if node_id != self._own:
                await self._notify(node_id)

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
        self._supports.clear()
        members = sorted(self._subject.raft_status().configuration.members() - {self._own})
        answers = await asyncio.gather(*[self._fetch(node_id) for node_id in members])
        # Its own digests last: this member is likely to have applied by now what the others had when they answered.
        digests = {node_id: known for node_id, known in zip(members, answers, strict=True) if known is not None}
        own = by_index(self._subject.checkpoints())
        digests[self._own] = own if own is not None else {}
        return compare(self._own, digests, self._subject.raft_status().configuration)

    async def _fetch(self, node_id: NodeId) -> Digests | None:
        """Return the digests of a member; None when it does not answer, or with something else."""
        try:
            answer = await self._transport.request(node_id, calls.encode_call(calls.GetDigests(report=True)), ANSWER_S)
            checkpoints, space = calls.decode_checkpoints(answer)
        except (PeerUnavailable, RequestLost):
            return None
        except msgspec.DecodeError as error:
            log.warning("digests.unreadable", node_id=show_id(node_id), reason=str(error))
            return None
        if space is not None:
            # No report, from an earlier version: it is unknown whether that member is short, and unknown is not full.
            self._subject.reports.note(node_id, space, self._clock())
        known = by_index(checkpoints)
        if known is None:
            log.warning("digests.unreadable", node_id=show_id(node_id), reason="not what a member remembers")
        self._supports[node_id] = min((one.supports for one in checkpoints), default=FIRST)
        return known

    def _supported_by(self, members: Collection[NodeId]) -> int:
        """Return the highest level that this member and all of `members` support; one that is silent supports none."""
        return min([HIGHEST, *(self._supports.get(one, FIRST) for one in members)])

    async def _notify(self, node_id: NodeId) -> None:
        """Notify a member that it differs; repeated every round until it stops or agrees."""
        try:
            await self._transport.request(node_id, calls.encode_call(calls.VerifyState()), ANSWER_S)
        except (PeerUnavailable, RequestLost) as error:
            log.warning("state.suspect_not_told", node_id=show_id(node_id), reason=str(error))

    # Results

    def _record(self, verdict: Verdict, late: frozenset[NodeId], members: frozenset[NodeId]) -> None:
        """Record and log. A member that differs keeps that result while it is down, until it agrees or is replaced."""
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
        """Drop all results: another member leads and compares."""
        if self._checks:
            self._checks = {}
            self._series.compared(index=None, differing=0, inconclusive=0)
        self._inconclusive = InconclusiveTracker()
        self._subject.reports.forget()


def _report(node_id: NodeId, split: Split, *, decided: bool) -> None:
    sides = {digest.hex()[:16]: [show_id(one) for one in holders] for digest, holders in split.sides}
    if decided:
        log.error("state.diverged", node_id=show_id(node_id), index=split.index, digests=sides)
    else:
        log.error("state.disputed", node_id=show_id(node_id), index=split.index, digests=sides)


def _reason(own: NodeId, split: Split) -> str:
    """Return the text for the log and for every refused start: what was found, and what to do."""
    (mine,) = (digest for digest, holders in split.sides if own in holders)
    others = ", ".join(show_id(one) for digest, holders in split.sides if digest != mine for one in holders)
    return (
        f"The state of this node differs from the majority's at index {split.index}: its digest is {mine.hex()[:16]}, "
        f"another one than that of {others}. It would give wrong answers, so it must not run. Replace the member: "
        "remove it from the cluster and start it again on an empty directory; the others send it everything. Keep this "
        "directory to find out why; the usual causes are a faulty disk or memory, or files that were edited."
    )
