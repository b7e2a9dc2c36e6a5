"""Cursors: opaque, bound to their list, and no other text is accepted as one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.api.http.cursors import (
    Place,
    decode_cursor,
    decode_place,
    encode_cursor,
    encode_place,
    is_pinned,
)
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.query.sorting import KEY_BYTES_MAX

NAMES = st.text(max_size=40).filter(lambda text: "\0" not in text)
SCOPES = st.tuples(st.sampled_from(["documents", "keys"]), NAMES, NAMES)


@given(SCOPES, st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_cursor_comes_back_in_its_own_listing(scope: tuple[str, ...], after: str) -> None:
    cursor = encode_cursor(scope, after)

    assert decode_cursor(scope, cursor) == after
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?#% ")


@given(SCOPES, SCOPES, st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_cursor_of_another_listing_is_refused(ours: tuple[str, ...], theirs: tuple[str, ...], after: str) -> None:
    if ours == theirs:
        return
    with pytest.raises(Problem) as caught:
        decode_cursor(ours, encode_cursor(theirs, after))
    assert caught.value.code == "invalid_cursor"


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
@settings(max_examples=200, deadline=None)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_cursor(("documents", "people", ""), text)
    assert caught.value.code == "invalid_cursor"


def test_a_cursor_of_another_version_says_so() -> None:
    scope = ("keys", "b", "")
    data = bytearray(base64.urlsafe_b64decode(encode_cursor(scope, "abcd") + "=="))
    data[0] = 2

    with pytest.raises(Problem, match="version"):
        decode_cursor(scope, base64.urlsafe_b64encode(data).decode().rstrip("="))


PLACES = st.builds(Place, st.binary(max_size=30), st.text(max_size=30), st.integers(0, 10_000), st.integers(0, 1 << 63))


@given(SCOPES, PLACES, st.binary(min_size=32, max_size=32))
@settings(max_examples=100, deadline=None)
def test_a_signed_cursor_has_its_place_and_revision(scope: tuple[str, ...], place: Place, key: bytes) -> None:
    cursor = encode_place(scope, place, key)

    assert decode_place(scope, cursor, key) == place
    assert is_pinned(cursor)
    for signing in (b"another key", None):
        with pytest.raises(Problem, match=r"another cluster|another version"):
            decode_place(scope, cursor, signing)


@given(SCOPES, PLACES)
@settings(max_examples=50, deadline=None)
def test_a_cursor_of_an_earlier_level_has_no_revision(scope: tuple[str, ...], place: Place) -> None:
    cursor = encode_place(scope, place, None)

    assert decode_place(scope, cursor, None) == place._replace(revision=0)
    assert not is_pinned(cursor)
    with pytest.raises(Problem, match="another version"):
        decode_place(scope, cursor, b"key")


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda data: base64.urlsafe_b64encode(data).decode()))
@settings(max_examples=200, deadline=None)
def test_any_other_text_is_no_signed_cursor(text: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_place(("find", "people", ""), text, b"key")
    assert caught.value.code == "invalid_cursor"


def test_the_longest_place_fits_into_a_cursor() -> None:
    """The longest key to sort by, and the longest ID."""
    place = Place(b"k" * KEY_BYTES_MAX, "\U0001f600" * 256, 10_000, 1 << 63)
    assert decode_place(("find",), encode_place(("find",), place, b"key"), b"key") == place
