"""The history: what every command of the last hours has changed, for watches and for reads of the past.

From level `CHANGES` on each entry writes one record: its time and its changes, each with the stored records before and
behind it. The key is the LAST revision of the entry, so that the changes behind a revision are one scan, also from the
middle of an entry. An entry whose commands change nothing has a record of its time alone, so that the time of every
revision is known.

The history is bounded by the replicated time and by bytes (`Limits`). Records are counted in segments: a segment ends
once it has so many bytes, or has lasted so long, and the oldest ones are dropped whole, as one range. So an entry pays
for its own record and a few comparisons, and now and then for one range, whatever the sizes of what goes.

A large record behind a change is not in it: it is the record of now, or the one that the next change of its key has
met. Which one that is, a key beside the history says, so that finding it takes three reads, however long ago it was.

Dropping a collection is one change, whatever the number of its documents: what they were is not kept, so the collection
cannot be read any more as it was before its drop.

Records follow from the writes that the digest covers, so they are not hashed again. Their sizes are in the
header, which is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import Code, DocumentRef, LimitHistory, Outcome, Ref
from collectionstore_node.statemachine.header import Header, History, read_header
from collectionstore_node.statemachine.keys import (
    HISTORY,
    SEGMENTS_KEY,
    SUCCESSORS,
    history_key,
    history_revision,
    prefix_end,
    successor_prefix,
)
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.stored import revisions_of
from collectionstore_node.statemachine.view import Overlay, View


class ChangeKind(enum.IntEnum):
    """What a change was."""

    INSERT = 0
    REPLACE = 1
    UPDATE = 2
    """A document was changed where it is, by operators or a patch."""
    DELETE = 3
    EXPIRE = 4
    CREATE_COLLECTION = 5
    DROP_COLLECTION = 6
    CREATE_INDEX = 7
    DROP_INDEX = 8
    CONFIGURE_COLLECTION = 9


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change of one document or raw value, or of a collection as a whole."""

    revision: int
    """Of the command."""
    position: int
    """Of the change within its command, from 0."""
    kind: ChangeKind
    ref: Ref | None
    """What was written; None for a change of a collection."""
    collection: str
    """Its collection; empty for a raw value."""
    before: bytes | None
    """The stored record before the change, None if there was none: of the document or value (`stored`), of the
    collection in the catalog, or of the index (`index_catalog.encode_indexes`)."""
    after: bytes | None
    """The same behind it; OMITTED where it is large, and was not looked for or is not there any more."""
    time_ms: int = 0
    """Replicated time of its entry."""


class Limits(NamedTuple):
    """How much is kept. Replicas with different limits would diverge: changing one needs a new feature level."""

    keep_ms: int = 6 * 60 * 60 * 1000
    """Age, in the replicated time, at which a segment is dropped."""
    bytes_max: int = 256 << 20
    """Keys and records of the whole history; the oldest segments are dropped beyond it."""
    segment_bytes: int = 4 << 20
    """A segment ends with the record that reaches this."""
    segment_ms: int = 20 * 60 * 1000
    """And with the entry that comes so long behind its first record."""


LIMITS: Final = Limits()
LIMIT_MIN_BYTES: Final = 8 << 20
"""The lowest bound that `LimitHistory` may set; the highest is that of LIMITS."""
INLINE_BYTES: Final = 1 << 10
"""A longer record behind a change is OMITTED from the history. Shorter ones are in it: to find one costs more than to
write it again."""
OMITTED: Final = b""
_SEGMENTS_MIN: Final = 4
"""A lower bound of the whole lowers that of a segment: at least so many there are."""

Row: TypeAlias = tuple[int, int, int, Ref | None, str, bytes | None, bytes | None]
"""The fields of a `Change` without its time, as they are stored; the collection is empty where `ref` has it."""


