"""Structural schemas from msgspec types: descriptions, defaults, bounds, list types, and validation rules.

Raises `TypeError` for a type that no structural schema can express, so that a field which the API server cannot
validate is noticed when it is added. Source: Kubernetes docs, "Specifying a structural schema".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect

from collectionstore_operator.crd.transitions import TRANSITIONS
from collectionstore_operator.resource.fields import Part, rendered
from collectionstore_operator.resource.network import NetworkAccess
from collectionstore_operator.resource.rules import KUBERNETES_RULES, RULES, quoted
from collectionstore_operator.resource.spec import Local
from collectionstore_operator.resource.violation import Violation

Schema: TypeAlias = dict[str, Any]

INT32_MAX: Final = (1 << 31) - 1
NOT_DEFAULTED: Final = (Local, NetworkAccess)
"""Parts that are not written into every object as defaults: one without a meaning on Kubernetes, and one that the
version before does not know. The definition is upgraded before the operator, which would refuse an unknown field."""


def struct_schema(struct: type[msgspec.Struct]) -> Schema:
    """Return the schema of a struct with its fields, their defaults and its rules."""
    kind = inspect.type_info(struct)
    if not isinstance(kind, inspect.StructType):
        raise TypeError(f"{struct} is not a struct")
    return _struct(kind)


def filled(default: object) -> Any:
    """Return a default with all nested defaults: the API server validates it against the rules before defaulting."""
    if not isinstance(default, Part):
        return rendered(default)
    found = {
        field.encode_name: filled(getattr(default, field.name))
        for field in msgspec.structs.fields(default)
        if not isinstance(getattr(default, field.name), NOT_DEFAULTED)
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _schema(kind: inspect.Type) -> Schema:
    """Return the schema of a type; its own metadata takes precedence."""
    if isinstance(kind, inspect.Metadata):
        words = dict(kind.extra_json_schema or {})
        title, below = words.pop("title", ""), _schema(kind.type)
        description = words.pop("description", below.pop("description", title[:1].upper() + title[1:]))
        return {**({"description": description} if description else {}), **below, **words}
    match kind:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return _integer(kind)
        case inspect.StrType():
            return {"type": "string", **_lengths(kind, "Length"), **_pattern(kind)}
        case inspect.LiteralType():
            return {"type": "string", "enum": list(kind.values)}
        case inspect.StructType():
            return _struct(kind)
        case inspect.DictType():
            return _map(kind)
        case inspect.VarTupleType():
            return {"type": "array", **_lengths(kind, "Items"), "items": _item(kind.item_type)}
        case inspect.UnionType():
            return _union(kind)
        case _:
            raise TypeError(f"no resource field may have the type {kind}")


def _item(kind: inspect.Type) -> Schema:
    """Return the schema of list items; objects are described by the docstring of their class."""
    if isinstance(kind, inspect.StructType):
        return {"description": str(kind.cls.__doc__).partition("\n")[0], **_schema(kind)}
    return _schema(kind)


def _struct(kind: inspect.StructType) -> Schema:
    properties = {field.encode_name: _property(field) for field in kind.fields}
    required = [field.encode_name for field in kind.fields if field.required]
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    rules = _rules(kind.cls)
    if rules:
        schema["x-kubernetes-validations"] = rules
    return schema


def _property(field: inspect.Field) -> Schema:
    schema = _schema(field.type)
    default = _default(field)
    if default is not None:
        schema["default"] = default
    return schema


def _default(field: inspect.Field) -> object:
    """Return the default of a field, None for no default: an empty map, list or string is not written."""
    if field.required:
        return None
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(default, NOT_DEFAULTED):
        return None
    value = filled(default)
    return None if value in ({}, [], "") else value


def _integer(kind: inspect.IntType) -> Schema:
    small = kind.le is not None and kind.le <= INT32_MAX
    bounds = {"minimum": kind.ge, "maximum": kind.le}
    return {
        "type": "integer",
        "format": "int32" if small else "int64",
        **{word: bound for word, bound in bounds.items() if bound is not None},
    }


def _lengths(kind: inspect.StrType | inspect.VarTupleType | inspect.DictType, what: str) -> Schema:
    bounds = {f"min{what}": kind.min_length, f"max{what}": kind.max_length}
    return {word: bound for word, bound in bounds.items() if bound is not None}


def _pattern(kind: inspect.StrType) -> Schema:
    return {"pattern": kind.pattern} if kind.pattern is not None else {}


def _map(kind: inspect.DictType) -> Schema:
    key, value = _plain(kind.key_type), _schema(kind.value_type)
    if isinstance(key, inspect.LiteralType):
        return {"type": "object", "properties": {name: value for name in key.values}}
    if not isinstance(key, inspect.StrType):
        raise TypeError(f"the keys of an object must be strings, not {key}")
    schema = {"type": "object", **_lengths(kind, "Properties"), "additionalProperties": value}
    if key.pattern is not None:
        title = (kind.key_type.extra_json_schema or {}) if isinstance(kind.key_type, inspect.Metadata) else {}
        rule = f"self.all(key, key.size() <= {key.max_length} && key.matches({quoted(key.pattern)}))"
        message = f"a key is not allowed; allowed: {title.get('title', key.pattern)}"
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message}]
    return schema


def _union(kind: inspect.UnionType) -> Schema:
    """Return the schema of an optional field, or of an int-or-string."""
    present = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    if len(present) == 1:
        return _schema(present[0])
    merged: Schema = {"x-kubernetes-int-or-string": True}
    for one in present:
        if not isinstance(_plain(one), inspect.IntType | inspect.StrType):
            raise TypeError(f"only an int-or-string may be a union, not {kind}")
        bounds = _schema(one)
        # Bounds apply to their own type only; `type` and `format` would apply to both.
        merged |= {word: bound for word, bound in bounds.items() if word not in ("type", "format")}
    return merged


def _rules(struct: type) -> list[Schema]:
    found = []
    for rule in (*RULES.get(struct, ()), *KUBERNETES_RULES.get(struct, ())):
        said = (
            {"message": str(rule.message)}
            if isinstance(rule.message, Violation)
            else {"messageExpression": rule.message}
        )
        found.append({"rule": rule.cel, **said, "fieldPath": f".{rule.field}"})
    for transition in TRANSITIONS.get(struct, ()):
        found.append({"rule": transition.cel, "message": transition.message, "fieldPath": f".{transition.field}"})
    return found


def _plain(kind: inspect.Type) -> inspect.Type:
    return _plain(kind.type) if isinstance(kind, inspect.Metadata) else kind


def without_defaults(schema: Mapping[str, Any]) -> Schema:
    """Return a schema without defaults: a status field is observed or absent."""
    kept: Schema = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in kept:
        kept["properties"] = {name: without_defaults(one) for name, one in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = without_defaults(kept["items"])
    return kept
