"""Validates a YAML or JSON value against a tree of msgspec structs and reports every error with its path.

Checks types, bounds, enumerations and unknown fields; rules between fields are in `rules`. Null counts as absent, as in
an API server that prunes and applies defaults. The same structs generate the OpenAPI schema, so this module checks
nothing that a structural schema cannot express.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from collectionstore_operator.errors import FieldError

Struct = TypeVar("Struct", bound=msgspec.Struct)
_ListType: TypeAlias = inspect.ListType | inspect.VarTupleType


def convert(value: object, struct: type[Struct], path: str) -> tuple[Struct | None, list[FieldError]]:
    """Return the struct with its defaults filled in, or None and every error found below `path`."""
    errors = check(value, _type_of(struct), path)
    if errors:
        return None, errors
    return msgspec.convert(without_nulls(value), struct), []


@functools.cache
def _type_of(struct: type[msgspec.Struct]) -> inspect.Type:
    """Return the type information of a struct: to gather it takes longer than to check a resource."""
    return inspect.type_info(struct)


def without_nulls(value: object) -> object:
    """Drop null fields at every depth, so that defaults apply to them."""
    if isinstance(value, Mapping):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(one) for one in value]
    return value


def check(value: object, kind: inspect.Type, path: str) -> list[FieldError]:
    """Return the errors in `value` and below it, in document order."""
    kind = _present(kind)
    plain = _plain(kind)
    if isinstance(plain, inspect.StructType):
        return _check_struct(value, plain, path)
    if isinstance(plain, inspect.DictType):
        return _check_dict(value, plain, path)
    if isinstance(plain, _ListType):
        return _check_list(value, kind, plain, path)
    return [] if _fits(value, plain) else [FieldError(path, f"{shown(value)} is not allowed", allowed(kind))]


def _check_struct(value: object, kind: inspect.StructType, path: str) -> list[FieldError]:
    if not isinstance(value, Mapping):
        return [FieldError(path, f"{shown(value)} is not an object", allowed(kind))]
    fields = {field.encode_name: field for field in kind.fields}
    errors = []
    for key, one in value.items():
        field = fields.get(key)
        if field is None:
            errors.append(FieldError(child(path, key), f"unknown field{_guess(key, fields)}", _listed(fields)))
        elif one is not None:
            errors += check(one, field.type, child(path, key))
    for name, field in fields.items():
        if field.required and value.get(name) is None:
            errors.append(FieldError(child(path, name), "is required", allowed(field.type)))
    return errors


def _check_dict(value: object, kind: inspect.DictType, path: str) -> list[FieldError]:
    if not isinstance(value, Mapping):
        return [FieldError(path, f"{shown(value)} is not an object", allowed(kind))]
    errors = []
    for key, one in value.items():
        if not _fits(key, _plain(kind.key_type)):
            errors.append(FieldError(child(path, key), f"the key {shown(key)} is not allowed", allowed(kind.key_type)))
        elif one is not None:
            errors += check(one, kind.value_type, child(path, key))
    return errors or _check_length(sum(one is not None for one in value.values()), kind, path)


def _check_list(value: object, kind: inspect.Type, plain: _ListType, path: str) -> list[FieldError]:
    if not isinstance(value, list | tuple):
        return [FieldError(path, f"{shown(value)} is not a list", allowed(plain))]
    errors = []
    for position, one in enumerate(value):
        errors += check(one, plain.item_type, f"{path}[{position}]")
    return errors or _check_length(len(value), plain, path) or _check_unique(value, _keywords(kind), path)


def _check_length(length: int, kind: inspect.DictType | _ListType, path: str) -> list[FieldError]:
    lowest, highest = kind.min_length or 0, kind.max_length
    if lowest <= length and (highest is None or length <= highest):
        return []
    return [FieldError(path, f"{length} items are not allowed", _count(lowest, highest))]


def _check_unique(value: Sequence[object], words: Mapping[str, object], path: str) -> list[FieldError]:
    """Return an error for each duplicate in a list of type `set`, or of the keys in a list of type `map`."""
    keys = words.get("x-kubernetes-list-map-keys")
    if isinstance(keys, list):
        marks = [tuple(one.get(key) for key in keys) if isinstance(one, Mapping) else () for one in value]
        what = f"the {' and '.join(keys)}"
    elif words.get("x-kubernetes-list-type") == "set":
        marks, what = [(one,) for one in value], "the value"
    else:
        return []
    return [
        FieldError(f"{path}[{position}]", f"{what} {', '.join(map(shown, mark))} is a duplicate", "unique values")
        for position, mark in enumerate(marks)
        if mark in marks[:position]
    ]


def child(path: str, key: object) -> str:
    """Return the path of a field below `path`; keys that are not identifiers are quoted in brackets."""
    word = str(key)
    if not word.replace("-", "").replace("_", "").isalnum():
        return f"{path}[{word!r}]"
    return f"{path}.{word}" if path else word


def shown(value: object) -> str:
    """Return a value for an error message, truncated; strings in quotes, so that '3' and 3 differ."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def allowed(kind: inspect.Type) -> str:
    """Return the allowed values of a type for an error message: its title if it has one, or its bounds."""
    title = _title(kind)
    if title:
        return title
    kind = _plain(kind)
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"an integer{_bounds(kind.ge, kind.le)}"
        case inspect.StrType():
            return _extra(kind, "a string")
        case inspect.LiteralType():
            return " or ".join(str(one) for one in kind.values)
        case inspect.StructType():
            return f"an object with {_listed({field.encode_name: field for field in kind.fields})}"
        case inspect.DictType():
            return f"an object whose values are {allowed(kind.value_type)}"
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list of {allowed(kind.item_type)}"
        case inspect.UnionType():
            return " or ".join(allowed(one) for one in kind.types if not isinstance(one, inspect.NoneType))
        case _:
            raise TypeError(f"no resource field may have the type {kind}")


