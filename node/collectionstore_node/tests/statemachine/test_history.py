"""The history of changes: what it holds, how long, and that replicas hold the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine import history
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    DropIndex,
    Get,
    Idempotency,
    KeyRef,
    LimitHistory,
    Outcome,
    Precondition,
    Put,
    Ref,
    Transaction,
    Update,
    UpdateForm,
    encode_batch,
    join_batch,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS, read_header
from collectionstore_node.statemachine.history import (
    LIMIT_MIN_BYTES,
    LIMITS,
    Change,
    ChangeKind,
    Limits,
    kept_after,
    scan_changes,
    scan_entries,
    time_at,
)
from collectionstore_node.statemachine.keys import HEADER_KEY, HISTORY, SEGMENTS_KEY, SUCCESSORS, TOKEN_KEY, prefix_end
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.tokens import TOKEN_KEY_BYTES, read_token_key
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.indexed import defined
from collectionstore_node.tests.statemachine.memory_view import MemoryView

DOCUMENT = DocumentRef("c", "d")
KEY = KeyRef("b", "k")


def apply(view: MemoryView, *actions: Action, level: int = CHANGES, time_ms: int = 0) -> list[Outcome]:
    overlay = Overlay(view)
    outcomes = apply_batch(overlay, encode_batch(time_ms, [Command(one) for one in actions], level), b"")
    view.commit(overlay.writes)
    return outcomes


def changes(view: MemoryView, after: int = 0, until: int | None = None) -> list[Change]:
    return list(scan_changes(view, after, until))


def records(view: MemoryView) -> dict[bytes, bytes]:
    """All that the history takes: its records, and the links between changes of large records."""
    return dict(chain(view.scan(HISTORY, prefix_end(HISTORY)), view.scan(SUCCESSORS, prefix_end(SUCCESSORS))))


def update(ref: DocumentRef, body: object, *, form: UpdateForm = UpdateForm.OPERATORS, upsert: bool = False) -> Update:
    return Update(ref, form, orjson.dumps(body), upsert=upsert)


def test_every_kind_of_change_is_told_with_what_was_before_and_behind_it(view: MemoryView) -> None:
    """In the order of revisions, those of one command by position; failed commands and reads change nothing."""
    apply(
        view,
        CreateCollection("c"),
        Put(DOCUMENT, b'{"a":1}'),
        Put(DOCUMENT, b'{"a":2}'),
        update(DOCUMENT, {"$inc": {"a": 1}}),
        update(DOCUMENT, {"a": 9}, form=UpdateForm.REPLACE),
        Put(DOCUMENT, b"{}", Precondition(exists=False)),
        Delete(DocumentRef("c", "none")),
        Update(DOCUMENT, UpdateForm.DELETE),
        update(DocumentRef("c", "new"), {"$set": {"a": 1}}, upsert=True),
        Put(KEY, b"v", content_type="text/plain"),
        Delete(KEY),
        CreateIndex("c", defined("one")),
        DropIndex("c", "one"),
        Transaction((), (Put(DocumentRef("c", "x"), b"{}"), Get(KEY), Delete(DocumentRef("c", "new")))),
        DropCollection("c"),
        time_ms=7_000,
    )
    found = changes(view)
    assert [(one.revision, one.position, one.kind, one.collection) for one in found] == [
        (1, 0, ChangeKind.CREATE_COLLECTION, "c"),
        (2, 0, ChangeKind.INSERT, "c"),
        (3, 0, ChangeKind.REPLACE, "c"),
        (4, 0, ChangeKind.UPDATE, "c"),
        (5, 0, ChangeKind.REPLACE, "c"),
        (8, 0, ChangeKind.DELETE, "c"),
        (9, 0, ChangeKind.INSERT, "c"),
        (10, 0, ChangeKind.INSERT, ""),
        (11, 0, ChangeKind.DELETE, ""),
        (12, 0, ChangeKind.CREATE_INDEX, "c"),
        (13, 0, ChangeKind.DROP_INDEX, "c"),
        (14, 0, ChangeKind.INSERT, "c"),
        (14, 1, ChangeKind.DELETE, "c"),
        (15, 0, ChangeKind.DROP_COLLECTION, "c"),
    ]
    assert {one.time_ms for one in found} == {7_000}
    texts = [
        tuple(None if one is None else decode_stored(one).value for one in (x.before, x.after)) for x in found[1:9]
    ]
    assert texts == [
        (None, b'{"a":1}'),
        (b'{"a":1}', b'{"a":2}'),
        (b'{"a":2}', b'{"a":3}'),
        (b'{"a":3}', b'{"a":9}'),
        (b'{"a":9}', None),
        (None, b'{"a":1}'),
        (None, b"v"),
        (b"v", None),
    ]
    assert found[7].ref == KEY
    assert decode_stored(found[7].after or b"").content_type == "text/plain"
    assert (found[9].before, found[10].after) == (None, None)
    assert found[9].after == found[10].before != b""
    assert (found[0].before, found[-1].after) == (None, None)


def test_an_update_that_leaves_a_document_as_it_was_is_no_change(view: MemoryView) -> None:
    """It writes nothing, and its revision has no change."""
    apply(view, CreateCollection("c"), Put(DOCUMENT, b'{"a":1}'))
    (outcome,) = apply(view, update(DOCUMENT, {"$set": {"a": 1}}))
    assert outcome.code is Code.OK
    assert changes(view, 2) == []


def test_every_revision_has_a_time(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing was changed, and at the oldest one that is kept; an entry without commands has no record."""
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=900, segment_bytes=200))
    times: dict[int, int] = {}
    for number in range(1, 60):
        apply(view, time_ms=number * 1_000 - 500)
        apply(
            view, Put(KEY, b"%d" % number) if number % 3 else Delete(DOCUMENT), Delete(DOCUMENT), time_ms=number * 1_000
        )
        revision = read_header(view).revision
        times |= {revision - 1: number * 1_000, revision: number * 1_000}
        for one, time_ms in times.items():
            if one >= kept_after(view):
                assert time_at(view, one) == time_ms
    assert kept_after(view) > 60
    assert len(records(view)) < 30


