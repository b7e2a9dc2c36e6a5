"""What an API server does with an object before the rules in CEL: drops nulls, fills in defaults, checks the schema.

Written from the Kubernetes documentation of structural schemas, without a look at the code that makes the schema, so
that the two can be compared. CEL is left to a real API server: `crd_on_api_server.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

KNOWN = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
}


def admitted(value: object, schema: Schema) -> tuple[Any, list[str]]:
    """Return the object with its defaults, and where it breaks the schema; unknown fields count, as for kubectl."""
    filled = _fill(value, schema)
    return filled, list(_faults(filled, schema, ""))


def _fill(value: Any, schema: Schema) -> Any:
    """Return a copy in which every part stands alone, as in JSON: a part that Python shares is filled in twice."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        further = schema.get("additionalProperties")
        given = {name: one for name, one in value.items() if one is not None}
        defaults = {name: below["default"] for name, below in properties.items() if "default" in below}
        return {name: _fill(one, properties.get(name) or further or {}) for name, one in {**defaults, **given}.items()}
    if isinstance(value, list):
        return [_fill(one, schema.get("items", {})) for one in value]
    return value


def _faults(value: Any, schema: Schema, path: str) -> Iterator[str]:
    unknown = schema.keys() - KNOWN
    if unknown:
        raise AssertionError(f"{path}: this reading knows nothing of {unknown}")
    if not _is_typed(value, schema):
        yield path
    elif isinstance(value, dict):
        yield from _object_faults(value, schema, path)
    elif isinstance(value, list):
        yield from _list_faults(value, schema, path)
    elif not _is_within(value, schema):
        yield path


def _is_typed(value: Any, schema: Schema) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    match schema["type"]:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    raise AssertionError(f"no such type: {schema['type']}")


def _object_faults(value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
    properties, further = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}"
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 1 << 30):
        yield path
    for rule in schema.get("x-kubernetes-validations", ()):
        # The one form of rule that is part of a map's type: which names its entries may have.
        found = re.fullmatch(r"self\.all\(key, key\.size\(\) <= (\d+) && key\.matches\('(.*)'\)\)", rule["rule"])
        if found and further:
            for name in value:
                if len(name) > int(found[1]) or not re.fullmatch(_python(found[2].replace("\\\\", "\\")), name):
                    yield f"{path}[{name}]"
    for name, one in value.items():
        if name in properties:
            yield from _faults(one, properties[name], f"{path}.{name}")
        elif further:
            yield from _faults(one, further, f"{path}[{name}]")
        else:
            yield f"{path}.{name}"


def _list_faults(value: list[Any], schema: Schema, path: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 30):
        yield path
    for position, one in enumerate(value):
        yield from _faults(one, schema["items"], f"{path}[{position}]")
    keys = schema.get("x-kubernetes-list-map-keys")
    kind = schema.get("x-kubernetes-list-type", "atomic")
    if kind == "set":
        marks = [repr(one) for one in value]
    elif kind == "map":
        marks = [repr([one.get(key) for key in keys or ()]) if isinstance(one, dict) else "" for one in value]
    else:
        return
    if len(set(marks)) < len(marks):
        yield path


def _is_within(value: Any, schema: Schema) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        widest = 31 if schema.get("format") == "int32" else 63
        lowest, highest = schema.get("minimum", -(1 << widest)), schema.get("maximum", (1 << widest) - 1)
        return bool(lowest <= value <= highest)
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
        return False
    return "pattern" not in schema or re.fullmatch(_python(schema["pattern"]), value) is not None


def _python(pattern: str) -> str:
    """Return a pattern for `fullmatch`; all of ours are anchored at both ends."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise AssertionError(f"{pattern} is not anchored")
    return pattern[1:-1]
