"""`Store`: the operations of the store, each admitted and then executed by the replica.

Admission has two steps, because they must happen at different times:
1. `enter` counts a request in BEFORE its body is read: an overloaded node must not buffer bodies only to reject them;
2. `_admit` checks the operation itself, once it is parsed, BEFORE it waits for consensus or reads state.

Writes are counted on their own as well, from their admission to their outcome: `WriteAdmission` bounds them by the time
that they take. Those of pipelined streams (`submit`, `execute`) have another one, as they have places of their own: a
few streams must not take those of all other clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

import uuid_utils

from collectionstore_node.errors import LeadershipTransferring, ManyDeleted, NotLeader, Overloaded
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.service.admission import WriteAdmission
from collectionstore_node.service.exports import (
    LOG_BYTES_MAX,
    ExportedLog,
    ExportedState,
    ReadLog,
    ReadState,
    StateExport,
    encode_entries,
)
from collectionstore_node.service.idempotency import command_for, document_id_for
from collectionstore_node.service.limits import StoreLimits, check_operation
from collectionstore_node.service.membership import (
    Bootstrap,
    LeaderStatus,
    MembersRequest,
    NodeStatus,
    RaftReport,
    ReadCluster,
    TransferLeadership,
)
from collectionstore_node.service.operations import (
    BoundedStaleness,
    Consistency,
    CreateCollection,
    DocumentRef,
    DropCollection,
    List,
    ListCollections,
    ListDocuments,
    ListKeys,
    Operation,
    Precondition,
    Put,
    Read,
    ReadCollection,
    ReadConsistency,
    Transaction,
    Write,
)
from collectionstore_node.service.pending import Pending, wait_for
from collectionstore_node.service.results import (
    CollectionInfo,
    CollectionResult,
    InsertResult,
    Listed,
    ListResult,
    Outcome,
    ReadResult,
)
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.service.turns import Turns, Work
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import Action
from collectionstore_node.statemachine.reads import (
    Page,
    get_document,
    get_key,
    list_collections,
    list_documents,
    list_keys,
)
from collectionstore_node.statemachine.view import View
from collectionstore_telemetry.tracing.active import active

T = TypeVar("T")

_ABSENT: Final = Precondition(exists=False)
_READ_CLUSTER: Final = ReadCluster()
_NO_LEADER: Final = (NotLeader, LeadershipTransferring)
"""Certainly not applied: the next leader may take it."""
_TURN: Final = object()
"""The result of a read that has waited for its turn."""
_READ_STATE: Final = ReadState()


class Store:
    """The store as its clients see it, on any member. Belongs to one event loop.

    Every operation takes `timeout_s`, what is left of the client's deadline. Besides the errors of each method, every
    operation raises `InvalidRequest` if it exceeds a limit, and `NotNow` if this node cannot serve it now.
    """

    __slots__ = ("_inflight", "_replica", "_turns", "limits", "stream_writes", "writes")

    def __init__(self, replica: StoreReplica, limits: StoreLimits, clock: Callable[[], float] = perf_counter) -> None:
        """`clock` is monotonic, in seconds; that of the event loop, which a simulation moves."""
        self.limits = limits
        self._replica = replica
        self._inflight = 0
        self._turns = Turns()
        self.writes = WriteAdmission(clock, writes_max=limits.inflight_writes_max)
        """The writes in flight, and how many there may be."""
        self.stream_writes = WriteAdmission(clock, writes_max=limits.inflight_stream_writes_max)
        """Those of `submit` and `execute`."""

    # Admission

    @property
    def inflight(self) -> int:
        """Number of requests being served."""
        return self._inflight

    @property
    def long_requests(self) -> int:
        """Number of large bodies and pages that take turns on the event loop, or wait for theirs."""
        return self._turns.pending

    def enter(self, *, write: bool = False) -> None:
        """Count a new request. Call `leave` when it ends, unless this raises `Overloaded`.

        With `write`, a write that its bound has no place for is refused here already, before it is read and parsed.
        """
        # A plain number suffices: everything here runs on one event loop, and there is no await in between.
        if self._inflight >= self.limits.inflight_requests_max:
            raise Overloaded(f"{self.limits.inflight_requests_max} requests are being served already")
        if write and (writes := self.writes).inflight >= writes.limit:
            writes.check()
        self._inflight += 1

    def leave(self) -> None:
        """Count the end of a request, with any result."""
        self._inflight -= 1

    def _admit(self, operation: Operation) -> None:
        """Reject an operation that is not allowed. Every operation passes here, and a rejected one has no effect.

        Today that means limits. Authentication, authorization, audit and quotas are applied here when they come: here
        the operation and its target are known, and neither consensus nor state has been touched.
        """
        check_operation(operation, self.limits)

    # Writes

    def write(self, write: Write, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Put or delete one document or raw value; `key` is the client's idempotency key.

        Returns the outcome of the applied command, whatever its code. Raises `OutcomeUnknown` when the command may yet
        be applied. Hands on the awaitable, instead of awaiting it, to save a frame per write; so do the other writes.
        """
        return self._propose(write, key, timeout_s)

    async def insert(self, collection: str, document: bytes, *, key: str | None, timeout_s: float) -> InsertResult:
        """Store a new document under a generated ID. Raises `OutcomeUnknown`."""
        made, put = insertion(collection, document, key)
        return InsertResult(made, await self._propose(put, key, timeout_s))

    def transact(self, transaction: Transaction, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Compare, then run one of two branches at one revision. Raises `OutcomeUnknown`."""
        return self._propose(transaction, key, timeout_s)

    def create_collection(self, name: str, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Create a collection; one that exists is the outcome COLLECTION_EXISTS. Raises `OutcomeUnknown`."""
        return self._propose(CreateCollection(name), key, timeout_s)

    def drop_collection(self, name: str, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Drop a collection with all its documents. Raises `OutcomeUnknown`."""
        return self._propose(DropCollection(name), key, timeout_s)

    def submit(
        self,
        action: Action,
        decided: Callable[[asyncio.Future[Outcome]], None],
        *,
        key: str | None,
        timeout_s: float,
        parent: bytes | None = None,
    ) -> None:
        """Begin a write of any kind, without waiting; `parent` is the span it belongs to, if that is sampled.

        Raises what refuses it at once, `Overloaded` among it. Otherwise `decided` is called with a future that is done:
        it has raised as the other writes do, or `NotLeader` or `LeadershipTransferring`: it was certainly not applied,
        and `execute` waits for a leader that takes it.
        """
        self._admit(action)
        writes = self.stream_writes
        entered = writes.enter(timeout_s)
        try:
            outcome = self._replica.submit(command_for(action, key), timeout_s=timeout_s, parent=parent)
        except BaseException:
            writes.abandon()
            raise
        # One callback for both: each costs as much as a tenth of a small write here.
        outcome.add_done_callback(partial(_count_out, writes, entered, decided))

    def execute(self, action: Action, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Make a write that `submit` could not make, and wait for a leader. Raises `OutcomeUnknown` or `Overloaded`."""
        return self._propose(action, key, timeout_s, self.stream_writes)

    # Reads

    async def read(self, target: Read, *, consistency: ReadConsistency, timeout_s: float) -> ReadResult:
        """Read one document or raw value. Raises `InvalidRequest("collection_not_found")`."""
        self._admit(target)
        await self.confirm(consistency, timeout_s=timeout_s)
        if self._turns.reads_wait:
            # One barrier confirms many reads at once, and a thousand large values would hold the loop for a second.
            await self._turns.read_turn()
        return self._read_now(target)

    def read_at_once(self, target: Read) -> ReadResult:
        """Read what this node has applied. Raises `InvalidRequest("collection_not_found")`.

        As current as `confirm` has confirmed. Call it only in a turn of the loop that has room: see `read_turn`.
        """
        self._admit(target)
        return self._read_now(target)

    async def confirm(self, consistency: ReadConsistency, *, timeout_s: float) -> None:
        """Return when reads that began before the call are as current; one confirmation serves any number of them.

        Raises `NotNow`; nothing was read then.
        """
        if consistency is Consistency.LINEARIZABLE:
            await self._replica.read_barrier(timeout_s=timeout_s)
        else:
            bound_s = consistency.max_s if isinstance(consistency, BoundedStaleness) else None
            await self._replica.stale_barrier(bound_s, timeout_s=timeout_s)

    @property
    def reads_wait(self) -> bool:
        """Whether a single read must wait for its turn: `await read_turn()`."""
        return self._turns.reads_wait

    async def read_turn(self) -> None:
        """Return in a turn of the loop that has room for another read."""
        await self._turns.read_turn()

    async def list_documents(
        self, request: ListDocuments, *, show: Callable[[Listed], T], consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[T]:
        """Return one page of a collection's documents. Raises `InvalidRequest("collection_not_found")`.

        `show` converts each item as it is read, so that reading and rendering a page share its steps.
        """
        return await self._list(
            request,
            lambda view: list_documents(
                view,
                request.collection,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                bytes_max=self.limits.list_bytes_max,
                show=show,
            ),
            consistency,
            timeout_s,
        )

    async def list_keys(
        self, request: ListKeys, *, show: Callable[[Listed], T], consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[T]:
        """Return one page of a bucket's raw values; a bucket that was never used is empty."""
        return await self._list(
            request,
            lambda view: list_keys(
                view,
                request.bucket,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                bytes_max=self.limits.list_bytes_max,
                show=show,
            ),
            consistency,
            timeout_s,
        )

    async def list_collections(
        self,
        request: ListCollections,
        *,
        show: Callable[[CollectionInfo], T],
        consistency: ReadConsistency,
        timeout_s: float,
    ) -> ListResult[T]:
        """Return one page of the catalog."""
        return await self._list(
            request,
            lambda view: list_collections(
                view,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                show=lambda item: show(CollectionInfo(item.name, item.collection.id)),
            ),
            consistency,
            timeout_s,
        )

    async def read_collection(self, name: str, *, consistency: ReadConsistency, timeout_s: float) -> CollectionResult:
        """Read a collection's catalog record."""
        found = find_collection(await self._view(ReadCollection(name), consistency, timeout_s), name)
        info = None if found is None else CollectionInfo(name, found.id)
        return CollectionResult(info, self._replica.revision)

    # In halves, see `Pending`

    def begin_write(self, pending: Pending, write: Write, timeout_s: float) -> None:
        """Begin `write` under `pending.key`. Raises what refuses it at once; call `end_write` otherwise."""
        self._admit(write)
        pending.target = write
        pending.entered = self.writes.enter(timeout_s)
        try:
            self._replica.begin(command_for(write, pending.key), pending, timeout_s=timeout_s)
        except _NO_LEADER as error:
            pending.set_exception(error)
        except BaseException:
            self.writes.abandon()
            raise

    def end_write(self, pending: Pending, timeout_s: float) -> Outcome | None:
        """Return the outcome of a write, None if it waits again. Raises as `write`; `timeout_s` is of its begin."""
        error = pending.error
        if error is None:
            self.writes.leave(pending.entered)
            outcome: Outcome = pending.result
            return outcome
        if isinstance(error, _NO_LEADER) and not pending.again:
            rest_s = max(0.0, timeout_s - (perf_counter() - pending.began))
            command = command_for(pending.target, pending.key)  # type: ignore[arg-type]  # it is what was written
            wait_for(pending, self._replica.propose(command, timeout_s=rest_s))
            return None
        self.writes.abandon()
        raise error

    def begin_read(self, pending: Pending, target: Read, timeout_s: float) -> None:
        """Begin a linearizable read. Raises what refuses it at once; call `end_read` otherwise."""
        self._admit(target)
        pending.target = target
        self._replica.begin_read(pending, timeout_s=timeout_s)

    def end_read(self, pending: Pending, timeout_s: float) -> ReadResult | None:
        """Return what a read found, None if it waits again. Raises as `read`; `timeout_s` is that of its begin."""
        error = pending.error
        if error is not None:
            if isinstance(error, NotLeader) and not pending.again:
                rest_s = max(0.0, timeout_s - (perf_counter() - pending.began))
                wait_for(pending, self._replica.read_barrier(timeout_s=rest_s))
                return None
            raise error
        if not pending.again:
            self._replica.read_confirmed(pending.began)
        if self._turns.reads_wait and pending.result is not _TURN:
            wait_for(pending, self._turn_of_read())
            return None
        return self._read_now(pending.target)  # type: ignore[arg-type]  # it is what is read

    async def _turn_of_read(self) -> object:
        await self._turns.read_turn()
        return _TURN

    # The cluster

    def cluster(self) -> NodeStatus:
        """Return the cluster as this node sees it; only the leader knows replication progress."""
        self._admit(_READ_CLUSTER)
        return self._replica.status()

    async def bootstrap(self, request: Bootstrap) -> NodeStatus:
        """Make this empty node the first voter of a new cluster. Raises `InvalidRequest` if it was ever a member."""
        self._admit(request)
        return await self._replica.bootstrap(epoch=request.epoch)

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        """Change the membership in one step; returns when the new configuration is applied and not joint.

        Raises `InvalidRequest` or `OutcomeUnknown`.
        """
        self._admit(request)
        return await self._replica.change_members(request, timeout_s=timeout_s)

    async def transfer_leadership(self, request: TransferLeadership, *, timeout_s: float) -> NodeStatus:
        """Transfer leadership; returns when another node leads. Raises `InvalidRequest` for a stale epoch."""
        self._admit(request)
        return await self._replica.transfer_leadership(request.to, timeout_s=timeout_s, epoch=request.epoch)

    # Everything, for backups

    async def open_state(self, *, consistency: ReadConsistency, timeout_s: float) -> tuple[ExportedState, StateExport]:
        """Return the whole state as a stream, and what it is of; `close` it. One at a time: raises `Overloaded`.

        Linearizable, it holds everything that was acknowledged before the call.
        """
        await self._view(_READ_STATE, consistency, timeout_s)
        replica = self._replica
        export = await replica.open_state()
        status, header, metadata = replica.status(), export.header, export.metadata
        described = ExportedState(
            cluster_id=status.cluster_id,
            node_id=status.node_id,
            name=status.name,
            version=status.version,
            leader=replica.is_leader,
            index=metadata.index,
            term=metadata.term,
            revision=header.revision,
            feature_level=header.level,
            time_ms=header.time_ms,
            state_digest=header.digest.hex(),
        )
        return described, export

    async def committed_log(self, request: ReadLog, *, timeout_s: float) -> ExportedLog:
        """Return entries that are committed for good, in their order; none when there are none for so long.

        Linearizable: `applied` is not behind what was acknowledged before the call. Raises
        `InvalidRequest("compacted")` when this node has dropped the first of them.
        """
        self._admit(request)
        replica = self._replica
        found = await replica.committed_log(request.after, bytes_max=LOG_BYTES_MAX, timeout_s=timeout_s)
        last = found[-1].index if found else request.after
        return ExportedLog(encode_entries(found), len(found), last, replica.applied_index, replica.revision)

    # State of this node, from memory, for probes, redirects and error responses. These are not operations and not
    # admitted: probes and scrapes must succeed under any load.

    @property
    def revision(self) -> int:
        """Revision of the last command that this node has applied."""
        return self._replica.revision

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self._replica.is_leader

    def staleness_s(self) -> float | None:
        """Return how stale what this node has applied can be at most, in seconds; None if nothing is known of it."""
        return self._replica.staleness_s()

    @property
    def name(self) -> str:
        """Name of this member."""
        return self._replica.name

    def leader(self) -> LeaderStatus | None:
        """Return the leader this node knows, or None."""
        leader = self._replica.leader()
        return None if leader is None else LeaderStatus(show_id(leader.node_id), leader.name, leader.http_address)

    def status(self) -> NodeStatus:
        """Return the node's status."""
        return self._replica.status()

    def inspect(self) -> RaftReport:
        """Return the state of consensus for diagnostics."""
        return self._replica.inspect()

    async def check_ready(self, *, timeout_s: float) -> int:
        """Return the revision once reads work here, on a member without a vote recent ones. Raises `NotNow`."""
        await self._replica.ready_barrier(timeout_s=timeout_s)
        return self._replica.revision

    # Execution

    async def _propose(
        self, action: Action, key: str | None, timeout_s: float, admission: WriteAdmission | None = None
    ) -> Outcome:
        self._admit(action)
        writes = self.writes if admission is None else admission
        entered = writes.enter(timeout_s)
        try:
            outcome = await self._decide(action, key, timeout_s)
        except BaseException:
            writes.abandon()
            raise
        writes.leave(entered)
        return outcome

    async def _decide(self, action: Action, key: str | None, timeout_s: float) -> Outcome:
        outcome = await self._replica.propose(command_for(action, key), timeout_s=timeout_s)
        # When the outcome was known: the rest of the request's span is the response, which this node does not control.
        sampled = active.get()
        if sampled is not None:
            sampled.decided = perf_counter()
        return outcome

    def in_steps(self, kind: Work, steps: Generator[None, None, T], *, timeout_s: float) -> Awaitable[T]:
        """Run long work of a front end between other requests. Raises what it raises, and `Overloaded`."""
        return self._turns.run(kind, steps, timeout_s=timeout_s)

    def _read_now(self, target: Read) -> ReadResult:
        # No await here: value and revision belong to the same state.
        replica = self._replica
        if isinstance(target, DocumentRef):
            stored = get_document(replica.view, target.collection, target.id)
        else:
            stored = get_key(replica.view, target.bucket, target.key)
        if stored is not None:
            self._turns.read(len(stored.value))
        return ReadResult(stored, replica.revision)

    async def _list(
        self,
        request: List,
        read: Callable[[View], Generator[None, None, Page[T]]],
        consistency: ReadConsistency,
        timeout_s: float,
    ) -> ListResult[T]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self._view(request, consistency, timeout_s)
        try:
            return await self._turns.run(Work.LIST, self._page(read), timeout_s=deadline - clock())
        except ManyDeleted as gap:
            # Once: whoever deletes faster than the disk can reclaim gets 503.
            await self._replica.reclaim(gap.lo, gap.hi, timeout_s=deadline - clock())
        return await self._turns.run(Work.LIST, self._page(read), timeout_s=deadline - clock())

    def _page(self, read: Callable[[View], Generator[None, None, Page[T]]]) -> Generator[None, None, ListResult[T]]:
        # Revision and view in the same step, without a yield between: both are of one state. What is applied while the
        # page is read is not in it, as the scan reads a consistent view.
        replica = self._replica
        revision = replica.revision
        page = yield from read(replica.view)
        return ListResult(page.items, page.next_after, revision)

    async def _view(self, operation: Operation, consistency: ReadConsistency, timeout_s: float) -> View:
        """Admit a read and return the state it may see. The caller reads it and the revision without an await."""
        self._admit(operation)
        await self.confirm(consistency, timeout_s=timeout_s)
        return self._replica.view


def _count_out(
    writes: WriteAdmission,
    entered: float,
    decided: Callable[[asyncio.Future[Outcome]], None],
    outcome: asyncio.Future[Outcome],
) -> None:
    """Count out a write whose future is done, and hand it on."""
    if outcome.cancelled() or outcome.exception() is not None:
        writes.abandon()
    else:
        writes.leave(entered)
    decided(outcome)


def insertion(collection: str, document: bytes, key: str | None) -> tuple[str, Put]:
    """Return the generated ID of a new document, and the write that stores it; `key` is its idempotency key."""
    made = str(uuid_utils.uuid7()) if key is None else document_id_for(collection, key)
    # Absent also for a fresh id: an expired key derives the same ID again, and must not overwrite the document that its
    # first request made.
    return made, Put(DocumentRef(collection, made), document, _ABSENT)
