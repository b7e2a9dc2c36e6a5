"""A single write, alone or inside a transaction: its precondition and the record that it stores. Reads no view."""

from __future__ import annotations

from collectionstore_node.statemachine.commands import Precondition, Put
from collectionstore_node.statemachine.stored import NEVER, Expiry, encode_stored, revisions_of


def current_revision(record: bytes | None) -> int:
    """Return the revision of the last write of a stored record, 0 if there is none."""
    return 0 if record is None else revisions_of(record)[0]


def allows(precondition: Precondition, current: int) -> bool:
    """Whether a target whose revision is `current` (0 if absent) meets the precondition."""
    exists, revisions = precondition.exists, precondition.revisions
    if exists is not None and exists != (current != 0):
        return False
    # An absent target has revision 0, which must not match a client that lists 0.
    return revisions is None or (current != 0 and current in revisions)


def next_record(put: Put, revision: int, previous: bytes | None, expiry: Expiry = NEVER) -> bytes:
    """Return the record that `put` stores at `revision`; it keeps the creation revision of the `previous` one."""
    created_revision = revision if previous is None else revisions_of(previous)[1]
    return encode_stored(revision, created_revision, put.value, put.content_type, expiry)
