"""A schema allows what JSON Schema 2020-12 says: by a table, and as another validator answers."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidPart
from collectionstore_node.schemas import CompiledSchema, compile_schema
from collectionstore_node.schemas.own import all_different
from collectionstore_node.tests.schemas.cases import CASES


@pytest.mark.parametrize("name", CASES)
def test_the_table(name: str) -> None:
    case = CASES[name]
    compiled = compile_schema(orjson.dumps(case.schema))

    for value in case.allowed:
        # As a document has it: through JSON.
        assert compiled.conforms(orjson.loads(orjson.dumps(value))), value
        assert compiled.violations(value) == []
    for value in case.refused:
        assert not compiled.conforms(orjson.loads(orjson.dumps(value))), value
        assert compiled.violations(value), value


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("multipleOf ")])
def test_the_other_validator_agrees_with_the_table(name: str) -> None:
    """Not on fractions: it divides floats, and ours goes by decimal digits."""
    case = CASES[name]
    other = jsonschema.Draft202012Validator(case.schema)

    if "\\p" not in orjson.dumps(case.schema).decode() and "١" not in str(case):
        assert all(map(other.is_valid, case.allowed))
        assert not any(map(other.is_valid, case.refused))


def test_a_schema_that_is_used_by_many_answers_each_alike() -> None:
    compiled = CompiledSchema({"uniqueItems": True, "items": {"uniqueItems": True}})

    assert [compiled.conforms(one) for one in ([[1, 1]], [[1], [1]], [[1], [2]])] == [False, False, True]


# Made schemas


_NAMES = st.sampled_from(["a", "b", "c"])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -1.0, 2.5, 1e300]),
    st.sampled_from(["", "a", "ab", "abc", "é"]),
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=3)),
    max_leaves=12,
)
_LEAVES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {}, optional={"type": st.sampled_from(["null", "boolean", "integer", "string", "array", "object"])}
    ),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({}, optional={"minimum": st.integers(-2, 2), "exclusiveMaximum": st.integers(-2, 2)}),
    st.fixed_dictionaries({}, optional={"minLength": st.integers(0, 2), "maxLength": st.integers(0, 2)}),
    st.fixed_dictionaries({"pattern": st.sampled_from(["a", "^a", "b$", "^[ab]+$"])}),
    st.fixed_dictionaries({"required": st.lists(_NAMES, max_size=2, unique=True)}),
    st.fixed_dictionaries({"uniqueItems": st.booleans()}),
    st.fixed_dictionaries({"multipleOf": st.sampled_from([1, 2, 0.5])}),
    st.fixed_dictionaries({"$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"])}),
    st.fixed_dictionaries({}, optional={"minProperties": st.integers(0, 2), "maxItems": st.integers(0, 2)}),
    st.fixed_dictionaries(
        {"dependentRequired": st.dictionaries(_NAMES, st.lists(_NAMES, max_size=2, unique=True), max_size=2)}
    ),
)


def _combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(_NAMES, inner, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "properties": named,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "."]), inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "dependentSchemas": named,
            "items": inner,
            "prefixItems": some,
            "contains": inner,
            "minContains": st.integers(0, 2),
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
        },
    )


SCHEMAS = st.builds(
    lambda schema, first, second: (
        {**schema, "$defs": {"a": first, "b": second}}
        if type(schema) is dict
        else {"allOf": [schema], "$defs": {"a": first, "b": second}}
    ),
    st.recursive(_LEAVES, _combined, max_leaves=8),
    st.recursive(_LEAVES, _combined, max_leaves=3),
    _LEAVES,
)


def compiled_or_none(schema: Any) -> CompiledSchema | None:
    """Return a made schema, None if it is one of those that are refused: by a reference to itself, or its cost."""
    try:
        return compile_schema(orjson.dumps(schema))
    except InvalidPart:
        return None


def counted(schema: Any) -> tuple[Any, list[int]]:
    """Return another validator of a schema, which evaluates every keyword that it reaches, and how many it did."""
    calls = [0]

    def wrap(check: Any) -> Any:
        def one(validator: Any, value: Any, instance: Any, parent: Any) -> Any:
            calls[0] += 1
            return check(validator, value, instance, parent)

        return one

    base = jsonschema.Draft202012Validator
    made = jsonschema.validators.extend(base, {name: wrap(check) for name, check in base.VALIDATORS.items()})
    return made(schema), calls


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(schema=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=4))
def test_made_schemas_answer_as_the_other_validator_does_within_their_bound(schema: Any, values: list[Any]) -> None:
    compiled = compiled_or_none(schema)
    if compiled is None:
        return
    for value in values:
        validator, calls = counted(schema)
        expected = not list(validator.iter_errors(value))
        text = orjson.dumps(value)
        assert compiled.conforms(orjson.loads(text)) is expected
        assert bool(compiled.violations(value)) is not expected
        # What another one took, which skips little, is less than what is counted.
        assert calls[0] <= compiled.steps(text)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(VALUES, max_size=6))
def test_elements_are_different_as_the_other_validator_says(elements: list[Any]) -> None:
    assert all_different(elements) is jsonschema.Draft202012Validator({"uniqueItems": True}).is_valid(elements)
