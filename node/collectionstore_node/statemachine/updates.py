"""Updates: a document computed from what it is when the command is applied; from level `ENGINE` on.

An update that does not fit the document is an outcome, never an exception, and changes nothing. One that leaves the
document as it was writes nothing, so its revision stays. What it costs is counted into the entry, whether it succeeds
or not: text that is parsed, decoded and written, and steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from collectionstore_node.documents.updates import (
    BYTES_MAX,
    Budget,
    Condition,
    Failed,
    Fields,
    Form,
    Program,
    Reason,
    count_patterns,
    parse_condition,
    parse_update,
    too_deep,
)
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Code,
    DocumentRef,
    Expiring,
    Image,
    Item,
    Outcome,
    Put,
    Update,
    UpdateForm,
    refused_item,
)
from collectionstore_node.statemachine.conforming import REFUSALS, conform
from collectionstore_node.statemachine.costs import (
    FILTER_BYTES_MAX,
    PARSE_COST,
    PATTERN_COST_BYTES,
    TRANSACTION_PATTERNS_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_STEP_COST_BYTES,
    UPDATE_VALUES_MAX,
)
from collectionstore_node.statemachine.history import ChangeKind
from collectionstore_node.statemachine.indexing import Write, live, store
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.stored import NEVER, Expiry, decode_stored, expiry_of, with_expiry
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import allows, current_revision, next_record

_CODES: Final = {
    Reason.TYPE: Code.UPDATE_TYPE,
    Reason.PATH: Code.UPDATE_PATH,
    Reason.RANGE: Code.UPDATE_RANGE,
    Reason.CONFLICT: Code.UPDATE_CONFLICT,
    Reason.TEST: Code.UPDATE_TEST,
    Reason.SIZE: Code.UPDATE_SIZE,
    Reason.COST: Code.UPDATE_COST,
}

HANDED_BYTES_MAX: Final = 16 << 10
"""Of a larger document that a schema refuses the answer does not say what is wrong: answers share frames."""

_CACHED_BYTES_MAX: Final = 4 << 10
"""Longer updates are parsed each time."""


class Parsed(NamedTuple):
    """A checked update, None for a whole document and for a delete, and its filter, None if it has none."""

    program: Program | None
    condition: Condition | None


class Change(NamedTuple):
    """What an update makes of a document."""

    before: bytes | None
    """Its text, None if it is absent."""
    after: bytes | None
    """The same for the new one."""
    changed: bool
    mark: str = ""
    """SCHEMA_WARNING if the schema of the collection does not allow the new one."""


class Refused(NamedTuple):
    """Why it makes nothing of it. `position` is that of the part at fault."""

    code: Code
    position: int | None = None
    document: bytes | None = None
    """Text of the document that a schema refuses, if it is small."""


def parse(update: Update) -> Parsed:
    """Return what an update says. Raises `InvalidRequest` for one that is invalid in any state."""
    key = (update.form, update.body, update.array_filters, update.when)
    # The same update comes again for each document that it is for. The bounds come first: they bound the cost.
    if len(update.when) > FILTER_BYTES_MAX or len(update.array_filters) > FILTER_BYTES_MAX:
        raise InvalidRequest("invalid_update", f"a filter has at most {FILTER_BYTES_MAX} bytes")
    if update.form is UpdateForm.DELETE and update.body:
        raise InvalidRequest("invalid_update", "a delete has no body")
    if update.form is UpdateForm.REPLACE:
        key = (update.form, b"", update.array_filters, update.when)
    if sum(map(len, key[1:])) <= _CACHED_BYTES_MAX:
        return _parse_cached(*key)
    return _parse(*key)


def check_patterns(updates: Iterable[Update]) -> None:
    """Refuse the updates of a transaction that have too many patterns together. Raises `InvalidRequest`.

    BEFORE they are compiled, which takes longer than all else: `parse` bounds those of one update.
    """
    count = 0
    for update in updates:
        for text in (update.body, update.array_filters, update.when):
            # The name of the operator may be written with escapes.
            if b"regex" in text or b"\\u" in text:
                count += count_patterns(_json(text, max(UPDATE_BYTES_MAX, FILTER_BYTES_MAX)))
    if count > TRANSACTION_PATTERNS_MAX:
        raise InvalidRequest(
            "invalid_update", f"the updates of a transaction have at most {TRANSACTION_PATTERNS_MAX} patterns together"
        )


def _parse(form: UpdateForm, body: bytes, array_filters: bytes, when: bytes) -> Parsed:
    condition = parse_condition(_json(when, FILTER_BYTES_MAX), "/when") if when else None
    if form >= UpdateForm.REPLACE:
        if array_filters:
            raise InvalidRequest("invalid_update", "array filters go with operators")
        return Parsed(None, condition)
    filters = _json(array_filters, FILTER_BYTES_MAX) if array_filters else None
    given = _json(body, UPDATE_BYTES_MAX)
    return Parsed(parse_update(Form(form), given, array_filters=filters, condition=condition), condition)


_parse_cached = lru_cache(maxsize=64)(_parse)


def _json(text: bytes, bytes_max: int) -> object:
    if len(text) > bytes_max or sum(map(text.count, (b",", b"[", b"{"))) > UPDATE_VALUES_MAX:
        raise InvalidRequest(
            "invalid_update", f"an update has at most {bytes_max} bytes and {UPDATE_VALUES_MAX} values"
        )
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRequest("malformed_json", "the update is not valid JSON") from None
    if too_deep(value):
        raise InvalidRequest("nesting_too_deep", "an update is nested at most 100 deep")
    return value


def change(overlay: Overlay, update: Update, record: bytes | None) -> Change | Refused:
    """Return what `update` makes of a stored record, None if there is none. Its cost is counted in `overlay`."""
    budget = Budget(update.bytes_max or BYTES_MAX)
    texts = (update.body, update.array_filters, update.when)
    overlay.cost += PARSE_COST * sum(map(len, texts))
    current = current_revision(record)
    if not allows(update.precondition, current) or (update.unchanged_since and current > update.unchanged_since):
        return Refused(Code.PRECONDITION_FAILED)
    try:
        # Again, although the proposer has: what it checked, or was, is not known here.
        parsed = parse(update)
        if overlay.level < CHANGES and parsed.program is not None and parsed.program.has_bits:
            return Refused(Code.INVALID_UPDATE)  # as programs that do not know it
        overlay.cost += PATTERN_COST_BYTES * sum(part.patterns for part in parsed if part is not None)
        return _changed(parsed, update, record, current, budget)
    except InvalidRequest:
        return Refused(Code.INVALID_UPDATE)
    except Failed as failed:
        return Refused(_CODES[failed.reason], failed.position)
    finally:
        overlay.cost += budget.read_bytes + budget.written_bytes + UPDATE_STEP_COST_BYTES * budget.steps


def computed(overlay: Overlay, catalog: Catalog, update: Update, record: bytes | None) -> Change | Refused:
    """Do as `change`, unless the update names what its caller does not see: its outcome would tell of it."""
    restrictions = catalog.restrictions
    if restrictions is not None and record is not None and not restrictions.may_compute(update, record):
        return Refused(Code.ACCESS_FIELDS)
    return change(overlay, update, record)


def _changed(parsed: Parsed, update: Update, record: bytes | None, current: int, budget: Budget) -> Change | Refused:
    program, condition = parsed
    if record is None:
        if not update.upsert or update.form is UpdateForm.DELETE:
            return Refused(Code.NOT_FOUND)
        new = update.body if program is None else program.insert(budget, time_ms=update.time_ms)
        return Change(None, new, changed=True)
    before = decode_stored(record).value
    fields = None
    if program is not None or condition is not None:
        fields = Fields(before, budget)
        if condition is not None and not condition.holds(fields, update.ref.id, current, budget):
            return Refused(Code.CONDITION_FAILED)
    if update.form is UpdateForm.DELETE:
        return Change(before, None, changed=True)
    if program is None or fields is None:
        # As a put: it takes a new revision, also if it is the same text.
        return Change(before, update.body, changed=True)
    after = program.run(fields, budget, time_ms=update.time_ms)
    return Change(before, before if after is None else after, changed=after is not None)


def conformed(overlay: Overlay, catalog: Catalog, ref: DocumentRef, made: Change | Refused) -> Change | Refused:
    """Return a change as the options of its collection make it, or why they refuse it."""
    if not catalog.configured or isinstance(made, Refused) or made.after is None or not made.changed:
        return made
    conforming = conform(overlay, catalog, ref, made.after, created=made.before is None)
    if isinstance(conforming, Code):
        handed = conforming in REFUSALS and len(made.after) <= HANDED_BYTES_MAX
        return Refused(conforming, document=made.after if handed else None)
    return made._replace(after=conforming.text, mark=conforming.mark)


def hand_refused(refused: Refused, values: list[Item] | None) -> None:
    """Give the member that answers the document that a schema refuses, from which it finds out what is wrong."""
    if values is not None and refused.document is not None:
        values.append(Item(0, value=refused.document))


def updated_record(
    update: Update | Put, made: Change, revision: int, record: bytes | None, expiry: Expiry | None
) -> bytes | None:
    """Return the record that a change stores, None if it deletes the document.

    Without an `expiry` a changed document keeps its own; one that replaces it has none, as behind a put.
    """
    if made.after is None:
        return None
    if record is not None and not made.changed:
        return record if expiry is None else with_expiry(record, expiry)
    if expiry is None:
        replaced = isinstance(update, Put) or update.form is UpdateForm.REPLACE
        expiry = NEVER if record is None or replaced else expiry_of(record)
    return next_record(Put(update.ref, made.after), revision, record, expiry)


def change_kind(update: Update) -> ChangeKind | None:
    """Return what the history says of an update of a document that stays; None for one that replaces it."""
    return None if update.form >= UpdateForm.REPLACE else ChangeKind.UPDATE


def item_of(made: Change, revision: int, current: int) -> Item:
    """Return the result of a change; `current` is the revision of the document before it, 0 if it was absent."""
    if made.after is None:
        return Item(0, previous_revision=current)
    return Item(
        revision if made.changed else current, made.before is None, previous_revision=current, content_type=made.mark
    )


def apply_update(
    overlay: Overlay,
    catalog: Catalog,
    update: Update,
    revision: int,
    values: list[Item] | None,
    expiring: Expiring | None = None,
) -> Outcome:
    """Apply an update at `revision`, or change nothing and return the reason as the outcome.

    The outcome holds no text. `values`, unless None, takes the item with the image that the update asks for.
    """
    key = catalog.key(update.ref)
    if key is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    record = overlay.get(key)
    if record is not None:
        record = live(overlay, catalog, update.ref, key, record)
    current = current_revision(record)
    made = conformed(overlay, catalog, update.ref, computed(overlay, catalog, update, record))
    if isinstance(made, Refused):
        hand_refused(made, values)
        return Outcome(made.code, revision, current_revision=current, failed_operation=made.position)
    expiry = catalog.expiry(update.ref, expiring, record)
    if isinstance(expiry, Code):
        return Outcome(expiry, revision, current_revision=current)
    if made.changed or expiring is not None:
        new = updated_record(update, made, revision, record, expiry)
        by_index = store(overlay, catalog, (Write(update.ref, key, record, new, change_kind(update)),))
        if by_index is not None:
            items = (refused_item(by_index.by),)
            return Outcome(by_index.code, revision, current_revision=current, items=items)
    item = item_of(made, revision, current)
    image = {Image.NONE: None, Image.BEFORE: made.before, Image.AFTER: made.after}[update.image]
    if image is not None:
        # Held until it is answered, with those of the entry's other commands.
        overlay.cost += len(image)
        if values is not None:
            values.append(Item(item.revision, item.created, image, item.previous_revision, item.content_type))
    return Outcome(Code.OK, revision, item.created, current, items=(item,))
