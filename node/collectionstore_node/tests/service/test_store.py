"""The operations of the store: what they return, how current reads are, and what a repeated request does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collectionstore_node.errors import InvalidRequest, ManyDeleted, NotLeader, OutcomeUnknown
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.service import Consistency, Store
from collectionstore_node.service.idempotency import document_id_for
from collectionstore_node.service.membership import Bootstrap, MemberChange, MembersRequest, TransferLeadership
from collectionstore_node.service.operations import (
    CompareField,
    CompareOperator,
    Delete,
    DocumentRef,
    Get,
    Guard,
    KeyRef,
    ListCollections,
    ListDocuments,
    ListKeys,
    Put,
    Transaction,
)
from collectionstore_node.service.results import Code, CollectionInfo
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.service.conftest import as_is
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_telemetry.tracing.active import CARRIED_BYTES, ActiveSpan, active

NEW, STALE = Consistency.LINEARIZABLE, Consistency.STALE
ADA, KEY = DocumentRef("people", "ada"), KeyRef("b", "k")


@pytest.fixture
async def people(store: Store) -> Store:
    await store.create_collection("people", key=None, timeout_s=1)
    return store


async def test_a_document_is_read_with_the_revision_of_the_store(people: Store) -> None:
    await people.write(Put(ADA, b'{"a":1}'), key=None, timeout_s=1)
    await people.write(Put(KEY, b"later"), key=None, timeout_s=1)

    found = await people.read(ADA, consistency=NEW, timeout_s=1)

    assert found.stored is not None
    assert (found.stored.value, found.stored.revision, found.revision) == (b'{"a":1}', 2, 3)


async def test_what_is_absent_is_none_and_a_missing_collection_is_an_error(people: Store) -> None:
    assert (await people.read(ADA, consistency=NEW, timeout_s=1)).stored is None
    assert (await people.read(KEY, consistency=NEW, timeout_s=1)).stored is None
    with pytest.raises(InvalidRequest) as refused:
        await people.read(DocumentRef("nowhere", "ada"), consistency=NEW, timeout_s=1)
    assert refused.value.code == "collection_not_found"


async def test_only_a_linearizable_read_waits_for_the_barrier(people: Store, replica: MemoryReplica) -> None:
    lists = ListCollections("", None, 1), ListDocuments("people", "", None, 1), ListKeys("b", "", None, 1)
    for consistency, barriers in ((STALE, 0), (NEW, 6)):
        replica.barriers = 0
        await people.read(ADA, consistency=consistency, timeout_s=1)
        await people.read(KEY, consistency=consistency, timeout_s=1)
        await people.read_collection("people", consistency=consistency, timeout_s=1)
        await people.lists.collections(lists[0], show=as_is, consistency=consistency, timeout_s=1)
        await people.lists.documents(lists[1], show=as_is, consistency=consistency, timeout_s=1)
        await people.lists.keys(lists[2], show=as_is, consistency=consistency, timeout_s=1)
        assert replica.barriers == barriers


async def test_a_stale_read_works_without_a_leader_and_a_linearizable_one_does_not(
    people: Store, replica: MemoryReplica
) -> None:
    replica.known_leader = None

    assert (await people.read(KEY, consistency=STALE, timeout_s=1)).revision == 1
    with pytest.raises(NotLeader):
        await people.read(KEY, consistency=NEW, timeout_s=1)


async def test_the_deadline_reaches_the_replica(people: Store, replica: MemoryReplica) -> None:
    replica.timeouts_s.clear()

    await people.write(Put(KEY, b"1"), key=None, timeout_s=0.25)
    await people.read(KEY, consistency=NEW, timeout_s=0.5)
    await people.change_members(MembersRequest((MemberChange("remove", NodeId(1)),)), timeout_s=0.75)

    assert replica.timeouts_s == [0.25, 0.5, 0.75]


async def test_a_write_that_may_be_applied_is_unknown(people: Store, replica: MemoryReplica) -> None:
    replica.write_error = OutcomeUnknown("not committed within the deadline")

    with pytest.raises(OutcomeUnknown):
        await people.write(Put(KEY, b"1"), key=None, timeout_s=1)


async def test_a_repeated_write_is_replayed_and_another_request_with_its_key_is_refused(people: Store) -> None:
    first = await people.write(Put(KEY, b"1"), key="once", timeout_s=1)
    again = await people.write(Put(KEY, b"1"), key="once", timeout_s=1)
    other = await people.write(Put(KEY, b"2"), key="once", timeout_s=1)

    assert (first.code, first.replayed) == (Code.OK, False)
    assert (again.code, again.replayed, again.revision) == (Code.OK, True, first.revision)
    assert other.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_an_insert_with_a_key_chooses_the_same_id_again_and_one_without_a_new_one(people: Store) -> None:
    first = await people.insert("people", b"{}", key="once", timeout_s=1)
    again = await people.insert("people", b"{}", key="once", timeout_s=1)
    fresh = {(await people.insert("people", b"{}", key=None, timeout_s=1)).id for _ in range(2)}

    assert again.id == first.id
    assert again.outcome.replayed
    assert len(fresh | {first.id}) == 3
    stored = (await people.read(DocumentRef("people", first.id), consistency=NEW, timeout_s=1)).stored
    assert stored is not None
    assert stored.revision == first.outcome.revision


async def test_an_insert_never_overwrites(people: Store) -> None:
    """A key whose outcome was forgotten derives the id of the document that its first request made."""
    there = DocumentRef("people", document_id_for("people", "forgotten"))
    await people.write(Put(there, b'{"n":1}'), key=None, timeout_s=1)

    late = await people.insert("people", b'{"n":2}', key="forgotten", timeout_s=1)

    assert (late.id, late.outcome.code) == (there.id, Code.PRECONDITION_FAILED)
    stored = (await people.read(there, consistency=NEW, timeout_s=1)).stored
    assert stored is not None
    assert stored.value == b'{"n":1}'


async def test_pages_of_keys_follow_each_other(store: Store) -> None:
    for name in ("a1", "a2", "a3", "b1"):
        await store.write(Put(KeyRef("b", name), b"1"), key=None, timeout_s=1)

    first = await store.lists.keys(ListKeys("b", "a", None, 2), show=as_is, consistency=NEW, timeout_s=1)
    second = await store.lists.keys(ListKeys("b", "a", first.next_after, 2), show=as_is, consistency=NEW, timeout_s=1)

    assert ([item.id for item in first.items], first.next_after, first.revision) == (["a1", "a2"], "a2", 4)
    assert ([item.id for item in second.items], second.next_after) == (["a3"], None)


async def test_collections_are_created_listed_read_and_dropped(store: Store) -> None:
    created = await store.create_collection("people", key=None, timeout_s=1)
    exists = await store.create_collection("people", key=None, timeout_s=1)
    page = await store.lists.collections(ListCollections("", None, 5), show=as_is, consistency=NEW, timeout_s=1)
    found = await store.read_collection("people", consistency=NEW, timeout_s=1)
    dropped = await store.drop_collection("people", key=None, timeout_s=1)
    gone = await store.read_collection("people", consistency=NEW, timeout_s=1)

    assert (created.code, exists.code, dropped.code) == (Code.OK, Code.COLLECTION_EXISTS, Code.OK)
    assert page.items == (CollectionInfo("people", created.revision),)
    assert (found.collection, found.revision) == (CollectionInfo("people", created.revision), exists.revision)
    assert (gone.collection, gone.revision) == (None, dropped.revision)


async def test_a_transaction_runs_one_branch_at_one_revision(people: Store) -> None:
    absent = Guard(ADA, CompareField.EXISTS, CompareOperator.EQUAL, 0)
    transaction = Transaction(compare=(absent,), then=(Put(ADA, b"{}"), Get(ADA)), otherwise=(Delete(ADA),))

    then = await people.transact(transaction, key=None, timeout_s=1)
    otherwise = await people.transact(transaction, key=None, timeout_s=1)

    assert (then.succeeded, [item.revision for item in then.items]) == (True, [then.revision] * 2)
    assert (otherwise.succeeded, len(otherwise.items)) == (False, 1)
    assert (await people.read(ADA, consistency=NEW, timeout_s=1)).stored is None


async def test_membership_requests_reach_the_replica_as_they_are(store: Store, replica: MemoryReplica) -> None:
    request = MembersRequest((MemberChange("promote", NodeId(2)),), epoch=4)

    await store.bootstrap(Bootstrap(3))
    changed = await store.change_members(request, timeout_s=1)
    await store.transfer_leadership(TransferLeadership(NodeId(2), 5), timeout_s=1)

    assert replica.members_requests == [request]
    assert (replica.transfers, replica.epochs) == ([2], [3, 5])
    assert changed == store.cluster()


async def test_a_sampled_write_notes_when_its_outcome_came(people: Store) -> None:
    """The span of the answer begins there."""
    sampled = ActiveSpan(bytes(CARRIED_BYTES))
    token = active.set(sampled)
    try:
        await people.write(Put(KEY, b"1"), key=None, timeout_s=1)
    finally:
        active.reset(token)

    assert sampled.decided is not None


class Sparse(MemoryView):
    """A view that meets deleted keys in its first `times` scans of a bucket."""

    def __init__(self, view: MemoryView, times: int) -> None:
        super().__init__()
        self._view = view
        self._times = times

    def get(self, key: bytes) -> bytes | None:
        return self._view.get(key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._times > 0:
            self._times -= 1
            raise ManyDeleted(lo=lo, hi=hi)
        return self._view.scan(lo, hi)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_list_over_deleted_keys_has_them_reclaimed_once(
    store: Store, replica: MemoryReplica, times: int
) -> None:
    await store.write(Put(KeyRef("b", "k"), b"v"), key=None, timeout_s=1)
    replica.view = Sparse(replica.view, times)
    listing = store.lists.keys(ListKeys("b", "", None, 2), show=as_is, consistency=NEW, timeout_s=1)
    if times == 1:
        assert [item.id for item in (await listing).items] == ["k"]
    else:
        with pytest.raises(ManyDeleted):
            await listing
    assert len(replica.reclaimed) == 1
