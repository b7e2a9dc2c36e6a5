"""`Updates`: writes of documents that a filter finds, and many writes of one request.

A filter is asked twice: a query finds documents in the applied state, and the command that changes one asks it again
when it is applied (`Update.when`). So a document is changed only while it matches, whatever happened in between.

Many documents are changed one by one, each by a command of its own, in the order of their IDs; a cursor says how far it
came. Each command has a read check: the document is of no later revision than the state in which it was found. Where it
might be changed twice, since the fate of some commands is unknown, or since the request may be repeated, that revision
is the one of the beginning, and what is later is left alone.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import msgspec
from msgspec.structs import replace

from collectionstore_node.documents.updates import STEPS_MAX
from collectionstore_node.errors import InvalidRequest, NodeError, NotNow, OutcomeUnknown
from collectionstore_node.query.find import Find
from collectionstore_node.query.spans import Ids
from collectionstore_node.service.door import Propose
from collectionstore_node.service.idempotency import derived_key
from collectionstore_node.service.operations import (
    Action,
    AnyWrite,
    Consistency,
    DocumentRef,
    FindDocuments,
    Precondition,
    Transaction,
    Update,
)
from collectionstore_node.service.queries import Queries
from collectionstore_node.service.races import Races
from collectionstore_node.service.results import Code, Found, Outcome, warned
from collectionstore_node.service.update_checks import upserted_id

__all__ = [
    "BULK_ITEMS_MAX",
    "MANY_DOCUMENTS",
    "STEPS_MAX",
    "Changed",
    "Changes",
    "Place",
    "Progress",
    "Updates",
    "derived_key",
]

ATTEMPTS_MAX: Final = 32
"""How often a document is searched whose match is gone when the command is applied."""
ATTEMPTS_IN_ALL_MAX: Final = 128
"""With those of earlier requests with the same idempotency key."""
CHECKS_MAX: Final = 8
"""How often one of many is sent again that others have written since it was read."""
BATCH_DOCUMENTS: Final = 64
"""Commands of one request that are under way together."""
WRITES_SHARE: Final = 4
"""And at most this part of the writes that the member lets in."""
BATCH_BYTES: Final = 1 << 20
"""And their bytes, about."""
MANY_DOCUMENTS_MAX: Final = 10_000
"""Documents that one request may change; a cursor continues it."""
MANY_DOCUMENTS: Final = 1_000
"""The same if it does not say."""
TIME_SHARE: Final = 0.5
"""The part of its time after which a request begins no further batch, so that it is answered with what it has done."""
BULK_ITEMS_MAX: Final = 1_000

_ABSENT: Final = Precondition(exists=False)
_NOTHING: Final = Transaction()
"""A command that changes nothing: its outcome records at which revision a request began, or that it found nothing."""
_GONE: Final = (Code.CONDITION_FAILED, Code.NOT_FOUND)


class Changes(msgspec.Struct, frozen=True):
    """A change of documents that a filter finds."""

    collection: str
    find: Find
    """The filter; for a single document the order, too."""
    template: Update
    """The update, with the text of the filter as `when`; its target is not looked at."""
    request: bytes
    """What identifies the request, for its idempotency key."""

    def of(self, document_id: str, *, unchanged_since: int = 0) -> Update:
        """Return the update of a document that was found."""
        ref = DocumentRef(self.collection, document_id)
        return replace(self.template, ref=ref, upsert=False, unchanged_since=unchanged_since)


class Changed(msgspec.Struct, frozen=True):
    """What became of a change of a single document."""

    outcome: Outcome | None
    """None if nothing matched, and nothing was recorded."""
    id: str | None = None
    """None if it is not known: an outcome that is repeated does not hold it."""

    @property
    def matched(self) -> bool:
        """Whether a document was found, or inserted."""
        return self.outcome is not None and bool(self.outcome.items)


class Place(msgspec.Struct, frozen=True):
    """How far a change of many documents has come."""

    after: str = ""
    """The last ID that is done."""
    since: int = 0
    """Documents with a later revision than this are left alone; 0 for none."""
    until: str | None = ""
    """The last ID for which that holds; None for all."""

    def guard(self, document_id: str) -> int:
        """Return `since` if it holds for a document, else 0."""
        return self.since if self.until is None or document_id <= self.until else 0


class Progress(msgspec.Struct):
    """What a change of many documents has done."""

    matched: int = 0
    modified: int = 0
    skipped: int = 0
    """Documents that were left alone because they were written since the request began."""
    warned: int = 0
    """Documents that their schema does not allow, in the mode warn."""
    revision: int = 0
    """Of its last command, or of the state that was searched."""
    place: Place | None = None
    """Where to continue; None when all is done."""
    failed_id: str = ""
    failed: Outcome | None = None
    """The outcome of the document that the update does not fit, which ends the request."""
    error: NodeError | None = None
    """What ended it otherwise: the outcome of its last batch is unknown."""


class Updates:
    """Writes by filters, and in bulk: part of `Store`, whose errors they raise, and those of its queries."""

    __slots__ = ("_propose", "_queries", "_races", "_window")

    def __init__(self, queries: Queries, propose: Propose, *, writes_max: int) -> None:
        """`writes_max` is how many writes may be in flight on this member: one request takes a part of them."""
        self._queries = queries
        self._propose = propose
        self._races = Races()
        self._window = max(1, min(BATCH_DOCUMENTS, writes_max // WRITES_SHARE))

    def through(self, propose: Propose) -> Updates:
        """Return the same, whose commands are made by `propose`."""
        other = copy.copy(self)
        other._propose = propose
        return other

    async def one(self, changes: Changes, *, key: str | None, timeout_s: float) -> Changed:
        """Change the first document that matches; with `template.upsert`, insert one if there is none.

        A repeated request with the same key is answered as the first one was. Raises `NotNow`, also when other writes
        came first each time, and `OutcomeUnknown`.
        """
        deadline = perf_counter() + timeout_s
        queue = (changes.collection, changes.template.when)
        lost, occupied = 0, False
        for attempt in range(ATTEMPTS_IN_ALL_MAX):
            # Each attempt has a key of its own, in an order that does not depend on what it finds: a repeated request
            # meets the outcomes of the first one.
            attempt_key = key if key is None or not attempt else derived_key(key, attempt)
            async with self._races.turn(queue, lost=lost > 0, timeout_s=_left(deadline)):
                found = await self._first(changes, deadline)
                action: Action
                made = ""
                if found is not None:
                    action = changes.of(found.id)
                elif changes.template.upsert:
                    made = upserted_id(changes.find, changes.collection, key)
                    ref = DocumentRef(changes.collection, made)
                    action = replace(changes.template, ref=ref, precondition=_ABSENT)
                elif key is None:
                    return Changed(None)
                else:
                    # What matched may be what this request has changed before.
                    action = _NOTHING
                outcome = await self._propose(action, attempt_key, _left(deadline), request=changes.request)
            # What was lost in an earlier request with this key is no attempt of this one.
            lost += outcome.code in _GONE and not outcome.replayed
            if lost == ATTEMPTS_MAX:
                break
            if outcome.code in _GONE:
                continue
            if outcome.code is Code.PRECONDITION_FAILED and not occupied:
                # The ID to insert was taken: perhaps by a document that matches, which the next search finds.
                occupied = True
                continue
            return Changed(outcome, _id_of(changes, outcome, found, made))
        raise NotNow("the documents that matched were changed by others each time")

    async def many(
        self, changes: Changes, place: Place | None, *, limit: int, key: str | None, timeout_s: float
    ) -> Progress:
        """Change up to `limit` documents that match, in the order of their IDs, behind `place`.

        With a key no document is changed twice however often the request is repeated, and those that others write
        meanwhile are left alone. Raises `NotNow` if nothing was changed.
        """
        if not 1 <= limit <= MANY_DOCUMENTS_MAX:
            raise InvalidRequest("invalid_query", f"limit is {limit}; allowed are 1 to {MANY_DOCUMENTS_MAX}")
        began = perf_counter()
        deadline = began + timeout_s
        progress = Progress(place=place or Place())
        if key is not None and (place is None or not place.since):
            begun = await self._propose(_NOTHING, key, timeout_s, request=changes.request)
            if begun.code is not Code.OK:
                return Progress(failed=begun)
            progress.place = Place(progress.place.after if progress.place else "", begun.revision, None)
        size = len(changes.template.body) + len(changes.template.when) + len(changes.template.array_filters)
        batch = max(1, min(self._window, BATCH_BYTES // max(1, size)))
        while progress.place is not None and limit:
            limit -= await self._batch(changes, progress, min(batch, limit), deadline)
            if progress.failed is not None or progress.error is not None:
                break
            if perf_counter() - began > TIME_SHARE * timeout_s:
                break
        return progress

    async def bulk(
        self, actions: Sequence[AnyWrite], *, ordered: bool, key: str | None, timeout_s: float
    ) -> list[Outcome | NodeError | None]:
        """Make writes, one command each, and return what became of each; None for those that were not attempted.

        Ordered ones are made one after the other, up to the first that fails. With a key, each has one derived of it.
        """
        deadline = perf_counter() + timeout_s
        keys = [None if key is None else derived_key(key, position) for position in range(len(actions))]
        results: list[Outcome | NodeError | None] = []
        window = 1 if ordered else self._window
        for at in range(0, len(actions), window):
            pairs = list(zip(actions[at : at + window], keys[at : at + window], strict=True))
            results += await asyncio.gather(*(self._result(action, one, deadline) for action, one in pairs))
            last = results[-1]
            if ordered and not (isinstance(last, Outcome) and last.code is Code.OK):
                break
        return results + [None] * (len(actions) - len(results))

    async def _batch(self, changes: Changes, progress: Progress, count: int, deadline: float) -> int:
        """Change up to `count` documents, and return how many were found."""
        place = progress.place or Place()
        try:
            page = await self._queries.find(
                FindDocuments(changes.collection, changes.find, (b"", place.after), count),
                show=_itself,
                consistency=Consistency.LINEARIZABLE,
                timeout_s=_left(deadline),
            )
        except (NotNow, InvalidRequest) as error:
            if not progress.matched and not progress.skipped:
                raise
            progress.error = error
            return 0
        progress.revision = max(progress.revision, page.revision)
        ids = [one.id for one in page.items]
        results = await asyncio.gather(
            *(self._change(changes, one, place.guard(one), page.revision, deadline) for one in ids)
        )
        for document_id, result in zip(ids, results, strict=True):
            self._count(progress, document_id, result)
        if progress.failed is not None or progress.error is not None:
            # Some of the batch may be done. Those that are have a later revision than what was read.
            progress.place = _again(place, page.revision, ids[-1])
        elif page.next_after is None:
            progress.place = None
        else:
            progress.place = Place(page.next_after[1], place.since, place.until)
        return len(ids)

    def _count(self, progress: Progress, document_id: str, result: Outcome | NodeError) -> None:
        if isinstance(result, NodeError):
            # An unknown outcome says more than one that is known not to be.
            if progress.error is None or isinstance(result, OutcomeUnknown):
                progress.error = result
            return
        progress.revision = max(progress.revision, result.revision)
        if result.code is Code.OK:
            progress.matched += 1
            item = result.items[0]
            progress.modified += item.revision != item.previous_revision
            progress.warned += warned(result)
        elif result.code is Code.PRECONDITION_FAILED:
            progress.skipped += 1
        elif result.code not in _GONE and progress.failed is None:
            progress.failed_id, progress.failed = document_id, result

    async def _change(
        self, changes: Changes, document_id: str, guard: int, read: int, deadline: float
    ) -> Outcome | NodeError:
        """Change one of many, which was found in the state of revision `read`.

        Every command has a read check, so that of two for one document one has no effect: the first may be applied
        late, when its outcome was unknown and the second was sent. Without a `guard`, what others wrote in between is
        no reason to leave the document alone: the command is sent again, with a later check.
        """
        since = guard or read
        for attempt in range(CHECKS_MAX):
            result = await self._result(changes.of(document_id, unchanged_since=since), None, deadline)
            failed = isinstance(result, Outcome) and result.code is Code.PRECONDITION_FAILED
            if guard or not failed or not isinstance(result, Outcome) or attempt + 1 == CHECKS_MAX:
                break
            since = result.revision
        return result

    async def _result(self, action: Action, key: str | None, deadline: float) -> Outcome | NodeError:
        try:
            return await self._propose(action, key, _left(deadline), request=None)
        except (NotNow, OutcomeUnknown, InvalidRequest) as error:
            return error

    async def _first(self, changes: Changes, deadline: float) -> Found | None:
        """Return the first document that matches, None if there is none."""
        after = None
        while True:
            page = await self._queries.find(
                FindDocuments(changes.collection, changes.find, after, 1),
                show=_itself,
                consistency=Consistency.LINEARIZABLE,
                timeout_s=_left(deadline),
            )
            if page.items:
                return page.items[0]
            if page.next_after is None:
                return None
            after = page.next_after


def _itself(found: Found) -> Found:
    return Found(found.id, found.revision, b"")


def _left(deadline: float) -> float:
    return max(0.001, deadline - perf_counter())


def _again(place: Place, revision: int, last: str) -> Place:
    if not place.since:
        return Place(place.after, revision, last)
    # An earlier guard stays: it is the earlier beginning.
    return Place(place.after, place.since, None if place.until is None else max(place.until, last))


def _id_of(changes: Changes, outcome: Outcome, found: Found | None, made: str) -> str | None:
    if not outcome.replayed:
        return made or (None if found is None else found.id)
    place = changes.find.place
    if isinstance(place, Ids) and len(place.names) == 1:
        return place.names[0]
    if outcome.created and made:
        return made
    # Which document it was is not in the outcome; its revision is, if nothing has changed it since.
    known = found is not None and outcome.items and found.revision == outcome.items[0].revision
    return found.id if found is not None and known else None
