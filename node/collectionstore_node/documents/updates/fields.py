"""A document by its fields at the top, each decoded when it is needed.

An update of a small field costs the same beside a large one, and what it does not name keeps its text to the byte.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.documents.updates.budget import DEPTH_MAX, Budget, too_deep
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.values import Value

Root = dict[str, Any]
"""A document in which the fields that an update does not name are `KEPT`."""


class _Kept:
    """The type of `KEPT`."""

    __slots__ = ()


KEPT: Final = _Kept()
"""Stands for the value of a field that is not decoded."""

VALUES_STEP: Final = 8
"""Values that are decoded in a step, but objects and arrays, which take one each."""

_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Fields:
    """The fields of one document. Methods raise `Failed` for a text that is not a JSON object."""

    __slots__ = ("_budget", "_canonical", "_decoded", "_size", "_texts")

    def __init__(self, text: bytes, budget: Budget) -> None:
        self._budget = budget
        self._decoded: dict[str, Value] = {}
        self._canonical: dict[str, bytes] = {}
        self._size = len(text)
        try:
            self._texts = {name: bytes(one) for name, one in _decoder.decode(text).items()}
        except _UNREADABLE:
            raise Failed(Reason.TYPE) from None

    def size_bytes(self, name: str) -> int:
        """Return the size of a field's text, 0 if there is none."""
        return len(self._texts.get(name, b""))

    def weight(self, name: str) -> int:
        """Return at least the number of values in a field, 0 if there is none."""
        text = self._texts.get(name)
        # A bound, by bytes that stand in strings, too: counting values would cost as much as decoding them.
        return 0 if text is None else 1 + sum(map(text.count, (b",", b"[", b"{")))

    def values(self, names: Collection[str]) -> Root:
        """Return those of the fields `names` that there are, decoded."""
        return {name: self._value(name) for name in names if name in self._texts}

    def root(self, names: Collection[str] | None) -> Root:
        """Return the document with the fields `names` decoded, to be changed; None for all."""
        return {name: self._value(name) if names is None or name in names else KEPT for name in self._texts}

    def text(self, root: Root) -> bytes | None:
        """Return the text of `root`, which `root` returned, after it was changed; None if nothing was.

        A field whose value is the same keeps its text, and the digits of its numbers.
        """
        texts = self._texts
        pieces = {name: texts[name] if value is KEPT else self._written(name, value) for name, value in root.items()}
        if pieces == texts and list(pieces) == list(texts):
            return None
        new = b"{%b}" % b",".join(b"%b:%b" % (orjson.dumps(name), piece) for name, piece in pieces.items())
        # One that is too large already, as the limit was lowered, may become smaller.
        if len(new) > max(self._budget.bytes_max, self._size):
            raise Failed(Reason.SIZE)
        return new

    def _written(self, name: str, value: Value) -> bytes:
        text = orjson.dumps(value)
        self._budget.written_bytes += len(text)
        # The same value, if perhaps written in another way before: the digits of its numbers stay.
        return self._texts[name] if text == self._canonical.get(name) else text

    def _value(self, name: str) -> Value:
        if name not in self._decoded:
            value = self._decoded[name] = self._loaded(self._texts[name])
            # Now: an update changes the value where it is.
            self._canonical[name] = orjson.dumps(value)
        return self._decoded[name]

    def _loaded(self, text: bytes) -> Value:
        self._budget.read_bytes += len(text)
        opened = text.count(b"[") + text.count(b"{")
        # An object or array takes ten times as long as a number, most of it for the garbage collector.
        self._budget.step(opened + text.count(b",") // VALUES_STEP)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise Failed(Reason.TYPE) from None
        # No document is, but this is where it would do harm: recursion has a limit that differs from place to place.
        if opened >= DEPTH_MAX and too_deep(value, DEPTH_MAX - 1):
            raise Failed(Reason.TYPE)
        return value
