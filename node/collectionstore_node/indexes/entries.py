"""The entries of one document in one index, and the document that an entry stands for.

An entry is the keys of the index's fields, joined. A field whose path meets an array has the key of each element, as in
MongoDB, and the fields of a compound index have every combination. An empty array, and a path that names nothing at
all, has the key `NOTHING`: every document has an entry, unless the index is sparse or partial.

So an index has an entry for every value that a filter asks a document about, arrays as a whole excepted. That is what
`query.planning` relies on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from collectionstore_node.documents.filters import compile_filter
from collectionstore_node.documents.paths import Path, values_at
from collectionstore_node.documents.values import MISSING, NOTHING, Value, inverted
from collectionstore_node.indexes.definition import Definition, filter_of, path_of, tests_of
from collectionstore_node.indexes.encoding import KEY_BYTES_MAX, TooDeep, TooMuch, key_of, scalar_in, values_left

ENTRIES_MAX: Final = 1_000
"""Of one document in one index."""
VALUES_MAX: Final = 4_000
"""Values that making them looks at (`encoding.values_left`): an object or array may be large, and lie on several
paths."""

FAITHFUL, ABSENT, WHOLE_FLOAT, NEGATIVE_ZERO = 0, 1, 2, 3
"""What the key of a field leaves open: nothing, that there is no value, that a whole number was written as a float."""


class TooManyEntries(Exception):
    """A document would have more than ENTRIES_MAX entries, or is too large or nested too deep where the index looks."""


class Entries(NamedTuple):
    """The entries of a document."""

    keys: tuple[bytes, ...]
    """Without repetitions, in the order in which they are written, which the state's digest covers; empty if the index
    leaves the document out."""
    shape: bytes | None
    """For each field what its key leaves open, if the document's fields can be told from its only entry; else None."""
    multikey: bool
    """Whether a path met an array."""
    long: bool
    """Whether a key is not in order with those alike, because it was cut."""
    values: int = 0
    """How many values were looked at, beside one for each path."""


NO_ENTRIES: Final = Entries((), None, multikey=False, long=False)

Enter: TypeAlias = Callable[[dict[str, Any]], Entries]


@lru_cache(maxsize=1_024)
def entries_of(definition: Definition) -> Enter:
    """Return the function from a document to its entries; it raises `TooManyEntries`.

    Costs at most as much as reading the document, VALUES_MAX values and ENTRIES_MAX keys. Kept for definitions that
    were used recently.
    """
    node = filter_of(definition)
    match = None if node is None else compile_filter(node)
    asked = () if node is None else tuple(one.path for one in tests_of(node))
    fields = [_Field(path_of(one), one.descending, one.fold) for one in definition.fields]
    ordered = tuple(one.path[0] for one in fields if len(one.path) == 1)
    sparse = definition.sparse
    single = fields[0] if len(fields) == 1 else None

    def enter(document: dict[str, Any]) -> Entries:
        left = VALUES_MAX
        try:
            for path in asked:
                left = values_left(document, path, left)
            if match is not None and not match(document):
                return NO_ENTRIES._replace(values=VALUES_MAX - left)
            for field in fields:
                left = field.values_left(document, left)
            found = [single.keys(document)] if single is not None else [one.keys(document) for one in fields]
        except TooDeep:
            raise TooManyEntries("an indexed value is nested too deep") from None
        except TooMuch:
            raise TooManyEntries(f"the document has more than {VALUES_MAX} values in the fields of the index") from None
        if sparse and all(one.absent for one in found):
            return NO_ENTRIES._replace(values=VALUES_MAX - left)
        multikey = any(one.multikey for one in found)
        long = any(one.long for one in found)
        shape = None
        shapes = [one.shape for one in found if one.shape is not None]
        told = not multikey and not long and len(shapes) == len(found)
        if told and (len(ordered) < 2 or _in_order(document, ordered)):
            shape = bytes(shapes)
        keys = tuple(found[0].keys)
        for one in found[1:]:
            if len(keys) * len(one.keys) > ENTRIES_MAX:
                raise _too_many()
            keys = tuple(before + key for before in keys for key in one.keys)
        return Entries(keys, shape, multikey, long, VALUES_MAX - left)

    return enter


class _Keys(NamedTuple):
    """The keys of one field."""

    keys: tuple[bytes, ...]
    shape: int | None
    multikey: bool = False
    long: bool = False
    absent: bool = False


