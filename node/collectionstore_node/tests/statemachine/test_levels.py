"""Feature levels: level 1 computes what versions without levels computed, and the switch is part of the log."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
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
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS, read_header
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.levels import BOUNDED, FIRST, HIGHEST
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

HISTORY_DIGEST = "7133cfc24d4f34b647ae076a8d325bf2573c215503388d6abca56cb63cbd79e5"
"""Digest of the state after `history`, computed by commit b3d65c1, the last version without levels."""

KEY = KeyRef("b", "k")


def history(random: Random, entries: int = 300) -> list[bytes]:
    """Return entries of level 1 with commands of every kind, repeated keys, and times that jump and go back."""
    refs: list[Ref] = [KeyRef("b", f"k{number}") for number in range(6)]
    refs += [DocumentRef(name, f"d{number}") for name in ("one", "two") for number in range(4)]
    return [
        encode_batch(
            random.choice((0, 1_000, 3_600_000, 90_000_000)) * random.randrange(40),
            [_command(random, refs) for _ in range(random.randrange(6))],
        )
        for _ in range(entries)
    ]


def _command(random: Random, refs: list[Ref]) -> Command:
    keyed = Idempotency(f"key-{random.randrange(40)}", b"f") if random.random() < 0.5 else None
    return Command(_action(random, refs), keyed)


def _action(random: Random, refs: list[Ref]) -> Action:
    kind = random.randrange(10)
    if kind == 0:
        return CreateCollection(random.choice(("one", "two")))
    if kind == 1:
        return DropCollection(random.choice(("one", "two", "none")))
    if kind < 5:
        return _write(random, refs)
    compares = tuple(_compare(random, refs) for _ in range(random.randrange(3)))
    return Transaction(compares, _branch(random, refs), _branch(random, refs))


def _write(random: Random, refs: list[Ref]) -> Put | Delete:
    condition = random.choice(
        (Precondition(), Precondition(exists=random.random() < 0.5), Precondition(revisions=(random.randrange(600),)))
    )
    if random.random() < 0.3:
        return Delete(random.choice(refs), condition)
    value = bytes(random.randrange(97, 123) for _ in range(random.randrange(40)))
    return Put(random.choice(refs), value, condition, random.choice(("", "text/plain")))


def _branch(random: Random, refs: list[Ref]) -> tuple[Put | Delete | Get, ...]:
    return tuple(
        Get(random.choice(refs)) if random.random() < 0.4 else _write(random, refs) for _ in range(random.randrange(4))
    )


def _compare(random: Random, refs: list[Ref]) -> Compare:
    field, operator = random.choice(list(CompareField)), random.choice(list(CompareOperator))
    operand = random.choice((b"", b"m", b"mm", b"a")) if field is CompareField.VALUE else random.randrange(300)
    return Compare(random.choice(refs), field, operator, operand)


def replay(entries: list[bytes]) -> tuple[MemoryView, list[Outcome]]:
    view, outcomes = MemoryView(), []
    for number, entry in enumerate(entries):
        overlay = Overlay(view)
        outcomes += apply_batch(overlay, entry, b"%d" % number)
        view.commit(overlay.writes)
    return view, outcomes


def test_level_1_is_what_it_was_in_every_bit() -> None:
    """Members of both versions run together; a difference in any write, outcome or byte would part them."""
    view, _ = replay(history(Random(7)))
    assert read_digest(view).hex() == HISTORY_DIGEST
    assert len(msgspec.msgpack.decode(view.values[HEADER_KEY])) == 4


def test_level_rises_at_its_entry_and_never_falls() -> None:
    """Entries of the level before, proposed by a leader that had not applied the switch yet, have the raised one."""
    view, _ = replay([encode_batch(0, []), encode_batch(0, [], BOUNDED), encode_batch(0, [])])
    assert read_header(view).level == BOUNDED
    large = [Command(Put(KEY, b"v")), Command(Transaction(then=(Get(KEY),)), Idempotency("k", b"f"))]
    entries = [encode_batch(0, [], BOUNDED), encode_batch(TIME_STEP_MAX_MS * 2, large)]
    view, outcomes = replay(entries)
    assert outcomes[1].items[0].value is None
    assert read_header(view).time_ms == TIME_STEP_MAX_MS


def test_a_raised_level_changes_the_digest_of_what_follows() -> None:
    """Members that disagree about it are found by their digests, at the next entry."""
    first, later = encode_batch(0, [Command(Put(KEY, b"v"))]), encode_batch(0, [Command(Put(KEY, b"w"))])
    plain, _ = replay([first, encode_batch(0, []), later])
    raised, _ = replay([first, encode_batch(0, [], BOUNDED), later])
    assert read_digest(plain) != read_digest(raised)


@pytest.mark.parametrize("level", [0, HIGHEST + 1, 255])
def test_entry_of_an_unknown_level_is_refused_by_name(level: int) -> None:
    """The message says which level the entry has and which this version supports."""
    data = bytes((level,)) + encode_batch(0, [], FIRST)[1:]
    with pytest.raises(InvariantViolated, match=rf"feature level {level}; this version supports {FIRST} to {HIGHEST}"):
        apply_batch(Overlay(MemoryView()), data, b"")
