"""Schemas and documents of odd parts: a schema is compiled or refused, and answers; nothing else is raised."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import orjson
import pytest

from collectionstore_node.errors import InvalidPart
from collectionstore_node.schemas import CompiledSchema, DefaultsTooLarge
from collectionstore_node.schemas import keywords as known

_NAMES: Final = (*sorted(known.KNOWN), "x-own", "unknown")
_TEXTS: Final = (
    *(
        "",
        "a",
        "#",
        "#/",
        "#/$defs/a",
        "#/properties/a",
        "#a",
        "#%ff",
        "#/%zz",
        "https://example.com",
        "urn:a:b",
        "a b",
    ),
    *("object", "^a$", "(", "(?=a)", r"\p{L}", r"\C", r"\Q", "a{1,5}", "(?i)a", "a**", "\u0000", "\ud7ff"),
    known.DIALECT,
)
_NUMBERS: Final = (0, 1, -1, 2, 2**63, 2**64 - 1, -(2**63), 0.5, 0.01, -0.0, 1e300, 1e-300, 5e-324, 1.7e308)
_REFERENCES: Final = ("#", "#/$defs/a", "#/properties/a", "#a", "#/definitions/a")


def value_of(random: Random, depth: int = 0) -> Any:
    """Return any JSON, which may be a schema."""
    match random.randrange(7 if depth < 4 else 4):
        case 0:
            return random.choice((None, True, False))
        case 1:
            return random.choice(_NUMBERS)
        case 2:
            return random.choice(_TEXTS)
        case 3:
            return schema_of(random, depth + 1)
        case 4:
            return [value_of(random, depth + 1) for _ in range(random.randrange(4))]
        case _:
            names = ("a", "b", "", "$ref", "~/")
            return {random.choice(names): value_of(random, depth + 1) for _ in range(random.randrange(4))}


def schema_of(random: Random, depth: int = 0) -> Any:
    """Return something like a schema."""
    made: dict[str, Any] = {}
    for name in random.choices(_NAMES, k=random.randrange(5)):
        inner = schema_of(random, depth + 1) if depth < 5 else True
        if random.random() < 0.2:
            made[name] = value_of(random, depth + 1)
        elif name in known.ONE | known.MEMBERS | known.ELEMENTS:
            made[name] = inner
        elif name in known.SOME or name == "prefixItems":
            made[name] = [inner, True]
        elif name in known.NAMED | known.DEFINITIONS:
            made[name] = {random.choice(("a", "b", "^a", "", "~/")): inner}
        elif name in known.COUNTS:
            made[name] = random.choice((0, 1, 2, 5))
        elif name in known.NUMBERS:
            made[name] = random.choice(_NUMBERS)
        elif name == "$ref":
            made[name] = random.choice(_REFERENCES)
        elif name in ("type", "pattern", "$anchor"):
            made[name] = random.choice(("integer", "object", "a", "b"))
        else:
            made[name] = random.choice((["a"], {"a": ["b"]}, True, value_of(random, depth + 1)))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_a_schema_is_refused_or_answers(seed: int) -> None:
    random = Random(seed)
    compiled = 0
    for _ in range(500):
        schema = orjson.loads(orjson.dumps(schema_of(random)))
        try:
            made = CompiledSchema(schema)
        except InvalidPart:
            continue
        compiled += 1
        for _ in range(2):
            document = orjson.loads(orjson.dumps(value_of(random)))
            assert bool(made.violations(document)) is not made.conforms(document)
            if type(document) is dict:
                try:
                    made.fill(document)
                except DefaultsTooLarge:
                    raise AssertionError("so little can be filled in here") from None
    assert compiled > 100
