"""The key layout keeps order and prefixes whatever the texts are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine import keys

# Lone surrogates are no text; few and awkward characters, so that examples often share prefixes.
texts = st.text(st.sampled_from("\0\x01ab\x7f\x80\xff\u07ff\uffff\U00010000\U0010ffff"), max_size=6) | st.text(
    max_size=6
)
numbers = st.integers(0, 2**64 - 1)


@settings(deadline=None)
@given(numbers, texts, numbers, texts)
def test_document_keys_sort_by_collection_then_id(left: int, left_id: str, right: int, right_id: str) -> None:
    """Byte order of the keys is the order of (number, text by code points)."""
    left_key = keys.documents_prefix(left) + left_id.encode()
    right_key = keys.documents_prefix(right) + right_id.encode()
    assert (left_key < right_key) == ((left, left_id) < (right, right_id))
    assert (left_key == right_key) == ((left, left_id) == (right, right_id))


@settings(deadline=None)
@given(texts, texts, texts, texts)
def test_raw_keys_sort_by_bucket_then_key(left: str, left_key: str, right: str, right_key: str) -> None:
    """Escaping keeps the order of buckets, also with zeros in them, and lets no bucket run into another."""
    one = keys.bucket_prefix(left) + left_key.encode()
    other = keys.bucket_prefix(right) + right_key.encode()
    assert (one < other) == ((left, left_key) < (right, right_key))
    assert (one == other) == ((left, left_key) == (right, right_key))


@settings(deadline=None)
@given(texts, texts)
def test_escaped_texts_are_never_prefixes_of_each_other(left: str, right: str) -> None:
    """What follows an escaped part can not be taken for a part of it."""
    assert left == right or not keys.escaped(left).startswith(keys.escaped(right))


@settings(deadline=None)
@given(texts, texts, texts)
def test_prefix_range_holds_exactly_the_keys_with_the_prefix(bucket: str, prefix: str, key: str) -> None:
    """A range scan needs no filter afterwards."""
    lo = keys.bucket_prefix(bucket) + prefix.encode()
    inside = lo <= keys.bucket_prefix(bucket) + key.encode() < keys.prefix_end(lo)
    assert inside == key.startswith(prefix)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=4).filter(lambda prefix: set(prefix) != {255}), st.binary(max_size=6))
def test_prefix_end_is_exact_for_any_bytes(prefix: bytes, key: bytes) -> None:
    """Also with FF at the end, which no text has, but a number may."""
    assert (prefix <= key < keys.prefix_end(prefix)) == key.startswith(prefix)


@settings(deadline=None)
@given(st.binary(max_size=4), st.binary(max_size=4))
def test_successor_leaves_no_room(key: bytes, other: bytes) -> None:
    """Nothing lies between a key and its successor."""
    assert key < keys.successor(key)
    assert not key < other < keys.successor(key)


@settings(deadline=None)
@given(numbers, texts)
def test_last_text_gives_the_id_back(collection_id: int, document_id: str) -> None:
    prefix = keys.documents_prefix(collection_id)
    assert keys.last_text(prefix + document_id.encode(), prefix) == document_id


LAYOUT = [value for name, value in vars(keys).items() if isinstance(value, bytes) and not name.startswith("_")]


def test_families_are_distinct() -> None:
    """No key of one kind can be another's."""
    families = [value for value in LAYOUT if len(value) == 1]
    assert {keys.META, keys.DOCUMENTS, keys.HISTORY, keys.USERS} < set(families)
    assert len(set(families)) == len(families)


def test_nothing_sorts_before_the_header() -> None:
    """A backup, or a snapshot, takes revision and level from the first record of the state."""
    assert min(LAYOUT) == keys.META
    assert min(value for value in LAYOUT if len(value) > 1) == keys.HEADER_KEY


def test_layout_is_the_documented_one() -> None:
    """Written stores depend on these bytes: a difference here is a new format."""
    assert keys.HEADER_KEY == b"\x01header"
    assert keys.MEMBERSHIP_KEY == b"\x01membership"
    assert keys.collection_key("users") == b"\x02users"
    assert keys.documents_prefix(258) == b"\x03\x00\x00\x00\x00\x00\x00\x01\x02"
    assert keys.bucket_prefix("a\0b") == b"\x04a\x00\xffb\x00\x01"
    assert keys.idempotency_key("k") == b"\x05k"
    assert keys.queue_key(1) == b"\x06\x00\x00\x00\x00\x00\x00\x00\x01"
