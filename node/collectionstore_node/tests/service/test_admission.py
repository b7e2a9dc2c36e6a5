"""Nothing reaches the replica that was not admitted, and requests in flight are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, cast

import pytest

from collectionstore_node.changes import Scope, Selection
from collectionstore_node.errors import Overloaded
from collectionstore_node.indexes.definition import Definition, IndexField
from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.service import Consistency, Store, StoreLimits, StoreReplica
from collectionstore_node.service.access import Access
from collectionstore_node.service.access_requests import (
    ListRoles,
    ListTokens,
    ListUsers,
    PutUser,
    ReadAccess,
    ReadRole,
    ReadToken,
    ReadUser,
)
from collectionstore_node.service.backups import Backups
from collectionstore_node.service.commits import Commits
from collectionstore_node.service.configuration import Options
from collectionstore_node.service.consumers import Consumers
from collectionstore_node.service.exports import ReadLog, ReadState
from collectionstore_node.service.halves import Halves
from collectionstore_node.service.indexes import Indexes
from collectionstore_node.service.leases import Leases
from collectionstore_node.service.lists import Lists
from collectionstore_node.service.lives import Life
from collectionstore_node.service.locks import Locks
from collectionstore_node.service.membership import (
    Bootstrap,
    MemberChange,
    MembersRequest,
    ReadCluster,
    TransferLeadership,
)
from collectionstore_node.service.operations import (
    ANY,
    DEFAULTS,
    LOCKS,
    Commit,
    CompareOperator,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentQuery,
    DocumentRef,
    DropCollection,
    DropIndex,
    GrantLease,
    GuardedTransaction,
    KeepLease,
    KeyRef,
    ListCollections,
    ListDocuments,
    ListKeys,
    ListLeases,
    Operation,
    Precondition,
    Put,
    PutConsumer,
    QueryGuard,
    ReadCollection,
    ReadConsumers,
    ReadIndexes,
    ReadLease,
    ReadPoint,
    ReadTarget,
    RevokeLease,
    Settle,
    Touch,
    Transaction,
    ValidateDocuments,
    WatchChanges,
)
from collectionstore_node.service.results import Outcome
from collectionstore_node.service.tickets import Ticket, Tickets
from collectionstore_node.service.validation import Validation
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.service.conftest import LIMITS, as_is
from collectionstore_node.tests.service.waiting_call import WaitingCall

KEY = KeyRef("b", "k")
PUT, DELETE, TRANSACTION = Put(KEY, b"1"), Delete(KEY), Transaction(then=(Put(KEY, b"1"),))
DOCUMENT = DocumentRef("people", "ada")
COLLECTIONS, DOCUMENTS, KEYS = (
    ListCollections("", None, 1),
    ListDocuments("people", "", None, 1),
    ListKeys("b", "", None, 1),
)
MEMBERS = MembersRequest((MemberChange("remove", NodeId(1)),))
INDEX = Definition("one", (IndexField("a"),))
VALIDATION = ValidateDocuments("c", None, None, 1, 1)
NEW = Consistency.LINEARIZABLE
CONSUMER = PutConsumer("c", "store", "", b"{}")
WATCH = WatchChanges(Selection(Scope("collection", "people")))
COMMIT = Commit((ReadTarget(DOCUMENT, 1),))
USERS = ListUsers("", None, 5)
ROLES = ListRoles("", None, 5)
TOKENS = ListTokens(None, None, 5)
GUARDED = GuardedTransaction(TRANSACTION, (QueryGuard(DocumentQuery("people", b"{}"), CompareOperator.EQUAL, 0),))
TICKET = Ticket(1, "k", bytes(32), 0, 0)
PAST = ReadPoint(at_revision=3)


async def _cluster(store: Store) -> object:
    return store.cluster()


async def _read_at_once(store: Store) -> object:
    return store.read_at_once(KEY)


async def _submit(store: Store) -> object:
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    counted = store.submit(TRANSACTION, outcome, key="k1", timeout_s=1)
    try:
        return await outcome
    finally:
        store.count_out(counted, decided=outcome.exception() is None)


async def _insertion(store: Store) -> object:
    return store.insertion("people", b"{}", None)


async def _begin_write(store: Store) -> None:
    store.halves.begin_write(WaitingCall(), PUT, 1.0)


async def _queue(store: Store) -> object:
    return store.tickets.queue(PUT, key=None, timeout_s=1, told=lambda _: None, request=None)


async def _begin_read(store: Store) -> None:
    store.halves.begin_read(WaitingCall(), DOCUMENT, 1.0)


async def _begin_stale_read(store: Store) -> None:
    store.halves.begin_stale_read(WaitingCall(), DOCUMENT, 1.0)


LIFE = Life(5_000)
TOUCH = LIFE.touch(KEY, ANY)
LOCK = Put(KeyRef(LOCKS, "job"), b'{"owner":"me"}', Precondition(exists=False), "application/json")


async def _acquire(store: Store, wait_s: float) -> object:
    return await store.locks.acquire("job", "me", LIFE, wait_s=wait_s, key=None, timeout_s=1)


OPERATIONS: list[tuple[str, Operation | None, Callable[[Store], Awaitable[object]]]] = [
    ("write", PUT, lambda store: store.write(PUT, key=None, timeout_s=1)),
    ("write", DELETE, lambda store: store.write(DELETE, key="k1", timeout_s=1)),
    ("insert", None, lambda store: store.insert("people", b"{}", key=None, timeout_s=1)),  # its id is random
    ("transact", TRANSACTION, lambda store: store.transact(TRANSACTION, key=None, timeout_s=1)),
    ("submit", TRANSACTION, _submit),
    ("execute", DELETE, lambda store: store.execute(DELETE, key=None, timeout_s=1)),
    ("create_collection", CreateCollection("c"), lambda store: store.create_collection("c", key=None, timeout_s=1)),
    ("drop_collection", DropCollection("c"), lambda store: store.drop_collection("c", key=None, timeout_s=1)),
    ("read", DOCUMENT, lambda store: store.read(DOCUMENT, consistency=NEW, timeout_s=1)),
    ("read", KEY, lambda store: store.read(KEY, consistency=PAST, timeout_s=1)),
    ("read_at_once", KEY, _read_at_once),
    ("begin_write", PUT, _begin_write),
    ("begin_read", DOCUMENT, _begin_read),
    ("begin_stale_read", DOCUMENT, _begin_stale_read),
    ("read", KEY, lambda store: store.read(KEY, consistency=Consistency.STALE, timeout_s=1)),
    ("read_collection", ReadCollection("c"), lambda store: store.read_collection("c", consistency=NEW, timeout_s=1)),
    (
        "collections",
        COLLECTIONS,
        lambda store: store.lists.collections(COLLECTIONS, show=as_is, consistency=NEW, timeout_s=1),
    ),
    (
        "documents",
        DOCUMENTS,
        lambda store: store.lists.documents(DOCUMENTS, show=as_is, consistency=NEW, timeout_s=1),
    ),
    ("keys", KEYS, lambda store: store.lists.keys(KEYS, show=as_is, consistency=PAST, timeout_s=1)),
    ("keys", KEYS, lambda store: store.lists.keys(KEYS, show=as_is, consistency=Consistency.STALE, timeout_s=1)),
    (
        "create",
        CreateIndex("c", INDEX),
        lambda store: store.indexes.create("c", INDEX, key=None, timeout_s=1),
    ),
    ("drop", DropIndex("c", "one"), lambda store: store.indexes.drop("c", "one", key=None, timeout_s=1)),
    (
        "read",
        ReadIndexes("c"),
        lambda store: store.indexes.read(ReadIndexes("c"), consistency=NEW, timeout_s=1),
    ),
    (
        "create",
        ConfigureCollection("c", DEFAULTS, create=True),
        lambda store: store.options.create("c", DEFAULTS, key=None, timeout_s=1),
    ),
    (
        "patch",
        ReadCollection("c"),
        lambda store: store.options.patch("c", {}, expected=0, key=None, timeout_s=1),
    ),
    ("check", VALIDATION, lambda store: store.validation.check(VALIDATION, consistency=NEW, timeout_s=1)),
    ("insertion", None, _insertion),
    ("change", CONSUMER, lambda store: store.consumers.change(CONSUMER, key=None, timeout_s=1)),
    (
        "read",
        ReadConsumers("c"),
        lambda store: store.consumers.read(ReadConsumers("c"), consistency=NEW, timeout_s=1),
    ),
    ("change", PutUser("ada", b"{}"), lambda store: store.access.change(PutUser("ada", b"{}"), key=None, timeout_s=1)),
    ("read_user", ReadUser("ada"), lambda store: store.access.read_user("ada", consistency=NEW, timeout_s=1)),
    ("list_users", USERS, lambda store: store.access.list_users(USERS, consistency=NEW, timeout_s=1)),
    ("read_role", ReadRole("r"), lambda store: store.access.read_role("r", consistency=NEW, timeout_s=1)),
    ("list_roles", ROLES, lambda store: store.access.list_roles(ROLES, consistency=NEW, timeout_s=1)),
    ("read_token", ReadToken("0a"), lambda store: store.access.read_token("0a", consistency=NEW, timeout_s=1)),
    ("list_tokens", TOKENS, lambda store: store.access.list_tokens(TOKENS, consistency=NEW, timeout_s=1)),
    ("read_access", ReadAccess(), lambda store: store.access.read_access(consistency=NEW, timeout_s=1)),
    ("touch", TOUCH, lambda store: store.touch(TOUCH, key=None, timeout_s=1)),
    ("grant", GrantLease(5_000), lambda store: store.leases.grant(5_000, key=None, timeout_s=1)),
    ("keep", KeepLease(3), lambda store: store.leases.keep(3, key=None, timeout_s=1)),
    ("revoke", RevokeLease(3), lambda store: store.leases.revoke(3, key=None, timeout_s=1)),
    ("read", ReadLease(3), lambda store: store.leases.read(ReadLease(3), consistency=NEW, timeout_s=1)),
    ("page", ListLeases(0, 5), lambda store: store.leases.page(ListLeases(0, 5), consistency=NEW, timeout_s=1)),
    *(("acquire", LIFE.of(LOCK), lambda store, wait_s=wait_s: _acquire(store, wait_s)) for wait_s in (0.0, 0.5)),
    (
        "release",
        Delete(LOCK.ref, Precondition(revisions=(7,))),
        lambda store: store.locks.release("job", 7, key=None, timeout_s=1),
    ),
    (
        "renew",
        Touch(LOCK.ref, 5_000, 0, Precondition(revisions=(7,))),
        lambda store: store.locks.renew("job", 7, LIFE, key=None, timeout_s=1),
    ),
    ("read", LOCK.ref, lambda store: store.locks.read("job", consistency=NEW, timeout_s=1)),
    ("run", COMMIT, lambda store: store.commits.run(COMMIT, key=None, timeout_s=1)),
    ("planned", GUARDED, lambda store: store.commits.planned(GUARDED, key=None, timeout_s=1)),
    ("queue", PUT, _queue),
    ("early", PUT, lambda store: store.tickets.early(PUT, key=None, timeout_s=1, request=None)),
    ("fate", Settle(0), lambda store: store.tickets.fate(TICKET, settle=False, timeout_s=1)),
    ("cluster", ReadCluster(), _cluster),
    ("open_state", ReadState(), lambda store: store.backups.open_state(consistency=NEW, timeout_s=1)),
    ("committed_log", ReadLog(Index(7)), lambda store: store.backups.committed_log(ReadLog(Index(7)), timeout_s=1)),
    ("bootstrap", Bootstrap(3), lambda store: store.bootstrap(Bootstrap(3))),
    ("change_members", MEMBERS, lambda store: store.change_members(MEMBERS, timeout_s=1)),
    (
        "transfer_leadership",
        TransferLeadership(NodeId(2)),
        lambda store: store.transfer_leadership(TransferLeadership(NodeId(2)), timeout_s=1),
    ),
]
ADMISSION = {"enter", "leave", "inflight", "limits", "in_steps", "long_requests", "writes", "stream_writes"}
"""`in_steps` runs work of the front end, before there is an operation."""
OPTIONS = {"parsed", "ids_of", "violations"}
"""`parsed` checks options, before there is an operation; the others read the options of a collection for one."""
TURNS = {"confirm", "reads_wait", "read_turn", "soon"}
"""What comes between admission and reading, and reads nothing."""
SECOND_HALVES = {"renumbered", "end_write", "end_read", "end_stale_read", "count_out"}
"""Of what `begin_write`, `begin_read` and `submit` have admitted."""
PARTS = {
    "access",
    "backups",
    "commits",
    "consumers",
    "halves",
    "imports",
    "indexes",
    "leases",
    "lists",
    "locks",
    "options",
    "queries",
    "tickets",
    "updates",
    "validation",
    "watches",
}
FACTS = {"revision", "is_leader", "leader", "status", "inspect", "check_ready", "name", "staleness_s", "wall_ms"}
"""What probes read of a node, whatever the load."""
SIGNING = {"token_key", "pins"}
"""What cursors are signed by: nothing that clients have stored."""
COUNTED = {"waiting", "known"}
"""How many requests wait for locks, and who holds one that was refused: that request was admitted."""
CALLER = {"policy", "rights", "mode", "revision", "administers", "whoami", "asked"}
"""Who asks, and what it may do: what decides whether an operation is admitted."""
CREDENTIALS = {"user", "password", "token", "configuration", "note_use", "store_uses"}
"""What authentication looks up, before there is an operation, and the note that a token was used."""
TOLD = {"observe_applied"}
"""Who is told of revisions: numbers, and nothing of what they hold."""


class Refused(Exception):
    """Raised by a door that is shut."""


class ShutStore(Store):
    """A store that admits nothing, and keeps what was asked."""

    def __init__(self, replica: StoreReplica) -> None:
        super().__init__(replica, LIMITS, check=self._refuse)
        self.asked: list[Operation] = []

    def _refuse(self, operation: Operation, limits: StoreLimits) -> None:
        assert limits is LIMITS
        self.asked.append(operation)
        raise Refused


class Untouchable:
    """A replica that must not be reached."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the replica was reached before admission: {name}")


