"""Documents against the options of their collection: every write of one passes `conform` before its record is made.

What it costs is counted into the entry by what the document and the schema could take at most, whatever they took.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from collectionstore_node.documents.updates import too_deep
from collectionstore_node.schemas import DefaultsTooLarge, compile_schema
from collectionstore_node.statemachine.catalog import Catalog, OpenOptions
from collectionstore_node.statemachine.commands import SCHEMA_WARNING, Code, DocumentRef, Ref
from collectionstore_node.statemachine.costs import (
    PARSE_COST,
    SCHEMA_DEPTH_MAX,
    SCHEMA_STEP_COST_BYTES,
    SCHEMA_STEPS_MAX,
    SCHEMA_USE_COST,
)
from collectionstore_node.statemachine.options import SEQUENCE_MAX, Ids, Schema, SchemaMode
from collectionstore_node.statemachine.view import Overlay

REFUSALS: Final = (Code.SCHEMA_VIOLATION, Code.SCHEMA_COST, Code.SCHEMA_DEFAULTS)


class Conforming(NamedTuple):
    """A document that may be stored."""

    text: bytes
    """With the defaults of its schema."""
    mark: str = ""
    """SCHEMA_WARNING if its schema does not allow it."""


def conform(
    overlay: Overlay, catalog: Catalog, ref: Ref, text: bytes, *, created: bool, made: bool = False
) -> Conforming | Code:
    """Return the document to store under `ref`, or why it is refused. `catalog` has looked up its collection.

    `created` says that there is none before it, `made` that its ID was made by the state machine.
    """
    found = catalog.configured.get(ref.collection) if isinstance(ref, DocumentRef) else None
    if found is None or not isinstance(ref, DocumentRef):
        return Conforming(text)
    if created and not made and found.options.ids is Ids.SEQUENCE:
        return Code.ID_REFUSED
    schema = found.options.schema
    if schema is None or (schema.mode is SchemaMode.OFF and not schema.defaults):
        return Conforming(text)
    return _checked(overlay, found, schema, text)


def _checked(overlay: Overlay, found: OpenOptions, schema: Schema, text: bytes) -> Conforming | Code:
    compiled = found.compiled
    if compiled is None:
        overlay.cost += SCHEMA_USE_COST * len(schema.text)
        compiled = found.compiled = compile_schema(schema.text)
    strict, checks = schema.mode is SchemaMode.STRICT, schema.mode is not SchemaMode.OFF
    overlay.cost += PARSE_COST * len(text)
    document = _document(text)
    if document is None:
        # Not from a client: a member forwarded what is no document.
        return Code.SCHEMA_VIOLATION if strict else Conforming(text, SCHEMA_WARNING if checks else "")
    if schema.defaults:
        try:
            if compiled.fill(document):
                text = orjson.dumps(document)
                overlay.cost += len(text)
                if _deep(text, document):
                    return Code.SCHEMA_DEFAULTS
        except DefaultsTooLarge:
            return Code.SCHEMA_DEFAULTS
    if not checks:
        return Conforming(text)
    steps = compiled.steps(text)
    if steps > SCHEMA_STEPS_MAX:
        return Code.SCHEMA_COST if strict else Conforming(text, SCHEMA_WARNING)
    overlay.cost += SCHEMA_STEP_COST_BYTES * steps
    if compiled.conforms(document):
        return Conforming(text)
    return Code.SCHEMA_VIOLATION if strict else Conforming(text, SCHEMA_WARNING)


def _document(text: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return document if type(document) is dict and not _deep(text, document) else None


def _deep(text: bytes, document: Any) -> bool:
    """Whether a document is nested deeper than it may be: the stack of the validator is bounded by that."""
    # Few texts have so many brackets.
    return text.count(b"{") + text.count(b"[") > SCHEMA_DEPTH_MAX and too_deep(document, SCHEMA_DEPTH_MAX)


def next_number(last: int, start: int) -> int | None:
    """Return the number of a sequence behind `last`, 0 if there was none; None at its end."""
    number = max(last + 1, start)
    return number if number <= SEQUENCE_MAX else None
