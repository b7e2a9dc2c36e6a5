"""The keywords of a schema, by what stands behind them; what is not listed is refused.

A keyword that is not known is a misspelled one more often than an annotation: it would allow every document. Own
annotations begin with `x-`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.documents.regexes import compile_regex
from collectionstore_node.errors import InvalidPart

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

ONE: Final = frozenset(("not", "if", "then", "else"))
"""A schema for the same value; `$ref` names one."""
SOME: Final = frozenset(("allOf", "anyOf", "oneOf"))
"""A list of them."""
MEMBERS: Final = frozenset(("additionalProperties", "unevaluatedProperties", "propertyNames"))
"""A schema for members of an object."""
ELEMENTS: Final = frozenset(("items", "contains", "unevaluatedItems"))
"""A schema for elements of an array; `prefixItems` is a list of them."""
NAMED: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
"""Schemas by a name."""
DEFINITIONS: Final = frozenset(("$defs", "definitions"))
"""The same, which apply only where they are referred to."""
COUNTS: Final = frozenset(
    (
        "maxLength",
        "minLength",
        "maxItems",
        "minItems",
        "maxContains",
        "minContains",
        "maxProperties",
        "minProperties",
    )
)
NUMBERS: Final = frozenset(("multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"))
OTHERS: Final = frozenset(
    ("type", "enum", "const", "pattern", "uniqueItems", "required", "dependentRequired", "prefixItems", "$ref")
)
ANNOTATIONS: Final = frozenset(
    (
        "title",
        "description",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "examples",
        "format",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "$comment",
    )
)
"""They say nothing about what is allowed; `format` too, as what each format takes differs by program and version."""
IDENTITY: Final = frozenset(("$schema", "$id", "$anchor"))

KNOWN: Final = (
    ONE | SOME | MEMBERS | ELEMENTS | NAMED | DEFINITIONS | COUNTS | NUMBERS | OTHERS | ANNOTATIONS | IDENTITY
)
_REASONS: Final = {
    "$dynamicRef": "what it refers to depends on the way to it, so its cost has no bound; use $ref",
    "$dynamicAnchor": "nothing can refer to it; use $anchor",
    "$recursiveRef": "it belongs to an earlier dialect; use $ref",
    "$recursiveAnchor": "it belongs to an earlier dialect; use $anchor",
    "$vocabulary": "a schema of documents is no dialect",
    "dependencies": "it belongs to an earlier dialect; use dependentSchemas or dependentRequired",
    "additionalItems": "it belongs to an earlier dialect; use prefixItems with items",
    "id": "it belongs to an earlier dialect; use $id",
}

PATTERN_CHARACTERS_MAX: Final = 1_024
PATTERNS_MAX: Final = 32
"""Of one schema."""
INSTRUCTIONS_MAX: Final = 16_384
"""Of the programs of its patterns together, as RE2 counts them."""
COUNT_MAX: Final = (1 << 53) - 1


def check_name(name: str, pointer: str) -> None:
    """Refuse a keyword that is not known. Raises `InvalidPart`."""
    if name not in KNOWN and not name.startswith("x-"):
        reason = _REASONS.get(name, "there is no such keyword in JSON Schema 2020-12; own annotations begin with x-")
        raise invalid(pointer, reason)


def check_value(name: str, value: Any, pointer: str) -> None:
    """Refuse what cannot stand behind a keyword that has no schemas. Raises `InvalidPart`.

    Stricter than the meta-schema where programs differ: counts are whole numbers, written as such.
    """
    check = _CHECKS.get(name)
    if check is not None:
        allowed = check(value)
        if allowed:
            raise invalid(pointer, f"allowed is {allowed}")


def instructions_of(pattern: Any, pointer: str) -> int:
    """Return how many instructions a pattern has, as RE2 counts them. Raises `InvalidPart` for one it does not take."""
    if type(pattern) is not str or len(pattern) > PATTERN_CHARACTERS_MAX:
        raise invalid(pointer, f"a pattern is a text of at most {PATTERN_CHARACTERS_MAX} characters")
    try:
        return compile_regex(pattern, "").instructions
    except ValueError as error:
        raise invalid(pointer, f"no pattern that is searched in linear time: {error}") from None


def _count(value: Any) -> str:
    return "" if type(value) is int and 0 <= value <= COUNT_MAX else f"a whole number from 0 to {COUNT_MAX}"


def _number(value: Any) -> str:
    return "" if type(value) is int or type(value) is float else "a number"


def _divisor(value: Any) -> str:
    return "" if not _number(value) and value > 0 else "a number above 0"


TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


def _type(value: Any) -> str:
    names = value if type(value) is list else [value]
    allowed = names and all(type(one) is str and one in TYPES for one in names) and len(set(names)) == len(names)
    return "" if allowed else f"one of {', '.join(TYPES)}, or a list of different ones"


def _names(value: Any) -> str:
    allowed = type(value) is list and all(type(one) is str for one in value) and len(set(value)) == len(value)
    return "" if allowed else "a list of different names"


def _names_by_name(value: Any) -> str:
    allowed = type(value) is dict and not any(_names(one) for one in value.values())
    return "" if allowed else "an object whose members are lists of different names"


def _text(value: Any) -> str:
    return "" if type(value) is str else "a text"


def _flag(value: Any) -> str:
    return "" if type(value) is bool else "true or false"


def _list(value: Any) -> str:
    return "" if type(value) is list and value else "a list that is not empty"


_CHECKS: Final[dict[str, Callable[[Any], str]]] = {
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(NUMBERS, _number),
    "multipleOf": _divisor,
    "type": _type,
    "enum": _list,
    "uniqueItems": _flag,
    "required": _names,
    "dependentRequired": _names_by_name,
    "deprecated": _flag,
    "readOnly": _flag,
    "writeOnly": _flag,
    **dict.fromkeys(("title", "description", "format", "contentEncoding", "contentMediaType", "$comment"), _text),
    "examples": lambda value: "" if type(value) is list else "a list",
}


def invalid(pointer: str, detail: str) -> InvalidPart:
    """Return the error of a schema that is not allowed."""
    return InvalidPart("invalid_schema", pointer, detail)
