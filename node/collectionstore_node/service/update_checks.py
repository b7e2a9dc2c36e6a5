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
from collectionstore_node.statemachine.costs import UPDATE_VALUES_MAX
from collectionstore_node.statemachine.updates import check_patterns

__all__ = ["Program", "check_patterns", "check_text", "upserted_id"]


def check(
    form: UpdateForm,
    body: Value,
    *,
    when: Value = None,
    array_filters: Value = None,
    pointers: tuple[str, str, str] = ("", "/when", "/array_filters"),
) -> tuple[Program | None, Condition | None]:
    """Return a checked update and its filter. Raises `InvalidPart`.

    `body` is ignored for a whole document and a delete. `pointers` are where body, filter and array filters are.
    """
    of_body, of_filter, of_array_filters = pointers
    condition = None if when is None else Condition(parse_filter(when, of_filter))
    if form is UpdateForm.REPLACE or form is UpdateForm.DELETE:
        if array_filters is not None:
            raise InvalidPart("invalid_update", of_array_filters, "array filters go with operators")
        return None, condition
    program = parse_update(
        Form(form),
        body,
        array_filters=array_filters,
        condition=condition,
        pointer=of_body,
        filters_pointer=of_array_filters,
    )
    return program, condition


def check_text(update: Update, pointers: tuple[str, str, str] = ("", "/when", "/array_filters")) -> Program | None:
    """Return the checked program of an update in JSON; None for a whole document and a delete. Raises `InvalidPart`."""
    body = update.body
    if update.form is UpdateForm.REPLACE or update.form is UpdateForm.DELETE:
        body = b""
    for text, pointer in zip((body, update.when, update.array_filters), pointers, strict=True):
        if sum(map(text.count, (b",", b"[", b"{"))) > UPDATE_VALUES_MAX:
            raise InvalidPart("invalid_update", pointer, f"an update has at most {UPDATE_VALUES_MAX} values")
    program, _ = check(
        update.form,
        orjson.loads(body) if body else None,
        when=orjson.loads(update.when) if update.when else None,
        array_filters=orjson.loads(update.array_filters) if update.array_filters else None,
        pointers=pointers,
    )
    return program


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
