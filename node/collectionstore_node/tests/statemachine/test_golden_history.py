"""The digests of fixed histories, as earlier versions computed them: applying may become faster, and nothing else.

The digests cover every write and every outcome (`digest`), so equal ones mean equal effects, byte for byte.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from collectionstore_node.statemachine.apply import READ_AHEAD_COMMANDS, apply_batch
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
    Operation,
    Outcome,
    Precondition,
    Put,
    Ref,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

GOLDEN = {
    (1, 60, 300): "3bcd7f335709e554fc7c622dffc097a94074f9d59023d385e2a0096e5876bca1",
    (2, 60, 300): "ae95946f1378dc172279f092c132e3182c5066e242a5b651f5592ba1bd1b20e1",
    (2, 30, 2_000_000): "7a944e538136e6043857a092e4854c62906f7fb5e744bc07e904d317f15ecb64",
}
"""By feature level, entries and largest value in bytes; made before records were read ahead."""


def history(level: int, entries: int, value_bytes_max: int) -> list[bytes]:
    """Return the data of entries of up to five windows of commands of every kind; the same at every call."""
    chance = random.Random(f"{level} {entries} {value_bytes_max}")
    names = ["a", "b", "c"]

    def ref() -> Ref:
        number = chance.randrange(12)
        return (
            KeyRef("bucket", f"k{number}") if chance.random() < 0.3 else DocumentRef(chance.choice(names), f"{number}")
        )

    def precondition() -> Precondition:
        if chance.random() < 0.7:
            return Precondition()
        revisions = tuple(chance.randrange(2_000) for _ in range(2)) if chance.random() < 0.3 else None
        return Precondition(chance.choice([None, True, False]), revisions)

    def put() -> Put:
        value = bytes([chance.randrange(256)]) * chance.randrange(value_bytes_max)
        return Put(ref(), value, precondition(), "text/plain" if chance.random() < 0.2 else "")

    def operation() -> Operation:
        kind = chance.randrange(3)
        if kind == 0:
            return put()
        return Delete(ref(), precondition()) if kind == 1 else Get(ref())

    def operations() -> tuple[Operation, ...]:
        return tuple({one.ref: one for one in [operation() for _ in range(3)]}.values())

    def action() -> Action:
        kind = chance.random()
        if kind < 0.7:
            return put()
        if kind < 0.85:
            return Delete(ref(), precondition())
        if kind < 0.9:
            return CreateCollection(chance.choice(names))
        if kind < 0.92:
            return DropCollection(chance.choice(names))
        compare = Compare(ref(), CompareField.EXISTS, CompareOperator.EQUAL, 1)
        return Transaction((compare,), operations(), operations())

    def command() -> Command:
        key = Idempotency(f"key-{chance.randrange(60)}", b"f") if chance.random() < 0.3 else None
        return Command(action(), key)

    return [
        encode_batch(
            number, [command() for _ in range(chance.choice([1, 2, chance.randrange(5 * READ_AHEAD_COMMANDS)]))], level
        )
        for number in range(entries)
    ]


def applied(entries: list[bytes], group: int) -> tuple[str, list[Outcome]]:
    """Apply `group` entries at a time; return the digest and all outcomes."""
    view, outcomes = MemoryView(), []
    for first in range(0, len(entries), group):
        overlay = Overlay(view)
        for number, data in enumerate(entries[first : first + group], first):
            outcomes += apply_batch(overlay, data, bytes([number]) * 32)
        view.commit(overlay.writes)
    return read_digest(view).hex(), outcomes


@pytest.mark.parametrize(("level", "entries", "value_bytes_max"), GOLDEN)
@pytest.mark.parametrize("group", [1, 7])
def test_history_has_the_digest_of_earlier_versions(level: int, entries: int, value_bytes_max: int, group: int) -> None:
    """Whatever is read ahead, and however entries are grouped: the same writes and outcomes."""
    digest, outcomes = applied(history(level, entries, value_bytes_max), group)
    codes = Counter(one.code for one in outcomes)
    # Otherwise the history would show nothing: these are the ways in which commands end.
    assert codes[Code.OK] > 10
    assert codes[Code.PRECONDITION_FAILED]
    assert codes[Code.COLLECTION_NOT_FOUND]
    assert bool(codes[Code.DEFERRED]) == (value_bytes_max > 100_000)
    assert digest == GOLDEN[level, entries, value_bytes_max]