def test_a_repeated_request_changes_nothing_again(view: MemoryView) -> None:
    """Its second command is answered from the table of idempotency keys."""
    command = Command(Put(KEY, b"v"), Idempotency("k", b"f"))
    for _ in range(2):
        overlay = Overlay(view)
        apply_batch(overlay, encode_batch(0, [command], CHANGES), b"")
        view.commit(overlay.writes)
    assert [one.revision for one in changes(view)] == [1]


def test_changes_are_scanned_from_the_middle_of_an_entry_to_the_middle_of_another(view: MemoryView) -> None:
    """`after` and `until` are revisions of commands, not of entries."""
    apply(view, *(Put(KEY, b"%d" % number) for number in range(4)))
    apply(view, *(Put(KEY, b"%d" % number) for number in range(4)))
    assert [one.revision for one in changes(view, 2, 6)] == [3, 4, 5, 6]
    assert [one.revision for one in changes(view, 4)] == [5, 6, 7, 8]
    assert changes(view, 8) == []
    assert changes(view, 5, 5) == []


def test_a_scan_reads_no_further_than_it_is_taken(view: MemoryView) -> None:
    """It is lazy: a watch that takes ten changes decodes no thousand."""
    for number in range(5):
        apply(view, Put(KEY, b"%d" % number))
    decoded: list[int] = []
    entries = scan_entries(view, 0)
    for entry in entries:
        decoded.append(entry.changes[0].revision)
        if len(decoded) == 2:
            break
    assert decoded == [1, 2]


