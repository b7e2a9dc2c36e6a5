"""A store with access control enforced, and callers of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.current import calling
from collectionstore_node.access.modes import Mode
from collectionstore_node.service import Consistency, Store, StoreLimits
from collectionstore_node.service.operations import ANY, Delete, DocumentRef, FindDocuments, Put, Update, UpdateForm
from collectionstore_node.service.queries import parse_find
from collectionstore_node.service.results import Found, Outcome, ReadResult
from collectionstore_node.statemachine.access_commands import DeleteRole, PutRole
from collectionstore_node.statemachine.commands import Command, CreateCollection
from collectionstore_node.tests.api.memory_replica import MemoryReplica

NEW = Consistency.LINEARIZABLE
ADMIN = Caller("root", Method.CERTIFICATE, ("admin",))


class Scene:
    """A store in memory. Its roles are put by the replica, as a change of another member would come."""

    def __init__(self, mode: Mode = Mode.ENFORCED, limits: StoreLimits | None = None) -> None:
        self.replica = MemoryReplica()
        self.store = Store(self.replica, limits or StoreLimits(), access=mode)

    async def collection(self, name: str, documents: dict[str, dict[str, Any]] | None = None) -> None:
        """Create a collection with documents."""
        await self.replica.propose(Command(CreateCollection(name)), timeout_s=1)
        for document_id, document in (documents or {}).items():
            put = Put(DocumentRef(name, document_id), orjson.dumps(document))
            await self.replica.propose(Command(put), timeout_s=1)

    async def role(self, name: str, *rules: dict[str, Any]) -> None:
        """Create or replace a role."""
        body = orjson.dumps({"rules": rules})
        outcome = await self.replica.propose(Command(PutRole(name, body, missing=True)), timeout_s=1)
        assert outcome.code == 0, outcome

    async def drop_role(self, name: str) -> None:
        outcome = await self.replica.propose(Command(DeleteRole(name)), timeout_s=1)
        assert outcome.code == 0, outcome

    # Short forms of operations

    async def put(self, collection: str, document_id: str, document: object, *, key: str | None = None) -> Outcome:
        put = Put(DocumentRef(collection, document_id), orjson.dumps(document), ANY)
        return await self.store.write(put, key=key, timeout_s=1)

    async def delete(self, collection: str, document_id: str) -> Outcome:
        return await self.store.write(Delete(DocumentRef(collection, document_id)), key=None, timeout_s=1)

    async def update(self, collection: str, document_id: str, update: object, **fields: Any) -> Outcome:
        form = fields.pop("form", UpdateForm.OPERATORS)
        made = Update(DocumentRef(collection, document_id), form, orjson.dumps(update), **fields)
        return await self.store.write(made, key=None, timeout_s=1)

    async def read(self, collection: str, document_id: str, **fields: Any) -> dict[str, Any] | None:
        """Return a document by its ID, None if it is absent."""
        consistency = fields.get("consistency", NEW)
        found: ReadResult = await self.store.read(
            DocumentRef(collection, document_id), consistency=consistency, timeout_s=1
        )
        return None if found.stored is None else orjson.loads(found.stored.value)

    async def find(self, collection: str, filter_: Any = None, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
        """Return what a query finds: IDs and documents."""
        consistency = fields.pop("consistency", NEW)
        request = FindDocuments(collection, parse_find(filter_, **fields), None, 1000)
        page = await self.store.queries.find(request, show=_as_is, consistency=consistency, timeout_s=1)
        return [(one.id, orjson.loads(one.document)) for one in page.items]


def _as_is(found: Found) -> Found:
    return found


def caller(user: str, *roles: str) -> Caller:
    """Return a caller whose credential grants roles."""
    return Caller(user, Method.TOKEN, roles, credential=f"token-of-{user}")


@contextmanager
def by(user: str, *roles: str) -> Iterator[None]:
    """Run what is within as a user."""
    with calling(caller(user, *roles)):
        yield


def reads(*collections: str, **fields: Any) -> dict[str, Any]:
    """Return a rule that lets collections be read and watched."""
    return {"verbs": ["read", "watch"], "collections": list(collections), **fields}


def writes(*collections: str, **fields: Any) -> dict[str, Any]:
    """Return a rule that lets collections be read, watched and written, in transactions, too."""
    return {"verbs": ["read", "watch", "write", "transact"], "collections": list(collections), **fields}
