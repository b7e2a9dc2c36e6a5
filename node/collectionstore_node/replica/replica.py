"""What clients and operators ask of a member: writes, linearizable reads, membership, leadership, status.

Every request works on any node: a follower hands it to the leader. A request that was certainly not applied is tried
again within its deadline, so that an election is a pause for clients and not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from collectionstore_node.errors import (
    ChangePending,
    LeadershipTransferring,
    NodeError,
    NotLeader,
    NotNow,
    OutcomeUnknown,
)
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.messages import NO_NODE, NodeId
from collectionstore_node.raft.ready import Role
from collectionstore_node.replica.driver.driver import Driver
from collectionstore_node.replica.membership.changes import MembersRequest, check_epoch, check_quorum_after, plan_change
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.command_spans import begin_forward, begin_propose
from collectionstore_node.replica.peers import calls
from collectionstore_node.replica.peers.forwarding import Forwarder
from collectionstore_node.replica.reporting import status
from collectionstore_node.replica.reporting.inspection import RaftReport, inspect
from collectionstore_node.statemachine.commands import Command, Outcome, decode_command, encode_command
from collectionstore_node.statemachine.members import MemberInfo
from collectionstore_node.statemachine.view import View
from collectionstore_node.transport import PeerUnavailable, RequestLost
from collectionstore_telemetry.tracing.active import active

if TYPE_CHECKING:
    from collectionstore_node.transport import Transport

log = structlog.get_logger()

BOOTSTRAP_WAIT_S = 5.0
NEWS_WAIT_S = 0.05
"""How long to wait for news of leadership before asking again: the other side may know more."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What `status` says of the process, and under which addresses it is known."""

    version: str
    pid: int
    peer_advertise: str
    client_advertise: str
    client_address: str
    peer_address: str
    metrics_address: str


