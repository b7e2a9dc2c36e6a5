"""A replica held in memory: the real state machine over a dict, without Raft, disk or network."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from collectionstore_node.errors import InvalidRequest, NodeError, NotLeader, RevisionNotReached, UpgradePending
from collectionstore_node.raft.messages import CHAIN_BYTES, Entry, Index, NodeId, SnapshotMetadata, Term
from collectionstore_node.replica import MembersRequest, NodeStatus, RaftReport
from collectionstore_node.replica.consensus.revisions import Revisions
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.command import Waiter, tell
from collectionstore_node.replica.reporting.inspection import Queues
from collectionstore_node.replica.reporting.status import ConfigurationStatus, LeaderStatus, MemberStatus
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Action, Command, Outcome, encode_batch, level_needed
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.levels import BOUNDED, HIGHEST
from collectionstore_node.statemachine.members import MemberInfo
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage.snapshot_file import encode_snapshot
from collectionstore_node.tests.statemachine.memory_view import MemoryView

ME = MemberInfo(node_id=0xA1, name="shop-0", address="127.0.0.1:7401", http_address="127.0.0.1:7400")
OTHER = MemberInfo(node_id=0xB2, name="shop-1", address="127.0.0.1:7411", http_address="127.0.0.1:7410")


class MemoryReplica:
    """Implements `service.StoreReplica`.

    `write_error`, `read_error` and `admin_error` are raised instead of doing the work; `hold` keeps writes waiting.
    """

    def __init__(self) -> None:
        self.view = MemoryView()
        self.level = HIGHEST
        self.now_ms = 0
        """The time of the next entries, from level 2 on: a test moves it."""
        self.revision = 0
        self.revisions = Revisions(0)
        self.short_of_space = False
        self.awaited = asyncio.Event()
        """Set once a request waits for a revision."""
        self.behind = 0
        """How many commands this node itself is behind the leader that applied them."""
        self.known_leader: MemberInfo | None = ME
        self.write_error: Exception | None = None
        self.read_error: Exception | None = None
        self.admin_error: NodeError | None = None
        self.hold: asyncio.Event | None = None
        self.durable_first = True
        """Whether a leader has a command on its disk before its outcome is known."""
        self.entered = asyncio.Event()
        self.proposed: list[Command] = []
        self.parents: list[bytes | None] = []
        self.submit_errors: list[Exception] = []
        """What the next calls of `submit` raise, one each."""
        self.submitted: list[asyncio.Future[Outcome]] = []
        """What the next calls of `submit` return."""
        self.timeouts_s: list[float] = []
        self.barriers = 0
        self.bounds_s: list[float | None] = []
        """The bounds of the stale reads."""
        self.stale_error: NodeError | None = None
        self.stale_s: float | None = None
        self.fresh = False
        self.name = ME.name
        self.cluster_id = "shop"
        self.confirmed = 0
        self.reclaimed: list[tuple[bytes, bytes]] = []
        self.members_requests: list[MembersRequest] = []
        self.transfers: list[NodeId | None] = []
        self.bootstrapped = False
        self.metadata = SnapshotMetadata(Index(9), Term(3), b"\x07" * CHAIN_BYTES)
        self.entries: list[Entry] = []
        self.export_error: Exception | None = None
        self.export: MemoryExport | None = None
        """The stream opened last."""
        self.epochs: list[int | None] = []

    @property
    def is_leader(self) -> bool:
        return self.known_leader is ME

    def time_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return 1_700_000_000_123

    def leader(self) -> MemberInfo | None:
        return self.known_leader

    def soon(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        self.timeouts_s.append(timeout_s)
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.write_error is not None:
            raise self.write_error
        if self.known_leader is None:
            raise NotLeader
        self.proposed.append(command)
        overlay = Overlay(self.view)
        answers: dict[int, Outcome] = {}
        time_ms = self.wall_ms() if self.level < BOUNDED else self.now_ms
        data = encode_batch(time_ms, [command], self.level)
        (outcome,) = apply_batch(overlay, data, b"", answers)
        outcome = answers.get(0, outcome)
        self.view.commit(overlay.writes)
        self.revision = read_revision(self.view) - self.behind
        self.revisions.applied(self.revision, read_header(self.view).time_ms)
        return outcome

    async def propose_early(self, command: Command, *, timeout_s: float) -> Outcome | None:
        outcome = await self.propose(command, timeout_s=timeout_s)
        return None if self.durable_first else outcome

    def check_level(self, action: Action) -> None:
        if level_needed(action) > self.level:
            raise UpgradePending("the cluster is being upgraded")

    def submit(self, command: Command, *, timeout_s: float, parent: bytes | None = None) -> asyncio.Future[Outcome]:
        self.parents.append(parent)
        if self.submit_errors:
            raise self.submit_errors.pop(0)
        if self.submitted:
            self.proposed.append(command)
            return self.submitted.pop(0)
        return asyncio.ensure_future(self.propose(command, timeout_s=timeout_s))

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        tell(waiter, self.submit(command, timeout_s=timeout_s))

    def begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        tell(waiter, asyncio.ensure_future(self.read_barrier(timeout_s=timeout_s)))

    def read_confirmed(self, began: float) -> None:
        self.confirmed += 1

    async def reclaim(self, lo: bytes, hi: bytes, *, timeout_s: float) -> None:
        self.reclaimed.append((lo, hi))

    async def read_barrier(self, *, timeout_s: float) -> None:
        self.timeouts_s.append(timeout_s)
        self.barriers += 1
        if self.read_error is not None:
            raise self.read_error
        if self.known_leader is None:
            raise NotLeader

    async def stale_barrier(self, staleness_max_s: float | None, *, timeout_s: float) -> None:
        self.bounds_s.append(staleness_max_s)
        if self.stale_error is not None:
            raise self.stale_error

    async def ready_barrier(self, *, timeout_s: float) -> None:
        await self.read_barrier(timeout_s=timeout_s)

    def is_fresh(self) -> bool:
        return self.fresh

    async def revision_barrier(self, revision: int, *, timeout_s: float) -> None:
        if revision > self.revision:
            self.awaited.set()
        if not await self.revisions.reached(revision, timeout_s=timeout_s):
            raise RevisionNotReached(revision, self.revision)

    def observe_applied(self, observer: Callable[[int, int], None]) -> Callable[[], None]:
        return self.revisions.observe(observer)

    def staleness_s(self) -> float | None:
        return self.stale_s

    async def open_state(self) -> MemoryExport:
        if self.export_error is not None:
            raise self.export_error
        self.export = MemoryExport(self.view, self.metadata)
        return self.export

    async def committed_log(self, after: Index, *, bytes_max: int, timeout_s: float) -> tuple[Entry, ...]:
        self.timeouts_s.append(timeout_s)
        if self.export_error is not None:
            raise self.export_error
        return tuple(entry for entry in self.entries if entry.index > after)

    @property
    def applied_index(self) -> Index:
        return self.metadata.index

    async def bootstrap(self, *, epoch: int | None = None) -> NodeStatus:
        self.epochs.append(epoch)
        if self.bootstrapped:
            raise InvalidRequest("already_bootstrapped", "this node has a log already")
        self.bootstrapped = True
        return self.status()

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        self.timeouts_s.append(timeout_s)
        self.members_requests.append(request)
        if self.admin_error is not None:
            raise self.admin_error
        return self.status()

    async def transfer_leadership(self, to: NodeId | None, *, timeout_s: float, epoch: int | None = None) -> NodeStatus:
        self.transfers.append(to)
        self.epochs.append(epoch)
        if self.admin_error is not None:
            raise self.admin_error
        return self.status()

    def inspect(self) -> RaftReport:
        return RaftReport(
            node_id=show_id(ME.node_id),
            name=ME.name,
            role="Leader",
            term=3,
            voted_for=show_id(ME.node_id),
            leader=show_id(ME.node_id),
            elected_by=[show_id(ME.node_id)],
            commit_index=9,
            applied_index=9,
            first_index=1,
            last_index=9,
            pending_change_index=1,
            transferring_to=None,
            configuration=self.status().configuration,
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
        leader = self.known_leader
        member = MemberStatus(show_id(ME.node_id), ME.name, ME.address, ME.http_address, "Voter")
        return NodeStatus(
            cluster_id="shop",
            node_id=show_id(ME.node_id),
            name=ME.name,
            version="0.1.0",
            state="Member",
            role="Leader" if self.is_leader else "Follower",
            term=3,
            leader=None if leader is None else LeaderStatus(show_id(leader.node_id), leader.name, leader.http_address),
            commit_index=9,
            applied_index=9,
            first_index=1,
            last_index=9,
            revision=self.revision,
            epoch=2,
            configuration=ConfigurationStatus(5, [show_id(ME.node_id)], [], [], [], joint=False),
            members=[member],
            peers=[],
            transferring_to=None,
            fault_tolerance=0,
            data_bytes=1,
            uptime_s=1.5,
            pid=1,
            client_address="127.0.0.1:7400",
            peer_address="127.0.0.1:7401",
            metrics_address="127.0.0.1:7402",
        )


class MemoryExport:
    """Implements `service.exports.StateExport` over the state in memory; `fault` is raised behind the first piece."""

    def __init__(self, view: MemoryView, metadata: SnapshotMetadata) -> None:
        self.metadata = metadata
        self.header = read_header(view)
        self.ended = asyncio.Event()
        self.sent = 0
        self.fault: Exception | None = None
        self._records = [pair for pair in view.scan(b"\x00", b"\xff" * 8)]

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in encode_snapshot(self.metadata, self._records, 4 << 10, self.header.level):
            yield piece
            self.sent += 1
            if self.fault is not None:
                raise self.fault

    def close(self) -> None:
        self.ended.set()

    @property
    def closed(self) -> bool:
        return self.ended.is_set()


class RecordedMetrics:
    """Implements `api.HttpMetrics` by recording everything."""

    def __init__(self) -> None:
        self.finished: list[tuple[str, str, int]] = []
        self.trace_ids: list[str | None] = []
        self.read_inflight: Callable[[], int] = lambda: -1
        self.read_connections: Callable[[], int] = lambda: -1
        self.read_arriving: Callable[[], int] = lambda: -1
        self.read_uploads: Callable[[], int] = lambda: -1
        self.read_unsent: Callable[[], int] = lambda: -1
        self.cuts: Counter[str] = Counter()
        self.read_long_requests: Callable[[], int] = lambda: -1
        self.problems: Counter[str] = Counter()
        self.transactions: Counter[str] = Counter()
        self.queued_writes: Counter[str] = Counter()
        self.queued_write = asyncio.Event()
        self.read_streams: Callable[[], int] = lambda: -1
        self.read_stream_operations: Callable[[], int] = lambda: -1
        self.streams_closed: Counter[str] = Counter()

    def route(self, route: str, method: str) -> RecordedRoute:
        return RecordedRoute(self, route, method)

    def inflight(self, read: Callable[[], int]) -> None:
        self.read_inflight = read

    def connections(self, read: Callable[[], int]) -> None:
        self.read_connections = read

    def arriving(self, read: Callable[[], int]) -> None:
        self.read_arriving = read

    def uploads(self, read: Callable[[], int]) -> None:
        self.read_uploads = read

    def unsent(self, read: Callable[[], int]) -> None:
        self.read_unsent = read

    def cut(self, reason: str) -> None:
        self.cuts[reason] += 1

    def long_requests(self, read: Callable[[], int]) -> None:
        self.read_long_requests = read

    def problem(self, code: str) -> None:
        self.problems[code] += 1

    def streams(self, connections: Callable[[], int], operations: Callable[[], int]) -> None:
        self.read_streams, self.read_stream_operations = connections, operations

    def stream_closed(self, reason: str) -> None:
        self.streams_closed[reason] += 1

    def queued(self, result: str) -> None:
        self.queued_writes[result] += 1
        self.queued_write.set()

    def transaction(self, result: str) -> None:
        self.transactions[result] += 1


async def render_nothing(accept: str) -> tuple[bytes, str]:
    """Return an empty exposition."""
    return b"", "text/plain"


class RecordedRoute:
    """One route's counters."""

    def __init__(self, metrics: RecordedMetrics, route: str, method: str) -> None:
        self._metrics = metrics
        self._key = (route, method)

    def finished(self, status: int, seconds: float, trace_id: str | None = None) -> None:
        self._metrics.finished.append((*self._key, status))
        self._metrics.trace_ids.append(trace_id)

    def finished_all(self, status: int, seconds: list[float]) -> None:
        for one in seconds:
            self.finished(status, one)


class Admins:
    """Authorizes every client to change the cluster, or none."""

    def __init__(self) -> None:
        self.allowed = True

    def authorize(self, request: web.BaseRequest) -> bool:
        return self.allowed
