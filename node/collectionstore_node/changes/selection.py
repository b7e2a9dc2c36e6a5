"""`Selection`: which changes a watch tells, and what of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.changes.events import Event
from collectionstore_node.changes.eyes import Eyes
from collectionstore_node.changes.shown import LAST, STORE, Command, Scope, Shown, asked_about, names_of, value_members
from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.documents.projection import Project
from collectionstore_node.query.scanning import Asked, check_values
from collectionstore_node.statemachine.commands import DocumentRef
from collectionstore_node.statemachine.stored import Stored

_LEFT: Final = b',"left":true'


class Selection(msgspec.Struct, frozen=True):
    """What a watch is asked for."""

    scope: Scope
    asked: Asked | None = None
    """The filter of documents; None for all."""
    ops: frozenset[str] | None = None
    """The kinds of changes; None for all."""
    before: bool = False
    """Whether events have the document as it was before."""
    project: Project | None = None

    def events(self, command: Command, passed: int = 0, eyes: Eyes | None = None) -> list[Event]:
        """Return the events of a command, without those of its first `passed` changes, as `eyes` see them.

        Raises `InvalidRequest("query_too_costly")` for a document that the filter cannot be asked about.
        """
        chosen: list[tuple[Shown, bool]] = []
        for change in command.changes:
            if change.passed <= passed or (self.scope is not STORE and change.scope != self.scope):
                continue
            # BEFORE the filter: it must not tell what is hidden.
            shown = change if eyes is None else eyes.look(change)
            if shown is None:
                continue
            if self.ops is not None and shown.op not in self.ops:
                continue
            left = self._left(shown)
            if left is not None:
                chosen.append((shown, left))
        last = len(chosen) - 1
        return [self._event(shown, left=left, last=at == last) for at, (shown, left) in enumerate(chosen)]

    def document(self, name: str, given: Stored, eyes: Eyes | None = None) -> Event | None:
        """Return the event of a document or value that exists when the watch begins; None if it does not match."""
        stored = given if eyes is None else eyes.document(self.scope, name, given)
        if stored is None:
            return None
        document = None
        if self.asked is not None:
            check_values(stored.value, self.asked)
            document = asked_about(name, stored)
            if not self.asked.match(document):
                return None
        where, identifier = names_of(self.scope)
        text = b'{"event":"document","%s":%s,"%s":%s,"revision":%d' % (
            where,
            orjson.dumps(self.scope.name),
            identifier,
            orjson.dumps(name),
            stored.revision,
        )
        if self.scope.kind == "bucket":
            return Event("document", "", text + value_members(b"value", stored) + b"}")
        return Event("document", "", b'%s,"document":%s}' % (text, self._shown(stored, document)))

    def _left(self, shown: Shown) -> bool | None:
        """Return whether the document does not match any more; None if the change does not concern the filter."""
        asked = self.asked
        if asked is None or type(shown.change.ref) is not DocumentRef:
            # Of a collection, or a raw value: no filter is about those.
            return False
        if shown.omitted:
            return False  # it may have matched
        new, old = shown.new(), shown.old()
        if new is not None:
            check_values(new.value, asked)
            after = shown.after()
            if after is not None and asked.match(after):
                return False
        if old is not None:
            check_values(old.value, asked)
            before = shown.before()
            if before is not None and asked.match(before):
                # A document that is gone has left as well, but that is what the change itself says.
                return new is not None
        return None

    def _event(self, shown: Shown, *, left: bool, last: bool) -> Event:
        if not left and not self.before and self.project is None:
            return Event("change", shown.token, shown.text(last=last))
        if self.project is None or shown.omitted or type(shown.change.ref) is not DocumentRef:
            images = shown.images(before=self.before)
        else:
            new, old = shown.new(), shown.old() if self.before else None
            images = b"" if new is None else b',"document":' + self._shown(new, shown.after())
            if old is not None:
                images += b',"before":' + self._shown(old, shown.before())
        return Event(
            "change",
            shown.token,
            b"%s%s%s%s" % (shown.body(), images, _LEFT if left else b"", LAST if last else b"}"),
        )

    def _shown(self, stored: Stored, document: dict[str, Any] | None) -> bytes:
        if self.project is None:
            return stored.value
        if document is None:
            document = orjson.loads(stored.value)
        fields = {name: value for name, value in document.items() if name not in (ID, REVISION)}
        return orjson.dumps(self.project(fields))


def concerned(command: Command) -> Sequence[Scope]:
    """Return the scopes of a command's changes, each once."""
    return tuple({shown.scope: None for shown in command.changes})
