"""What JSON Schema 2020-12 says of a value: schema, what it allows, and what it does not."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Case(NamedTuple):
    """A schema with values of both kinds."""

    schema: Any
    allowed: list[Any]
    refused: list[Any]


_LIST: Final = {
    "$ref": "#/$defs/list",
    "$defs": {
        "list": {
            "type": "object",
            "required": ["head"],
            "properties": {"head": {"type": "integer"}, "tail": {"$ref": "#/$defs/list"}},
            "additionalProperties": False,
        }
    },
}

CASES: Final[dict[str, Case]] = {
    # Boolean schemas
    "true": Case(schema=True, allowed=[1, None, {}], refused=[]),
    "false": Case(schema=False, allowed=[], refused=[1, None, {}]),
    "empty": Case({}, [1, "a", []], []),
    # Types
    "null": Case({"type": "null"}, [None], [0, False, ""]),
    "boolean": Case({"type": "boolean"}, [True, False], [0, 1, "true"]),
    "integer": Case({"type": "integer"}, [0, -5, 1.0, 2**63, 1e300], [1.5, True, "1", None]),
    "number": Case({"type": "number"}, [0, 1.5, -(2**63)], [True, "1", None, []]),
    "string": Case({"type": "string"}, ["", "é", "\u0000"], [0, None, ["a"]]),
    "array": Case({"type": "array"}, [[], [1]], [{}, "", None]),
    "object": Case({"type": "object"}, [{}, {"a": 1}], [[], "", None]),
    "types": Case({"type": ["integer", "null"]}, [1, None], [1.5, "a", False]),
    # Values
    "const number": Case({"const": 1}, [1, 1.0], [True, "1", 2]),
    "const zero": Case({"const": 0}, [0, 0.0, -0.0], [False, None]),
    "const object": Case({"const": {"a": 1, "b": [2]}}, [{"b": [2.0], "a": 1}], [{"a": 1}, {"a": 1, "b": [2], "c": 3}]),
    "const array": Case({"const": [1, 2]}, [[1, 2], [1.0, 2]], [[2, 1], [1], [1, 2, 3]]),
    "const null": Case({"const": None}, [None], [0, False, "", {}]),
    "enum": Case({"enum": [1, "a", None, [True]]}, [1.0, "a", None, [True]], [True, "A", [1], False]),
    "enum of false": Case({"enum": [False]}, [False], [0, 0.0, None]),
    # Numbers
    "minimum": Case({"minimum": 3}, [3, 3.0, 4, "a"], [2, 2.999]),
    "exclusiveMinimum": Case({"exclusiveMinimum": 3}, [3.001, 4], [3, 3.0, 2]),
    "maximum": Case({"maximum": -1.5}, [-1.5, -2, None], [-1, 0]),
    "exclusiveMaximum": Case({"exclusiveMaximum": 0}, [-1e-300, -1], [0, 0.0, 1]),
    "a large bound": Case({"minimum": 9007199254740993}, [9007199254740993, 2**63], [9007199254740992, 1.0]),
    "the largest integers": Case({"maximum": 2**64 - 1, "minimum": 2**63}, [2**64 - 1, 2**63], [2**63 - 1]),
    "multipleOf": Case({"multipleOf": 3}, [9, 0, -3, 6.0, "a"], [1, 10, 4.5]),
    "multipleOf a fraction": Case({"multipleOf": 0.01}, [0.07, 19.99, 3], [0.075, 0.001]),
    "multipleOf of a large exponent": Case(
        {"multipleOf": 1e-300}, [1e300, 1e-300, 3e-300, 0, 0.0, 7, 2**64 - 1], [1e-301, 1.5e-300]
    ),
    "multipleOf a large number": Case({"multipleOf": 1e300}, [1e300, -2e300, 0, -0.0], [1, 1e299, 1.5e300, 2**64 - 1]),
    "multipleOf with a sign": Case({"multipleOf": 2.5}, [-5, -2.5, 7.5e1], [-1, 2.4]),
    "multipleOf a half": Case({"multipleOf": 0.5}, [1.5, 2, -0.5], [0.25, 1.1]),
    # Strings
    "minLength": Case({"minLength": 2}, ["ab", "éé", "😀a", 5], ["", "a", "😀"]),
    "maxLength": Case({"maxLength": 2}, ["", "ab", "😀😀", [1, 2, 3]], ["abc", "e\u0301a"]),
    "pattern": Case({"pattern": "^a+$"}, ["a", "aa", 5], ["", "ba", "ab"]),
    "a pattern is found anywhere": Case({"pattern": "b"}, ["abc"], ["ac"]),
    "a pattern of classes": Case({"pattern": r"^\d{3}-\w+$"}, ["123-ab_"], ["12-a", "١٢٣-a"]),
    "a pattern of letters": Case({"pattern": r"^\p{L}+$"}, ["é", "ab"], ["1", ""]),
    "format is an annotation": Case({"format": "date-time"}, ["yesterday", 5], []),
    "content is an annotation": Case({"contentEncoding": "base64", "contentMediaType": "application/json"}, ["{"], []),
    # Arrays
    "items": Case({"items": {"type": "integer"}}, [[], [1, 2], "a"], [[1, "a"]]),
    "items false": Case({"items": False}, [[]], [[1]]),
    "prefixItems": Case({"prefixItems": [{"const": 1}, {"const": 2}]}, [[], [1], [1, 2, 3]], [[2], [1, 1]]),
    "prefixItems with items": Case(
        {"prefixItems": [True], "items": {"type": "string"}}, [[1], [1, "a"]], [[1, 2], ["a", "b", 3]]
    ),
    "contains": Case({"contains": {"const": 5}}, [[5], [1, 5], "a"], [[], [1]]),
    "minContains": Case({"contains": {"const": 5}, "minContains": 2}, [[5, 5], [5, 1, 5]], [[5], []]),
    "minContains zero": Case({"contains": {"const": 5}, "minContains": 0}, [[], [1], [5]], []),
    "maxContains": Case({"contains": {"const": 5}, "maxContains": 1}, [[5, 1]], [[5, 5], []]),
    "minItems": Case({"minItems": 1}, [[1], {}], [[]]),
    "maxItems": Case({"maxItems": 1}, [[], [1]], [[1, 2]]),
    "uniqueItems": Case(
        {"uniqueItems": True},
        [
            [],
            [1],
            [1, 2],
            [1, True],
            [0, False],
            [None, 0],
            ["1", 1],
            [[1], [2]],
            [{"a": 1}, {"a": 2}],
            [-1e19, 1, 1e300],
            [[1, 2], [[1], 2]],
        ],
        [[1, 1.0], [0.0, -0.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[1], [1.0]], ["a", "b", "a"]],
    ),
    "uniqueItems false": Case({"uniqueItems": False}, [[1, 1]], []),
    "uniqueItems of many": Case({"uniqueItems": True}, [[*range(20), "1"]], [[*range(20), 19.0]]),
    "unevaluatedItems": Case(
        {"prefixItems": [True], "unevaluatedItems": {"type": "string"}}, [[1], [1, "a"]], [[1, 2]]
    ),
    "unevaluatedItems behind allOf": Case(
        {"allOf": [{"prefixItems": [True, True]}], "unevaluatedItems": False}, [[1, 2]], [[1, 2, 3]]
    ),
    # Objects
    "properties": Case({"properties": {"a": {"type": "integer"}}}, [{}, {"a": 1}, {"b": "x"}, []], [{"a": "x"}]),
    "properties of an odd name": Case(
        {"properties": {"$ref": {"type": "integer"}, "": {"const": 1}, "a/b~c": {"const": 2}}},
        [{"$ref": 1, "": 1, "a/b~c": 2}],
        [{"$ref": "#"}, {"": 2}, {"a/b~c": 1}],
    ),
    "required": Case({"required": ["a", "b"]}, [{"a": None, "b": 1}, "x"], [{"a": 1}, {}]),
    "additionalProperties false": Case(
        {"properties": {"a": True}, "patternProperties": {"^x_": True}, "additionalProperties": False},
        [{}, {"a": 1}, {"x_1": 1}],
        [{"b": 1}, {"a": 1, "y_x_": 1}],
    ),
    "additionalProperties of a type": Case(
        {"properties": {"a": True}, "additionalProperties": {"type": "string"}}, [{"a": 1, "b": "x"}], [{"b": 1}]
    ),
    "patternProperties": Case({"patternProperties": {"^n": {"type": "number"}}}, [{"n1": 1, "m": "x"}], [{"n": "x"}]),
    "two patterns and a property": Case(
        {
            "properties": {"ab": {"minimum": 1}},
            "patternProperties": {"^a": {"maximum": 5}, "b$": {"multipleOf": 2}},
        },
        [{"ab": 4}, {"a": 5}],
        [{"ab": 0}, {"ab": 6}, {"ab": 3}],
    ),
    "propertyNames": Case({"propertyNames": {"maxLength": 2}}, [{"ab": 1}, {}, "abc"], [{"abc": 1}]),
    "propertyNames false": Case({"propertyNames": False}, [{}], [{"a": 1}]),
    "minProperties": Case({"minProperties": 1}, [{"a": 1}, []], [{}]),
    "maxProperties": Case({"maxProperties": 1}, [{}, {"a": 1}], [{"a": 1, "b": 2}]),
    "dependentRequired": Case({"dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 2}], [{"a": 1}]),
    "dependentSchemas": Case(
        {"dependentSchemas": {"a": {"minProperties": 2}}}, [{"b": 1}, {"a": 1, "b": 2}], [{"a": 1}]
    ),
    "unevaluatedProperties": Case(
        {"allOf": [{"properties": {"a": True}}], "properties": {"b": True}, "unevaluatedProperties": False},
        [{"a": 1, "b": 2}],
        [{"a": 1, "c": 3}],
    ),
    "unevaluatedProperties behind anyOf": Case(
        {
            "anyOf": [
                {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": True}, "required": ["b"]},
            ],
            "unevaluatedProperties": False,
        },
        [{"a": 1}, {"b": 1}, {"a": 1, "b": 2}],
        [{"a": "x", "b": 2}, {"a": 1, "c": 2}],
    ),
    "unevaluatedProperties behind if": Case(
        {
            "if": {"properties": {"k": {"const": 1}}, "required": ["k"]},
            "then": {"properties": {"a": True}},
            "else": {"properties": {"b": True}},
            "unevaluatedProperties": False,
        },
        [{"k": 1, "a": 1}, {"b": 1}],
        [{"k": 1, "b": 1}, {"a": 1}],
    ),
    "unevaluatedProperties behind a reference": Case(
        {"$ref": "#/$defs/base", "$defs": {"base": {"properties": {"a": True}}}, "unevaluatedProperties": False},
        [{"a": 1}],
        [{"b": 1}],
    ),
    # Combinations
    "allOf": Case({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [1, 2, "a"], [0, 4]),
    "anyOf": Case({"anyOf": [{"type": "string"}, {"minimum": 5}]}, ["a", 5, None], [4]),
    "oneOf": Case({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}, [2, 3, 9], [6, 1, "a"]),
    "not": Case({"not": {"type": "string"}}, [1, None], ["a"]),
    "not not": Case({"not": {"not": {"const": 1}}}, [1], [2]),
    "if then else": Case(
        {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "number"}}, ["a", 1], ["", None]
    ),
    "then alone": Case({"then": False, "else": False}, [1, "a"], []),
    # References
    "a reference": Case({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, [1], ["a"]),
    "a reference with neighbours": Case(
        {"$ref": "#/$defs/a", "$defs": {"a": {"minimum": 1}}, "maximum": 3}, [1, 3], [0, 4]
    ),
    "a reference to an anchor": Case({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "const": 1}}}, [1], [2]),
    "a reference with escapes": Case(
        {"$ref": "#/$defs/a%25b~1c~0d", "$defs": {"a%b/c~d": {"type": "integer"}}}, [1], ["a"]
    ),
    "a reference to the whole": Case(
        {"type": "object", "properties": {"c": {"$ref": "#"}}}, [{"c": {"c": {}}}], [{"c": {"c": 1}}, {"c": []}]
    ),
    "a reference to a property": Case(
        {"properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}}}, [{"b": 1}], [{"b": "x"}]
    ),
    "a reference with an identifier": Case(
        {"$id": "https://example.com/s", "$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, [1], [2]
    ),
    "a recursive list": Case(
        _LIST,
        [{"head": 1}, {"head": 1, "tail": {"head": 2, "tail": {"head": 3}}}],
        [{"head": 1, "tail": {}}, {"head": 1, "tail": {"head": 2, "tail": {"head": "x"}}}, {"head": 1, "x": 1}],
    ),
    "the dialect": Case({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}, [{}], [1]),
    "data that looks like a schema": Case(
        {"const": {"$ref": "https://example.com/x"}, "examples": [{"$id": "x"}]},
        [{"$ref": "https://example.com/x"}],
        [{}],
    ),
    "an annotation of one's own": Case({"x-owner": {"anything": [1]}, "type": "integer"}, [1], ["a"]),
    "definitions": Case({"definitions": {"a": {"const": 1}}, "$ref": "#/definitions/a"}, [1], [2]),
}
