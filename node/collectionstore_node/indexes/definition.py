"""The definition of an index: what it covers, in which order, and of which documents."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.documents.filters import Node, parse_filter
from collectionstore_node.documents.filters.tree import And, Compare, Equal, Exists, Field, HasType, In, Test
from collectionstore_node.documents.paths import PATH_CHARACTERS_MAX, Path, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart
from collectionstore_node.indexes.encoding import TooDeep, check_depth

INDEXES_MAX: Final = 16
"""Of one collection."""
FIELDS_MAX: Final = 8
"""Of one index."""
DEFINITION_BYTES_MAX: Final = 4 << 10
"""Paths and filter of one index together."""
FILTER_TESTS_MAX: Final = 16

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
SCAN: Final = "scan"
"""No index has this name: a hint of it asks for none."""

_MEMBERS: Final = ("name", "fields", "unique", "sparse", "fold", "filter")


class IndexField(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One field of an index, by its dotted path."""

    path: str
    descending: bool = False
    fold: bool = False
    """Whether texts are indexed in one case (`folding`)."""


class Definition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An index as it was asked for. It is stored, and part of a command: add fields at the end, with a default."""

    name: str
    fields: tuple[IndexField, ...]
    unique: bool = False
    """No two documents have the same values in the fields. A missing field is as null."""
    sparse: bool = False
    """Documents without any of the fields are left out."""
    filter: bytes = b""
    """Compact JSON of the filter that documents in the index match; empty for all documents."""


def parse_definition(given: Value, pointer: str = "") -> Definition:
    """Return the definition in a request's body. Raises `InvalidPart("invalid_index")` with a pointer."""
    if type(given) is not dict:
        raise _invalid(pointer, 'an index is an object, such as {"name": "by-age", "fields": {"age": 1}}')
    for name in given:
        if name not in _MEMBERS:
            raise _invalid(child(pointer, name), f"an index has no such member; it has {', '.join(_MEMBERS)}")
    fields = _fields(given.get("fields"), child(pointer, "fields"))
    fields = _folded(fields, given.get("fold"), child(pointer, "fold"))
    definition = Definition(
        _name(given.get("name"), child(pointer, "name")),
        fields,
        _flag(given, "unique", pointer),
        _flag(given, "sparse", pointer),
        _filter(given.get("filter"), child(pointer, "filter")),
    )
    if _size(definition) > DEFINITION_BYTES_MAX:
        raise _invalid(
            pointer, f"paths and filter have {_size(definition)} bytes; at most {DEFINITION_BYTES_MAX} are allowed"
        )
    return definition


def definition_violation(definition: Definition) -> str | None:
    """Return what is wrong with a definition that a member forwarded or a log entry holds, or None."""
    if not definition.fields or len(definition.fields) > FIELDS_MAX or _size(definition) > DEFINITION_BYTES_MAX:
        return "an index has 1 to 8 fields, and a bounded size"
    try:
        if definition != parse_definition(shown(definition)):
            return "the definition is not in its canonical form"
    except InvalidPart as error:
        return error.detail
    except ValueError:
        return "the filter is not JSON"
    return None


def shown(definition: Definition) -> dict[str, Any]:
    """Return the definition as `parse_definition` takes it. Raises `ValueError` if its filter is not JSON."""
    members: dict[str, Any] = {
        "name": definition.name,
        "fields": {one.path: -1 if one.descending else 1 for one in definition.fields},
        "unique": definition.unique,
        "sparse": definition.sparse,
    }
    if any(one.fold for one in definition.fields):
        members["fold"] = [one.path for one in definition.fields if one.fold]
    if definition.filter:
        members["filter"] = orjson.loads(definition.filter)
    return members


@lru_cache(maxsize=1_024)
def filter_of(definition: Definition) -> Node | None:
    """Return the checked filter of a partial index, None if it has none. Raises `InvalidPart`."""
    return parse_filter(orjson.loads(definition.filter), "/filter") if definition.filter else None