class Segment(NamedTuple):
    """A closed segment."""

    last: int
    """The revision that it ends with."""
    closed_ms: int
    """Replicated time at its end."""
    size_bytes: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """The record of an entry: its changes without their times, and without collections where `ref` has them."""

    time_ms: int
    changes: list[Change]


_KEY_BYTES: Final = len(history_key(0))
_REVISION_BYTES: Final = 8
_encode: Final = msgspec.msgpack.Encoder().encode
_entry_decoder: Final = msgspec.msgpack.Decoder(Entry)
_segments_decoder: Final = msgspec.msgpack.Decoder(list[Segment])


def begin(header: Header) -> list[Row] | None:
    """Return the list that takes the changes of an entry; None at a level without a history."""
    if header.level < CHANGES:
        return None
    if header.history is None:
        # The first entry of the level. Of what came before nothing is kept.
        header.history = History(header.revision, kept_ms=header.time_ms)
    return []


def keep(
    overlay: Overlay,
    header: Header,
    changes: list[Row],
    commands: int,
    key_of: Callable[[Ref], bytes | None],
    limits: Limits | None = None,
) -> bytes | None:
    """Count the changes of an entry in `header`, drop what is too old or too much, and return the record to store.

    `commands` is how many the entry has: without any it has no revision, and no record. Store the record with
    `Overlay.put_unhashed`, under the header's revision. `key_of` returns where a document or value is stored, None if
    its collection is gone. `limits` are LIMITS, except in tests.
    """
    limits = limits or LIMITS
    history, time_ms = header.history, header.time_ms
    if history is None:
        raise InvariantViolated("a state of this level has a history")
    if history.bytes_max:
        most = history.bytes_max
        limits = limits._replace(bytes_max=most, segment_bytes=min(limits.segment_bytes, most // _SEGMENTS_MIN))
    record = None
    if commands:
        linked = _omit(overlay, history.kept_after, changes, key_of)
        record = _encode((time_ms, changes))
        if not history.open_bytes:
            history.open_ms = time_ms
        size = _KEY_BYTES + len(record) + linked
        history.size_bytes += size
        history.open_bytes += size
    if (
        history.open_bytes >= limits.segment_bytes
        or (history.open_bytes and time_ms - history.open_ms >= limits.segment_ms)
        or (history.closed and time_ms - history.oldest_ms >= limits.keep_ms)
        or history.size_bytes > limits.bytes_max
    ):
        _tidy(overlay, header, history, limits)
        if history.kept_after == header.revision:
            return None  # the record alone was more than may be kept
    return record


def _omit(overlay: Overlay, kept: int, changes: list[Row], key_of: Callable[[Ref], bytes | None]) -> int:
    """Take the large records behind changes out of them, and link to the change each that was met; return their bytes.

    A record that was met is what an earlier change has left behind. Of those up to `kept` nothing is asked any more.
    """
    size = 0
    for at, (revision, position, kind, ref, collection, before, after) in enumerate(changes):
        if ref is None:
            continue
        if after is not None and len(after) > INLINE_BYTES:
            changes[at] = revision, position, kind, ref, collection, before, OMITTED
        if before is not None and len(before) > INLINE_BYTES:
            left, key = revisions_of(before)[0], key_of(ref)
            if left > kept and key is not None:
                link = successor_prefix(left) + key
                overlay.put_unhashed(link, revision.to_bytes(_REVISION_BYTES))
                size += len(link) + _REVISION_BYTES
    return size


def limit_history(header: Header, limit: LimitHistory, revision: int) -> Outcome:
    """Set another bound, which `keep` enforces at the end of the entry."""
    # Again, although the proposer has: what it checked, or was, is not known here.
    if header.history is None or not (limit.bytes_max == 0 or LIMIT_MIN_BYTES <= limit.bytes_max <= LIMITS.bytes_max):
        return Outcome(Code.INVALID_LIMIT, revision)
    header.history.bytes_max = limit.bytes_max
    return Outcome(Code.OK, revision)


def _tidy(overlay: Overlay, header: Header, history: History, limits: Limits) -> None:
    """Close the newest segment if it is due, and drop the oldest ones that are."""
    time_ms, segments = header.time_ms, _segments(overlay)
    # One that is beyond the bounds by itself is dropped as well, below.
    if history.open_bytes >= min(limits.segment_bytes, limits.bytes_max) or (
        history.open_bytes and time_ms - history.open_ms >= limits.segment_ms
    ):
        segments.append(Segment(header.revision, time_ms, history.open_bytes))
        history.open_bytes = 0
    dropped = 0
    for segment in segments:
        if history.size_bytes <= limits.bytes_max and time_ms - segment.closed_ms < limits.keep_ms:
            break
        history.size_bytes -= segment.size_bytes
        dropped += 1
    if dropped:
        last, closed_ms, _ = segments[dropped - 1]
        # From the beginning of all: what is kept may begin behind what is there (`Header.bump`).
        overlay.drop_range(HISTORY, history_key(last + 1))
        overlay.drop_range(SUCCESSORS, successor_prefix(last + 1))
        if last > history.kept_after:
            history.kept_after, history.kept_ms = last, closed_ms
        del segments[:dropped]
    history.closed = len(segments)
    history.oldest_ms = segments[0].closed_ms if segments else 0
    overlay.put(SEGMENTS_KEY, _encode(segments))


def _segments(view: View) -> list[Segment]:
    data = view.get(SEGMENTS_KEY)
    return [] if data is None else decode_own(_segments_decoder, data, "the segments of the history")


def kept_after(view: View) -> int:
    """Return the revision behind which every change is kept: with any greater revision, it is there."""
    header = read_header(view)
    return header.revision if header.history is None else header.history.kept_after


def time_at(view: View, revision: int) -> int:
    """Return the replicated time at a revision that is `kept_after` or a later one, up to the applied one."""
    header = read_header(view)
    history = header.history
    if history is not None and revision == history.kept_after:
        return history.kept_ms
    # The entry that has the revision. There is none where a new cluster has skipped it (`Header.bump`).
    return next((entry.time_ms for entry in scan_entries(view, revision - 1)), header.time_ms)


def scan_entries(view: View, after: int) -> Iterator[Entry]:
    """Yield the records that end behind the revision `after`, in order, lazily: the first may begin before it.

    Of `kept_after` and later ones only; it is up to the caller to ask for no other. Raises `InvariantViolated` for a
    corrupt record.
    """
    for _, data in view.scan(history_key(after + 1), prefix_end(HISTORY)):
        yield decode_entry(data)


def decode_entry(data: bytes) -> Entry:
    """Return the record of an entry. Raises `InvariantViolated` if it is corrupt."""
    return decode_own(_entry_decoder, data, "a record of the history")


def scan_changes(
    view: View, after: int, until: int | None = None, looked: Callable[[], None] | None = None
) -> Iterator[Change]:
    """Yield the changes with `after < revision <= until`, in order, lazily; None for no end. As `scan_entries`.

    `looked` is called behind each record that is read: many may have no changes. What is OMITTED is not looked for.
    """
    for key, data in view.scan(history_key(after + 1), prefix_end(HISTORY)):
        if looked is not None:
            looked()
        entry = decode_entry(data)
        for revision, position, kind, ref, collection, before, behind in map(_fields, entry.changes):
            if revision <= after:
                continue
            if until is not None and revision > until:
                return
            name = ref.collection if type(ref) is DocumentRef else collection
            yield Change(revision, position, kind, ref, name, before, behind, entry.time_ms)
        if until is not None and history_revision(key) >= until:
            return


def _fields(one: Change) -> tuple[int, int, ChangeKind, Ref | None, str, bytes | None, bytes | None]:
    return one.revision, one.position, one.kind, one.ref, one.collection, one.before, one.after
