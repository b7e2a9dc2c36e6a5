"""What a caller may see and write of documents, checked where its command is applied; from level `CHANGES` on.

Access control is evaluated where a request arrives. What depends on documents cannot be decided there: they may be
others by the time that the command is applied. So the command takes the views of its caller along (`Restricted`), and
this is asked

- for every document that the command meets (`sees`): one that its caller may neither read nor write looks absent;
- for every update and condition (`may_compute`): it names no field that its caller does not see in the document, lest
  its outcome tell what is in there;
- for all that is stored (`refusal`): the document before and behind it is one that its caller may write, and fields
  that are not the caller's to write stay as they are.

What asking costs is counted into the entry by what it could take at most. A document for which that is too much looks
absent, and cannot be written: it fails closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import orjson

from collectionstore_node.access.stored_views import CompiledView, decode_view
from collectionstore_node.documents.filters import parse_filter
from collectionstore_node.documents.paths import ID, REVISION, Path
from collectionstore_node.documents.updates import STEPS_MAX, Form, too_deep
from collectionstore_node.documents.updates.named import WHOLE, paths_in_filter, paths_in_update
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.commands import Code, CollectionView, DocumentRef, Ref, Update, UpdateForm
from collectionstore_node.statemachine.costs import PARSE_COST, TRANSACTION_ITEMS_MAX, UPDATE_STEP_COST_BYTES
from collectionstore_node.statemachine.history import ChangeKind
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.view import Overlay

VIEWS_MAX: Final = 3 * TRANSACTION_ITEMS_MAX
"""Collections of one command: as many as a transaction can name."""
VIEWS_BYTES_MAX: Final = 256 << 10
"""What the views of a command may take together."""

_CACHED: Final = 64
_FLAT: Final = 100
"""A text with no more brackets than this is not too deep."""


class Written(Protocol):
    """A write of one document or raw value: `indexing.Write`."""

    @property
    def ref(self) -> Ref:
        """What is written."""

    @property
    def key(self) -> bytes:
        """Where it is stored."""

    @property
    def previous(self) -> bytes | None:
        """The record before, as far as the caller sees it."""

    @property
    def record(self) -> bytes | None:
        """The record behind it, None for a delete."""

    @property
    def kind(self) -> ChangeKind | None:
        """What the history says of it."""


class _Views(NamedTuple):
    """What a caller sees, and may write, of a collection; None for everything."""

    read: CompiledView | None
    write: CompiledView | None


def views_reason(views: Sequence[CollectionView]) -> str | None:
    """Return why the views of a command are none in any state, None if they are allowed."""
    if len(views) > VIEWS_MAX:
        return f"a command has the views of at most {VIEWS_MAX} collections"
    if sum(len(one.read or b"") + len(one.write or b"") for one in views) > VIEWS_BYTES_MAX:
        return f"the views of a command have at most {VIEWS_BYTES_MAX} bytes together"
    if len({one.collection for one in views}) < len(views):
        return "a command has one view of a collection"
    return None


class Restrictions:
    """Those of one command, over the state that it is applied to."""

    __slots__ = ("_overlay", "_views")

    def __init__(self, overlay: Overlay, views: Sequence[CollectionView]) -> None:
        """Raises `InvalidRequest` for views that are none in any state."""
        reason = views_reason(views)
        if reason is not None:
            raise InvalidRequest("invalid_access", reason)
        self._overlay = overlay
        self._views: dict[str, _Views] = {}
        for one in views:
            overlay.cost += PARSE_COST * (len(one.read or b"") + len(one.write or b""))
            self._views[one.collection] = _Views(_decoded(one.read), _decoded(one.write))

    def sees(self, ref: Ref, record: bytes) -> bool:
        """Whether a stored document is there for the caller: it may read or write it. Raw values always are."""
        views = self._of(ref)
        if views is None or views.read is None or views.write is None:
            return True
        document = self._document(ref, record, views)
        return document is not None and (views.read.view.allows(document) or views.write.view.allows(document))

    def shown(self, collection: str, document_id: str, record: bytes) -> bytes | None:
        """Return the text of a document as the caller sees it; None for one that it does not see."""
        views = self._views.get(collection)
        if views is None or views.read is None:
            return decode_stored(record).value
        document = self._document(DocumentRef(collection, document_id), record, views)
        found = None if document is None else views.read.view.shown(document)
        if found is None:
            return None
        if not views.read.view.masked:
            return decode_stored(record).value
        return orjson.dumps({name: value for name, value in found.items() if name not in (ID, REVISION)})

    def may_compute(self, update: Update, record: bytes) -> bool:
        """Whether an update and its condition name nothing that the caller does not see in the document."""
        if update.form >= UpdateForm.REPLACE and not update.when:
            return True
        views = self._of(update.ref)
        if views is None or views.read is None:
            return True
        document = self._document(update.ref, record, views)
        if document is None:
            return False
        view = views.read.view
        return view.allows(document) and (
            not view.masked or all(view.shows_in(document, path) for path in _named(update))
        )

    def refusal(self, writes: Sequence[Written]) -> tuple[Code, int] | None:
        """Return why the caller may not make `writes`, with the position of the one at fault; None if it may."""
        for position, write in enumerate(writes):
            views = self._of(write.ref)
            # What has expired is removed whoever meets it.
            if views is None or write.kind is ChangeKind.EXPIRE:
                continue
            code = self._refused(views, write)
            if code is not None:
                return code, position
        return None

    def _refused(self, views: _Views, write: Written) -> Code | None:
        if write.previous is None and self._overlay.get(write.key) is not None:
            # One that looks absent is there.
            return Code.ACCESS_DOCUMENT
        if views.write is None:
            return None
        view = views.write.view
        before: dict[str, Any] = {ID: _id_of(write.ref)}
        if write.previous is not None:
            found = self._document(write.ref, write.previous, views)
            if found is None or not view.allows(found):
                return Code.ACCESS_DOCUMENT
            before = found
        if write.record is None:
            return None
        after = self._document(write.ref, write.record, views)
        if after is None or not view.allows(after):
            return Code.ACCESS_DOCUMENT
        # The write itself changes the revision, which is no field of the document.
        before[REVISION] = after[REVISION] = 0
        return None if view.keeps(before, after) else Code.ACCESS_FIELDS

    def _of(self, ref: Ref) -> _Views | None:
        return self._views.get(ref.collection) if isinstance(ref, DocumentRef) else None

    def _document(self, ref: Ref, record: bytes, views: _Views) -> dict[str, Any] | None:
        """Return a document as views are asked about it; None if that would take too long, or it is none."""
        stored = decode_stored(record)
        text = stored.value
        tests = sum(one.tests for one in views if one is not None)
        # As `documents.updates.conditions` counts them: each test may meet each value, and a pattern each byte.
        steps = tests * (1 + sum(map(text.count, (b",", b"[", b"{"))))
        self._overlay.cost += len(text) + UPDATE_STEP_COST_BYTES * min(steps, STEPS_MAX)
        if steps > STEPS_MAX:
            return None
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None  # not from a client: a member forwarded it
        if type(document) is not dict:
            return None
        if text.count(b"[") + text.count(b"{") > _FLAT and too_deep(document):
            return None  # nor is that: the stack of what looks at it is bounded by the depth of documents
        document[ID] = _id_of(ref)
        document[REVISION] = stored.revision
        return document


def _id_of(ref: Ref) -> str:
    return ref.id if isinstance(ref, DocumentRef) else ref.key


def _decoded(data: bytes | None) -> CompiledView | None:
    return None if data is None else decode_view(data)


def _named(update: Update) -> frozenset[Path]:
    return _named_in(update.form, b"" if update.form >= UpdateForm.REPLACE else update.body, update.when)


@lru_cache(maxsize=_CACHED)
def _named_in(form: UpdateForm, body: bytes, when: bytes) -> frozenset[Path]:
    """Return the paths that a checked update names; WHOLE for what cannot be read."""
    found: set[Path] = set()
    try:
        if when:
            found.update(paths_in_filter(parse_filter(orjson.loads(when))))
        if body:
            found.update(paths_in_update(Form(form), orjson.loads(body)))
    except (orjson.JSONDecodeError, InvalidRequest, AttributeError, KeyError, TypeError, ValueError):
        # Invalid in any state: it is refused as that behind this, or here.
        return frozenset((WHOLE,))
    return frozenset(path for path in found if path[:1] not in ((ID,), (REVISION,)))
