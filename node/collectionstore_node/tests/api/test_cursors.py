"""Cursors: opaque, bound to their list, and no other text is accepted as one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.api.http.cursors import decode_cursor, encode_cursor
from collectionstore_node.api.http.problems import Problem

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