class _Field(NamedTuple):
    path: Path
    descending: bool
    fold: bool

    def values_left(self, document: dict[str, Any], left: int) -> int:
        """As `encoding.values_left`; at once where the path leads to a scalar."""
        value: Value = document
        for part in self.path:
            if type(value) is not dict:
                break
            value = value.get(part, MISSING)
        return values_left(document, self.path, left) if type(value) is dict or type(value) is list else left

    def keys(self, document: dict[str, Any]) -> _Keys:
        value: Value = document
        for part in self.path:
            if type(value) is dict:
                value = value.get(part, MISSING)
            elif type(value) is list:
                return self._of_array(values_at(document, self.path))
            else:
                value = MISSING
                break
        if type(value) is list:
            return self._of_array([value])
        key = key_of(value, folded=self.fold)
        shape = None if self.fold and type(value) is str else _shape(value)
        long = len(key) == KEY_BYTES_MAX and type(value) in (str, dict)
        return _Keys((inverted(key) if self.descending else key,), shape, long=long, absent=value is MISSING)

    def _of_array(self, values: list[Value]) -> _Keys:
        keys: dict[bytes, None] = {}
        absent = True
        for value in values:
            absent = absent and value is MISSING
            for one in value if type(value) is list else (value,):
                keys[key_of(one, folded=self.fold)] = None
                if len(keys) > ENTRIES_MAX:
                    raise _too_many()
            if type(value) is list and not value:
                keys[NOTHING] = None
        if not keys:
            keys[NOTHING] = None
        long = any(len(key) == KEY_BYTES_MAX for key in keys)
        found = tuple(inverted(key) for key in keys) if self.descending else tuple(keys)
        return _Keys(found, None, multikey=True, long=long, absent=absent)


def _shape(value: Value) -> int | None:
    kind = type(value)
    if kind is float:
        if not value.is_integer():
            return FAITHFUL
        return NEGATIVE_ZERO if value == 0 and str(value)[0] == "-" else WHOLE_FLOAT
    if kind is dict or kind is list:
        return None
    return ABSENT if value is MISSING else FAITHFUL


def _in_order(document: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Whether those of the fields `names` that the document has stand in it in this order."""
    there = [name for name in names if name in document]
    return len(there) < 2 or [name for name in document if name in there] == there


def _too_many() -> TooManyEntries:
    return TooManyEntries(f"the document would have more than {ENTRIES_MAX} entries")


Tell: TypeAlias = Callable[[bytes, bytes], dict[str, Any]]


@lru_cache(maxsize=1_024)
def teller_of(definition: Definition) -> Tell:
    """Return the function from the only entry of a document, and its shape, to the indexed fields of the document."""
    fields = [(path_of(one)[:-1], path_of(one)[-1], one.descending) for one in definition.fields]

    def tell(key: bytes, shape: bytes) -> dict[str, Any]:
        document: dict[str, Any] = {}
        start = 0
        for (path, last, descending), kind in zip(fields, shape, strict=True):
            value, start = scalar_in(key, start, descending=descending)
            if kind == ABSENT:
                continue
            if kind == WHOLE_FLOAT:
                value = float(value)
            elif kind == NEGATIVE_ZERO:
                value = -0.0
            inner = document
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        return document

    return tell


_HEAD: Final = struct.Struct(">BH")  # whether a shape follows, bytes of the document's ID
_SHAPED: Final = struct.Struct(">Q")  # revision of the document; the shape follows, one byte for each field


class Entry(NamedTuple):
    """A stored entry."""

    id: str
    """The document's."""
    key: bytes
    """Of the fields."""
    shape: bytes | None
    revision: int
    """Of the document, if there is a shape; else 0."""


def stored_entry(
    prefix: bytes, key: bytes, document_id: bytes, shape: bytes | None, revision: int, *, unique: bool
) -> tuple[bytes, bytes]:
    """Return key and value under which an entry is stored; `prefix` is that of the index."""
    value = _HEAD.pack(shape is not None, len(document_id))
    if shape is not None:
        value += _SHAPED.pack(revision) + shape
    return (prefix + key, value + document_id) if unique else (prefix + key + document_id, value)


def entry_in(prefix_bytes: int, key: bytes, value: bytes, *, unique: bool) -> Entry:
    """Return the entry stored as `value` under `key`, which begins with a prefix of so many bytes."""
    shaped, size = _HEAD.unpack_from(value)
    end = len(value) - size if unique else len(value)
    document_id = value[end:] if unique else key[len(key) - size :]
    fields = key[prefix_bytes:] if unique else key[prefix_bytes : len(key) - size]
    if not shaped:
        return Entry(document_id.decode(), fields, None, 0)
    (revision,) = _SHAPED.unpack_from(value, _HEAD.size)
    return Entry(document_id.decode(), fields, value[_HEAD.size + _SHAPED.size : end], revision)


def document_id_in(value: bytes) -> str:
    """Return the ID of the document in the value of an entry of a unique index."""
    _, size = _HEAD.unpack_from(value)
    return value[len(value) - size :].decode()
