"""The records that changes have left, also where the history leaves them out (`history.OMITTED`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import KeyRef, Ref
from collectionstore_node.statemachine.history import OMITTED, Change, scan_changes, scan_entries
from collectionstore_node.statemachine.keys import bucket_prefix, documents_prefix, successor_prefix
from collectionstore_node.statemachine.stored import revisions_of
from collectionstore_node.statemachine.view import View

SOME_BYTES: Final = 256 << 10
"""Of changes that are read together, before their large records are looked for."""
CHANGE_BYTES: Final = 256
"""What a change counts beside its records."""


def whole_changes(view: View, after: int, until: int) -> Iterator[Change]:
    """Do as `scan_changes`, with the large records behind changes as well, wherever they are.

    Some at a time: `view` may have one cursor, with which a scan ends at the next read.
    """
    met, found = Met(view), _some_changes(view, after, until)
    while found:
        for change in found:
            omitted = change.after == OMITTED
            yield msgspec.structs.replace(change, after=record_behind(view, change, met)) if omitted else change
        found = _some_changes(view, found[-1].revision, until)


def _some_changes(view: View, after: int, until: int) -> list[Change]:
    """Return the first changes, of whole commands; none at the end."""
    found: list[Change] = []
    size = 0
    for change in scan_changes(view, after, until):
        if size >= SOME_BYTES and change.revision != found[-1].revision:
            break
        found.append(change)
        size += CHANGE_BYTES + len(change.before or b"") + len(change.after or b"")
    return found


class Met:
    """The records that changes have met, as the history has them. Keeps those of the entry that was read last.

    What one entry has written is often written again by one entry: to decode that for each change would take the square
    of its size.
    """

    __slots__ = ("_records", "_view")

    def __init__(self, view: View) -> None:
        self._view = view
        self._records: dict[tuple[int, Ref], bytes] = {}

    def before(self, revision: int, ref: Ref) -> bytes | None:
        """Return what the command of a revision has met, None if the history does not have it."""
        found = self._records.get((revision, ref))
        if found is not None:
            return found
        entry = next(scan_entries(self._view, revision - 1), None)
        self._records = {}
        for one in () if entry is None else entry.changes:
            if one.ref is not None and one.before is not None:
                # The first: one that has expired is met before it is written anew.
                self._records.setdefault((one.revision, one.ref), one.before)
        return self._records.get((revision, ref))


def record_behind(view: View, change: Change, met: Met) -> bytes:
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
    found = met.before(next_revision, ref)
    if found is not None:
        return found
    raise InvariantViolated(f"the change of revision {next_revision} is not in the history, but follows another one")


def key_of(view: View, ref: Ref) -> bytes | None:
    """Return where a document or value is stored; None if its collection does not exist."""
    if isinstance(ref, KeyRef):
        return bucket_prefix(ref.bucket) + ref.key.encode()
    found = find_collection(view, ref.collection)
    return None if found is None else documents_prefix(found.id) + ref.id.encode()
