"""`Store`: the operations of the store, each admitted and then executed by the replica.

Admission has two steps, because they must happen at different times:
1. `enter` counts a request in BEFORE its body is read: an overloaded node must not buffer bodies only to reject them;
2. `Door.admit` checks the operation itself, once it is parsed, BEFORE it waits for consensus or reads state.

Writes are counted on their own as well, from their admission to their outcome: `WriteAdmission` bounds them by the time
that they take. Those of pipelined streams (`submit`, `execute`) have another one, as they have places of their own: a
few streams must not take those of all other clients.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

import msgspec
import uuid_utils

from collectionstore_node.access.modes import Mode
from collectionstore_node.errors import InvalidRequest, Overloaded
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.command import Waiter, tell
from collectionstore_node.service.access import Access
from collectionstore_node.service.admission import WriteAdmission
from collectionstore_node.service.backups import Backups
from collectionstore_node.service.commits import Commits
from collectionstore_node.service.configuration import Options
from collectionstore_node.service.consumers import Consumers
from collectionstore_node.service.door import Door
from collectionstore_node.service.halves import Halves
from collectionstore_node.service.idempotency import command_for, derived_key, document_id_for, new_document, stamped
from collectionstore_node.service.imports import Imports
from collectionstore_node.service.indexes import Indexes
from collectionstore_node.service.leases import Leases
from collectionstore_node.service.limits import StoreLimits, check_operation
from collectionstore_node.service.lists import Lists
from collectionstore_node.service.lives import Life
from collectionstore_node.service.locks import Locks
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
    Action,
    AnyWrite,
    Consistency,
    CreateCollection,
    DropCollection,
    Ids,
    Insert,
    Operation,
    Put,
    Read,
    ReadCollection,
    ReadConsistency,
    ReadPoint,
    Touch,
    Transaction,
    pinned_revision,
)
from collectionstore_node.service.past import Past
from collectionstore_node.service.policies import AppliedPolicy
from collectionstore_node.service.queries import Queries
from collectionstore_node.service.refusals import Refusals
from collectionstore_node.service.results import (
    Code,
    CollectionInfo,
    CollectionResult,
    InsertResult,
    Outcome,
    ReadResult,
    inserted_id,
)
from collectionstore_node.service.seeing import Unseen
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.service.tickets import Tickets
from collectionstore_node.service.turns import Work
from collectionstore_node.service.updates import Updates
from collectionstore_node.service.validation import Validation
from collectionstore_node.service.watches import Watches
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import Command, level_needed
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.options import read_options
from collectionstore_node.statemachine.tokens import read_token_key
from collectionstore_node.statemachine.usage import read_usage
from collectionstore_telemetry.tracing.active import active

T = TypeVar("T")

_READ_CLUSTER: Final = ReadCluster()


class Store:
    """The store as its clients see it, on any member. Belongs to one event loop.

    Every operation takes `timeout_s`, what is left of the client's deadline. Besides the errors of each method, every
    operation raises `InvalidRequest` if it exceeds a limit, and `NotNow` if this node cannot serve it now.
    """

    __slots__ = (
        "_door",
        "_inflight",
        "_past",
        "_replica",
        "_turns",
        "access",
        "backups",
        "commits",
        "consumers",
        "halves",
        "imports",
        "indexes",
        "leases",
        "limits",
        "lists",
        "locks",
        "options",
        "queries",
        "stream_writes",
        "tickets",
        "updates",
        "validation",
        "watches",
        "writes",
    )

    def __init__(
        self,
        replica: StoreReplica,
        limits: StoreLimits,
        clock: Callable[[], float] = perf_counter,
        check: Callable[[Operation, StoreLimits], None] = check_operation,
        access: Mode = Mode.DISABLED,
    ) -> None:
        """`clock` is monotonic, in seconds; that of the event loop, which a simulation moves. `check`: see `Door`.

        `access` is the mode of access control until it is configured.
        """
        policies = AppliedPolicy(replica, access)
        self._door = door = Door(replica, limits, clock, check, policies)
        self.limits = limits
        self._replica = replica
        self._inflight = 0
        self._turns = door.turns
        self.writes = door.writes
        """The writes in flight, and how many there may be."""
        self.stream_writes = door.stream_writes
        """Those of `submit` and `execute`."""
        self.access = Access(door, self._propose, policies)
        self.queries = Queries(door)
        self._past = Past(door, self.queries.thread)
        self.lists = Lists(door, self._past)
        self.halves = Halves(door, self.queries.thread)
        """Single reads and writes, for callers that await nothing."""
        self.backups = Backups(door)
        self.indexes = Indexes(door, self._propose)
        self.leases = Leases(door, self._propose)
        self.locks = Locks(door, self._propose)
        self.options = Options(door, self.queries, self._propose)
        self.validation = Validation(door, self.queries)
        self.watches = Watches(door)
        self.consumers = Consumers(door, self._propose)
        self.updates = Updates(self.queries, self._propose, writes_max=limits.inflight_writes_max)
        self.imports = Imports(self.queries, self._propose)
        self.tickets = Tickets(door)
        """Writes that are answered before their outcome is known, and what has become of them."""
        self.commits = Commits(door, self.queries, self._propose)
        """Transactions with queries, and the ends of interactive ones."""

    def for_streams(self) -> Store:
        """Return the same store, whose writes are counted among those of streams."""
        other = copy.copy(self)
        other.writes = self.stream_writes
        other.updates = self.updates.through(other._propose)
        return other

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

    # Writes

    def write(self, write: AnyWrite, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Put, update or delete one document or raw value; `key` is the client's idempotency key.

        Returns the outcome of the applied command, whatever its code. Raises `OutcomeUnknown` when the command may yet
        be applied. Hands on the awaitable, instead of awaiting it, to save a frame per write; so do the other writes.
        """
        return self._propose(write, key, timeout_s)

    async def insert(
        self, collection: str, document: bytes, *, key: str | None, timeout_s: float, life: Life | None = None
    ) -> InsertResult:
        """Store a new document under a generated ID, for its `life` if that is given. Raises `OutcomeUnknown`."""
        made, action = self.insertion(collection, document, key)
        outcome = await self._propose(action if life is None else life.of_new(action), key, timeout_s)
        numbered = isinstance(action, Insert) and outcome.code is Code.OK
        return InsertResult(inserted_id(outcome) if numbered else made, outcome)

    def touch(self, touch: Touch, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Change until when a document or raw value is there, and nothing else. Raises `OutcomeUnknown`."""
        return self._propose(touch, key, timeout_s)

    def insertion(self, collection: str, document: bytes, key: str | None) -> tuple[str, Put | Insert]:
        """Return the ID of a new document, empty for one of a sequence, and the write that stores it.

        `key` is its idempotency key. Raises `InvalidRequest("id_not_allowed")` if clients make the IDs of the
        collection. What this member knows of its options may be old: the write is checked again where it is applied.
        """
        made = str(uuid_utils.uuid7()) if key is None else document_id_for(collection, self._door.key(key) or "")
        put = new_document(collection, made, document)
        self._door.admit(put)
        ids = self.options.ids_of(collection)
        if ids is Ids.CLIENT:
            raise InvalidRequest("id_not_allowed", "the collection takes no document without an ID: name it, with PUT")
        return ("", Insert(collection, document)) if ids is Ids.SEQUENCE else (made, put)

    async def renumbered(
        self, collection: str, document: bytes, refused: Outcome, *, key: str | None, timeout_s: float
    ) -> Outcome:
        """Store a document again whose generated ID was refused: this member did not know of the sequence yet.

        Returns `refused` if the collection has none. A repeated request comes here again, by any member, and gets the
        same number. Raises `OutcomeUnknown`.
        """
        began = perf_counter()
        await self._door.confirm(ReadPoint(Consistency.STALE, refused.revision), timeout_s)
        _, action = self.insertion(collection, document, key)
        if not isinstance(action, Insert):
            return refused
        again = None if key is None else derived_key(key, 1)
        return await self._propose(action, again, max(0.001, timeout_s - (perf_counter() - began)))

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
        waiter: Waiter[Outcome],
        *,
        key: str | None,
        timeout_s: float,
        parent: bytes | None = None,
    ) -> float:
        """Begin a write of any kind, without waiting; `parent` is the span it belongs to, if that is sampled.

        Raises what refuses it at once, `Overloaded` among it. Otherwise `waiter` is told, later, the outcome or what
        the other writes raise, or `NotLeader` or `LeadershipTransferring`: it was certainly not applied, and `execute`
        waits for a leader that takes it. In all of these cases call `count_out` then, once, with what this returns.
        """
        self._door.admit(action)
        writes = self.stream_writes
        entered = writes.enter(timeout_s)
        try:
            command = self._command(action, key)
            if parent is None:
                # Without a future: its callback and its turn of the loop cost as much as a tenth of a small write.
                self._replica.begin(command, waiter, timeout_s=timeout_s)
            else:
                tell(waiter, self._replica.submit(command, timeout_s=timeout_s, parent=parent))
        except BaseException:
            writes.abandon()
            raise
        return entered

    @property
    def refusals(self) -> Refusals:
        """What was refused for rights."""
        return self._door.refusals

    @property
    def asks(self) -> bool:
        """Whether access control asks who calls: then results are to be shown by `answered`, as their caller."""
        return self._door.access.enabled

    def answered(self, action: Action, outcome: Outcome) -> Outcome | None:
        """Return the outcome of a write that was begun by `submit` as its caller may see it.

        None if it was not applied because rights have changed since: `execute` asks again.
        """
        return None if outcome.code is Code.ACCESS_CHANGED else self._door.answered(action, outcome)

    def count_out(self, entered: float, *, decided: bool) -> None:
        """Count out a write that `submit` counted in at `entered`; `decided` if there is an outcome, whichever."""
        if decided:
            self.stream_writes.leave(entered)
        else:
            self.stream_writes.abandon()

    def execute(self, action: Action, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Make a write that `submit` could not make, and wait for a leader. Raises `OutcomeUnknown` or `Overloaded`."""
        return self._propose(action, key, timeout_s, self.stream_writes)

    # Reads

    async def read(self, target: Read, *, consistency: ReadConsistency, timeout_s: float) -> ReadResult:
        """Read one document or raw value. Raises `InvalidRequest("collection_not_found")`."""
        self._door.admit(target)
        revision = pinned_revision(consistency)
        if revision is not None:
            return await self._past.read(target, consistency, revision, timeout_s=timeout_s)
        await self.confirm(consistency, timeout_s=timeout_s)
        if self._turns.reads_wait:
            # One barrier confirms many reads at once, and a thousand large values would hold the loop for a second.
            await self._turns.read_turn()
        found = self._door.read_now(target)
        return found if isinstance(found, ReadResult) else await self.seen(found, timeout_s=timeout_s)

    async def seen(self, found: Unseen, *, timeout_s: float) -> ReadResult:
        """Return what `read_at_once` has found and not shown, from the thread of queries."""
        return await self.queries.checked(found.seen, timeout_s=timeout_s)

    def read_at_once(self, target: Read) -> ReadResult | Unseen:
        """Read what this node has applied. Raises `InvalidRequest("collection_not_found")`.

        A large document that is to be shown in part comes back unseen: see `seen`. As current as `confirm` has
        confirmed. Call it only in a turn of the loop that has room: see `read_turn`.
        """
        self._door.admit(target)
        return self._door.read_now(target)

    async def confirm(self, consistency: ReadConsistency, *, timeout_s: float) -> None:
        """Return when reads that began before the call are as current; one confirmation serves any number of them.

        Raises `NotNow`; nothing was read then.
        """
        await self._door.confirm(consistency, timeout_s)

    @property
    def reads_wait(self) -> bool:
        """Whether a single read must wait for its turn: `await read_turn()`."""
        return self._turns.reads_wait

    async def read_turn(self) -> None:
        """Return in a turn of the loop that has room for another read."""
        await self._turns.read_turn()

    async def read_collection(self, name: str, *, consistency: ReadConsistency, timeout_s: float) -> CollectionResult:
        """Read a collection's catalog record, and its options."""
        view = await self._door.view(ReadCollection(name), consistency, timeout_s)
        found = find_collection(view, name)
        if found is None:
            return CollectionResult(None, self._replica.revision)
        # Options name fields, and what may be in them: they are for those who see all of them.
        shown = found.configured and self._door.view_of(name) is None
        configured = read_options(view, found.id) if shown else None
        usage = read_usage(view, found.id) if configured is not None and configured.options.metered else None
        return CollectionResult(CollectionInfo(name, found.id, configured, usage), self._replica.revision)

    def soon(self, callback: Callable[[], None]) -> None:
        """Run `callback`, which raises nothing, once all results were told that are known now."""
        self._replica.soon(callback)

    # The cluster

    def cluster(self) -> NodeStatus:
        """Return the cluster as this node sees it; only the leader knows replication progress."""
        self._door.admit(_READ_CLUSTER)
        return self._replica.status()

    async def bootstrap(self, request: Bootstrap) -> NodeStatus:
        """Make this empty node the first voter of a new cluster. Raises `InvalidRequest` if it was ever a member."""
        self._door.admit(request)
        return await self._replica.bootstrap(epoch=request.epoch)

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        """Change the membership in one step; returns when the new configuration is applied and not joint.

        Raises `InvalidRequest` or `OutcomeUnknown`.
        """
        self._door.admit(request)
        return await self._replica.change_members(request, timeout_s=timeout_s)

    async def transfer_leadership(self, request: TransferLeadership, *, timeout_s: float) -> NodeStatus:
        """Transfer leadership; returns when another node leads. Raises `InvalidRequest` for a stale epoch."""
        self._door.admit(request)
        return await self._replica.transfer_leadership(request.to, timeout_s=timeout_s, epoch=request.epoch)

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

    def observe_applied(self, observer: Callable[[int, int], None]) -> Callable[[], None]:
        """Call `observer` with revision and replicated time (ms) whenever entries were applied here.

        It raises nothing, and takes no time; what this returns ends it.
        """
        return self._replica.observe_applied(observer)

    def token_key(self) -> bytes:
        """Return the key that signs what clients hand back: the same on all members of this cluster."""
        return read_token_key(self._replica.view, self._replica.cluster_id)

    @property
    def pins(self) -> bool:
        """Whether pages can go on at the revision of the first one: the cluster has the feature level for it."""
        return read_header(self._replica.view).level >= CHANGES

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

    def wall_ms(self) -> int:
        """Return the time of day of this node, in milliseconds since 1970 UTC."""
        return self._replica.wall_ms()

    def status(self) -> NodeStatus:
        """Return the node's status."""
        return msgspec.structs.replace(self._replica.status(), watches=self.watches.status())

    def inspect(self) -> RaftReport:
        """Return the state of consensus for diagnostics."""
        return self._replica.inspect()

    async def check_ready(self, *, timeout_s: float) -> int:
        """Return the revision once reads work here, on a member without a vote recent ones. Raises `NotNow`."""
        await self._replica.ready_barrier(timeout_s=timeout_s)
        return self._replica.revision

    # Execution

    def _command(self, action: Action, key: str | None, request: bytes | None = None) -> Command:
        door = self._door
        command = command_for(action, door.key(key), request)
        if level_needed(action) >= ENGINE:
            command = stamped(command, time_ms=self._replica.wall_ms(), bytes_max=self.limits.document_bytes_max)
        return door.command(command)

    async def _propose(
        self,
        action: Action,
        key: str | None,
        timeout_s: float,
        admission: WriteAdmission | None = None,
        *,
        request: bytes | None = None,
    ) -> Outcome:
        door = self._door
        door.admit(action)
        writes = self.writes if admission is None else admission
        entered = writes.enter(timeout_s)
        try:
            outcome = await self._decide(action, key, request, timeout_s)
        except BaseException:
            writes.abandon()
            raise
        writes.leave(entered)
        return outcome if not door.access.enabled else door.answered(action, outcome)

    async def _decide(self, action: Action, key: str | None, request: bytes | None, timeout_s: float) -> Outcome:
        outcome = await self._replica.propose(self._command(action, key, request), timeout_s=timeout_s)
        if outcome.code is Code.ACCESS_CHANGED:
            made = partial(self._command, action, key, request)
            outcome = await self._door.proposed_again(action, made, outcome, timeout_s)
        # When the outcome was known: the rest of the request's span is the response, which this node does not control.
        sampled = active.get()
        if sampled is not None:
            sampled.decided = perf_counter()
        return outcome

    def in_steps(self, kind: Work, steps: Generator[None, None, T], *, timeout_s: float) -> Awaitable[T]:
        """Run long work of a front end between other requests. Raises what it raises, and `Overloaded`."""
        return self._turns.run(kind, steps, timeout_s=timeout_s)