def tests_of(node: Node) -> tuple[Field, ...]:
    """Return the tests that a partial filter asks, all of which must hold. Raises `InvalidPart` for other filters."""
    if isinstance(node, And):
        return tuple(test for one in node.children for test in tests_of(one))
    if isinstance(node, Field) and _allowed(node.test):
        return (node,)
    raise _invalid(
        "/filter",
        "the filter of an index takes $eq, $gt, $gte, $lt, $lte, $in, $exists: true and $type, all of which must hold",
    )


def path_of(field: IndexField) -> Path:
    """Return the path of a field in its parts."""
    return tuple(field.path.split("."))


def _allowed(test: Test) -> bool:
    # What a replica of another version must answer alike, for ever: no patterns, and nothing that is likely to change.
    match test:
        case In(_, patterns):
            return not patterns
        case Equal() | Compare() | Exists() | HasType():
            return True
    return False


def _name(given: Value, pointer: str) -> str:
    if type(given) is not str or not NAME.fullmatch(given) or given == SCAN:
        raise _invalid(pointer, "the name has 1-63 of a-z, 0-9, '_' and '-', and is not 'scan'")
    return given


def _fields(given: Value, pointer: str) -> tuple[IndexField, ...]:
    if type(given) is not dict or not given:
        raise _invalid(pointer, 'the fields are an object of paths to 1 or -1, such as {"age": -1, "name": 1}')
    if len(given) > FIELDS_MAX:
        raise _invalid(pointer, f"an index has {len(given)} fields; at most {FIELDS_MAX} are allowed")
    fields = []
    for name, direction in given.items():
        at = child(pointer, name)
        path = parse_path(name, "invalid_index", at)
        if path[0].startswith("_"):
            raise _invalid(at, "names that begin with an underscore are the store's; IDs need no index")
        if type(direction) is not int or direction not in (1, -1):
            raise _invalid(at, "the direction is 1 (ascending) or -1 (descending)")
        fields.append(IndexField(name, direction == -1))
    return tuple(fields)


def _folded(fields: tuple[IndexField, ...], given: Value, pointer: str) -> tuple[IndexField, ...]:
    if given is None:
        return fields
    if type(given) is not list:
        raise _invalid(pointer, "fold is a list of those fields whose texts are compared in one case")
    names = [one.path for one in fields]
    for at, one in enumerate(given):
        if type(one) is not str or one not in names or one in given[:at]:
            raise _invalid(child(pointer, at), "fold names fields of the index, each once")
    return tuple(IndexField(one.path, one.descending, one.path in given) for one in fields)


def _flag(given: dict[str, Any], name: str, pointer: str) -> bool:
    value = given.get(name, False)
    if type(value) is not bool:
        raise _invalid(child(pointer, name), f"{name} is true or false")
    return value


def _filter(given: Value, pointer: str) -> bytes:
    if given is None:
        return b""
    try:
        tests = tests_of(parse_filter(given, pointer))
    except InvalidPart as error:
        at = pointer if error.pointer == "/filter" else error.pointer
        raise _invalid(at, error.detail) from None
    if not 1 <= len(tests) <= FILTER_TESTS_MAX:
        raise _invalid(pointer, f"the filter of an index has 1 to {FILTER_TESTS_MAX} tests")
    for test in tests:
        if test.path[0].startswith("_"):
            raise _invalid(pointer, "the filter of an index asks about fields of the document")
        _check_operands(test.test, pointer)
    return orjson.dumps(given)


def _check_operands(test: Test, pointer: str) -> None:
    operands = test.operands if isinstance(test, In) else [getattr(test, "operand", None)]
    try:
        for one in operands:
            if type(one) is dict or type(one) is list:
                check_depth(one)
    except TooDeep:
        raise _invalid(pointer, "a value in the filter is nested too deep") from None


def _size(definition: Definition) -> int:
    paths = [one.path for one in definition.fields]
    if any(len(one) > PATH_CHARACTERS_MAX for one in paths):
        return DEFINITION_BYTES_MAX + 1
    return sum(len(one.encode()) for one in paths) + len(definition.filter)


def _invalid(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("invalid_index", pointer, detail)