def test_every_public_method_is_an_operation_or_a_fact() -> None:
    """A new method of the store must be added to one of the lists, and so be tested here."""
    public = {
        name
        for part in (
            Store,
            Access,
            Backups,
            Commits,
            Consumers,
            Halves,
            Indexes,
            Leases,
            Lists,
            Locks,
            Options,
            Tickets,
            Validation,
        )
        for name in dir(part)
        if not name.startswith("_")
    }

    others = OPTIONS | ADMISSION | TURNS | SECOND_HALVES | FACTS | SIGNING | COUNTED | TOLD | CALLER | CREDENTIALS
    assert public - PARTS - {"for_streams"} == {name for name, _, _ in OPERATIONS} | others


@pytest.mark.parametrize(
    ("expected", "run"), [pytest.param(operation, run, id=name) for name, operation, run in OPERATIONS]
)
async def test_an_operation_that_is_not_admitted_never_reaches_the_replica(
    expected: Operation | None, run: Callable[[Store], Awaitable[object]]
) -> None:
    store = ShutStore(cast(StoreReplica, Untouchable()))

    with pytest.raises(Refused):
        await run(store)

    (asked,) = store.asked
    assert asked == expected or (expected is None and isinstance(asked, Put))


async def test_a_watch_that_is_not_admitted_never_reaches_the_replica() -> None:
    store = ShutStore(cast(StoreReplica, Untouchable()))

    with pytest.raises(Refused):
        await store.watches.open(WATCH, consistency=NEW, timeout_s=1)

    assert store.asked == [WATCH]
    assert len(store.watches) == 0


def test_requests_in_flight_are_bounded_and_one_that_leaves_makes_room(store: Store) -> None:
    store.enter()
    store.enter()
    with pytest.raises(Overloaded, match="2 requests are being served already"):
        store.enter()
    assert store.inflight == 2

    store.leave()
    store.enter()

    assert store.inflight == 2


async def test_facts_for_probes_are_told_when_no_request_is_let_in(store: Store, replica: MemoryReplica) -> None:
    store.enter()
    store.enter()
    replica.revision = 7

    assert (store.revision, store.is_leader, store.status().revision) == (7, True, 7)
    assert await store.check_ready(timeout_s=1) == 7
    leader = store.leader()
    assert leader is not None
    assert (leader.node_id, leader.name, leader.http_address) == ("00000000000000a1", "shop-0", "127.0.0.1:7400")
    replica.known_leader = None
    assert store.leader() is None
