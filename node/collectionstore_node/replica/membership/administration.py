"""Executes administrative requests on the leader: membership changes, leadership transfer, bootstrap.

Requests that arrive at a follower are forwarded by `Replica`; here, "not the leader" is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from collectionstore_node.errors import ChangePending, NotLeader
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.messages import NO_NODE, NodeId
from collectionstore_node.raft.ready import ProgressStatus, RaftStatus, Role
from collectionstore_node.replica.consensus.consensus import Consensus
from collectionstore_node.replica.membership.changes import (
    MembersRequest,
    check_epoch,
    check_new_epoch,
    check_quorum_after,
    first_entry,
    plan_change,
)
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.settings import ReplicaSettings
from collectionstore_node.statemachine.members import MemberInfo, MembershipRecord

log = structlog.get_logger()

BOOTSTRAP_WAIT_S = 5.0


class Administration:
    """The administrative requests of one member. Deadlines are loop time."""

    def __init__(
        self, own: NodeId, consensus: Consensus, applier: Applier, settings: ReplicaSettings, metrics: ReplicaMetrics
    ) -> None:
        self._own = own
        self._consensus = consensus
        self._applier = applier
        self._silence_ticks_max = settings.election_ticks_max
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()

    async def bootstrap(self, me: MemberInfo, epoch: int) -> None:
        """Make `me`, this empty node, the only voter of a new cluster, and return when it leads.

        Raises `InvalidRequest` when it has ever been part of one, `OutcomeUnknown` when it does not lead in time.
        """
        check_new_epoch(epoch, MembershipRecord())
        entry, hard_state = first_entry(me, epoch)
        self._consensus.bootstrap(entry, hard_state)
        log.info("cluster.bootstrapped", node_id=show_id(me.node_id))
        await self._consensus.until(self._leads_and_is_settled, self._loop.time() + BOOTSTRAP_WAIT_S)

    async def change_members(self, request: MembersRequest, deadline: float) -> None:
        """Change the membership in one step and return when the new configuration is applied and not joint.

        Raises `InvalidRequest`, `NotNow` (nothing changed) or `OutcomeUnknown`.
        """
        consensus = self._consensus
        if not consensus.raft.is_leader:
            raise NotLeader(consensus.raft.leader)
        raft = consensus.raft.status()
        reachable = self._reachable(raft)
        lag = {one.node_id: raft.commit_index - one.match_index for one in reachable}
        change = plan_change(request, self._applier.record, raft.configuration, lag, self._own)
        active = frozenset(one.node_id for one in reachable) | {self._own}
        check_quorum_after(consensus.raft.next_configuration(change), active)
        survived = consensus.propose_change(change)
        await consensus.until(survived.done, deadline)
        if not survived.result():
            raise ChangePending("another leader replaced the change before it was committed")
        await consensus.until(self._change_is_complete, deadline)

    async def transfer_leadership(self, to: NodeId, deadline: float, epoch: int | None) -> None:
        """Transfer leadership to `to`, or to the best follower for NO_NODE, and return when it is done (thesis 3.10).

        Raises `InvalidRequest` for an epoch that is behind, `NotNow`, `OutcomeUnknown`.
        """
        raft = self._consensus.raft
        if not raft.is_leader:
            raise NotLeader(raft.leader)
        check_epoch(epoch, self._applier.record)
        to = to if to != NO_NODE else self._best_successor()
        if to == self._own:
            return
        term = raft.term
        self._consensus.transfer_leadership(to)
        try:
            await self._consensus.until(self._transfer_ended(term), deadline)
        finally:
            self._metrics.transferred("failed" if raft.is_leader else "done")
        if raft.is_leader:
            raise ChangePending(f"{show_id(to)} did not take over in time; leadership stays here")

    def _leads_and_is_settled(self) -> bool:
        """Whether this leader has applied an entry of its own term, before which it changes no membership."""
        raft = self._consensus.raft
        return raft.is_leader and raft.applied == raft.last_index

    def _change_is_complete(self) -> bool:
        """Whether removed nodes may be switched off: a majority of the new voters durably knows that it is over.

        A joint configuration that is left is not enough (thesis 4.3): until the entry that leaves it is committed by
        the new voters, a new leader may still need the votes of the old ones.
        """
        raft = self._consensus.raft.status()
        return not raft.configuration.joint and raft.pending_change_index <= raft.applied_index

    def _transfer_ended(self, term: int) -> Callable[[], bool]:
        def ended() -> bool:
            raft = self._consensus.raft.status()
            if raft.role is Role.LEADER:
                return not raft.transferring_to
            return raft.term > term and bool(raft.leader)

        return ended

    def _best_successor(self) -> NodeId:
        raft = self._consensus.raft.status()
        others = [
            one
            for one in self._reachable(raft)
            if one.node_id in raft.configuration.voters and one.node_id != self._own
        ]
        if not others:
            raise ChangePending("no other voter is reachable")
        # The longest log catches up soonest; the leader sends TimeoutNow only after that (thesis 3.10).
        return max(others, key=lambda one: one.match_index).node_id

    def _reachable(self, raft: RaftStatus) -> list[ProgressStatus]:
        # Not `recent_active`: check-quorum clears it once per election timeout, and it may have just done so.
        return [one for one in raft.progress if one.silent_ticks < self._silence_ticks_max]
