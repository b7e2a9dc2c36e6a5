"""The collections and buckets that a transaction names, for the audit log. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_node.service.operations import (
    Commit,
    DocumentRef,
    GuardedTransaction,
    Ref,
    Transaction,
)

TOUCHED_MAX: Final = 16
"""More are not named one by one."""


def touched(action: object) -> tuple[str, ...]:
    """Return them in order, each once, as `collection:NAME` and `bucket:NAME`; `...` stands for more than a few.

    Of an action that is no transaction nothing: its path names what it is about.
    """
    names = sorted(set(_names(action)))
    return (*names[:TOUCHED_MAX], "...") if len(names) > TOUCHED_MAX else tuple(names)


def _names(action: object) -> Iterator[str]:
    match action:
        case Transaction(compare, then, otherwise):
            for one in (*compare, *then, *otherwise):
                yield _name(one.ref)
        case GuardedTransaction(transaction, guards):
            yield from _names(transaction)
            for guard in guards:
                yield f"collection:{guard.query.collection}"
        case Commit(targets, queries, writes):
            for target in targets:
                yield _name(target.ref)
            for read in queries:
                yield f"collection:{read.query.collection}"
            for write in writes:
                yield _name(write.ref)


def _name(ref: Ref) -> str:
    return f"collection:{ref.collection}" if isinstance(ref, DocumentRef) else f"bucket:{ref.bucket}"
