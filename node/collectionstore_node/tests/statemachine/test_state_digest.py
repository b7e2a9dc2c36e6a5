"""The state digest: equal for equal histories however they were applied, different after any single difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    Delete,
    DocumentRef,
    DropCollection,
    Get,
    Idempotency,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Ref,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.digest import read_digest, update_digest
from collectionstore_node.statemachine.header import EMPTY_DIGEST, Header, read_header, write_header
from collectionstore_node.statemachine.members import MembershipContext, apply_membership, encode_context
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

A, B = KeyRef("bucket", "a"), KeyRef("bucket", "b")
DOCUMENT = DocumentRef("things", "1")

refs: st.SearchStrategy[Ref] = st.sampled_from([A, B, DOCUMENT])
conditions = st.builds(Precondition, st.sampled_from([None, True, False]))
puts = st.builds(Put, refs, st.binary(max_size=4), conditions)
deletes = st.builds(Delete, refs, conditions)
compares = st.builds(
    Compare, refs, st.just(CompareField.EXISTS), st.sampled_from([CompareOperator.EQUAL]), st.sampled_from([0, 1])
)
branches = st.lists(puts | deletes | st.builds(Get, refs), max_size=3, unique_by=lambda one: one.ref).map(tuple)
actions: st.SearchStrategy[Action] = st.one_of(
    puts,
    deletes,
    st.builds(Transaction, st.lists(compares, max_size=2).map(tuple), branches, branches),
    st.sampled_from([CreateCollection("things"), DropCollection("things")]),
)
keys = st.none() | st.builds(Idempotency, st.sampled_from(["k", "l"]), st.just(b"f"))
entries = st.lists(
    st.lists(st.builds(Command, actions, keys), min_size=1, max_size=4).map(lambda commands: encode_batch(7, commands)),
    min_size=1,
    max_size=12,
)


def chain_of(number: int) -> bytes:
    return bytes([number]) * 32


def copied(view: MemoryView) -> MemoryView:
    """Return what a snapshot installs: the same pairs in another store."""
    copy, overlay = MemoryView(), Overlay(view)
    for key, value in view.scan(b"\x00", b"\xff"):
        overlay.put(key, value)
    copy.commit(overlay.writes)
    return copy


def digests(
    history: Sequence[bytes], sizes: Sequence[int] = (), snapshots: frozenset[int] = frozenset()
) -> list[bytes]:
    """Apply `history`, so many entries at a time as `sizes` say, and return the digest after each.

    Before the groups in `snapshots` the state goes through a snapshot.
    """
    view, found, position = MemoryView(), [], 0
    for group, size in enumerate([*sizes, *[1] * len(history)]):
        if group in snapshots:
            view = copied(view)
        overlay = Overlay(view)
        for number in range(position, min(position + size, len(history))):
            apply_batch(overlay, history[number], chain_of(number))
            found.append(read_digest(overlay))
        view.commit(overlay.writes)
        position += size
    return found


@settings(max_examples=120, deadline=None)
@given(entries, st.lists(st.integers(1, 5), max_size=6), st.frozensets(st.integers(0, 8)))
def test_digest_does_not_depend_on_how_entries_were_applied(
    history: list[bytes], sizes: list[int], snapshots: frozenset[int]
) -> None:
    """One at a time or many, through snapshots or not: the same digest after every entry, and a new one each time."""
    expected = digests(history)
    assert digests(history, sizes, snapshots) == expected
    assert len({EMPTY_DIGEST, *expected}) == len(history) + 1


@settings(max_examples=120, deadline=None)
@given(entries, st.data())
def test_any_changed_entry_changes_every_later_digest(history: list[bytes], data: st.DataObject) -> None:
    """Another command in one place, or one entry more: nothing after it is equal again."""
    position = data.draw(st.integers(0, len(history) - 1))
    other = encode_batch(8, [Command(Put(A, b"another"))])
    replaced, doubled = list(history), list(history)
    replaced[position] = other
    doubled.insert(position, other)
    expected = digests(history)
    for changed in (digests(replaced), digests(doubled)):
        assert changed[:position] == expected[:position]
        assert all(one != two for one, two in zip(changed[position:], expected[position:], strict=False))


def sealed(act: Callable[[Overlay], object], *, chain: bytes = b"c", before: Header | None = None) -> bytes:
    """Return the digest after an entry that did `act` and answered what that returns."""
    overlay = Overlay(MemoryView())
    update_digest(overlay, before or Header(), chain, act(overlay))
    return read_digest(overlay)


def wrote(*pairs: tuple[bytes, bytes | None]) -> Callable[[Overlay], object]:
    def act(overlay: Overlay) -> object:
        for key, value in pairs:
            if value is None:
                overlay.delete(key)
            else:
                overlay.put(key, value)
        return [Outcome(Code.OK, 1)]

    return act


def dropped(lo: bytes, hi: bytes) -> Callable[[Overlay], object]:
    def act(overlay: Overlay) -> object:
        overlay.drop_range(lo, hi)
        return [Outcome(Code.OK, 1)]

    return act


def answered(outcome: Outcome) -> Callable[[Overlay], object]:
    def act(overlay: Overlay) -> object:
        overlay.put(b"k", b"v")
        return [outcome]

    return act


DIFFERENT = [
    wrote((b"k", b"v")),
    wrote((b"k", b"w")),
    wrote((b"l", b"v")),
    wrote((b"kv", b"")),
    wrote((b"", b"kv")),
    wrote((b"k", None)),
    wrote(),
    wrote((b"k", b"v"), (b"k", b"v")),
    wrote((b"k", b"v"), (b"l", b"v")),
    wrote((b"l", b"v"), (b"k", b"v")),
    wrote((b"k", b"u"), (b"k", b"v")),
    dropped(b"k", b"v"),
    dropped(b"k", b"w"),
    answered(Outcome(Code.OK, 2)),
    answered(Outcome(Code.NOT_FOUND, 1)),
    answered(Outcome(Code.OK, 1, current_revision=1)),
    answered(Outcome(Code.OK, 1, replayed=True)),
]


def test_every_single_difference_shows() -> None:
    """A key, a byte of a value, an order, a range, an overwritten write, an outcome that is not stored."""
    found = [sealed(act) for act in DIFFERENT]
    assert len(set(found)) == len(DIFFERENT)


@pytest.mark.parametrize("before", [Header(revision=1), Header(time_ms=1), Header(digest=b"d" * 32)])
def test_counters_and_the_past_show(before: Header) -> None:
    assert sealed(wrote(), before=before) != sealed(wrote())
    assert sealed(wrote(), chain=b"d") != sealed(wrote())


def test_changed_byte_at_rest_shows_when_it_matters() -> None:
    """What decayed unseen is in the digest as soon as it is in a result, though the same entries were applied."""
    first = encode_batch(1, [Command(Put(A, b"1"))])
    compare = Compare(A, CompareField.VALUE, CompareOperator.EQUAL, b"1")
    last = encode_batch(2, [Command(Transaction((compare,), (Put(B, b"yes"),), (Put(B, b"no"),)))])
    sound, damaged = MemoryView(), MemoryView()
    for view in (sound, damaged):
        overlay = Overlay(view)
        apply_batch(overlay, first, b"1")
        view.commit(overlay.writes)
    (key,) = [key for key, value in damaged.values.items() if value.endswith(b"1") and key.endswith(b"a")]
    damaged.values[key] = damaged.values[key][:-1] + b"2"
    assert read_digest(sound) == read_digest(damaged)
    for view in (sound, damaged):
        overlay = Overlay(view)
        apply_batch(overlay, last, b"2")
        view.commit(overlay.writes)
    assert read_digest(sound) != read_digest(damaged)


class Members:
    """A configuration, as far as the state machine knows one."""

    def members(self) -> frozenset[int]:
        return frozenset({1, 2})


def test_membership_change_moves_the_digest_by_what_it_did_and_by_the_configuration() -> None:
    def changed(epoch: int, configuration: object) -> bytes:
        overlay = Overlay(MemoryView())
        apply_membership(overlay, 5, encode_context(MembershipContext(epoch)), Members())
        update_digest(overlay, read_header(overlay), b"c", configuration)
        return read_digest(overlay)

    found = {changed(1, ("voters", 1, 2)), changed(2, ("voters", 1, 2)), changed(1, ("voters", 1)), EMPTY_DIGEST}
    assert len(found) == 4
    assert changed(1, ("voters", 1, 2)) == changed(1, ("voters", 1, 2))


def test_header_written_for_the_last_entry_is_no_part_of_the_next() -> None:
    """Else the digest would tell whether both were applied together."""
    overlay = Overlay(MemoryView())
    write_header(overlay, Header())
    update_digest(overlay, read_header(overlay), b"c", ())
    assert overlay.journal == []
