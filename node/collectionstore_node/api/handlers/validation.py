"""A check of documents against the schema of a collection, or against one that may become it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from collectionstore_node.api.handlers.read_answers import NO_CACHE
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.json_bodies import decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import check_key, collection_name
from collectionstore_node.service.limits import SCHEMA_BYTES_MAX
from collectionstore_node.service.operations import Schema, ValidateDocuments, parse_options

DOCUMENTS: Final = 10_000
SHOWN: Final = 20


class ValidationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""

    schema: Any = None
    """What `schema` is among the options; null for that of the collection."""
    after: str | None = None
    """The ID behind which to begin."""
    limit: int = DOCUMENTS
    """How many documents are checked at most."""
    show: int = SHOWN
    """Of how many the answer says what is wrong."""
    document: dict[str, Any] | None = None
    """A document that is not stored: it is checked, and no other one."""


class _Draft(msgspec.Struct, frozen=True):
    """The document of the body as it was sent: its numbers are those that are to be checked."""

    document: msgspec.Raw = msgspec.Raw()


async def validate(call: Call) -> Answer:
    """Check documents against the schema of their collection, or against the one in the body."""
    collection = collection_name(call.arguments[0])
    limits = call.api.limits
    rules = Rules(limits.depth_max, names_depth=0)
    store = call.api.store
    bytes_max = store.limits.document_bytes_max + SCHEMA_BYTES_MAX + limits.control_bytes_max
    text = await call.json_text(bytes_max, rules)
    body = decode(text, ValidationRequest)
    draft = None if body.document is None else bytes(decode(text, _Draft).document)
    schema: Schema | None = None
    if body.schema is not None:
        options = await store.options.parsed(lambda: parse_options({"schema": body.schema}), timeout_s=call.timeout_s)
        schema = options.schema
    after = None if body.after is None else check_key(body.after, limits.key_bytes_max, "document id")
    request = ValidateDocuments(collection, schema, after, body.limit, body.show, draft)
    found = await store.validation.check(request, consistency=call.options.consistency, timeout_s=call.timeout_s)
    members = {
        "checked": found.checked,
        "invalid": found.invalid,
        "documents": [
            {"id": one.id, "revision": one.revision, "errors": [error._asdict() for error in one.violations]}
            for one in found.documents
        ],
        "next_after": found.next_after,
        "version": found.version or None,
        "revision": found.revision,
    }
    return json_answer(members, headers=revision_line(found.revision) + NO_CACHE)
