"""What expires: until when it is there, how it goes, and that nothing else is changed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from collectionstore_node.errors import ManyDeleted
from collectionstore_node.indexes.definition import parse_definition
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    Expire,
    Expiring,
    Get,
    GrantLease,
    Idempotency,
    Insert,
    KeepLease,
    KeyRef,
    Precondition,
    Put,
    RevokeLease,
    Touch,
    Transaction,
    Update,
    UpdateForm,
    encode_batch,
    inserted_id,
)
from collectionstore_node.statemachine.costs import EXPIRE_ITEMS, LEASES_MAX, TTL_MAX_MS, TTL_MIN_MS
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.expiry_queue import is_there, next_deadline_ms, read_summary
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS
from collectionstore_node.statemachine.history import ChangeKind, scan_changes
from collectionstore_node.statemachine.keys import DOCUMENTS, DUE_RECORDS, EXPIRY, LEASES, RAW, prefix_end
from collectionstore_node.statemachine.levels import CHANGES, ENGINE, FIRST
from collectionstore_node.statemachine.options import CollectionOptions, Ids
from collectionstore_node.statemachine.reads import get_document, get_key, pick_documents, scan_documents, scan_keys
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine import indexed
from collectionstore_node.tests.statemachine.expiring import at, check, remove_all, value
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_node.tests.statemachine.pages import list_documents, list_keys

TTL = 5_000
KEY = KeyRef("b", "k")
ABSENT = Precondition(exists=False)


def document(name: str, body: Any = None) -> Put:
    return Put(DocumentRef("c", name), orjson.dumps({} if body is None else body))


def expiring(write: Put | Update, ttl_ms: int = TTL) -> Expiring:
    return Expiring(write, ttl_ms)


def names(view: MemoryView) -> list[str]:
    """Return the documents of `c` by every kind of scan, which must agree."""
    page = list_documents(view, "c", limit=1_000)
    found = [one.id for one in page.items]
    assert found == [listed.id for _, listed in scan_documents(view, "c")]
    assert found == [listed.id for _, listed in pick_documents(view, "c", sorted({*found, "a", "b", "d0"}))]
    assert found == [name for name in found if get_document(view, "c", name) is not None]
    return found


@pytest.fixture
def view(view: MemoryView) -> MemoryView:
    at(view, 0, CreateCollection("c"))
    return view


def test_it_is_there_until_its_time_has_passed_and_never_comes_back(view: MemoryView) -> None:
    at(view, 1_000, expiring(document("a")), document("b"), expiring(value("k")))
    for time_ms in (1_000, 5_999, 6_000):
        at(view, time_ms, value("other"))
        assert names(view) == ["a", "b"]
        assert get_key(view, "b", "k") is not None
    # Any entry of a later time, whatever is in it: hidden at once, on every member, and still stored.
    at(view, 6_001, value("other"))
    assert names(view) == ["b"]
    assert get_key(view, "b", "k") is None
    assert [one.id for one in list_keys(view, "b", limit=9).items] == ["other"]
    check(view)
    at(view, 0, value("other"))  # the time of a new leader that is behind
    assert names(view) == ["b"]
    assert remove_all(view, 6_001) == 1
    assert names(view) == ["b"]
    assert list(view.scan(DOCUMENTS, prefix_end(DOCUMENTS))) == [
        (key, record) for key, record in view.scan(DOCUMENTS, prefix_end(DOCUMENTS)) if key.endswith(b"b")
    ]
    assert read_summary(view).expired == 2
    assert next_deadline_ms(view) is None
    check(view)


def test_what_is_left_is_told_with_the_record(view: MemoryView) -> None:
    at(view, 1_000, expiring(value("k")), GrantLease(9_000))
    at(view, 3_000, Expiring(value("l"), lease=3))
    found, leased = get_key(view, "b", "k"), get_key(view, "b", "l")
    assert found is not None
    assert leased is not None
    assert (found.left_ms, leased.left_ms, leased.expiry.lease) == (3_001, 7_001, 3)
    at(view, 3_000, value("m"))
    plain = get_key(view, "b", "m")
    assert plain is not None
    assert plain.left_ms is None


def test_a_put_without_a_time_lets_it_stay_and_an_update_keeps_it(view: MemoryView) -> None:
    at(view, 0, *(expiring(document(name)) for name in "abcd"))
    at(
        view,
        1,
        document("a"),
        Update(DocumentRef("c", "b"), UpdateForm.OPERATORS, b'{"$set":{"x":1}}'),
        Update(DocumentRef("c", "c"), UpdateForm.REPLACE, b"{}"),
        expiring(Update(DocumentRef("c", "d"), UpdateForm.OPERATORS, b'{"$set":{"x":1}}'), 60_000),
    )
    check(view)
    at(view, TTL + 1, Expire())
    assert names(view) == ["a", "c", "d"]
    remove_all(view, 60_002)
    assert names(view) == ["a", "c"]
    check(view)


def test_an_update_that_changes_nothing_moves_the_deadline_alone(view: MemoryView) -> None:
    (made,) = at(view, 0, expiring(document("a", {"x": 1})))
    update = Update(DocumentRef("c", "a"), UpdateForm.OPERATORS, b'{"$set":{"x":1}}')
    (outcome,) = at(view, 4_000, expiring(update))
    assert outcome.items[0].revision == made.revision
    at(view, 6_000, Expire())
    found = get_document(view, "c", "a")
    assert found is not None
    assert found.revision == made.revision
    # Neither is a change: the history has the insert alone.
    assert [one.kind for one in scan_changes(view, made.revision - 1)] == [ChangeKind.INSERT]


def test_touch_moves_the_deadline_and_nothing_else(view: MemoryView) -> None:
    created = at(view, 0, CreateIndex("c", indexed.defined()), expiring(document("a", {"a": 1})), document("b"))
    indexed.build(view)
    ref, (_, made, _) = DocumentRef("c", "a"), created
    held = Precondition(revisions=(made.revision,))
    outcomes = at(view, 4_000, Touch(ref, TTL, precondition=held), Touch(ref, TTL, precondition=ABSENT))
    assert [one.code for one in outcomes] == [Code.OK, Code.PRECONDITION_FAILED]
    assert outcomes[0].current_revision == made.revision
    check(view)
    indexed.check(view)
    at(view, 8_000, Expire(), Touch(ref))
    at(view, 100_000, Expire())
    assert names(view) == ["a", "b"]
    found = get_document(view, "c", "a")
    assert found is not None
    assert (found.revision, found.value) == (made.revision, b'{"a":1}')
    outcomes = at(view, 100_000, Touch(DocumentRef("c", "x"), TTL), Touch(DocumentRef("z", "x"), TTL))
    assert [one.code for one in outcomes] == [Code.NOT_FOUND, Code.COLLECTION_NOT_FOUND]


def test_writes_do_not_meet_what_has_expired(view: MemoryView) -> None:
    """Each finds the target absent, and the record of an expired one is gone with it."""
    later = TTL + 1
    actions: list[tuple[Action, Code]] = [
        (Put(DocumentRef("c", "0"), b"{}", ABSENT), Code.OK),
        (Put(DocumentRef("c", "1"), b"{}", Precondition(exists=True)), Code.PRECONDITION_FAILED),
        (Delete(DocumentRef("c", "2")), Code.NOT_FOUND),
        (Update(DocumentRef("c", "3"), UpdateForm.OPERATORS, b'{"$set":{"x":2}}'), Code.NOT_FOUND),
        (Update(DocumentRef("c", "4"), UpdateForm.OPERATORS, b'{"$set":{"x":2}}', upsert=True), Code.OK),
        (Touch(DocumentRef("c", "5"), TTL), Code.NOT_FOUND),
        (expiring(Put(DocumentRef("c", "6"), b"{}", ABSENT)), Code.OK),
    ]
    at(view, 0, *(expiring(document(str(number), {"y": 1})) for number in range(9)))
    outcomes = at(view, later, *(action for action, _ in actions))
    assert [one.code for one in outcomes] == [code for _, code in actions]
    assert outcomes[0].created
    assert outcomes[4].created
    found = get_document(view, "c", "4")
    assert found is not None
    assert found.value == b'{"x":2}'
    assert found.created_revision == found.revision
    assert names(view) == ["0", "4", "6"]
    assert read_summary(view).expired == 7
    check(view)


def test_transactions_do_not_meet_what_has_expired(view: MemoryView) -> None:
    at(view, 0, *(expiring(document(name)) for name in "ab"), expiring(value("k")))
    guards = (
        Compare(DocumentRef("c", "a"), CompareField.EXISTS, CompareOperator.EQUAL, 0),
        Compare(KEY, CompareField.REVISION, CompareOperator.EQUAL, 0),
    )
    then = (Get(KEY), Put(DocumentRef("c", "b"), b"{}", ABSENT), expiring(document("a")), Get(DocumentRef("c", "a")))
    (outcome,) = at(view, TTL + 1, Transaction(guards, then))
    assert (outcome.code, outcome.succeeded) == (Code.OK, True)
    assert [one.revision for one in outcome.items] == [0, outcome.revision, outcome.revision, outcome.revision]
    assert outcome.items[3].value == b"{}"
    check(view)
    kinds = [(one.kind, one.position) for one in scan_changes(view, outcome.revision - 1)]
    expired = [(ChangeKind.EXPIRE, number) for number in range(3)]
    assert kinds == [*expired, (ChangeKind.INSERT, 3), (ChangeKind.INSERT, 4)]
    # One that fails changes nothing that can be seen: what had expired stays gone.
    at(view, TTL + 1, expiring(value("m")))
    (outcome,) = at(view, 3 * TTL, Transaction((), (Get(KeyRef("b", "m")), Delete(KEY, Precondition(exists=True)))))
    assert (outcome.code, outcome.failed_operation) == (Code.PRECONDITION_FAILED, 1)
    assert get_key(view, "b", "m") is None
    check(view)


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "building"])
def test_an_expired_document_is_in_the_way_of_no_unique_value(view: MemoryView, *, ready: bool) -> None:
    definition = parse_definition({"name": "u", "fields": {"a": 1}, "unique": True})
    at(view, 0, expiring(document("a", {"a": 1})), document("b", {"a": 2}), expiring(document("c", {"a": 3})))
    at(view, 0, CreateIndex("c", definition), CreateIndex("c", indexed.defined("two", {"a": -1})))
    if ready:
        indexed.build(view)
    outcomes = at(view, TTL + 1, document("x", {"a": 1}), document("y", {"a": 2}))
    assert [one.code for one in outcomes] == [Code.OK, Code.UNIQUE_VIOLATION if ready else Code.OK]
    indexed.build(view)
    indexed.check(view)
    check(view)
    assert indexed.indexes_of(view)[0].state.name == ("READY" if ready else "FAILED")
    (outcome,) = at(view, TTL + 1, Transaction((), (document("b", {"a": 3}), document("z", {"a": 2}))))
    assert outcome.code is Code.OK
    indexed.check(view)
    check(view)


def test_a_build_passes_over_what_has_expired(view: MemoryView) -> None:
    unique = parse_definition({"name": "u", "fields": {"a": 1}, "unique": True})
    at(view, 0, expiring(document("a", {"a": 1})), document("b", {"a": 1}), CreateIndex("c", unique))
    at(view, TTL + 1, value("any"))
    for step in indexed.next_steps(view):
        at(view, TTL + 1, step)
    (index,) = indexed.indexes_of(view)
    assert (index.state.name, index.passed) == ("READY", 2)
    indexed.check(view)
    check(view)
    # And one that it has passed is not in the way of a later one.
    at(view, TTL + 1, CreateIndex("c", parse_definition({"name": "v", "fields": {"b": 1}, "unique": True})))
    documents = [document(f"d{number:03}", {"a": f"x{number}", "b": number}) for number in range(130)]
    at(view, TTL + 1, *documents, expiring(document("d000", {"a": "x", "b": 200})))
    at(view, TTL + 1, document("e", {"a": "y", "b": 200}))
    for time_ms in (TTL + 1, 3 * TTL):
        for step in indexed.next_steps(view):
            at(view, time_ms, step)
    assert [one.state.name for one in indexed.indexes_of(view)] == ["READY", "READY"]
    indexed.check(view)
    check(view)


def test_removal_takes_steps_of_a_bounded_size(view: MemoryView) -> None:
    """All of them are gone with the first entry, though: reads of the state in between show none."""
    count = 3 * EXPIRE_ITEMS + 1
    at(view, 0, *(expiring(document(f"d{number:04}")) for number in range(count)), document("stays"))
    at(view, TTL + 1, Expire())
    assert names(view) == ["stays"]
    assert len(list(view.scan(DOCUMENTS, prefix_end(DOCUMENTS)))) == count + 1 - EXPIRE_ITEMS
    check(view)
    assert remove_all(view, TTL + 1) == 3
    assert names(view) == ["stays"]
    check(view)


def test_large_records_and_many_entries_bound_a_step_too(view: MemoryView) -> None:
    at(view, 0, *(expiring(value(f"k{number}", b"x" * (1 << 20))) for number in range(8)))
    assert remove_all(view, TTL + 1) == 4
    at(view, TTL + 1, CreateIndex("c", indexed.defined()))
    indexed.build(view)
    many = [expiring(document(f"d{number}", {"a": list(range(900))})) for number in range(20)]
    at(view, TTL + 1, *many)
    assert remove_all(view, 3 * TTL) > 3
    indexed.check(view)
    check(view)


def test_the_queue_is_in_order_and_its_head_is_found_behind_what_was_removed(view: MemoryView) -> None:
    for number in (3, 1, 2):
        at(view, 0, expiring(value(f"k{number}"), number * TTL))
    assert next_deadline_ms(view) == TTL + 1
    at(view, TTL + 1, Expire())
    begin = read_summary(view).records_from
    assert begin == next(iter(view.scan(EXPIRY + b"\x01", EXPIRY + b"\x02")))[0]
    # One that comes before the head moves the beginning back.
    at(view, TTL + 1, expiring(value("soon"), TTL_MIN_MS))
    assert next_deadline_ms(view) == TTL + 2 + TTL_MIN_MS
    check(view)


def test_reads_need_not_pass_what_was_renewed(view: MemoryView) -> None:
    """Where nothing can be due nothing is looked for; where that is not known each record tells its own deadline."""

    class Renewed(MemoryView):
        def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
            if lo.startswith(DUE_RECORDS):
                raise ManyDeleted(lo=lo, hi=hi)
            return super().scan(lo, hi)

    at(view, 0, Expiring(value("a"), 2_000), Expiring(value("b"), 60_000))
    hiding = Renewed()
    hiding.values, hiding._order = view.values, view._order
    there = is_there(hiding)
    assert there is not None
    records = [record for _, record in MemoryView.scan(view, RAW, prefix_end(RAW))]
    assert [there(record) for record in records] == [True, True]

    at(view, 2_001, Put(KeyRef("other", "k"), b""))
    assert [one.id for _, one in scan_keys(hiding, "b")] == ["b"]
    at(view, 2_001, Expire())
    assert is_there(hiding) is None


def test_a_dropped_collection_leaves_its_places_until_they_are_due(view: MemoryView) -> None:
    at(view, 0, expiring(document("a")), GrantLease(TTL))
    at(view, 0, Expiring(document("b"), lease=3), DropCollection("c"), CreateCollection("c"), document("a"))
    check(view)
    remove_all(view, TTL + 1)
    assert names(view) == ["a"]
    assert read_summary(view) == type(read_summary(view))(
        read_summary(view).records_from, read_summary(view).leases_from, expired=0
    )
    assert not list(view.scan(LEASES, prefix_end(LEASES)))
    check(view)


def test_history_tells_what_expired(view: MemoryView) -> None:
    (made, _) = at(view, 0, expiring(document("a", {"x": 1})), expiring(value("k")))
    (step,) = at(view, TTL + 1, Expire())
    found = list(scan_changes(view, made.revision + 1))
    assert [(one.kind, one.revision, one.position, one.after) for one in found] == [
        (ChangeKind.EXPIRE, step.revision, 0, None),
        (ChangeKind.EXPIRE, step.revision, 1, None),
    ]
    assert {one.ref for one in found} == {DocumentRef("c", "a"), KEY}
    assert all(one.before is not None for one in found)


def test_a_collection_gives_its_documents_a_time(view: MemoryView) -> None:
    """Behind every write, of every kind, unless the write says its own; what was there before is as it was."""
    at(view, 0, document("before"), GrantLease(60_000))
    at(view, 0, ConfigureCollection("c", CollectionOptions(ttl_ms=TTL)))
    update = b'{"$set":{"x":1}}'
    at(
        view,
        0,
        *(document(name) for name in "abcdg"),
        Expiring(document("own"), 2 * TTL),
        Expiring(document("stays")),
        Expiring(document("leased"), lease=3),
        Transaction((), (document("t"), Update(DocumentRef("c", "u"), UpdateForm.OPERATORS, update, upsert=True))),
        value("k"),
    )
    at(
        view,
        4_000,
        document("a"),
        Update(DocumentRef("c", "b"), UpdateForm.OPERATORS, update),
        Update(DocumentRef("c", "c"), UpdateForm.REPLACE, b"{}"),
        Update(DocumentRef("c", "d"), UpdateForm.OPERATORS, b'{"$unset":{"x":1}}'),  # changes nothing
        Transaction((), (Update(DocumentRef("c", "u"), UpdateForm.OPERATORS, b'{"$set":{"x":2}}'),)),
    )
    check(view)
    remove_all(view, TTL + 1)
    assert names(view) == ["a", "b", "before", "c", "leased", "own", "stays", "u"]
    remove_all(view, 4_000 + TTL + 1)
    assert names(view) == ["before", "leased", "own", "stays"]
    at(view, 4_000 + TTL + 1, document("before"), ConfigureCollection("c", CollectionOptions()), document("z"))
    remove_all(view, 60_000)
    assert names(view) == ["leased", "stays", "z"]
    assert get_key(view, "b", "k") is not None
    check(view)


def test_a_sequence_gives_documents_a_time_too(view: MemoryView) -> None:
    at(view, 0, ConfigureCollection("c", CollectionOptions(ids=Ids.SEQUENCE, ttl_ms=TTL)))
    assert [one.code for one in at(view, 0, Insert("c", b"{}"), Insert("c", b"{}"))] == [Code.OK, Code.OK]
    assert names(view) == ["1", "2"]
    remove_all(view, TTL + 1)
    assert names(view) == []
    (outcome,) = at(view, TTL + 1, Insert("c", b"{}"))
    assert inserted_id(outcome) == "3"
    check(view)


def test_a_document_that_is_refused_leaves_its_deadline(view: MemoryView) -> None:
    """By an index, a schema or a precondition: nothing is changed, the deadline neither."""
    at(view, 0, CreateIndex("c", parse_definition({"name": "u", "fields": {"a": 1}, "unique": True})))
    indexed.build(view)
    at(view, 0, expiring(document("a", {"a": 1})), document("b", {"a": 2}))
    outcomes = at(
        view,
        1_000,
        expiring(document("a", {"a": 2}), 60_000),
        expiring(Update(DocumentRef("c", "a"), UpdateForm.OPERATORS, b'{"$set":{"a":2}}'), 60_000),
        expiring(Put(DocumentRef("c", "a"), b"{}", ABSENT), 60_000),
        Transaction((), (expiring(document("a", {"a": 2}), 60_000),)),
    )
    assert [one.code for one in outcomes] == [
        Code.UNIQUE_VIOLATION,
        Code.UNIQUE_VIOLATION,
        Code.PRECONDITION_FAILED,
        Code.UNIQUE_VIOLATION,
    ]
    check(view)
    indexed.check(view)
    remove_all(view, TTL + 1)
    assert names(view) == ["b"]
    indexed.check(view)


# Leases


def test_what_is_attached_goes_with_its_lease(view: MemoryView) -> None:
    (lease,) = at(view, 0, GrantLease(TTL))
    number = lease.revision
    at(view, 0, Expiring(document("a"), lease=number), Expiring(value("k"), lease=number), document("b"))
    check(view)
    at(view, 4_000, KeepLease(number))
    at(view, 9_000, Expire())
    assert names(view) == ["a", "b"]
    at(view, 9_001, value("other"))
    assert names(view) == ["b"]
    assert get_key(view, "b", "k") is None
    assert [one.code for one in at(view, 9_001, KeepLease(number), RevokeLease(number), KeepLease(99))] == [
        Code.LEASE_NOT_FOUND
    ] * 3
    (outcome,) = at(view, 9_001, Expiring(document("c"), lease=number))
    assert outcome.code is Code.LEASE_NOT_FOUND
    check(view)
    remove_all(view, 9_001)
    assert not list(view.scan(LEASES, prefix_end(LEASES)))
    assert read_summary(view).leases == 0
    check(view)


def test_a_revoked_lease_ends_for_all_at_once(view: MemoryView) -> None:
    at(view, 7, GrantLease(TTL))
    count = 2 * EXPIRE_ITEMS
    at(view, 7, *(Expiring(document(f"d{number:04}"), lease=2) for number in range(count)))
    at(view, 7, expiring(document("later")))
    (outcome,) = at(view, 7, RevokeLease(2))
    assert outcome.code is Code.OK
    assert names(view) == ["later"]
    check(view)
    # The queue of leases begins before it again, and the steps remove it behind what is attached.
    assert remove_all(view, 7) > 2
    assert names(view) == ["later"]
    check(view)


def test_a_write_takes_a_record_off_its_lease(view: MemoryView) -> None:
    at(view, 0, GrantLease(TTL), GrantLease(TTL))
    at(view, 0, *(Expiring(document(name), lease=2) for name in "abcde"))
    at(
        view,
        1,
        document("a"),
        Delete(DocumentRef("c", "b")),
        Expiring(document("c"), lease=3),
        Touch(DocumentRef("c", "d"), 60_000),
        Update(DocumentRef("c", "e"), UpdateForm.OPERATORS, b'{"$set":{"x":1}}'),
    )
    check(view)
    at(view, 2, RevokeLease(2))
    remove_all(view, 2)
    assert names(view) == ["a", "c", "d"]
    check(view)


def test_leases_are_bounded(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectionstore_node.statemachine.expiry_queue.LEASE_RECORDS_MAX", 3)
    at(view, 0, GrantLease(TTL))
    at(view, 0, *(Expiring(value(name), lease=2) for name in "ab"))
    (outcome,) = at(view, 0, Transaction((), (Expiring(value("x"), lease=2), Expiring(value("y"), lease=2))))
    assert (outcome.code, outcome.failed_operation) == (Code.LEASE_FULL, 1)
    outcomes = at(view, 0, Expiring(value("x"), lease=2), Expiring(value("y"), lease=2), Touch(KeyRef("b", "y"), TTL))
    assert [one.code for one in outcomes] == [Code.OK, Code.LEASE_FULL, Code.NOT_FOUND]
    check(view)
    # What is attached already takes no other place.
    again = Expiring(value("a", b"new"), lease=2)
    renewed = Transaction((), (Expiring(value("b", b"new"), lease=2), Expiring(value("x", b"new"), lease=2)))
    assert [one.code for one in at(view, 0, again, Touch(KeyRef("b", "x"), lease=2), renewed)] == [Code.OK] * 3
    check(view)
    monkeypatch.setattr("collectionstore_node.statemachine.expiry_commands.LEASES_MAX", 2)
    assert [one.code for one in at(view, 0, GrantLease(TTL), GrantLease(TTL))] == [Code.OK, Code.TOO_MANY_LEASES]
    assert LEASES_MAX == 10_000


@pytest.mark.parametrize("ttl_ms", [-1, 1, TTL_MIN_MS - 1, TTL_MAX_MS + 1, 2**63])
def test_a_ttl_out_of_range_is_refused_again_where_it_is_applied(view: MemoryView, ttl_ms: int) -> None:
    at(view, 0, value("k"), GrantLease(TTL))
    actions = (expiring(value("k"), ttl_ms), Touch(KEY, ttl_ms), GrantLease(ttl_ms), Expiring(value("k"), TTL, 3))
    outcomes = at(view, 0, *actions)
    assert [one.code for one in outcomes] == [Code.INVALID_EXPIRY] * 4
    (outcome,) = at(view, 0, Transaction((), (expiring(value("k"), ttl_ms),)))
    assert (outcome.code, outcome.failed_operation) == (Code.INVALID_EXPIRY, 0)
    outcomes = at(
        view, 0, *(one for number in (-1, 2**63) for one in (KeepLease(number), Expiring(value("k"), 0, number)))
    )
    assert {one.code for one in outcomes} == {Code.LEASE_NOT_FOUND}
    check(view)


# Levels, replays, replicas


@pytest.mark.parametrize("level", range(FIRST, CHANGES))
def test_commands_of_the_level_are_refused_below_it(level: int) -> None:
    view = MemoryView()
    actions = (expiring(value("k")), Touch(KEY, TTL), GrantLease(TTL), KeepLease(1), RevokeLease(1), Expire())
    outcomes = at(view, 0, *actions, Transaction((), (expiring(value("k")),)), level=level)
    assert {one.code for one in outcomes} == {Code.LEVEL_TOO_LOW}
    assert not list(view.scan(EXPIRY, prefix_end(EXPIRY)))


def test_records_without_a_time_are_as_at_level_3() -> None:
    stored = {}
    for level in (ENGINE, CHANGES):
        view = MemoryView()
        at(view, 0, CreateCollection("c"), document("a"), value("k"), document("a", {"x": 1}), level=level)
        stored[level] = {key: record for key, record in view.values.items() if key[:1] in (b"\x03", b"\x04")}
    assert stored[ENGINE] == stored[CHANGES]


def test_a_retried_write_is_applied_once(view: MemoryView) -> None:
    """Also when what the first attempt wrote has expired since: the answer is that of the first one."""

    def attempt(time_ms: int) -> Any:
        overlay = Overlay(view)
        command = Command(expiring(value("k")), Idempotency("key", b"f" * 32))
        (outcome,) = apply_batch(overlay, encode_batch(time_ms, [command], CHANGES), b"")
        view.commit(overlay.writes)
        return outcome

    first = attempt(0)
    again = attempt(TTL + 1)
    assert (again.replayed, again.revision, again.created) == (True, first.revision, True)
    assert get_key(view, "b", "k") is None


def test_nothing_expires_faster_than_time_may_advance(view: MemoryView) -> None:
    """An entry far ahead advances the time by a step; a deadline that is set by it is a ttl behind that."""
    far = 100 * TIME_STEP_MAX_MS
    at(view, far, expiring(value("k")))
    assert next_deadline_ms(view) == TIME_STEP_MAX_MS + TTL + 1


def test_replicas_have_the_same_bytes_however_entries_are_applied_together() -> None:
    """In one overlay or in one for each entry; and each step of removal is one entry's."""
    entries: list[bytes] = []
    for time_ms, actions in (
        (0, (CreateCollection("c"), CreateIndex("c", indexed.defined(unique=True)), GrantLease(TTL))),
        (0, tuple(expiring(document(f"d{number:03}", {"a": number})) for number in range(200))),
        (1, tuple(Expiring(document(f"e{number:03}", {"a": f"e{number}"}), lease=3) for number in range(150))),
        (TTL + 1, (document("new", {"a": 7}), Touch(DocumentRef("c", "d009"), TTL), KeepLease(3))),
        (TTL + 2, (Expire(), RevokeLease(3), expiring(document("d001", {"a": 1})))),
        (TTL + 3, (Expire(), Expire(), Delete(DocumentRef("c", "e007")))),
        (3 * TTL, (Expire(),)),
    ):
        entries.append(encode_batch(time_ms, [Command(one) for one in actions], CHANGES))
    apart, together = MemoryView(), MemoryView()
    overlay = Overlay(together)
    for number, data in enumerate(entries):
        single = Overlay(apart)
        first = apply_batch(single, data, b"%d" % number)
        apart.commit(single.writes)
        assert apply_batch(overlay, data, b"%d" % number) == first
    together.commit(overlay.writes)
    assert apart.values == together.values
    assert read_digest(apart) == read_digest(together)
    check(apart)
    assert is_there(apart) is None