def test_history_begins_when_the_level_is_raised(view: MemoryView) -> None:
    """Of earlier entries nothing is kept, and the header says so; before the level it has no field for it."""
    apply(view, Put(KEY, b"1"), level=ENGINE)
    assert (kept_after(view), records(view)) == (1, {})
    assert len(msgspec.msgpack.decode(view.values[HEADER_KEY])) == 5
    apply(view, Put(KEY, b"2"), Put(KEY, b"3"))
    assert kept_after(view) == 1
    assert [decode_stored(one.before or b"").value for one in changes(view, 1)] == [b"1", b"2"]
    assert len(msgspec.msgpack.decode(view.values[HEADER_KEY])) == 6


def test_level_3_is_what_it_was_in_every_bit() -> None:
    """A digest made by the release that had level 3 as its highest."""
    view = MemoryView()
    for data in random_entries(Random(5), 150, level=ENGINE):
        overlay = Overlay(view)
        apply_batch(overlay, data, b"chain")
        view.commit(overlay.writes)
    assert read_digest(view).hex() == "e8ac6ae704f184a7b0bce995c2e27ab789c6bcd1674ec39ed5bee1f787248366"
    assert records(view) == {}
    assert SEGMENTS_KEY not in view.values


def random_entries(random: Random, count: int, *, level: int = CHANGES) -> list[bytes]:
    """Return entries with commands of every kind; the same at every call with the same source."""
    refs: list[Ref] = [KeyRef("b", f"k{number}") for number in range(4)]
    refs += [DocumentRef(name, f"d{number}") for name in ("one", "two") for number in range(5)]

    def ref() -> Ref:
        return random.choice(refs)

    def write() -> Put | Delete | Update:
        kind, target = random.random(), ref()
        if kind < 0.2:
            return Delete(target)
        if kind < 0.4 and isinstance(target, DocumentRef):
            return update(target, {"$inc": {"a": random.randrange(3)}}, upsert=random.random() < 0.5)
        text = orjson.dumps({"a": random.randrange(9), "t": "x" * random.randrange(60)})
        return Put(target, text, Precondition(exists=True) if random.random() < 0.2 else Precondition())

    def action() -> Action:
        kind, name = random.random(), random.choice(("one", "two"))
        if kind < 0.12:
            return CreateCollection(name)
        if kind < 0.15:
            return DropCollection(name)
        if kind < 0.18:
            return CreateIndex(name, defined(random.choice(("i", "j")), {"a": random.choice((1, -1))}))
        if kind < 0.20:
            return DropIndex(name, "i")
        if kind < 0.35:
            branch = tuple({one.ref: one for one in (write() for _ in range(3))}.values())
            compare = Compare(ref(), CompareField.EXISTS, CompareOperator.EQUAL, random.randrange(2))
            return Transaction((compare,), branch, branch[:1])
        return write()

    time_ms, entries = 0, []
    for _ in range(count):
        time_ms += random.choice((0, 10, 1_000, 500_000))
        commands = [Command(action()) for _ in range(random.choice((0, 1, 1, 3, 9)))]
        entries.append(encode_batch(time_ms, commands, level))
    return entries


SMALL = Limits(keep_ms=1_200_000, bytes_max=6_000, segment_bytes=900, segment_ms=400_000)