def _title(kind: inspect.Type) -> str:
    """Return the title that explains a pattern, at any depth of the metadata; empty if there is none."""
    if not isinstance(kind, inspect.Metadata):
        return ""
    title = (kind.extra_json_schema or {}).get("title")
    return title if isinstance(title, str) else _title(kind.type)


def _keywords(kind: inspect.Type) -> Mapping[str, object]:
    """Return the extra schema keywords of a type."""
    return (kind.extra_json_schema or {}) if isinstance(kind, inspect.Metadata) else {}


def _present(kind: inspect.Type) -> inspect.Type:
    """Return the type of an optional field without None."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    rest = tuple(one for one in kind.types if not isinstance(one, inspect.NoneType))
    return rest[0] if len(rest) == 1 else kind


def _count(lowest: int, highest: int | None) -> str:
    if highest is None:
        return f"at least {lowest}"
    return f"from {lowest} to {highest}" if lowest else f"at most {highest}"


def _extra(kind: inspect.StrType, word: str) -> str:
    if kind.pattern is not None:
        word = f"{word} matching {kind.pattern}"
    if kind.max_length is not None:
        word = f"{word}, at most {kind.max_length} characters"
    return word


def _bounds(lowest: float | None, highest: float | None) -> str:
    if lowest is not None and highest is not None:
        return f" from {lowest} to {highest}"
    return f" of at least {lowest}" if lowest is not None else ""


def _fits(value: object, kind: inspect.Type) -> bool:
    """Return whether a scalar has the type and is within its bounds. No coercion: '3' and true are no integers."""
    match kind:
        case inspect.UnionType():
            return any(_fits(value, _plain(one)) for one in kind.types)
        case inspect.NoneType():
            return value is None
        case inspect.AnyType():
            return True
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return (
                isinstance(value, int)
                and not isinstance(value, bool)
                and (kind.ge is None or value >= kind.ge)
                and (kind.le is None or value <= kind.le)
            )
        case inspect.StrType():
            return isinstance(value, str) and _fits_text(value, kind)
        case inspect.LiteralType():
            return value in kind.values and not isinstance(value, bool)
        case _:
            raise TypeError(f"no resource field may have the type {kind}")


def _fits_text(value: str, kind: inspect.StrType) -> bool:
    if len(value) < (kind.min_length or 0) or (kind.max_length is not None and len(value) > kind.max_length):
        return False
    return kind.pattern is None or _ends(kind.pattern).search(value) is not None


@functools.cache
def _ends(pattern: str) -> re.Pattern[str]:
    r"""Return a pattern in which `$` matches only at the end, as in the API server; Python also allows a final `\n`."""
    return re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern)


def _plain(kind: inspect.Type) -> inspect.Type:
    return _plain(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _listed(fields: Mapping[str, object]) -> str:
    return ", ".join(fields)


def _guess(key: object, fields: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(str(key), list(fields), n=1)
    return f", did you mean {near[0]}?" if near else ""
