"""Quotas of collections: what is counted, what is refused, and that both are exact on every replica."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from collectionstore_node.errors import InvalidPart, InvalidRequest
from collectionstore_node.statemachine.admissible import CommandLimits, check_command
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    ConfigureCollection,
    CountUsage,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    Expire,
    Expiring,
    Idempotency,
    Insert,
    KeyRef,
    Outcome,
    Put,
    Touch,
    Transaction,
    Update,
    UpdateForm,
    encode_batch,
    refused_index,
)
from collectionstore_node.statemachine.costs import BUILD_DOCUMENTS
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.keys import DOCUMENTS, OPTIONS, USAGE, documents_prefix, prefix_end
from collectionstore_node.statemachine.levels import BOUNDED, CHANGES
from collectionstore_node.statemachine.metering import text_bytes
from collectionstore_node.statemachine.options import QUOTA_MAX, CollectionOptions, Ids, parse_options, shown_options
from collectionstore_node.statemachine.usage import Usage, collections_counted, read_usage
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.indexed import build, defined
from collectionstore_node.tests.statemachine.memory_view import MemoryView

TWO = CollectionOptions(max_documents=2)


def run(view: MemoryView, *actions: Action | Command, time_ms: int = 0, level: int = CHANGES) -> list[Outcome]:
    """Apply commands as one entry."""
    overlay = Overlay(view)
    commands = [action if isinstance(action, Command) else Command(action) for action in actions]
    outcomes = apply_batch(overlay, encode_batch(time_ms, commands, level), b"")
    view.commit(overlay.writes)
    return outcomes


def codes(view: MemoryView, *actions: Action | Command, time_ms: int = 0) -> list[Code]:
    """Apply commands as one entry, and return the codes of their outcomes."""
    return [one.code for one in run(view, *actions, time_ms=time_ms)]


def put(name: str, text: bytes = b"{}", collection: str = "c") -> Put:
    """Return the write of a document."""
    return Put(DocumentRef(collection, name), text)


def delete(name: str) -> Delete:
    """Return the removal of a document."""
    return Delete(DocumentRef("c", name))


def usage_of(view: MemoryView, collection: str = "c") -> Usage | None:
    """Return what is counted of a collection."""
    found = find_collection(view, collection)
    return None if found is None else read_usage(view, found.id)


def counted(view: MemoryView, collection: str = "c") -> tuple[int, int]:
    """Return the documents and bytes that are counted of a collection, which must be all there are."""
    usage, found = usage_of(view, collection), find_collection(view, collection)
    assert usage is not None
    assert found is not None
    assert not usage.counting
    prefix = documents_prefix(found.id)
    records = [record for _, record in view.scan(prefix, prefix_end(prefix))]
    assert (usage.documents, usage.size_bytes) == (len(records), sum(map(text_bytes, records)))
    return usage.documents, usage.size_bytes


def count_all(view: MemoryView, collection: str = "c") -> int:
    """Propose steps until a collection is counted, and return how many it took."""
    steps = 0
    while (usage := usage_of(view, collection)) is not None and usage.counting:
        found = find_collection(view, collection)
        assert found is not None
        assert codes(view, CountUsage(collection, found.id, usage.after)) == [Code.OK]
        steps += 1
    return steps


@pytest.fixture
def view() -> MemoryView:
    """A state with the collection c, which may have two documents."""
    made = MemoryView()
    run(made, ConfigureCollection("c", TWO, create=True))
    return made


def test_a_document_beyond_the_quota_is_refused_and_changes_nothing(view: MemoryView) -> None:
    assert codes(view, put("a"), put("b")) == [Code.OK, Code.OK]
    before = dict(view.values)
    (refused,) = run(view, put("x"))
    assert refused.code is Code.QUOTA_EXCEEDED
    assert refused_index(refused) == ("max_documents", "2")
    kept = (DOCUMENTS, USAGE, OPTIONS)
    assert {key: value for key, value in view.values.items() if key[:1] in kept} == {
        key: value for key, value in before.items() if key[:1] in kept
    }
    assert counted(view) == (2, 4)


def test_what_makes_a_collection_no_larger_works_at_its_quota(view: MemoryView) -> None:
    run(view, put("a"), put("b"))
    assert codes(view, put("a", b'{"longer":1}'), delete("b"), put("x"), delete("nothing")) == [
        Code.OK,
        Code.OK,
        Code.OK,
        Code.NOT_FOUND,
    ]
    assert counted(view)[0] == 2


def test_bytes_are_those_of_the_texts(view: MemoryView) -> None:
    run(view, ConfigureCollection("c", CollectionOptions(max_bytes=10)))
    assert codes(view, put("a", b'{"a":1}'), put("b", b'{"":1}')) == [Code.OK, Code.QUOTA_EXCEEDED]
    assert codes(view, put("b", b"{}"), put("a", b'{"a":12}'), put("a", b'{"a":123}')) == [
        Code.OK,
        Code.OK,
        Code.QUOTA_EXCEEDED,
    ]
    assert counted(view) == (2, 10)


def test_a_lowered_quota_takes_what_makes_it_smaller(view: MemoryView) -> None:
    run(view, put("a", b'{"a":1}'), put("b", b'{"b":1}'))
    run(view, ConfigureCollection("c", CollectionOptions(max_documents=1, max_bytes=1)))
    assert codes(view, put("a", b'{"a":12}'), put("a", b'{"a":2}'), put("a", b"{}"), put("x"), delete("b")) == [
        Code.QUOTA_EXCEEDED,
        Code.OK,
        Code.OK,
        Code.QUOTA_EXCEEDED,
        Code.OK,
    ]
    assert counted(view) == (1, 2)


def test_a_transaction_is_judged_by_all_of_its_writes(view: MemoryView) -> None:
    run(view, put("a"), put("b"))
    exchanged = Transaction(then=(put("x"), delete("a")))
    too_many = Transaction(then=(put("y"), delete("x"), put("z")))
    other = Put(KeyRef("bucket", "key"), b"value")
    outcomes = run(view, exchanged, too_many, Transaction(then=(other, put("w"))))
    assert [one.code for one in outcomes] == [Code.OK, Code.QUOTA_EXCEEDED, Code.QUOTA_EXCEEDED]
    assert [one.failed_operation for one in outcomes] == [None, 2, 1]
    assert counted(view)[0] == 2


def test_updates_upserts_and_inserts_are_counted(view: MemoryView) -> None:
    run(view, ConfigureCollection("s", CollectionOptions(ids=Ids.SEQUENCE, max_documents=1), create=True))
    assert codes(view, Insert("s", b"{}"), Insert("s", b"{}")) == [Code.OK, Code.QUOTA_EXCEEDED]
    upsert = Update(DocumentRef("c", "u"), UpdateForm.OPERATORS, b'{"$set":{"a":1}}', upsert=True)
    replaced = Update(DocumentRef("c", "u"), UpdateForm.REPLACE, b'{"a":12345}')
    removed = Update(DocumentRef("c", "u"), UpdateForm.DELETE)
    assert codes(view, put("a"), upsert, replaced) == [Code.OK] * 3
    assert counted(view) == (2, 13)
    other = Update(DocumentRef("c", "v"), UpdateForm.OPERATORS, b'{"$set":{"a":1}}', upsert=True)
    assert codes(view, other, removed, other) == [Code.QUOTA_EXCEEDED, Code.OK, Code.OK]
    assert counted(view) == (2, 9)


def test_a_number_of_a_sequence_is_not_spent_on_what_the_quota_refuses(view: MemoryView) -> None:
    run(view, ConfigureCollection("s", CollectionOptions(ids=Ids.SEQUENCE, max_documents=1), create=True))
    run(view, Insert("s", b"{}"), Insert("s", b"{}"), Insert("s", b"{}"))
    run(view, Delete(DocumentRef("s", "1")), Insert("s", b"{}"))
    found = find_collection(view, "s")
    assert found is not None
    assert view.get(documents_prefix(found.id) + b"2") is not None


def test_what_has_expired_is_counted_out_when_it_is_removed(view: MemoryView) -> None:
    run(view, Expiring(put("a"), ttl_ms=1_000), Expiring(put("b"), ttl_ms=1_000), time_ms=0)
    # Another command meets the one with its ID; the other one is removed by a step.
    assert codes(view, put("a"), time_ms=1_500) == [Code.OK]
    assert usage_of(view) == Usage(2, 4)
    run(view, Expire(), time_ms=1_500)
    assert counted(view) == (1, 2)


def test_renewing_a_document_takes_nothing(view: MemoryView) -> None:
    run(view, put("a"), put("b"))
    assert codes(view, Touch(DocumentRef("c", "a"), ttl_ms=5_000)) == [Code.OK]
    assert counted(view) == (2, 4)


def test_an_index_that_refuses_leaves_the_count_as_it_is(view: MemoryView) -> None:
    run(view, CreateIndex("c", defined(fields={"a": 1}, unique=True)))
    run(view, put("a", b'{"a":1}'))
    build(view)
    assert codes(view, put("b", b'{"a":1}'), put("b", b'{"a":2}')) == [Code.UNIQUE_VIOLATION, Code.OK]
    assert counted(view) == (2, 14)


def test_documents_that_are_there_are_counted_by_steps_which_refuse_nothing() -> None:
    view = MemoryView()
    run(view, CreateCollection("c"))
    names = [f"{number:04}" for number in range(2 * BUILD_DOCUMENTS + 3)]
    for at in range(0, len(names), 100):
        run(view, *(put(name) for name in names[at : at + 100]))
    run(view, ConfigureCollection("c", TWO))
    assert list(collections_counted(view)) == ["c"]
    assert codes(view, put("zzzz"), put("0000", b'{"a":1}'), delete("0001")) == [Code.OK] * 3
    found = find_collection(view, "c")
    assert found is not None
    assert codes(view, CountUsage("c", found.id)) == [Code.OK]
    # Behind the point that is reached, and ahead of it.
    assert codes(view, put("0002x"), delete("0003"), put("9999")) == [Code.OK] * 3
    assert count_all(view) == 2
    assert list(collections_counted(view)) == []
    assert counted(view)[0] == len(names) + 1
    assert codes(view, put("more")) == [Code.QUOTA_EXCEEDED]


def test_a_step_is_done_once_and_only_for_its_collection() -> None:
    view = MemoryView()
    run(view, CreateCollection("c"), put("a"))
    found = find_collection(view, "c")
    assert found is not None
    assert codes(view, CountUsage("c", found.id), CountUsage("none", 1)) == [
        Code.PRECONDITION_FAILED,
        Code.COLLECTION_NOT_FOUND,
    ]
    run(view, ConfigureCollection("c", TWO))
    assert codes(view, CountUsage("c", found.id + 1), CountUsage("c", found.id, "a")) == [Code.PRECONDITION_FAILED] * 2
    assert codes(view, CountUsage("c", found.id), CountUsage("c", found.id)) == [Code.OK, Code.PRECONDITION_FAILED]
    assert counted(view) == (1, 2)


def test_a_dropped_collection_and_a_quota_that_ends_leave_nothing_behind(view: MemoryView) -> None:
    run(view, CreateCollection("d"), put("a", collection="d"))
    run(view, ConfigureCollection("d", TWO))
    run(view, ConfigureCollection("c", CollectionOptions()), DropCollection("d"))
    assert not list(view.scan(USAGE, prefix_end(USAGE)))
    run(view, put("1"), put("2"), put("3"))
    run(view, ConfigureCollection("c", TWO))
    count_all(view)
    assert counted(view)[0] == 3


def test_a_collection_of_the_same_name_begins_empty_in_one_entry(view: MemoryView) -> None:
    assert codes(
        view,
        put("a"),
        put("b"),
        DropCollection("c"),
        ConfigureCollection("c", TWO, create=True),
        put("a"),
        put("b"),
        put("x"),
    ) == [Code.OK] * 6 + [Code.QUOTA_EXCEEDED]
    assert counted(view) == (2, 4)


def test_a_retry_gets_the_refusal_of_the_first_attempt(view: MemoryView) -> None:
    run(view, put("a"), put("b"))
    keyed = Command(put("x"), Idempotency("key", b"f" * 32))
    (first,) = run(view, keyed)
    (again,) = run(view, delete("a"), keyed)[1:]
    assert (again.code, again.replayed, refused_index(again)) == (Code.QUOTA_EXCEEDED, True, refused_index(first))


def test_a_collection_without_a_quota_costs_nothing() -> None:
    states = []
    for options in (CollectionOptions(ttl_ms=1_000), CollectionOptions(ttl_ms=1_000, max_documents=5)):
        view = MemoryView()
        run(view, ConfigureCollection("c", options, create=True), put("a"))
        states.append(view)
    assert not list(states[0].scan(USAGE, prefix_end(USAGE)))
    (record,) = [value for _, value in states[0].scan(OPTIONS, prefix_end(OPTIONS))]
    assert len(record) < len(next(value for _, value in states[1].scan(OPTIONS, prefix_end(OPTIONS))))


def test_the_step_is_no_command_of_an_earlier_level() -> None:
    view = MemoryView()
    (outcome,) = run(view, CountUsage("c", 1), level=BOUNDED)
    assert outcome.code is Code.LEVEL_TOO_LOW


@pytest.mark.parametrize("value", [0, -1, QUOTA_MAX + 1, True, 1.5, "5", [], {}])
@pytest.mark.parametrize("name", ["max_documents", "max_bytes"])
def test_a_quota_is_a_whole_number(name: str, value: Any) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_options({name: value})
    assert (refused.value.code, refused.value.pointer) == ("invalid_options", f"/{name}")


def test_quotas_are_shown_as_they_were_given() -> None:
    given = {"max_documents": 1, "max_bytes": QUOTA_MAX}
    assert shown_options(parse_options(given)) == given
    assert parse_options({"max_documents": None}) == CollectionOptions()


@pytest.mark.parametrize("options", [CollectionOptions(max_documents=-1), CollectionOptions(max_bytes=QUOTA_MAX + 1)])
def test_quotas_that_no_front_end_makes_are_refused(options: CollectionOptions) -> None:
    with pytest.raises(InvalidRequest):
        check_command(Command(ConfigureCollection("c", options)), CommandLimits())
    assert codes(MemoryView(), ConfigureCollection("c", options, create=True)) == [Code.INVALID_OPTIONS]


def _random_action(random: Random) -> Action:
    name = random.choice("abcdefgh")
    text = b'{"a":"%b"}' % (b"x" * random.randrange(30))
    kind = random.random()
    if kind < 0.35:
        return put(name, text)
    if kind < 0.5:
        return delete(name)
    if kind < 0.6:
        return Expiring(put(name, text), ttl_ms=random.choice((1_000, 3_000)))
    if kind < 0.7:
        return Update(DocumentRef("c", name), UpdateForm.MERGE_PATCH, text, upsert=random.random() < 0.5)
    if kind < 0.8:
        steps = {one: put(one, text) if random.random() < 0.6 else delete(one) for one in random.sample("abcdefgh", 3)}
        return Transaction(then=tuple(steps.values()))
    if kind < 0.88:
        return ConfigureCollection(
            "c", CollectionOptions(max_documents=random.choice((0, 3, 6)), max_bytes=random.choice((0, 60, 150)))
        )
    if kind < 0.92:
        return Expire()
    return DropCollection("c") if kind < 0.95 else ConfigureCollection("c", TWO, create=True)


@pytest.mark.parametrize("seed", range(20))
def test_the_count_is_exact_and_no_replica_differs_however_entries_are_applied_together(seed: int) -> None:
    random = Random(seed)
    view, other = MemoryView(), MemoryView()
    for state in (view, other):
        run(state, CreateCollection("c"), put("a"), put("b"))
    time_ms = 0
    together = Overlay(other)
    for at in range(60):
        time_ms += random.randrange(800)
        actions = [_random_action(random) for _ in range(random.randrange(1, 8))]
        usage, found = usage_of(view), find_collection(view, "c")
        if usage is not None and found is not None and usage.counting:
            actions.append(CountUsage("c", found.id, usage.after))
        data = encode_batch(time_ms, [Command(action) for action in actions], CHANGES)
        overlay = Overlay(view)
        outcomes = apply_batch(overlay, data, b"")
        view.commit(overlay.writes)
        assert apply_batch(together, data, b"") == outcomes
        if at % 3 == 2:
            other.commit(together.writes)
            together = Overlay(other)
            assert read_digest(view) == read_digest(other)
        usage = usage_of(view)
        if usage is not None and not usage.counting:
            counted(view)
    assert view.values == other.values
