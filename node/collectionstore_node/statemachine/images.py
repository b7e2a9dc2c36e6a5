"""The records that changes have left, also where the history leaves them out (`history.OMITTED`)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import KeyRef, Ref
from collectionstore_node.statemachine.history import OMITTED, Change, scan_changes, scan_entries
from collectionstore_node.statemachine.keys import bucket_prefix, documents_prefix, successor_prefix
from collectionstore_node.statemachine.stored import revisions_of
from collectionstore_node.statemachine.view import View


def whole_changes(view: View, after: int, until: int) -> Iterator[Change]:
    """Do as `scan_changes`, with the large records behind changes as well, wherever they are."""
    for change in scan_changes(view, after, until):
        omitted = change.after == OMITTED
        yield msgspec.structs.replace(change, after=record_behind(view, change)) if omitted else change


def record_behind(view: View, change: Change) -> bytes:
    """Return the record that a change has left, where it is OMITTED; OMITTED if its collection was dropped since.

    It is that of now, or what the next change of the same key has met. `view` has the change. Raises what reading does.
    """
    ref = change.ref
    if ref is None:
        raise InvariantViolated("what a change of a collection has left is never omitted")
    key = key_of(view, ref)
    if key is None:
        return OMITTED
    record = view.get(key)
    if record is not None and revisions_of(record)[0] == change.revision:
        return record
    link = view.get(successor_prefix(change.revision) + key)
    if link is None:
        return OMITTED
    next_revision = int.from_bytes(link)
    for entry in scan_entries(view, next_revision - 1):
        for one in entry.changes:
            if one.revision == next_revision and one.ref == ref and one.before is not None:
                return one.before
        break
    raise InvariantViolated(f"the change of revision {next_revision} is not in the history, but follows another one")


def key_of(view: View, ref: Ref) -> bytes | None:
    """Return where a document or value is stored; None if its collection does not exist."""
    if isinstance(ref, KeyRef):
        return bucket_prefix(ref.bucket) + ref.key.encode()
    found = find_collection(view, ref.collection)
    return None if found is None else documents_prefix(found.id) + ref.id.encode()
