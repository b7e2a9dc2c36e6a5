"""Schemas that are refused: with a pointer, before anything is stored, and at a bounded cost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from collectionstore_node.errors import InvalidPart
from collectionstore_node.schemas import (
    NESTING_MAX,
    PATTERNS_MAX,
    SCHEMA_BYTES_MAX,
    SUBSCHEMAS_MAX,
    WEIGHT_MAX,
    CompiledSchema,
    check_schema,
)
from collectionstore_node.schemas.costs import DEPTH_MAX
from collectionstore_node.tests.schemas.test_semantics import counted

REFUSED: dict[str, tuple[Any, str]] = {
    "no schema": (5, ""),
    "a list": ([], ""),
    "a misspelled keyword": ({"properties": {"a": {"requiredd": ["b"]}}}, "/properties/a/requiredd"),
    "an earlier dialect": ({"dependencies": {"a": ["b"]}}, "/dependencies"),
    "another dialect": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
    "a dialect below the top": (
        {"properties": {"a": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}},
        "/properties/a/$schema",
    ),
    "an own dialect": ({"$vocabulary": {"https://example.com/v": True}}, "/$vocabulary"),
    "a remote reference": ({"items": {"$ref": "https://example.com/s"}}, "/items/$ref"),
    "a relative reference": ({"$ref": "other.json"}, "/$ref"),
    "a file": ({"$ref": "file:///etc/passwd"}, "/$ref"),
    "the meta-schema": ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "/$ref"),
    "a dynamic reference": ({"$dynamicRef": "#node"}, "/$dynamicRef"),
    "a dynamic anchor": ({"$dynamicAnchor": "node"}, "/$dynamicAnchor"),
    "a reference to nothing": ({"$ref": "#/$defs/a"}, "/$ref"),
    "a reference to no schema": ({"properties": {}, "$ref": "#/properties"}, "/$ref"),
    "a reference into data": ({"const": {"a": {}}, "$ref": "#/const/a"}, "/$ref"),
    "an unknown anchor": ({"$ref": "#a"}, "/$ref"),
    "a reference that is no text": ({"$ref": 5}, "/$ref"),
    "an identifier below the top": ({"$defs": {"a": {"$id": "b"}}}, "/$defs/a/$id"),
    "an identifier with a fragment": ({"$id": "https://example.com/#a"}, "/$id"),
    "two anchors of one name": (
        {"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}},
        "/$defs/b/$anchor",
    ),
    "a reference to itself": ({"$ref": "#"}, ""),
    "references in a ring": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
        "/$defs/a",
    ),
    "an unknown type": ({"type": "float"}, "/type"),
    "a type twice": ({"type": ["null", "null"]}, "/type"),
    "no types": ({"type": []}, "/type"),
    "an empty enum": ({"enum": []}, "/enum"),
    "an empty list of schemas": ({"anyOf": []}, "/anyOf"),
    "a list in place of a schema": ({"items": [{}]}, "/items"),
    "a number in place of a schema": ({"properties": {"a": 1}}, "/properties/a"),
    "a minimum that is no number": ({"minimum": "1"}, "/minimum"),
    "a minimum that is true": ({"minimum": True}, "/minimum"),
    "a divisor of 0": ({"multipleOf": 0}, "/multipleOf"),
    "a negative length": ({"minLength": -1}, "/minLength"),
    "a length of a fraction": ({"maxItems": 1.5}, "/maxItems"),
    "a huge length": ({"maxLength": 1 << 60}, "/maxLength"),
    "a flag that is none": ({"uniqueItems": "yes"}, "/uniqueItems"),
    "names that are none": ({"required": ["a", 1]}, "/required"),
    "a name twice": ({"required": ["a", "a"]}, "/required"),
    "dependencies that are none": ({"dependentRequired": {"a": "b"}}, "/dependentRequired"),
    "a pattern that looks ahead": ({"pattern": "a(?=b)"}, "/pattern"),
    "a pattern that looks back": ({"pattern": r"(a)\1"}, "/pattern"),
    "a pattern that is none": ({"patternProperties": {"(": {}}}, "/patternProperties/("),
    "a counted pattern of a counted one": ({"pattern": "((a{100}){100}){100}"}, "/pattern"),
    "a long pattern": ({"pattern": "a" * 2_000}, "/pattern"),
    "a default under a reserved name": ({"properties": {"_id": {"default": 1}}}, "/properties/_id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_pointed_at(name: str) -> None:
    schema, pointer = REFUSED[name]

    with pytest.raises(InvalidPart) as refused:
        check_schema(schema, "/schema/document")

    assert refused.value.code == "invalid_schema"
    assert refused.value.pointer == "/schema/document" + pointer
    assert refused.value.detail


# Bombs: what would take time or memory that grows faster than the document


def _nested(depth: int, inner: Any, name: str = "not") -> Any:
    for _ in range(depth):
        inner = {name: inner}
    return inner


def _doubling(count: int) -> Any:
    definitions: dict[str, Any] = {"a0": {"type": "integer"}}
    for number in range(1, count):
        reference = {"$ref": f"#/$defs/a{number - 1}"}
        definitions[f"a{number}"] = {"allOf": [reference, reference]}
    return {"$ref": f"#/$defs/a{count - 1}", "$defs": definitions}


def _twice_below(**around: Any) -> Any:
    branch = {"properties": {"l": {"$ref": "#/$defs/e"}, "z": {"const": 1}}}
    other = {"properties": {"l": {"$ref": "#/$defs/e"}, "z": {"const": 2}}}
    return {"$ref": "#/$defs/e", "$defs": {"e": {"anyOf": [branch, other], **around}}}


def _marking(depth: int) -> Any:
    schema: Any = {}
    for _ in range(depth):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


BOMBS: dict[str, Any] = {
    "references that double": _doubling(15),
    "references that double, a hundred times": _doubling(100),
    "a recursion that doubles": _twice_below(),
    "a recursion that doubles, in two keywords": {
        "properties": {"a": {"$ref": "#"}},
        "additionalProperties": False,
        "patternProperties": {"^a": {"$ref": "#"}},
    },
    "a recursion that doubles in arrays": {"items": {"$ref": "#"}, "contains": {"$ref": "#"}},
    "a recursion that doubles under conditions": {
        "if": {"properties": {"a": {"$ref": "#"}}},
        "then": {"properties": {"a": {"$ref": "#"}}},
    },
    "a recursion that doubles by a negation": {
        "allOf": [{"not": {"properties": {"a": {"$ref": "#"}}}}, {"not": {"properties": {"a": {"$ref": "#"}}}}]
    },
    "marks inside of marks": _marking(20),
    "a stack of negations": _nested(NESTING_MAX + 1, {"type": "null"}),
    "nested JSON": _nested(70, {}),
    "a deep default": {"default": _nested(70, {}, "a")},
    "a chain of references": {
        "$ref": "#/$defs/a0",
        "$defs": {**{f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(200)}, "a200": {}},
    },
    "a ring whose members must all be different": {
        "$ref": "#/$defs/a0",
        "$defs": {f"a{n}": {"uniqueItems": True, "items": {"$ref": f"#/$defs/a{(n + 1) % 240}"}} for n in range(240)},
    },
    "many subschemas": {"$defs": {f"a{number}": {} for number in range(SUBSCHEMAS_MAX)}},
    "many patterns": {"patternProperties": {f"a{number}": {} for number in range(PATTERNS_MAX + 1)}},
    "a large schema": {"description": "x" * SCHEMA_BYTES_MAX},
    "a wide enum in many places": {
        "allOf": [{"items": {"enum": list(range(200))}} for _ in range(SUBSCHEMAS_MAX // 3)]
    },
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        check_schema(BOMBS[name])

    assert refused.value.code == "invalid_schema"


@pytest.mark.parametrize(
    "schema",
    [
        _nested(NESTING_MAX - 1, {"type": "null"}),
        _doubling(8),
        {"properties": {name: {"$ref": "#"} for name in "abcdefgh"}},
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": {"type": "integer"}}},
        {"properties": {"children": {"type": "array", "uniqueItems": True, "items": {"$ref": "#"}}}},
        {"anyOf": [{"type": "null"}, {"properties": {"next": {"$ref": "#/anyOf/1"}}}]},
        _marking(5),
        {
            "$defs": {
                f"a{n}": {"properties": {f"p{k}": {"$ref": f"#/$defs/a{k}"} for k in range(20)}} for n in range(20)
            }
        },
    ],
    ids=["nested", "doubled", "recursive", "tree", "different children", "list", "marks", "all to all"],
)
def test_what_is_bounded_is_allowed(schema: Any) -> None:
    compiled = CompiledSchema(schema)

    assert 0 < compiled.weight.first <= WEIGHT_MAX
    assert 0 <= compiled.weight.steps <= WEIGHT_MAX


# Documents that are made to cost: steps, not time


def _deep(depth: int, name: str, **members: Any) -> Any:
    value: Any = dict(members)
    for _ in range(depth):
        value = {name: value, **members}
    return value


COSTLY: dict[str, tuple[Any, Any]] = {
    "a deep list": ({"properties": {"n": {"$ref": "#"}}, "required": ["x"]}, _deep(90, "n", y=1)),
    "a tree": (
        {"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}, "maxProperties": 1},
        _deep(60, "l", r={"l": {}, "r": {}}),
    ),
    "members and patterns": (
        {
            "patternProperties": {f"{letter}": {"type": "null"} for letter in "abcdefgh"},
            "propertyNames": {"pattern": "^a"},
        },
        {"abcdefgh" * 3 + str(number): number for number in range(300)},
    ),
    "many members": ({"additionalProperties": {"allOf": [{"minimum": 5}] * 20}}, {str(n): n for n in range(500)}),
    "positions": ({"prefixItems": [{"type": "null"}] * 50, "items": {"enum": list(range(20, 60))}}, list(range(500))),
    "contained": ({"contains": {"contains": {"const": 1}}}, [[0] * 30] * 30),
    "marks": (
        {
            "allOf": [{"anyOf": [{"properties": {f"a{n}": {"minimum": 2}}} for n in range(10)]}] * 2,
            "unevaluatedProperties": {"minimum": 2},
        },
        {f"a{n}": 1 for n in range(50)},
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_costly_documents_take_no_more_steps_than_are_counted(name: str) -> None:
    schema, document = COSTLY[name]
    compiled = CompiledSchema(schema)
    validator, calls = counted(schema)

    expected = not list(validator.iter_errors(document))

    assert compiled.conforms(document) is expected
    assert 10 < calls[0] <= compiled.steps(orjson.dumps(document))


def test_the_deepest_document_is_checked_to_its_end() -> None:
    """As deep as documents may be, through as many subschemas as may nest: the stack of the validator suffices."""
    inner = _nested(NESTING_MAX // 2 - 2, {"properties": {"n": {"$ref": "#"}}}, "if")
    schema = {"allOf": [inner], "properties": {"n": True}, "required": ["y"]}
    compiled = CompiledSchema(
        {
            "properties": {"n": {"$ref": "#/$defs/e"}},
            "$defs": {"e": {"required": ["y"], "properties": {"n": {"$ref": "#/$defs/e"}}}},
        }
    )

    assert CompiledSchema(schema).conforms(_deep(DEPTH_MAX - 1, "n", y=1))
    assert compiled.conforms(_deep(DEPTH_MAX - 1, "n", y=1))
    assert not compiled.conforms(_deep(DEPTH_MAX - 1, "n", z=1))


def test_elements_with_the_same_values_in_other_brackets_take_linear_time() -> None:
    """Thousands of arrays that a hash without brackets would not tell apart."""

    def element(number: int) -> Any:
        made: list[Any] = []
        for bit in range(13):
            made = [made] if number >> bit & 1 else [made, []]
        return made

    elements = [element(number) for number in range(4_000)]
    compiled = CompiledSchema({"uniqueItems": True})

    assert compiled.conforms(elements)
    assert not compiled.conforms([*elements, elements[7]])
