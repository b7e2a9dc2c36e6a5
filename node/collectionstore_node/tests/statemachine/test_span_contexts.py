"""Trace contexts in the log: carried, ignored by the state machine, and not there when nothing is sampled."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Command,
    CommandBatch,
    KeyRef,
    Put,
    decode_batch,
    encode_command,
    join_batch,
    span_contexts,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.levels import FIRST
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

COMMANDS = [Command(Put(KeyRef("bucket", key), b"value")) for key in ("a", "b")]
ENCODED = [encode_command(command) for command in COMMANDS]
CONTEXT = (1, bytes(range(24)))


def test_a_batch_without_contexts_has_not_a_byte_more() -> None:
    plain = bytes((FIRST,)) + msgspec.msgpack.encode((7, [(one.action, one.idempotency) for one in COMMANDS]))
    assert join_batch(7, ENCODED) == plain
    assert span_contexts(plain) == ()


def test_contexts_come_back_by_position() -> None:
    assert span_contexts(join_batch(7, ENCODED, [CONTEXT])) == (CONTEXT,)


def test_a_batch_means_the_same_with_contexts() -> None:
    """State, outcomes and the digest over them, with the same chain; and so for versions that know no contexts."""
    digests, outcomes = [], []
    for contexts in ((), (CONTEXT,)):
        overlay = Overlay(MemoryView())
        outcomes.append(apply_batch(overlay, join_batch(7, ENCODED, contexts), bytes(32)))
        digests.append(read_digest(overlay))
    assert digests[0] == digests[1]
    assert outcomes[0] == outcomes[1]
    assert decode_batch(join_batch(7, ENCODED, [CONTEXT])) == CommandBatch(7, tuple(COMMANDS))


@pytest.mark.parametrize(
    "third",
    [
        pytest.param(5, id="no-list"),
        pytest.param([[0, b"short"]], id="short"),
        pytest.param([[0, bytes(25)]], id="long"),
        pytest.param([["0", bytes(24)]], id="no-position"),
        pytest.param([[0]], id="no-context"),
    ],
)
def test_an_entry_is_not_refused_for_its_traces(third: object) -> None:
    data = bytes((FIRST,)) + msgspec.msgpack.encode((7, COMMANDS, third))
    assert span_contexts(data) == ()
    assert decode_batch(data) == CommandBatch(7, tuple(COMMANDS))


def test_what_a_later_version_adds_behind_is_skipped() -> None:
    data = bytes((FIRST,)) + msgspec.msgpack.encode((7, COMMANDS, [CONTEXT], "new"))
    assert span_contexts(data) == (CONTEXT,)


@given(st.binary(max_size=64))
def test_no_bytes_make_the_search_for_contexts_fail(data: bytes) -> None:
    assert isinstance(span_contexts(data), tuple)
    assert isinstance(span_contexts(bytes((FIRST, 0x93)) + data), tuple)
