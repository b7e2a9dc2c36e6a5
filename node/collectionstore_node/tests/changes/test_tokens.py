"""Tokens: a place and back, and nothing else is one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.changes import ALL, REVISION_MAX, Position, Tokens
from collectionstore_node.changes.tokens import TOKEN_CHARACTERS
from collectionstore_node.errors import InvalidRequest

TOKENS = Tokens("shop")
POSITIONS = st.builds(Position, st.integers(0, REVISION_MAX), st.integers(0, ALL))


@given(POSITIONS)
def test_a_token_is_its_place(position: Position) -> None:
    token = TOKENS.encode(position)

    assert TOKENS.decode(token) == position
    assert len(token) == TOKEN_CHARACTERS
    assert token.replace("-", "").replace("_", "").isalnum()


@given(POSITIONS, POSITIONS)
def test_places_compare_like_the_history(one: Position, other: Position) -> None:
    assert (one < other) == (tuple(one) < tuple(other))
    assert Position(one.revision, one.passed) <= Position(one.revision)


@given(POSITIONS, st.integers(0, TOKEN_CHARACTERS - 1), st.sampled_from("AZaz09-_.=\n\x00é"))
def test_a_damaged_token_is_refused(position: Position, at: int, character: str) -> None:
    token = TOKENS.encode(position)
    damaged = token[:at] + character + token[at + 1 :]

    if damaged == token:
        assert TOKENS.decode(damaged) == position
        return
    with pytest.raises(InvalidRequest) as refused:
        TOKENS.decode(damaged)
    assert refused.value.code == "invalid_token"


@pytest.mark.parametrize(
    "text", ["", "x", "A" * TOKEN_CHARACTERS, "A" * 10_000, "\r\nX-Injected: 1", "é" * 36, "٣" * 36]
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        TOKENS.decode(text)
    assert refused.value.code == "invalid_token"
    # Nothing of it is repeated: it would end in a log, or in a header.
    assert text not in refused.value.detail or not text


def test_a_token_of_another_cluster_is_told_apart() -> None:
    """A restore changes the ID of a cluster: its revisions mean other changes then."""
    token = Tokens("shop, before it was restored").encode(Position(7))

    with pytest.raises(InvalidRequest) as refused:
        TOKENS.decode(token)
    assert refused.value.code == "foreign_token"


def test_a_token_of_a_later_version_is_refused() -> None:
    data = bytearray(base64.urlsafe_b64decode(TOKENS.encode(Position(7))))
    data[0] += 1

    with pytest.raises(InvalidRequest):
        TOKENS.decode(base64.urlsafe_b64encode(bytes(data)).decode())
