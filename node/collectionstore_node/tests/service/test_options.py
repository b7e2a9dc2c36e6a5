"""What the front end asks of options: how much it tells of what a schema does not allow."""

from __future__ import annotations

from typing import Any, NoReturn

import orjson

from collectionstore_node.schemas import compile_schema
from collectionstore_node.service import StoreLimits
from collectionstore_node.service.configuration import (
    SHOWN_BYTES_MAX,
    SHOWN_STEPS_AT_ONCE,
    SHOWN_STEPS_MAX,
    TOO_COSTLY,
    UNTOLD,
    Options,
    merged,
    violations_in,
)
from collectionstore_node.service.door import Door
from collectionstore_node.service.limits import check_operation
from collectionstore_node.service.operations import CollectionOptions, ConfigureCollection, parse_options
from collectionstore_node.service.queries import Queries
from collectionstore_node.statemachine.commands import Command
from collectionstore_node.tests.api.memory_replica import MemoryReplica


def unused(*_arguments: object, **_named: object) -> NoReturn:
    raise AssertionError("nothing is proposed")


def options(document: Any, **members: Any) -> CollectionOptions:
    """Return options with a schema."""
    return parse_options({"schema": {"document": document, **members}})


async def test_so_much_is_told_at_once_and_more_as_time_goes_on() -> None:
    now = [0.0]
    replica = MemoryReplica()
    door = Door(replica, StoreLimits(), lambda: now[0], check_operation)
    found = Options(door, Queries(door), unused, lambda: now[0])
    given = options({"items": False, "properties": {"l": {"items": {"minimum": 2}}}})
    await replica.propose(Command(ConfigureCollection("c", given, create=True)), timeout_s=1)
    text = orjson.dumps({"l": [1] * 300})
    schema = given.schema
    assert schema is not None
    times = SHOWN_STEPS_AT_ONCE // compile_schema(schema.text).steps(text)

    told = [found.violations("c", text) is not None for _ in range(times + 2)]
    assert told == [True] * times + [False] * 2
    now[0] += 10.0
    assert found.violations("c", text)
    assert found.violations("c", b'{"l":[2]}') == []
    assert found.violations("nowhere", text) is None
    assert found.violations("c", orjson.dumps({"l": "x" * SHOWN_BYTES_MAX})) is None
    assert found.violations("c", orjson.dumps({"l": [1] * SHOWN_STEPS_MAX})) is None


def test_of_a_large_document_only_that_it_is_not_allowed_is_told() -> None:
    """Telling takes far longer than finding out, and holds the interpreter."""
    schema = options({"properties": {"l": {"items": {"anyOf": [{"minimum": 2}] * 5}}}}).schema
    assert schema is not None
    compiled = compile_schema(schema.text)

    assert violations_in(compiled, schema, orjson.dumps({"l": [1] * 5_000})) == [UNTOLD]
    assert violations_in(compiled, schema, orjson.dumps({"l": [2] * 5_000})) == []
    assert violations_in(compiled, schema, orjson.dumps({"l": [1] * 500_000})) == [TOO_COSTLY]
    assert [one.pointer for one in violations_in(compiled, schema, b'{"l":[1]}')] == ["/l/0"]


def test_a_merge_patch_goes_two_levels_deep() -> None:
    before = options({"properties": {"a": {"type": "string"}}}, mode="warn")

    after = parse_options(merged(before, {"schema": {"document": {"required": ["b"]}}}))
    assert after == options({"required": ["b"]}, mode="warn")
    assert parse_options(merged(before, {"schema": {"mode": None}})) == options(
        {"properties": {"a": {"type": "string"}}}
    )
    assert parse_options(merged(before, {"schema": None})) == CollectionOptions()
    assert parse_options(merged(before, {})) == before
