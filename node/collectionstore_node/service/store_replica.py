"""The interface to the replica that the store needs; `replica.Replica` implements it; tests use one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from collectionstore_node.raft.messages import Entry, Index, NodeId
from collectionstore_node.replica.membership.changes import MembersRequest
from collectionstore_node.replica.observation.command import Waiter
from collectionstore_node.replica.reporting.inspection import RaftReport
from collectionstore_node.replica.reporting.status import NodeStatus
from collectionstore_node.service.exports import StateExport
from collectionstore_node.statemachine.commands import Action, Command, Outcome
from collectionstore_node.statemachine.members import MemberInfo
from collectionstore_node.statemachine.view import View


class StoreReplica(Protocol):
    """One member's replica of the state, and consensus on its changes."""

    @property
    def view(self) -> View:
        """Applied state."""

    @property
    def revision(self) -> int:
        """Revision of the last applied command."""

    @property
    def name(self) -> str:
        """Name of this member."""

    @property
    def cluster_id(self) -> str:
        """ID of the cluster."""

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""

    def wall_ms(self) -> int:
        """Return the time of day of this member, in milliseconds since 1970 UTC."""

    def time_ms(self) -> int:
        """Return the replicated time as it is on the leader; on any other member, as it is applied."""

    def leader(self) -> MemberInfo | None:
        """Return the leader this node knows, or None."""

    def inspect(self) -> RaftReport:
        """Return the state of consensus for diagnostics, from memory."""

    def status(self) -> NodeStatus:
        """Return the node's status, from memory."""

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Apply `command`, here or on the leader. Raises `NotNow` or `OutcomeUnknown`."""

    async def propose_early(self, command: Command, *, timeout_s: float) -> Outcome | None:
        """Do as `propose`, but return None as soon as the leader has it on its own disk, if that is earlier."""

    def check_level(self, action: Action) -> None:
        """Refuse a command of a feature level that is not reached. Raises `UpgradePending`."""

    def submit(self, command: Command, *, timeout_s: float, parent: bytes | None = None) -> asyncio.Future[Outcome]:
        """Begin what `propose` does, without waiting for another leader. Raises `NotNow`.

        The future raises as `propose` does, and `NotLeader` or `LeadershipTransferring` when it was not applied.
        """

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        """Do as `submit` for a command that is not traced; `waiter` is told what the future would be."""

    def begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        """Tell `waiter` when reads of `view` are linearizable, or `NotLeader`. Raises `NotNow`."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Run `callback`, which raises nothing, once all results were told that are known now."""

    def read_confirmed(self, began: float) -> None:
        """Note that a read of `begin_read` was confirmed that began then, by `time.perf_counter`."""

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Wait until reads of `view` are linearizable. Raises `NotNow`."""

    async def stale_barrier(self, staleness_max_s: float | None, *, timeout_s: float) -> None:
        """Wait until `view` is at most that stale; None: as stale as this node allows. Raises `TooStale`."""

    def is_fresh(self) -> bool:
        """Whether `view` is known to be as recent as this node demands of stale reads, so that they need not wait."""

    async def revision_barrier(self, revision: int, *, timeout_s: float) -> None:
        """Wait until `revision` is applied here. Raises `RevisionNotReached`."""

    def observe_applied(self, observer: Callable[[int, int], None]) -> Callable[[], None]:
        """Call `observer` with revision and replicated time whenever entries were applied; the result ends that."""

    @property
    def short_of_space(self) -> bool:
        """Whether a member is short of disk space, as far as this one knows."""

    def staleness_s(self) -> float | None:
        """Return how stale `view` can be at most, in seconds; None if nothing is known of it."""

    async def ready_barrier(self, *, timeout_s: float) -> None:
        """Wait until this node can serve reads. Raises `NotNow`."""

    async def reclaim(self, lo: bytes, hi: bytes, *, timeout_s: float) -> None:
        """Make the range readable in which a scan raised `ManyDeleted`. Raises `ReadTimedOut`."""

    async def open_state(self) -> StateExport:
        """Return the applied state as a stream; `close` it. Raises `NotNow`."""

    async def committed_log(self, after: Index, *, bytes_max: int, timeout_s: float) -> tuple[Entry, ...]:
        """Return applied entries behind `after`, none when the time is over. Raises `InvalidRequest` or `NotNow`."""

    @property
    def applied_index(self) -> Index:
        """Index of the last applied entry."""

    async def bootstrap(self, *, epoch: int | None = None) -> NodeStatus:
        """Make an empty node the only voter of a new cluster. Raises `InvalidRequest`."""

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        """Change the membership. Raises `InvalidRequest`, `NotNow` or `OutcomeUnknown`."""

    async def transfer_leadership(self, to: NodeId | None, *, timeout_s: float, epoch: int | None = None) -> NodeStatus:
        """Transfer leadership to `to`, or to the best follower. Raises `InvalidRequest` for a stale epoch."""
