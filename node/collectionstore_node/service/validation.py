"""`Validation`: documents against the schema of a collection, or against one that may become it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from time import monotonic
from typing import Final, TypeVar

from collectionstore_node.errors import InvalidPart
from collectionstore_node.schemas import compile_schema
from collectionstore_node.service.configuration import configured_of, violations_in
from collectionstore_node.service.door import Door
from collectionstore_node.service.operations import ReadConsistency, Schema, ValidateDocuments
from collectionstore_node.service.past import in_thread
from collectionstore_node.service.queries import Queries
from collectionstore_node.service.results import InvalidDocument, Validated
from collectionstore_node.statemachine.costs import SCHEMA_STEPS_MAX
from collectionstore_node.statemachine.reads import scan_documents

T = TypeVar("T")
_Steps = Generator[None, None, T]
_Text = tuple[str, int, bytes]
"""ID, revision and JSON of a document."""

PAUSE_STEPS: Final = 100_000
"""Steps of schemas between two pauses, and bytes, of which each counts as one: a few milliseconds."""
DOCUMENT_STEPS: Final = 200
"""What a document counts besides."""
TIME_SHARE: Final = 0.5
"""The part of its time after which a request ends with what it has checked."""


class Validation:
    """Checks of documents that are stored, or may be: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_queries")

    def __init__(self, door: Door, queries: Queries) -> None:
        self._door = door
        self._queries = queries

    async def check(self, request: ValidateDocuments, *, consistency: ReadConsistency, timeout_s: float) -> Validated:
        """Check documents in the order of their IDs, as many as the request allows and half of its time.

        Of a request with a draft that alone, as one without ID and revision.

        Raises `InvalidRequest("collection_not_found")`, `InvalidPart("invalid_schema")` if there is no schema, and
        `ReadTimedOut`.
        """
        door, clock = self._door, asyncio.get_running_loop().time
        deadline, due = clock() + timeout_s, monotonic() + TIME_SHARE * timeout_s
        await door.view(request, consistency, timeout_s)

        def begin() -> _Steps[Validated]:
            # In one turn of the loop: rights, documents, options and revision are of one state.
            door.asked(request)
            replica = door.replica
            configured, revision = configured_of(replica.view, request.collection), replica.revision
            schema = request.schema or configured.options.schema
            if schema is None:
                raise InvalidPart("invalid_schema", "/schema", "the collection has no schema: give one to try")
            if request.draft is not None:
                return self._run(request, schema, iter([("", 0, request.draft)]), revision, due)
            found = scan_documents(replica.view, request.collection, after=request.after)
            texts = ((one.id, one.stored.revision, one.stored.value) for _, one in found)
            return self._run(request, schema, texts, revision, due)

        return await in_thread(door, self._queries.thread, begin, timeout_s=deadline - clock())

    def _run(
        self,
        request: ValidateDocuments,
        schema: Schema,
        found: Iterator[_Text],
        revision: int,
        due: float,
    ) -> _Steps[Validated]:
        compiled = compile_schema(schema.text)
        result = Validated(revision=revision, version=schema.version)
        work, last = 0, request.after
        for document_id, document_revision, text in found:
            # With what would come next: a page that ends with the last document has no next one.
            if result.checked == request.limit or monotonic() >= due:
                result.next_after = last
                break
            last = document_id
            result.checked += 1
            violations = violations_in(compiled, schema, text)
            if violations:
                result.invalid += 1
                if len(result.documents) < request.shown:
                    result.documents.append(InvalidDocument(document_id, document_revision, violations))
            work += DOCUMENT_STEPS + len(text) + min(compiled.steps(text), SCHEMA_STEPS_MAX)
            if work >= PAUSE_STEPS:
                work = 0
                yield
        return result
