"""`Shown`: one change, decoded and rendered once for all watches that it concerns."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from collectionstore_node.changes.tokens import ALL, Position, Tokens
from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.statemachine.commands import DocumentRef, KeyRef
from collectionstore_node.statemachine.history import OMITTED, Change, ChangeKind
from collectionstore_node.statemachine.index_catalog import decode_indexes
from collectionstore_node.statemachine.stored import Stored, decode_stored

OPS: Final[dict[ChangeKind, str]] = {kind: kind.name.lower() for kind in ChangeKind}
"""What a change is called in events: insert, replace, update, delete, expire, create_collection, ..."""
LAST: Final = b',"last":true}'
OMITTED_MEMBER: Final = b',"omitted":true'
"""Stands for a document or value that is not there any more."""
CHANGE_BYTES: Final = 512
"""What a change takes in memory beside its records."""


class Scope(NamedTuple):
    """What a watch is about: a collection, a bucket, or everything."""

    kind: str
    """`collection`, `bucket` or `store`."""
    name: str = ""


STORE: Final = Scope("store")


class Shown:
    """A change; `token` is that of the place behind it. Not for two threads at once."""

    __slots__ = (
        "_after",
        "_before",
        "_body",
        "_new",
        "_old",
        "_plain",
        "change",
        "id",
        "op",
        "passed",
        "scope",
        "token",
    )

    def __init__(self, change: Change, tokens: Tokens, *, last: bool) -> None:
        """`last` if it is the last change of its command."""
        self.change = change
        self.op = OPS[change.kind]
        ref = change.ref
        self.id: str | None = None
        self.scope = Scope("collection", change.collection)
        if type(ref) is DocumentRef:
            self.scope, self.id = Scope("collection", ref.collection), ref.id
        elif type(ref) is KeyRef:
            self.scope, self.id = Scope("bucket", ref.bucket), ref.key
        self.passed = ALL if last else change.position + 1
        self.token = tokens.encode(Position(change.revision, self.passed))
        self._old: Stored | None = None
        self._new: Stored | None = None
        self._before: dict[str, Any] | None = None
        self._after: dict[str, Any] | None = None
        self._body: bytes | None = None
        self._plain: dict[bool, bytes] = {}

    def as_seen(self, op: str, before: Stored | None, after: Stored | None) -> Shown:
        """Return the same change as one who sees a part of it is told: with other images, and as another kind."""
        seen = object.__new__(Shown)
        seen.change = msgspec.structs.replace(self.change, before=None, after=None)
        seen.op, seen.id, seen.scope = op, self.id, self.scope
        seen.passed, seen.token = self.passed, self.token
        seen._old, seen._new = before, after
        seen._before = seen._after = seen._body = None
        seen._plain = {}
        return seen

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory, before anything is decoded."""
        change = self.change
        return CHANGE_BYTES + len(change.before or b"") + len(change.after or b"")

    @property
    def omitted(self) -> bool:
        """Whether what it left is not known any more: it was large, and its collection has been dropped since."""
        return self.change.after == OMITTED

    def new(self) -> Stored | None:
        """Return the record that it left, None if there is none, or it is not there any more (`omitted`)."""
        if self._new is None and self.change.after:
            self._new = decode_stored(self.change.after)
        return self._new

    def old(self) -> Stored | None:
        """Return the record that it met, None if there was none."""
        if self._old is None and self.change.before is not None:
            self._old = decode_stored(self.change.before)
        return self._old

    def after(self) -> dict[str, Any] | None:
        """Return the document that it left as a filter is asked about it; not to be changed."""
        new = self.new()
        if self._after is None and new is not None and type(self.change.ref) is DocumentRef:
            self._after = asked_about(self.id, new)
        return self._after

    def before(self) -> dict[str, Any] | None:
        """Return the document that it met, in the same way."""
        old = self.old()
        if self._before is None and old is not None and type(self.change.ref) is DocumentRef:
            self._before = asked_about(self.id, old)
        return self._before

    def body(self) -> bytes:
        """Return its event as a JSON object that is not closed, without images. Rendered once."""
        if self._body is None:
            self._body = self._render()
        return self._body

    def text(self, *, last: bool) -> bytes:
        """Return its event as most watches tell it: the whole document, and not what it was before. Rendered once."""
        text = self._plain.get(last)
        if text is None:
            text = self._plain[last] = self.body() + self.images(before=False) + (LAST if last else b"}")
        return text

    def images(self, *, before: bool) -> bytes:
        """Return the members of its event for the document or value, that before the change too if it is asked for."""
        ref = self.change.ref
        if ref is None:
            return b""  # the records are those of the catalog
        if self.omitted:
            return OMITTED_MEMBER
        if type(ref) is KeyRef:
            return value_members(b"value", self.new()) + (value_members(b"before", self.old()) if before else b"")
        new, old = self.new(), self.old() if before else None
        shown = b"" if new is None else b',"document":' + new.value
        return shown if old is None else shown + b',"before":' + old.value

    def _render(self) -> bytes:
        change = self.change
        head = b'{"event":"change","token":"%s","revision":%d,"position":%d,"time_ms":%d,"op":"%s"' % (
            self.token.encode(),
            change.revision,
            change.position,
            change.time_ms,
            self.op.encode(),
        )
        where, identifier = names_of(self.scope)
        head += b',"%s":%s' % (where, orjson.dumps(self.scope.name))
        if self.id is not None:
            return head + b',"%s":%s' % (identifier, orjson.dumps(self.id))
        name = index_name(change)
        return head if name is None else head + b',"index":%s' % orjson.dumps(name)


class Command(NamedTuple):
    """All changes of one command, in their order."""

    revision: int
    changes: tuple[Shown, ...]
    size_bytes: int


def commands(found: Iterable[Change], tokens: Tokens) -> Iterator[Command]:
    """Yield the commands of changes that are in order."""
    held: list[Change] = []
    for change in found:
        if held and change.revision != held[0].revision:
            yield _command(held, tokens)
            held = []
        held.append(change)
    if held:
        yield _command(held, tokens)


def _command(changes: list[Change], tokens: Tokens) -> Command:
    last = len(changes) - 1
    shown = tuple(Shown(change, tokens, last=at == last) for at, change in enumerate(changes))
    return Command(changes[0].revision, shown, sum(one.size_bytes for one in shown))


def index_name(change: Change) -> str | None:
    """Return the name of the index that a change made or dropped; None if it is about none."""
    match change.kind:
        case ChangeKind.CREATE_INDEX:
            record = change.after
        case ChangeKind.DROP_INDEX:
            record = change.before
        case _:
            return None
    return None if record is None else decode_indexes(record)[0].definition.name


def asked_about(name: str | None, stored: Stored) -> dict[str, Any]:
    """Return a document as a filter is asked about it: with its ID and the revision of its last write."""
    document: dict[str, Any] = orjson.loads(stored.value)
    document[ID], document[REVISION] = name, stored.revision
    return document


def names_of(scope: Scope) -> tuple[bytes, bytes]:
    """Return what a scope, and what is in it, are called in events."""
    return (b"bucket", b"key") if scope.kind == "bucket" else (b"collection", b"id")


def value_members(member: bytes, stored: Stored | None) -> bytes:
    """Return the members of an event for a raw value."""
    if stored is None:
        return b""
    text = b',"%s":"%s"' % (member, base64.b64encode(stored.value))
    return text if member != b"value" else text + b',"content_type":%s' % orjson.dumps(stored.content_type)
