"""Restrictions against documents that no client can store, but that a member may forward."""

from __future__ import annotations

import pytest

from collectionstore_node.access.masks import mask_of
from collectionstore_node.access.rights import DocumentView, Grant
from collectionstore_node.access.roles import FieldMask
from collectionstore_node.access.stored_views import encode_view
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Code,
    CollectionView,
    Command,
    CompareField,
    CompareOperator,
    CreateCollection,
    DocumentRef,
    Get,
    Put,
    Restricted,
    Touch,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.commands import Compare as Guard
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

REF = DocumentRef("c", "a")
VIEW = encode_view(DocumentView((Grant(None, mask_of(FieldMask(show=("a",))), None),), ()))
DEEP = 950


@pytest.mark.parametrize(
    "text",
    [b"", b"7", b"{", b'{"b":' * DEEP + b"1" + b"}" * DEEP, b'{"b":' + b"[" * DEEP + b"]" * DEEP + b"}"],
    ids=["nothing", "a number", "a half", "objects", "arrays"],
)
def test_what_is_no_document_ends_no_replica(view: MemoryView, text: bytes) -> None:
    """It looks absent, and is not replaced."""
    views = (CollectionView("c", VIEW, VIEW),)
    value = Guard(REF, CompareField.VALUE, CompareOperator.GREATER, b"")
    actions = (
        Put(REF, b'{"a":1}'),
        Touch(REF, 60_000),
        Transaction((value,), (), (Get(REF),)),
    )
    commands = [Command(CreateCollection("c")), Command(Put(REF, text))]
    commands += [Command(Restricted(one, views)) for one in actions]
    outcomes = apply_batch(Overlay(view), encode_batch(0, commands, CHANGES), b"")
    assert [one.code for one in outcomes[2:]] == [Code.ACCESS_DOCUMENT, Code.NOT_FOUND, Code.OK]
    assert not outcomes[4].succeeded
