"""The stored form of documents and raw values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.stored import Stored, decode_stored, encode_stored, revisions_of

revisions = st.integers(0, 2**64 - 1)


@settings(deadline=None)
@given(revisions, revisions, st.binary(max_size=40), st.text(max_size=8) | st.just("x" * 70_000))
def test_record_round_trip(revision: int, created_revision: int, value: bytes, content_type: str) -> None:
    """Any value and any content type, also one longer than any header should be."""
    record = encode_stored(revision, created_revision, value, content_type)
    assert decode_stored(record) == Stored(revision, created_revision, value, content_type)
    assert revisions_of(record) == (revision, created_revision)


def test_record_layout_is_stable() -> None:
    """Written stores depend on these bytes."""
    assert (
        encode_stored(2, 1, b"{}", "t")
        == bytes.fromhex("01" + "0000000000000002" + "0000000000000001" + "00000001") + b"t{}"
    )


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x02" + encode_stored(1, 1, b"{}")[1:]])
def test_unknown_record_stops_the_node(record: bytes) -> None:
    with pytest.raises(InvariantViolated, match="stored record"):
        decode_stored(record)
