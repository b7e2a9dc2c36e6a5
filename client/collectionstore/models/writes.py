"""What a transaction writes, before it is sent: one step for each target, in the order of the last writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from collectionstore.errors import InvalidArgument, InvalidOperation

STEPS_MAX = 128
_Target: TypeAlias = tuple[bool, str, str]


@dataclass(frozen=True, slots=True)
class Own:
    """What a transaction has written to one target; `text` is None when it deletes it."""

    step: dict[str, Any]
    text: bytes | None
    updated: bool = False
    inserts: bool = False


@dataclass(frozen=True, slots=True)
class Savepoint:
    """A place to go back to."""

    kept: dict[_Target, Own]


class Writes:
    """Mutable; a savepoint keeps a copy."""

    def __init__(self) -> None:
        self._own: dict[_Target, Own] = {}

    def own(self, collection: str, document_id: str, *, values: bool = False) -> Own | None:
        """Return what was written to a target, None if nothing was."""
        return self._own.get((values, collection, document_id))

    def touches(self, collection: str) -> bool:
        """Whether anything was written in a collection."""
        return any(not values and name == collection for values, name, _ in self._own)

    def put(
        self,
        step: dict[str, Any],
        collection: str,
        document_id: str,
        text: bytes,
        *,
        values: bool = False,
        if_exists: bool | None = None,
    ) -> None:
        """Note a put. `if_exists=False`: an insert, which must find the ID free, or deleted by this transaction."""
        before = self.own(collection, document_id, values=values)
        inserts = before.inserts if before is not None else if_exists is False
        if if_exists is False and before is not None and before.text is not None:
            raise InvalidArgument("this transaction has written a document with this _id")
        if inserts:
            step["if_exists"] = False
        self._note((values, collection, document_id), Own(step, text, inserts=inserts))

    def update(self, step: dict[str, Any], collection: str, document_id: str) -> None:
        """Note an update. Raises InvalidOperation for a target that was written before: a step is one write."""
        if self.own(collection, document_id) is not None:
            raise InvalidOperation("a transaction writes a document once: put it as it shall be at the end")
        self._note((False, collection, document_id), Own(step, b"", updated=True))

    def delete(self, step: dict[str, Any], collection: str, document_id: str, *, values: bool = False) -> None:
        """Note a delete."""
        before = self.own(collection, document_id, values=values)
        if before is not None and before.inserts:
            # It must be free at the commit, too; deleting what is not there is no error.
            step["if_exists"] = False
        self._note((values, collection, document_id), Own(step, None, inserts=before is not None and before.inserts))

    def savepoint(self) -> Savepoint:
        """Return a place to go back to."""
        return Savepoint(dict(self._own))

    def rollback_to(self, savepoint: Savepoint) -> None:
        """Go back to it."""
        self._own = dict(savepoint.kept)

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps as the API takes them: documents are put in as the JSON text that they are."""
        return [
            {name: msgspec.Raw(one) if name == "document" else one for name, one in own.step.items()}
            for own in self._own.values()
        ]

    def _note(self, target: _Target, own: Own) -> None:
        if target not in self._own and len(self._own) >= STEPS_MAX:
            raise InvalidArgument(f"a transaction has at most {STEPS_MAX} writes")
        self._own.pop(target, None)
        self._own[target] = own
