"""`EphemeralReplica`: the only member of a cluster whose log is applied at once, and kept nowhere."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final, NoReturn

from collectionstore_node import __version__
from collectionstore_node.ephemeral.view import MemoryView
from collectionstore_node.errors import InvalidRequest, RevisionNotReached, UpgradePending
from collectionstore_node.raft.messages import Entry, Index, NodeId
from collectionstore_node.replica import MembersRequest, NodeStatus, RaftReport
from collectionstore_node.replica.consensus.revisions import Revisions
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.command import Waiter, tell
from collectionstore_node.replica.reporting.inspection import Queues
from collectionstore_node.replica.reporting.status import ConfigurationStatus, LeaderStatus, MemberStatus
from collectionstore_node.service.exports import StateExport
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Action, Command, Outcome, encode_batch, level_needed
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.statemachine.members import MemberInfo
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.view import Overlay

CLUSTER_ID: Final = "ephemeral"
NAME: Final = "ephemeral-0"
NODE_ID: Final = NodeId(1)


class EphemeralReplica:
    """Implements `service.StoreReplica`. Belongs to one event loop."""

    def __init__(self) -> None:
        self.view = MemoryView()
        self.revision = 0
        self.short_of_space = False
        self.name = NAME
        self.cluster_id = CLUSTER_ID
        self.is_leader = True
        self.moved_ms = 0
        """How far the replicated time was moved forward, for tests of what expires."""
        self.url = ""
        """Where clients reach it; known once it is served."""
        self._began = time.monotonic()
        self._revisions = Revisions(0)
        self._index = 0

    @property
    def applied_index(self) -> Index:
        """Number of commands that were applied."""
        return Index(self._index)

    def time_ms(self) -> int:
        """Return for how long it has been there, and how far that was moved."""
        return int((time.monotonic() - self._began) * 1_000) + self.moved_ms

    def wall_ms(self) -> int:
        """Return the time of day, in milliseconds."""
        return time.time_ns() // 1_000_000

    def leader(self) -> MemberInfo | None:
        """Return itself."""
        return MemberInfo(node_id=NODE_ID, name=NAME, address="127.0.0.1:0", http_address=self.url)

    def soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` in the next turn."""
        asyncio.get_running_loop().call_soon(callback)

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Apply `command`."""
        return self._apply(command)

    async def propose_early(self, command: Command, *, timeout_s: float) -> Outcome | None:
        """Apply `command`: nothing is earlier."""
        return self._apply(command)

    def check_level(self, action: Action) -> None:
        """Refuse what no level has. Raises `UpgradePending`."""
        if level_needed(action) > HIGHEST:
            raise UpgradePending("the store is of an older version")

    def submit(self, command: Command, *, timeout_s: float, parent: bytes | None = None) -> asyncio.Future[Outcome]:
        """Apply `command`; the future is done."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(self._apply(command))
        return future

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        """Apply `command` and tell `waiter`."""
        tell(waiter, self.submit(command, timeout_s=timeout_s))

    def begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        """Tell `waiter` that it may read."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        tell(waiter, done)

    def _apply(self, command: Command) -> Outcome:
        overlay = Overlay(self.view)
        answers: dict[int, Outcome] = {}
        data = encode_batch(self.time_ms(), [command], HIGHEST)
        (outcome,) = apply_batch(overlay, data, b"", answers)
        outcome = answers.get(0, outcome)
        self.view.commit(overlay.writes)
        self._index += 1
        self.revision = read_revision(self.view)
        self._revisions.applied(self.revision, read_header(self.view).time_ms)
        return outcome

    def read_confirmed(self, began: float) -> None:
        """Count nothing."""

    async def reclaim(self, lo: bytes, hi: bytes, *, timeout_s: float) -> None:
        """Do nothing: a scan in memory never meets many deleted keys."""

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Return: every read is linearizable."""

    async def stale_barrier(self, staleness_max_s: float | None, *, timeout_s: float) -> None:
        """Return: nothing is stale."""

    async def ready_barrier(self, *, timeout_s: float) -> None:
        """Return."""

    def is_fresh(self) -> bool:
        """Whether reads need not wait: always."""
        return True

    async def revision_barrier(self, revision: int, *, timeout_s: float) -> None:
        """Wait for a revision. Raises `RevisionNotReached`."""
        if not await self._revisions.reached(revision, timeout_s=timeout_s):
            raise RevisionNotReached(revision, self.revision)

    def observe_applied(self, observer: Callable[[int, int], None]) -> Callable[[], None]:
        """Call `observer` whenever a command was applied."""
        return self._revisions.observe(observer)

    def staleness_s(self) -> float | None:
        """Return that nothing is stale."""
        return 0.0

    async def open_state(self) -> StateExport:
        """Refuse: there are no backups of it."""
        _refuse()

    async def committed_log(self, after: Index, *, bytes_max: int, timeout_s: float) -> tuple[Entry, ...]:
        """Refuse: it keeps no log."""
        _refuse()

    async def bootstrap(self, *, epoch: int | None = None) -> NodeStatus:
        """Refuse: it is one already."""
        raise InvalidRequest("already_bootstrapped", "this node has a log already")

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        """Refuse: it has no other members."""
        _refuse()

    async def transfer_leadership(self, to: NodeId | None, *, timeout_s: float, epoch: int | None = None) -> NodeStatus:
        """Refuse: it has no other members."""
        _refuse()

    def inspect(self) -> RaftReport:
        """Return the report of a member that leads alone."""
        me = show_id(NODE_ID)
        return RaftReport(
            node_id=me,
            name=NAME,
            role="Leader",
            term=1,
            voted_for=me,
            leader=me,
            elected_by=[me],
            commit_index=self._index,
            applied_index=self._index,
            first_index=1,
            last_index=self._index,
            pending_change_index=0,
            transferring_to=None,
            configuration=_configuration(),
            followers=[],
            queues=Queues(
                commands_waiting=0,
                commands_waiting_max=1,
                entries_pending=0,
                reads_waiting=False,
                unapplied_entries=0,
                uncommitted_entries=0,
                sync_running_s=0.0,
                peers=[],
            ),
        )

    def status(self) -> NodeStatus:
        """Return the status of a member that leads alone."""
        me = show_id(NODE_ID)
        return NodeStatus(
            cluster_id=CLUSTER_ID,
            node_id=me,
            name=NAME,
            version=__version__,
            state="Member",
            role="Leader",
            term=1,
            leader=LeaderStatus(me, NAME, self.url),
            commit_index=self._index,
            applied_index=self._index,
            first_index=1,
            last_index=self._index,
            revision=self.revision,
            epoch=0,
            configuration=_configuration(),
            members=[MemberStatus(me, NAME, "127.0.0.1:0", self.url, "Voter")],
            peers=[],
            transferring_to=None,
            fault_tolerance=0,
            data_bytes=sum(len(key) + len(value) for key, value in self.view.values.items()),
            uptime_s=time.monotonic() - self._began,
            pid=os.getpid(),
            client_address=self.url,
            peer_address="127.0.0.1:0",
            metrics_address="127.0.0.1:0",
        )


def _configuration() -> ConfigurationStatus:
    return ConfigurationStatus(1, [show_id(NODE_ID)], [], [], [], joint=False)


def _refuse() -> NoReturn:
    raise InvalidRequest("invalid_parameter", "a store in memory has neither members nor a log")