class Replica:
    """A member as its clients see it. Belongs to one event loop."""

    def __init__(self, driver: Driver, transport: Transport, facts: ProcessFacts, metrics: ReplicaMetrics) -> None:
        self.identity = driver.identity
        self.view: View = driver.view
        self._driver = driver
        self._transport = transport
        self._facts = facts
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._forwarder = Forwarder(transport, self._loop, metrics.forwarding)
        self._data_bytes = (float("-inf"), 0)
        driver.serve = self.serve

    async def close(self) -> None:
        """Stop waiting for other nodes."""
        await self._forwarder.close()

    @property
    def revision(self) -> int:
        """Revision of the last applied command."""
        return self._driver.revision

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self._driver.raft.is_leader

    def leader(self) -> MemberInfo | None:
        """Return the leader this node knows, or None."""
        return self._driver.record.find(self._driver.raft.leader)

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Have `command` applied and return its outcome; from any node, at most once.

        Raises `NotNow` when it was not applied, `OutcomeUnknown` when it may be.
        """
        # Encoded before it meets others in a batch: one that cannot be encoded would spoil all of them.
        encoded = encode_command(command)
        deadline = self._loop.time() + timeout_s
        patience = min(deadline, self._loop.time() + self._driver.settings.leader_wait_s)
        sampled = active.get()
        parent = None if sampled is None else sampled.carried
        tracing = self._driver.tracing
        while True:
            raft = self._driver.raft
            try:
                if raft.is_leader:
                    span = begin_propose(tracing, command, parent)
                    return await self._driver.submit(encoded, deadline, span)
                if leader := raft.leader:
                    span = begin_forward(tracing, command, parent)
                    return await self._forwarder.propose(leader, encoded, deadline, span)
            except (NotLeader, LeadershipTransferring):
                pass  # Nothing was applied: try again with the next leader.
            await self._news_of_leader(patience)

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Return when `view` holds everything that was acknowledged before the call (thesis 6.4).

        Raises `NotNow`; nothing was read then.
        """
        began = asked = self._loop.time()
        deadline = began + timeout_s
        patience = min(deadline, began + self._driver.settings.leader_wait_s)
        sampled, started = active.get(), perf_counter()
        while True:
            try:
                await self._driver.join_read(deadline)
            except NotLeader:
                await self._news_of_leader(patience)
                asked = self._loop.time()
                continue
            ended = self._loop.time()
            self._driver.slow.read(ended - began, {"leader": asked - began, "confirm": ended - asked})
            if sampled is not None and self._driver.tracing is not None:
                self._driver.tracing.record("read index", sampled.carried, started, perf_counter())
            return

    async def bootstrap(self, *, epoch: int | None = None) -> status.NodeStatus:
        """Make this empty node the only voter of a new cluster, of this epoch; once in its life.

        Raises `InvalidRequest` when it has ever been part of one.
        """
        me = MemberInfo(
            node_id=self.identity.node_id,
            name=self.identity.name,
            address=self._facts.peer_advertise,
            http_address=self._facts.client_advertise,
        )
        self._driver.bootstrap(me, epoch or 0)
        log.info("cluster.bootstrapped", node_id=show_id(me.node_id))
        await self._driver.until(self._leads_and_is_settled, self._loop.time() + BOOTSTRAP_WAIT_S)
        return self.status()

    def _leads_and_is_settled(self) -> bool:
        """Whether this leader has applied an entry of its own term, before which it changes no membership."""
        raft = self._driver.raft
        return raft.is_leader and raft.applied == raft.last_index

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> status.NodeStatus:
        """Change the membership in one step and return when the new configuration is applied and not joint.

        Raises `InvalidRequest`, `NotNow` (nothing changed) or `OutcomeUnknown`.
        """
        if self.is_leader:
            await self._change_members(request, self._loop.time() + timeout_s)
        else:
            await self._ask_leader(calls.ChangeMembers(request, timeout_s), timeout_s)
        return self.status()

    async def transfer_leadership(
        self, to: NodeId | None, *, timeout_s: float, epoch: int | None = None
    ) -> status.NodeStatus:
        """Hand leadership to `to`, or to the voter that has most of the log, and return when that has happened.

        Raises `InvalidRequest` when the caller's epoch is behind.
        """
        if self.is_leader:
            await self._transfer(to or NO_NODE, self._loop.time() + timeout_s, epoch)
        else:
            await self._ask_leader(calls.Transfer(to or NO_NODE, timeout_s, epoch), timeout_s)
        return self.status()

    def inspect(self) -> RaftReport:
        """Return the core, its view of the others and the queues, from memory."""
        driver = self._driver
        return inspect(
            driver.raft_status(),
            driver.record,
            driver.depths(),
            self._transport.peers(),
            name=self.identity.name,
            tick_s=driver.settings.tick_s,
        )

    def status(self) -> status.NodeStatus:
        """Return what this node knows, from memory."""
        driver, facts = self._driver, self._facts
        raft, record, now = driver.raft.status(), driver.record, self._loop.time()
        if now - self._data_bytes[0] > 1:
            self._data_bytes = (now, driver.data_bytes())
        return status.NodeStatus(
            cluster_id=self.identity.cluster_id,
            node_id=show_id(self.identity.node_id),
            name=self.identity.name,
            version=facts.version,
            state=status.node_state(self.identity.node_id, raft, record),
            role=raft.role.value,
            term=raft.term,
            leader=status.leader_status(raft.leader, record.members),
            commit_index=raft.commit_index,
            applied_index=raft.applied_index,
            first_index=raft.first_index,
            last_index=raft.last_index,
            revision=driver.revision,
            epoch=record.epoch,
            configuration=status.configuration_status(record, raft.configuration),
            members=status.member_statuses(
                raft, record, driver.settings.tick_s, driver.snapshot_receivers, driver.state_checks()
            ),
            peers=[status.peer_connection(peer) for peer in self._transport.peers()],
            transferring_to=show_id(raft.transferring_to) if raft.transferring_to else None,
            fault_tolerance=status.fault_tolerance(raft.configuration),
            data_bytes=self._data_bytes[1],
            uptime_s=round(now - self._started, 3),
            pid=facts.pid,
            client_address=facts.client_address,
            peer_address=facts.peer_address,
            metrics_address=facts.metrics_address,
            state_digest=status.digest_at(raft.applied_index, driver.checkpoints()),
        )

    # For other nodes

    async def serve(self, payload: bytes) -> bytes:
        """Do what another node asks on a client's behalf, here and only here: it is not forwarded again.

        Raises `msgspec.DecodeError` when `payload` is not a call.
        """
        match calls.decode_call(payload):
            case calls.Propose() as call:
                return calls.encode_results(await self._propose_all(call))
            case calls.TellDigests():
                return calls.encode_checkpoints(self._driver.checkpoints())
            case calls.CompareYourself():
                self._driver.examine_state()
                return calls.encode_results([calls.Result()])
            case calls.ChangeMembers() as call:
                work = self._change_members(call.request, self._loop.time() + call.timeout_s)
            case calls.Transfer() as call:
                work = self._transfer(call.to, self._loop.time() + call.timeout_s, call.epoch)
        try:
            await work
        except NodeError as error:
            return calls.encode_results([calls.failure(error)])
        return calls.encode_results([calls.Result()])

    async def _propose_all(self, call: calls.Propose) -> list[calls.Result]:
        if not self.is_leader:
            return [calls.failure(NotLeader(self._driver.raft.leader))] * len(call.commands)
        deadline = self._loop.time() + call.timeout_s
        parents = dict(call.contexts)
        waiting: list[asyncio.Future[Outcome] | NodeError] = []
        for at, received in enumerate(call.commands):
            # Checked here and not at `apply`, where it would stop every replica.
            command = decode_command(bytes(received))
            span = begin_propose(self._driver.tracing, command, parents.get(at), forwarded=True)
            try:
                waiting.append(self._driver.submit(encode_command(command), deadline, span))
            except NotNow as error:
                waiting.append(error)
        # All at once, so that when the asker is gone nobody goes on waiting for the rest.
        await asyncio.gather(*(one for one in waiting if isinstance(one, asyncio.Future)), return_exceptions=True)
        results = []
        for one in waiting:
            try:
                if isinstance(one, NodeError):
                    raise one
                results.append(calls.Result(outcome=await one))
            except NodeError as error:
                results.append(calls.failure(error))
        return results

    async def _change_members(self, request: MembersRequest, deadline: float) -> None:
        if not self.is_leader:
            raise NotLeader(self._driver.raft.leader)
        raft = self._driver.raft.status()
        # Not `recent_active`: check-quorum has just cleared it every so often.
        silence_max = self._driver.settings.election_ticks_max
        reachable = [one for one in raft.progress if one.silent_ticks < silence_max]
        lag = {one.node_id: raft.commit_index - one.match_index for one in reachable}
        change = plan_change(request, self._driver.record, raft.configuration, lag)
        active = frozenset(one.node_id for one in reachable) | {self.identity.node_id}
        check_quorum_after(self._driver.raft.next_configuration(change), active)
        survived = self._driver.propose_change(change)
        await self._driver.until(survived.done, deadline)
        if not survived.result():
            raise ChangePending("another leader replaced the change before it was committed")
        await self._driver.until(self._change_is_complete, deadline)

    def _change_is_complete(self) -> bool:
        """Whether nodes that left may be switched off: a majority of the new voters durably knows that it is over."""
        raft = self._driver.raft.status()
        return not raft.configuration.joint and raft.pending_change_index <= raft.applied_index

    async def _transfer(self, to: NodeId, deadline: float, epoch: int | None) -> None:
        raft = self._driver.raft
        if not raft.is_leader:
            raise NotLeader(raft.leader)
        check_epoch(epoch, self._driver.record)
        to = to or self._best_successor()
        if to == self.identity.node_id:
            return
        term = raft.term
        self._driver.transfer_leadership(to)
        try:
            await self._driver.until(self._transfer_ended(term), deadline)
        finally:
            self._metrics.transferred("failed" if raft.is_leader else "done")
        if raft.is_leader:
            raise ChangePending(f"{show_id(to)} did not take over in time; leadership stays here")

    def _transfer_ended(self, term: int) -> Callable[[], bool]:
        def ended() -> bool:
            raft = self._driver.raft.status()
            if raft.role is Role.LEADER:
                return not raft.transferring_to
            return raft.term > term and bool(raft.leader)

        return ended

    def _best_successor(self) -> NodeId:
        raft = self._driver.raft.status()
        silence_max = self._driver.settings.election_ticks_max
        voters = [one for one in raft.progress if one.node_id in raft.configuration.voters]
        others = [one for one in voters if one.node_id != self.identity.node_id and one.silent_ticks < silence_max]
        if not others:
            raise ChangePending("no other voter is reachable")
        return max(others, key=lambda one: one.match_index).node_id

    async def _ask_leader(self, call: calls.Call, timeout_s: float) -> None:
        leader = self._driver.raft.leader
        if not leader:
            raise NotLeader
        try:
            payload = await self._transport.request(leader, calls.encode_call(call), timeout_s)
        except PeerUnavailable:
            raise NotLeader from None
        except RequestLost as error:
            raise OutcomeUnknown(f"the leader's answer was lost: {error}") from None
        (result,) = calls.decode_results(payload)
        problem = calls.raised(result)
        if problem is not None:
            raise problem

    async def _news_of_leader(self, patience: float) -> None:
        """Wait a moment for news of leadership. Raises `NotLeader` when `patience` (loop time) is over."""
        raft, now = self._driver.raft, self._loop.time()
        if now >= patience:
            raise NotLeader(raft.leader)
        before = (raft.term, raft.leader)
        limit = min(patience, now + NEWS_WAIT_S)

        def heard() -> bool:
            core = self._driver.raft
            return (core.term, core.leader) != before or self._loop.time() >= limit

        try:
            await self._driver.until(heard, deadline=patience + 1)
        except OutcomeUnknown as error:
            # The driver has ended. Nothing was asked of anybody yet.
            raise NotNow(str(error)) from None
