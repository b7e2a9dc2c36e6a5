"""What is wrong with a document: where, by which keyword, and what the schema allows there.

Nothing of the document but the names on the way to the place: answers and logs hold no content.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

import jsonschema_rs
import orjson

from collectionstore_node.documents.pointers import child

VIOLATIONS_MAX: Final = 32
ALLOWED_CHARACTERS_MAX: Final = 256
"""Of what the schema says at a place."""
POINTER_CHARACTERS_MAX: Final = 1_024

_SENTENCES: Final = {
    "anyOf": "none of the schemas in anyOf allows it",
    "oneOf": "exactly one of the schemas in oneOf must allow it",
    "not": "the schema in not must not allow it",
    "contains": "too few or too many elements are as contains says",
    "falseSchema": "nothing is allowed here",
    "uniqueItems": "elements must be different",
    "additionalProperties": "a member has no property in the schema",
    "unevaluatedProperties": "a member has no property in the schema",
    "unevaluatedItems": "an element has no place in the schema",
    "propertyNames": "a member's name is not allowed",
}


class Violation(NamedTuple):
    """One violation."""

    pointer: str
    """Where in the document (RFC 6901)."""
    keyword: str
    detail: str
    """What is allowed there."""


def violations_of(errors: Iterable[jsonschema_rs.ValidationError], schema: Any) -> list[Violation]:
    """Return the first VIOLATIONS_MAX of `errors`, of a document against `schema`."""
    found = [_violation(error, schema) for error in islice(errors, VIOLATIONS_MAX)]
    return sorted(set(found))


def _violation(error: jsonschema_rs.ValidationError, schema: Any) -> Violation:
    pointer = ""
    for name in error.instance_path:
        pointer = child(pointer, name)
    path = error.schema_path
    keyword = str(path[-1]) if path else "false"
    kind = error.kind
    match kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            return _made(child(pointer, name), "required", "this member is required")
        case jsonschema_rs.ValidationErrorKind.FalseSchema():
            return _made(pointer, "false", _SENTENCES["falseSchema"])
        case (
            jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names)
            | jsonschema_rs.ValidationErrorKind.UnevaluatedProperties(unexpected=names)
        ) if names:
            return _made(child(pointer, names[0]), keyword, _SENTENCES["additionalProperties"])
    sentence = next((_SENTENCES[part] for part in (kind.name, keyword) if part in _SENTENCES), "")
    return _made(pointer, keyword, sentence or f"allowed: {keyword} {_allowed(schema, path)}")


def _made(pointer: str, keyword: str, detail: str) -> Violation:
    return Violation(pointer[:POINTER_CHARACTERS_MAX], keyword, detail)


def _allowed(schema: Any, path: list[str | int]) -> str:
    """Return what the schema says at `path`, shortened."""
    for name in path:
        try:
            schema = schema[name]
        except (KeyError, IndexError, TypeError):
            return "as the schema says"
    text = orjson.dumps(schema).decode()
    return text if len(text) <= ALLOWED_CHARACTERS_MAX else text[:ALLOWED_CHARACTERS_MAX] + "..."