def replica(entries: Sequence[bytes], groups: Sequence[int]) -> MemoryView:
    """Apply entries, as many at a time as `groups` says in turn."""
    view, at, turn = MemoryView(), 0, 0
    while at < len(entries):
        size = groups[turn % len(groups)]
        overlay = Overlay(view)
        for number, data in enumerate(entries[at : at + size], at):
            apply_batch(overlay, data, number.to_bytes(32))
        view.commit(overlay.writes)
        at, turn = at + size, turn + 1
    return view


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_replicas_hold_the_same_however_they_group_entries(seed: int, groups: list[int]) -> None:
    """Byte for byte, while segments are closed and dropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "LIMITS", SMALL)
        entries = random_entries(Random(seed), 60)
        assert replica(entries, [1]).values == replica(entries, groups).values


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_what_is_kept_is_within_the_bounds_and_without_gaps(seed: int) -> None:
    """All changes behind `kept_after`, none before; sizes in the header are those of the records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "LIMITS", SMALL)
        view, told = MemoryView(), []
        for data in random_entries(Random(seed), 60):
            before = read_header(view).revision
            overlay = Overlay(view)
            apply_batch(overlay, data, b"")
            view.commit(overlay.writes)
            told += changes(view, before)
            header = read_header(view)
            assert header.history is not None
            kept = records(view)
            assert header.history.size_bytes == sum(len(key) + len(value) for key, value in kept.items())
            assert header.history.size_bytes <= SMALL.bytes_max
            assert changes(view, kept_after(view)) == [one for one in told if one.revision > kept_after(view)]
            assert all(int.from_bytes(key[1:]) > kept_after(view) for key in kept)
            segments = msgspec.msgpack.decode(view.values.get(SEGMENTS_KEY, b"\x90"))
            assert len(segments) == header.history.closed <= 8
            for last, closed_ms, _ in segments:
                assert last > kept_after(view)
                assert header.time_ms - closed_ms < SMALL.keep_ms


def test_old_changes_go_by_the_replicated_time(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole segments, at the first entry that comes so much later; an entry without changes does."""
    monkeypatch.setattr(history, "LIMITS", Limits(keep_ms=1_000_000, segment_ms=100_000))
    apply(view, Put(KEY, b"1"), time_ms=0)
    apply(view, Put(KEY, b"2"), time_ms=100_000)
    apply(view, Put(KEY, b"3"), time_ms=TIME_STEP_MAX_MS)
    apply(view, time_ms=1_099_999)
    assert kept_after(view) == 0
    apply(view, time_ms=1_100_000)
    assert kept_after(view) == 2
    assert [one.revision for one in changes(view, 2)] == [3]
    # The last segment is closed by its age, and goes as well.
    apply(view, time_ms=1_600_000)
    apply(view, time_ms=2_100_000)
    apply(view, time_ms=2_200_000)
    assert kept_after(view) == 3
    assert records(view) == {}


def test_a_record_beyond_the_bound_is_not_kept(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes all before it along: the bound of bytes always holds."""
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=1_000, segment_bytes=300))
    apply(view, Put(KEY, b"1"))
    apply(view, Put(KEY, b"x" * 2_000))
    assert kept_after(view) == 0
    apply(view, Put(KEY, b"3"))
    # The record before is large, and in the change.
    assert (kept_after(view), records(view)) == (3, {})
    apply(view, Put(KEY, b"4"))
    assert [one.revision for one in changes(view, 3)] == [4]


def test_the_digest_does_not_cover_records_but_their_sizes(view: MemoryView) -> None:
    """What is in them follows from writes that it covers; a hash of them would double what a put costs there."""
    twin = MemoryView()
    for one in (view, twin):
        apply(one, Put(KEY, b"1"))
    (key,) = records(twin)
    twin.values[key] += b"\xc0"
    for one in (view, twin):
        apply(one, Put(KEY, b"2"))
    assert read_digest(view) == read_digest(twin)


def test_a_raised_revision_ends_the_history(view: MemoryView) -> None:
    """A restored cluster skips revisions that the old one may have given: what it did in them is not known here."""
    apply(view, Put(KEY, b"1"))
    header = read_header(view)
    header.bump(0)
    assert header.history is not None
    assert (header.revision, header.history.kept_after) == (1, 0)
    header.bump(1_000)
    assert (header.revision, header.history.kept_after) == (1_001, 1_001)


