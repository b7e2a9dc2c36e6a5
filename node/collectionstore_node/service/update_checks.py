"""Updates checked where they arrive: their text, their filters, and the ID that an upsert gives."""

from __future__ import annotations

import orjson
import uuid_utils

from collectionstore_node.documents.filters import parse_filter
from collectionstore_node.documents.updates import Condition, Form, Program, parse_update
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart
from collectionstore_node.query.find import Find
from collectionstore_node.query.spans import Ids
from collectionstore_node.service.idempotency import document_id_for
from collectionstore_node.service.operations import Update, UpdateForm, key_violation
from collectionstore_node.statemachine.costs import FILTER_BYTES_MAX, UPDATE_BYTES_MAX, UPDATE_VALUES_MAX
from collectionstore_node.statemachine.updates import check_patterns

__all__ = ["Program", "check_patterns", "check_text", "upserted_id"]


def check_text(update: Update, pointers: tuple[str, str, str] = ("", "/when", "/array_filters")) -> Program | None:
    """Return the checked program of an update in JSON; None for a whole document and a delete. Raises `InvalidPart`.

    `pointers` are where its body, its filter and its array filters are in the request. The state machine checks again
    (`statemachine.updates.parse`), and knows no places.
    """
    of_body, of_filter, of_array_filters = pointers
    whole = update.form is UpdateForm.REPLACE or update.form is UpdateForm.DELETE
    condition = None
    if update.when:
        condition = Condition(parse_filter(_json(update.when, FILTER_BYTES_MAX, of_filter), of_filter))
    filters = None
    if update.array_filters:
        filters = _json(update.array_filters, FILTER_BYTES_MAX, of_array_filters)
        if whole:
            raise InvalidPart("invalid_update", of_array_filters, "array filters go with operators")
    if whole:
        return None
    given = _json(update.body, UPDATE_BYTES_MAX, of_body)
    return parse_update(
        Form(update.form),
        given,
        array_filters=filters,
        condition=condition,
        pointer=of_body,
        filters_pointer=of_array_filters,
    )


def _json(text: bytes, bytes_max: int, pointer: str) -> Value:
    if len(text) > bytes_max or sum(map(text.count, (b",", b"[", b"{"))) > UPDATE_VALUES_MAX:
        raise InvalidPart(
            "invalid_update", pointer, f"at most {bytes_max} bytes and {UPDATE_VALUES_MAX} values are allowed here"
        )
    return orjson.loads(text)


def upserted_id(find: Find, collection: str, key: str | None) -> str:
    """Return the ID of the document that an upsert inserts: the one that the filter names, or a new one.

    Raises `InvalidPart` for a filter that names others.
    """
    if not isinstance(find.place, Ids):
        return str(uuid_utils.uuid7()) if key is None else document_id_for(collection, key)
    names = find.place.names
    violation = "is one, for an upsert" if len(names) != 1 else key_violation(names[0])
    if violation is not None:
        raise InvalidPart("invalid_filter", "/filter/_id", f"a document id {violation}")
    return names[0]
