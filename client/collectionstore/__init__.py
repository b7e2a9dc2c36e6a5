"""Collection Store for its users: the Python client, and `csctl`. Imports neither the operator nor a storage node.

`AsyncClient` is for programs with an event loop, `Client` for those without. Names are imported when they are used, so
that `csctl` starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collectionstore.asynchronous.client import AsyncClient as AsyncClient
    from collectionstore.asynchronous.collection import AsyncCollection as AsyncCollection
    from collectionstore.asynchronous.coordination import AsyncLease as AsyncLease
    from collectionstore.asynchronous.coordination import AsyncLock as AsyncLock
    from collectionstore.asynchronous.cursor import AsyncCursor as AsyncCursor
    from collectionstore.asynchronous.kv import AsyncBucket as AsyncBucket
    from collectionstore.asynchronous.transaction import AsyncTransaction as AsyncTransaction
    from collectionstore.asynchronous.watch import AsyncWatch as AsyncWatch
    from collectionstore.models.bulk import DeleteMany as DeleteMany
    from collectionstore.models.bulk import DeleteOne as DeleteOne
    from collectionstore.models.bulk import InsertOne as InsertOne
    from collectionstore.models.bulk import ReplaceOne as ReplaceOne
    from collectionstore.models.bulk import UpdateMany as UpdateMany
    from collectionstore.models.bulk import UpdateOne as UpdateOne
    from collectionstore.models.documents import Document as Document
    from collectionstore.models.results import ChangeEvent as ChangeEvent
    from collectionstore.models.results import Found as Found
    from collectionstore.models.sessions import Session as Session
    from collectionstore.runtime.hooks import CallEvent as CallEvent
    from collectionstore.runtime.hooks import Hooks as Hooks
    from collectionstore.settings.options import Options as Options
    from collectionstore.settings.options import Tls as Tls
    from collectionstore.synchronous.client import Client as Client
    from collectionstore.synchronous.collection import Collection as Collection
    from collectionstore.synchronous.coordination import Lease as Lease
    from collectionstore.synchronous.coordination import Lock as Lock
    from collectionstore.synchronous.cursor import Cursor as Cursor
    from collectionstore.synchronous.kv import Bucket as Bucket
    from collectionstore.synchronous.transaction import Transaction as Transaction
    from collectionstore.synchronous.watch import Watch as Watch

_WHERE: Final = {
    "AsyncBucket": "asynchronous.kv",
    "AsyncClient": "asynchronous.client",
    "AsyncCollection": "asynchronous.collection",
    "AsyncCursor": "asynchronous.cursor",
    "AsyncLease": "asynchronous.coordination",
    "AsyncLock": "asynchronous.coordination",
    "AsyncTransaction": "asynchronous.transaction",
    "AsyncWatch": "asynchronous.watch",
    "Bucket": "synchronous.kv",
    "CallEvent": "runtime.hooks",
    "ChangeEvent": "models.results",
    "Client": "synchronous.client",
    "Collection": "synchronous.collection",
    "Cursor": "synchronous.cursor",
    "DeleteMany": "models.bulk",
    "DeleteOne": "models.bulk",
    "Document": "models.documents",
    "Found": "models.results",
    "Hooks": "runtime.hooks",
    "InsertOne": "models.bulk",
    "Lease": "synchronous.coordination",
    "Lock": "synchronous.coordination",
    "Options": "settings.options",
    "ReplaceOne": "models.bulk",
    "Session": "models.sessions",
    "Tls": "settings.options",
    "Transaction": "synchronous.transaction",
    "UpdateMany": "models.bulk",
    "UpdateOne": "models.bulk",
    "Watch": "synchronous.watch",
}
ASCENDING: Final = 1
DESCENDING: Final = -1

__all__ = ["ASCENDING", "DESCENDING", *_WHERE]


def __getattr__(name: str) -> Any:
    if (where := _WHERE.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{where}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