def test_what_a_raised_revision_leaves_behind_goes_with_its_segment(
    view: MemoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records from before are counted still, and dropped as others are."""
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=600, segment_bytes=200))
    apply(view, Put(KEY, b"x" * 50))
    header = read_header(view)
    header.bump(100)
    view.values[HEADER_KEY] = msgspec.msgpack.encode(header.stored())
    for _ in range(12):
        apply(view, Put(KEY, b"x" * 50))
        assert kept_after(view) >= 101
    found = read_header(view).history
    assert found is not None
    assert found.size_bytes == sum(len(key) + len(value) for key, value in records(view).items())
    assert changes(view, kept_after(view))[-1].revision == read_header(view).revision


def test_another_bound_holds_from_its_entry_on(view: MemoryView) -> None:
    """What is beyond it goes at once; 0 is the bound of the level again."""
    text = b"x" * (1 << 20)
    for number in range(12):
        apply(view, Put(KeyRef("b", f"{number}"), text))
    for number in range(12):
        apply(view, Put(KeyRef("b", f"{number}"), text))
    (outcome,) = apply(view, LimitHistory(LIMIT_MIN_BYTES))
    assert outcome.code is Code.OK
    found = read_header(view).history
    assert found is not None
    assert found.size_bytes <= LIMIT_MIN_BYTES
    assert 12 < kept_after(view) < 24
    for number in range(12):
        apply(view, Delete(KeyRef("b", f"{number}")))
        found = read_header(view).history
        assert found is not None
        # A link goes with what it leads from, and is counted with what it leads to.
        assert sum(len(key) + len(value) for key, value in records(view).items()) <= found.size_bytes
        assert found.size_bytes <= LIMIT_MIN_BYTES
    kept = kept_after(view)
    apply(view, LimitHistory(0))
    for _ in range(2):
        for number in range(12):
            apply(view, Put(KeyRef("b", f"{number}"), text))
    assert kept_after(view) == kept


@pytest.mark.parametrize("bytes_max", [-1, 1, LIMIT_MIN_BYTES - 1, LIMITS.bytes_max + 1, 1 << 62])
def test_a_bound_out_of_range_changes_nothing(view: MemoryView, bytes_max: int) -> None:
    """Nor does any before the level."""
    apply(view, Put(KEY, b"1"))
    (outcome,) = apply(view, LimitHistory(bytes_max))
    assert outcome.code is Code.INVALID_LIMIT
    found = read_header(view).history
    assert found is not None
    assert found.bytes_max == 0
    assert apply(MemoryView(), LimitHistory(0), level=ENGINE)[0].code is Code.LEVEL_TOO_LOW


def raised(view: MemoryView, token_key: bytes, *, level: int = CHANGES) -> None:
    overlay = Overlay(view)
    apply_batch(overlay, join_batch(0, (), level=level, token_key=token_key), b"")
    view.commit(overlay.writes)


def test_the_entry_that_raises_the_level_brings_the_key_of_tokens(view: MemoryView) -> None:
    """The first one counts, and only a whole one; it takes no revision."""
    raised(view, b"short")
    raised(view, b"y" * TOKEN_KEY_BYTES, level=ENGINE)
    assert TOKEN_KEY not in view.values
    raised(view, b"x" * TOKEN_KEY_BYTES)
    assert view.values.get(TOKEN_KEY) == b"x" * TOKEN_KEY_BYTES
    raised(view, b"y" * TOKEN_KEY_BYTES)
    assert view.values[TOKEN_KEY] == b"x" * TOKEN_KEY_BYTES
    assert read_header(view).revision == 0
    assert read_token_key(view, "shop") != read_token_key(view, "other")


def test_before_the_level_an_entry_brings_no_key(view: MemoryView) -> None:
    """What earlier levels do stays as it is."""
    raised(view, b"x" * TOKEN_KEY_BYTES, level=ENGINE)
    assert TOKEN_KEY not in view.values


def test_trace_contexts_and_a_key_fit_into_one_entry(view: MemoryView) -> None:
    """Both are optional, and in their places."""
    contexts: Any = [(0, bytes(24))]
    overlay = Overlay(view)
    data = join_batch(0, (), contexts, level=CHANGES, token_key=b"z" * TOKEN_KEY_BYTES)
    assert apply_batch(overlay, data, b"") == []
    assert overlay.get(TOKEN_KEY) == b"z" * TOKEN_KEY_BYTES
