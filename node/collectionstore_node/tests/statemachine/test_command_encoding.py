"""Commands and outcomes survive the log and the wire."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    CommandBatch,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    Delete,
    DocumentRef,
    DropCollection,
    Get,
    Idempotency,
    Item,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Transaction,
    decode_batch,
    decode_command,
    decode_outcome,
    encode_batch,
    encode_command,
    encode_outcome,
)
from collectionstore_node.statemachine.levels import FIRST, HIGHEST

numbers = st.integers(0, 2**64 - 1)
texts = st.text(max_size=5)
blobs = st.binary(max_size=5)
refs = st.builds(DocumentRef, texts, texts) | st.builds(KeyRef, texts, texts)
preconditions = st.builds(Precondition, st.none() | st.booleans(), st.none() | st.lists(numbers, max_size=2).map(tuple))
puts = st.builds(Put, refs, blobs, preconditions, texts)
operations = st.lists(puts | st.builds(Delete, refs, preconditions) | st.builds(Get, refs), max_size=3).map(tuple)
compares = st.builds(Compare, refs, st.sampled_from(CompareField), st.sampled_from(CompareOperator), numbers | blobs)
actions = (
    puts
    | st.builds(Delete, refs, preconditions)
    | st.builds(CreateCollection, texts)
    | st.builds(DropCollection, texts)
    | st.builds(Transaction, st.lists(compares, max_size=2).map(tuple), operations, operations)
)
commands = st.builds(Command, actions, st.none() | st.builds(Idempotency, texts, blobs))
items = st.builds(Item, numbers, st.booleans(), st.none() | blobs, numbers, texts)
outcomes = st.builds(
    Outcome,
    st.sampled_from(Code),
    numbers,
    st.booleans(),
    numbers,
    st.booleans(),
    st.lists(items, max_size=3).map(tuple),
    st.booleans(),
    st.none() | numbers,
)


@settings(deadline=None)
@given(numbers, st.lists(commands, max_size=3))
def test_batch_round_trip(time_ms: int, given_commands: list[Command]) -> None:
    assert decode_batch(encode_batch(time_ms, given_commands)) == CommandBatch(time_ms, tuple(given_commands))


@settings(deadline=None)
@given(commands)
def test_command_round_trip(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


@settings(deadline=None)
@given(outcomes)
def test_outcome_round_trip(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


def test_fields_added_later_have_defaults() -> None:
    """An entry written before a field existed can still be read."""
    short = msgspec.msgpack.encode([[1, [2, "b", "k"], b"v"]])
    assert decode_command(short) == Command(Put(KeyRef("b", "k"), b"v"))


@pytest.mark.parametrize(
    "command", [Delete(KeyRef("b", "\ud800")), Delete(KeyRef("b", "k"), Precondition(None, (2**64,)))]
)
def test_what_the_log_cannot_hold_is_refused_at_once(command: Delete) -> None:
    """Lone surrogates and numbers beyond 64 bits never reach the log."""
    with pytest.raises((UnicodeEncodeError, OverflowError)):
        encode_command(Command(command))


def test_text_that_is_not_utf8_is_a_decode_error_too() -> None:
    """Bytes from a peer: `DecodeError` is the only exception."""
    data = encode_command(Command(Delete(KeyRef("bucket", "k")))).replace(b"bucket", b"bucke\xff")
    with pytest.raises(msgspec.DecodeError):
        decode_command(data)


@pytest.mark.parametrize("data", [b"", bytes((HIGHEST + 1,)), bytes((FIRST,)), bytes((FIRST,)) + b"\x90"])
def test_anything_else_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(data)
