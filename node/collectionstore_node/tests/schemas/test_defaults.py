"""Defaults: which members they fill in, and that they are the same for every replica."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from collectionstore_node.schemas import DEFAULTS_BYTES_MAX, CompiledSchema, DefaultsTooLarge

NESTED = {
    "properties": {
        "a": {"default": 1},
        "b": {"properties": {"c": {"default": [1]}, "d": {"properties": {"e": {"default": None}}}}},
        "l": {"items": {"properties": {"x": {"default": 1}}}},
    }
}


def filled(schema: Any, document: dict[str, Any]) -> str:
    """Return a document with its defaults, in the order in which they are stored."""
    CompiledSchema(schema).fill(document)
    return orjson.dumps(document).decode()


@pytest.mark.parametrize(
    ("schema", "document", "expected"),
    [
        ({}, {}, "{}"),
        (True, {"a": 1}, '{"a":1}'),
        (NESTED, {}, '{"a":1}'),
        (NESTED, {"b": {}}, '{"b":{"c":[1]},"a":1}'),
        (NESTED, {"a": 5, "b": {"c": 0, "d": {}}}, '{"a":5,"b":{"c":0,"d":{"e":null}}}'),
        (NESTED, {"a": None, "b": 5, "l": [{}]}, '{"a":null,"b":5,"l":[{}]}'),
        ({"properties": {"o": {"default": {}, "properties": {"x": {"default": 1}}}}}, {}, '{"o":{}}'),
        ({"properties": {"z": {"default": 1}, "y": {"default": 2}}}, {"k": 0}, '{"k":0,"z":1,"y":2}'),
        ({"$ref": "#/$defs/o", "$defs": {"o": {"properties": {"x": {"default": 1}}}}}, {}, '{"x":1}'),
        ({"properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"default": 3}}}, {}, '{"x":3}'),
        ({"properties": {"x": {"$ref": "#/$defs/n", "default": 4}}, "$defs": {"n": {"default": 3}}}, {}, '{"x":4}'),
        (
            {"properties": {"n": {"$ref": "#"}, "x": {"default": 1}}},
            {"n": {"n": {}}},
            '{"n":{"n":{"x":1},"x":1},"x":1}',
        ),
        ({"anyOf": [{"properties": {"x": {"default": 1}}}]}, {}, "{}"),
        ({"if": True, "then": {"properties": {"x": {"default": 1}}}}, {}, "{}"),
        ({"default": {"a": 1}}, {}, "{}"),
        ({"patternProperties": {"a": {"default": 1}}, "additionalProperties": {"default": 1}}, {}, "{}"),
    ],
)
def test_what_is_filled_in(schema: Any, document: dict[str, Any], expected: str) -> None:
    assert filled(schema, document) == expected


def test_documents_share_nothing() -> None:
    compiled = CompiledSchema({"properties": {"a": {"default": [1]}}})
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    assert compiled.fill(first)
    first["a"].append(2)

    assert compiled.fill(second)
    assert second == {"a": [1]}
    assert not compiled.fill(second)


def test_what_defaults_add_is_bounded() -> None:
    schema = {"properties": {"n": {"$ref": "#"}, "x": {"default": "x" * 20_000}}}
    document: dict[str, Any] = {}
    for _ in range(DEFAULTS_BYTES_MAX // 20_000 + 1):
        document = {"n": document}

    with pytest.raises(DefaultsTooLarge):
        CompiledSchema(schema).fill(document)
