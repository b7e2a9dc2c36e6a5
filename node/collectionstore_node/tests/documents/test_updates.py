"""Updates by the table of cases, and what the table does not say: text that is kept, costs, sizes, determinism."""

from __future__ import annotations

import datetime
import json
from typing import Any

import orjson
import pytest

from collectionstore_node.documents.updates import (
    STEPS_MAX,
    Budget,
    Failed,
    Fields,
    Form,
    Program,
    Reason,
    parse_condition,
    parse_update,
)
from collectionstore_node.documents.updates.dates import TIME_MS_MAX, rfc3339
from collectionstore_node.documents.updates.json_patch import OPERATIONS_MAX
from collectionstore_node.documents.updates.operators import ARRAY_FILTERS_MAX
from collectionstore_node.documents.updates.parsing import CLAUSES_MAX
from collectionstore_node.errors import InvalidPart
from collectionstore_node.tests.documents.update_cases import (
    ARRAYS,
    FILTERED,
    INSERTED,
    INVALID,
    INVALID_JSON_PATCHES,
    JSON_PATCHES,
    MATCHED,
    MERGE_PATCHES,
    MOMENT_MS,
    SINGLE,
    Document,
)


def parsed(update: Any, *, form: Form = Form.OPERATORS, array_filters: Any = None, when: Any = None) -> Program:
    condition = None if when is None else parse_condition(when)
    return parse_update(form, update, array_filters=array_filters, condition=condition)


def result(program: Program, text: bytes, budget: Budget | None = None) -> bytes | Reason:
    """Return the new text, the same one if nothing changes, or why there is none."""
    budget = budget or Budget()
    try:
        return program.run(Fields(text, budget), budget, time_ms=MOMENT_MS) or text
    except Failed as failed:
        return failed.reason


def expected_text(expected: Document | Reason) -> bytes | Reason:
    return expected if isinstance(expected, Reason) else orjson.dumps(expected)


def named(value: object) -> str:
    return str(value) if isinstance(value, Reason) else json.dumps(value)[:50]


@pytest.mark.parametrize(("document", "update", "expected"), SINGLE + ARRAYS, ids=named)
def test_operators(document: Document, update: Any, expected: Document | Reason) -> None:
    program = parsed(update)

    assert result(program, orjson.dumps(document)) == expected_text(expected)
    # A program keeps nothing of a document, nor a document of it.
    assert result(program, orjson.dumps(document)) == expected_text(expected)


@pytest.mark.parametrize(("document", "update", "filters", "expected"), FILTERED, ids=named)
def test_array_filters(document: Document, update: Any, filters: Any, expected: Document | Reason) -> None:
    assert result(parsed(update, array_filters=filters), orjson.dumps(document)) == expected_text(expected)


@pytest.mark.parametrize(("document", "when", "update", "expected"), MATCHED, ids=named)
def test_the_element_that_the_filter_matched(
    document: Document, when: Document, update: Any, expected: Document | Reason
) -> None:
    budget = Budget()
    assert parse_condition(when).holds(Fields(orjson.dumps(document), budget), "x", 1, budget)
    assert result(parsed(update, when=when), orjson.dumps(document)) == expected_text(expected)


@pytest.mark.parametrize(("document", "patch", "expected"), MERGE_PATCHES, ids=named)
def test_merge_patches(document: Document, patch: Any, expected: Document | Reason) -> None:
    assert result(parsed(patch, form=Form.MERGE_PATCH), orjson.dumps(document)) == expected_text(expected)


@pytest.mark.parametrize(("document", "patch", "expected"), JSON_PATCHES, ids=named)
def test_json_patches(document: Document, patch: Any, expected: Document | Reason) -> None:
    program = parsed(patch, form=Form.JSON_PATCH)

    for _ in range(2):
        found = result(program, orjson.dumps(document))
        assert (found if isinstance(found, Reason) else orjson.loads(found)) == expected


@pytest.mark.parametrize(("when", "update", "expected"), INSERTED, ids=named)
def test_inserts(when: Document | None, update: Any, expected: Document) -> None:
    assert parsed(update, when=when).insert(Budget(), time_ms=MOMENT_MS) == orjson.dumps(expected)


def test_there_are_many_cases() -> None:
    tables: list[list[Any]] = [SINGLE, ARRAYS, FILTERED, MATCHED, MERGE_PATCHES, JSON_PATCHES, INSERTED]
    assert sum(map(len, tables)) >= 200


@pytest.mark.parametrize(("update", "pointer"), INVALID, ids=named)
def test_a_mistake_is_refused_with_its_place(update: Any, pointer: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parsed(update)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(("patch", "pointer"), INVALID_JSON_PATCHES, ids=named)
def test_a_mistake_in_a_json_patch_is_refused_with_its_place(patch: Any, pointer: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parsed(patch, form=Form.JSON_PATCH)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    ("filters", "pointer"),
    [
        ({}, "/array_filters"),
        ([1], "/array_filters/0"),
        ([{}], "/array_filters/0"),
        ([{"x": 1}, {"x": 2}], "/array_filters/1"),
        ([{"x": 1}, {"y": 2}], "/array_filters"),
        ([{"x": 1, "y": 2}], "/array_filters/0"),
        ([{"x": {"$foo": 2}}], "/array_filters/0/x/$foo"),
        ([{f"x{at}": 1} for at in range(ARRAY_FILTERS_MAX + 1)], "/array_filters"),
    ],
    ids=named,
)
def test_a_mistake_in_array_filters_is_refused(filters: Any, pointer: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parsed({"$set": {"a.$[x]": 1}}, array_filters=filters)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    "when",
    [{}, {"b": 1}, {"a": {"$ne": 1}}, {"$or": [{"a": 1}, {"a": 2}]}, {"a": {"$exists": True}}, {"a": {"$size": 2}}],
    ids=named,
)
def test_the_matched_element_needs_a_condition_on_its_array(when: Document) -> None:
    with pytest.raises(InvalidPart, match=r"\$ needs a condition"):
        parsed({"$set": {"a.$": 1}}, when=when)


def test_a_merge_patch_is_an_object_without_reserved_names() -> None:
    for patch, pointer in (([], ""), ("x", ""), ({"_id": 1}, "/_id"), ({"_x": None}, "/_x")):
        with pytest.raises(InvalidPart) as refused:
            parsed(patch, form=Form.MERGE_PATCH)
        assert refused.value.pointer == pointer


def test_an_update_has_so_many_paths_and_operations() -> None:
    parsed({"$set": {f"a{at}": 1 for at in range(CLAUSES_MAX)}})
    parsed([{"op": "remove", "path": "/a"}] * OPERATIONS_MAX, form=Form.JSON_PATCH)
    with pytest.raises(InvalidPart):
        parsed({"$set": {f"a{at}": 1 for at in range(CLAUSES_MAX)}, "$inc": {"b": 1}})
    with pytest.raises(InvalidPart):
        parsed([{"op": "remove", "path": "/a"}] * (OPERATIONS_MAX + 1), form=Form.JSON_PATCH)


def test_what_an_update_does_not_name_keeps_its_text() -> None:
    text = b'{"a":1,"b":1234567890.1234567890,"c":[1e-400,1.50,"\\u00e9"],"d":1.0}'

    assert result(parsed({"$inc": {"a": 1}}), text) == text.replace(b'"a":1', b'"a":2')
    assert result(parsed({"a": 7}, form=Form.MERGE_PATCH), text) == text.replace(b'"a":1', b'"a":7')
    patch = [{"op": "replace", "path": "/a", "value": 3}]
    assert result(parsed(patch, form=Form.JSON_PATCH), text) == text.replace(b'"a":1', b'"a":3')


def test_what_stays_the_same_keeps_its_text_too() -> None:
    text = b'{"a":1.50,"b":[1e2,{"c":2.00}]}'
    budget = Budget()

    program = parsed({"$set": {"b.0": 100.0}, "$max": {"a": 1}})
    assert program.run(Fields(text, budget), budget, time_ms=0) is None
    assert result(parsed({"$set": {"b.0": 5}}), text) == b'{"a":1.50,"b":[5,{"c":2.0}]}'


@pytest.mark.parametrize("text", [b"[1]", b"1", b"", b"{", b'{"a":}', b"\xff", b'{"a":"\xff"}', b'{"a":1e999}'])
def test_a_text_that_is_no_document_is_no_exception(text: bytes) -> None:
    """Nothing but documents is stored; if it were, an exception would stop every replica."""
    assert result(parsed({"$inc": {"a": 1}}), text) in (Reason.TYPE, text)


@pytest.mark.parametrize("deep", [b"[" * 500 + b"]" * 500, b'{"b":' * 300 + b"1" + b"}" * 300])
def test_a_document_that_is_too_deep_is_no_exception(deep: bytes) -> None:
    assert result(parsed({"$min": {"a": 1}}), b'{"a":%b}' % deep) is Reason.TYPE


# Bounds


def test_a_document_does_not_become_too_deep() -> None:
    value: Any = 1
    for _ in range(98):
        value = [value]
    assert not isinstance(result(parsed({"$set": {"a.b": value}}), b"{}"), Reason)
    assert result(parsed({"$set": {"a.b.c": value}}), b"{}") is Reason.SIZE
    assert result(parsed({"$push": {"a.b": value}}), b"{}") is Reason.SIZE
    deep = orjson.dumps({"a": value})
    assert result(parsed({"$rename": {"a": "b.c.d"}}), deep) is Reason.SIZE
    patch = [{"op": "move", "from": "/a", "path": "/b/c/d"}]
    text = b'{"b":{"c":{}},' + deep[1:]
    assert result(parsed(patch, form=Form.JSON_PATCH), text) is Reason.SIZE


def test_a_document_does_not_become_too_large() -> None:
    text = orjson.dumps({"a": "x" * 900_000})

    assert result(parsed({"$set": {"b": "y" * 200_000}}), text) is Reason.SIZE
    # What it replaces makes room.
    assert not isinstance(result(parsed({"$set": {"a": "y" * 200_000}}), text), Reason)
    assert not isinstance(result(parsed({"$set": {"b": "y"}, "$unset": {"a": 1}}), text), Reason)


def test_a_document_that_is_too_large_already_may_become_smaller() -> None:
    text = orjson.dumps({"a": "x" * 900, "b": "y" * 900})

    assert result(parsed({"$unset": {"a": 1}}), text, Budget(500)) == orjson.dumps({"b": "y" * 900})
    assert result(parsed({"$set": {"c": 1}}), text, Budget(500)) is Reason.SIZE


@pytest.mark.parametrize(
    ("update", "form"),
    [
        ({"$set": {"a.$[]": "x" * 10_000}}, Form.OPERATORS),
        ({"$push": {"a.$[]": {"$each": ["x" * 5_000, "y" * 5_000]}}}, Form.OPERATORS),
        ({"$set": {"a.900000000": 1}}, Form.OPERATORS),
        ([{"op": "copy", "from": "/a", "path": f"/a/{at}"} for at in range(40)], Form.JSON_PATCH),
        ([{"op": "copy", "from": "", "path": "/b"}] * 40, Form.JSON_PATCH),
    ],
)
def test_growth_ends_before_it_is_built(update: Any, form: Form) -> None:
    text = orjson.dumps({"a": [[]] * 2_000})
    budget = Budget()

    assert result(parsed(update, form=form), text, budget) in (Reason.SIZE, Reason.COST)
    assert budget.written_bytes == 0


@pytest.mark.parametrize(
    ("update", "filters"),
    [
        ({"$pull": {"a": {"$or": [{"b": at} for at in range(100)]}}}, None),
        ({"$set": {"a.$[x].b": 1}}, [{"x.b": {"$in": [{"$regex": "[ab]*a[ab]{100}"}] * 10}}]),
        ({"$addToSet": {"a": 1}, "$inc": {f"n{at}": 1 for at in range(200)}}, None),
    ],
)
def test_steps_are_bounded(update: Any, filters: Any) -> None:
    text = orjson.dumps({"a": [{"b": "ab" * 20, "c": [1] * 8}] * 10_000})
    budget = Budget()

    assert result(parsed(update, array_filters=filters), text, budget) is Reason.COST
    assert budget.steps > STEPS_MAX


def test_a_pattern_costs_by_the_text_that_it_looks_at() -> None:
    condition = parse_condition({"a": {"$regex": "[ab]*a[ab]{400}"}})
    budget = Budget()
    with pytest.raises(Failed) as failed:
        condition.holds(Fields(orjson.dumps({"a": "ab" * 100_000}), budget), "x", 1, budget)
    assert failed.value.reason is Reason.COST
    small = Budget()
    assert condition.holds(Fields(orjson.dumps({"a": "ab" * 300, "b": "x" * 500_000}), small), "x", 1, small)
    assert small.steps < STEPS_MAX // 4


def test_a_field_costs_alone() -> None:
    """A counter beside a large array costs as much as without it."""
    alone, beside = Budget(), Budget()
    program = parsed({"$inc": {"n": 1}})
    result(program, b'{"n":1}', alone)
    result(program, orjson.dumps({"n": 1, "a": [[1, 2, 3]] * 20_000}), beside)

    assert (alone.steps, alone.read_bytes) == (beside.steps, beside.read_bytes)


def test_a_program_gives_its_values_away_unchanged() -> None:
    """An update that fails in the middle must not leave its mark in the program, which other documents use."""
    program = parsed({"$set": {"a.$[]": {}}, "$inc": {"b.$[].n.m": 1}})
    conflict = parsed({"$set": {"a.$[]": {}, "a.0.x.y": 1}})

    assert result(conflict, b'{"a":[1]}') is Reason.CONFLICT
    assert result(conflict, b'{"a":[]}') is not None
    assert result(conflict, b'{"a":[1]}') is Reason.CONFLICT
    for _ in range(2):
        assert result(program, b'{"a":[1,2],"b":[{}]}') == b'{"a":[{},{}],"b":[{"n":{"m":1}}]}'


def test_the_part_at_fault_is_known() -> None:
    program = parsed({"$set": {"a": 1}, "$inc": {"b": 1, "c/d": 1}})
    budget = Budget()
    with pytest.raises(Failed) as failed:
        program.run(Fields(b'{"b":1,"c/d":"x"}', budget), budget, time_ms=0)
    position = failed.value.position
    assert position is not None
    assert program.pointer(position) == "/$inc/c~1d"
    assert "number" in program.needs(position)


@pytest.mark.parametrize("time_ms", [0, 1, 999, 68_169_599_999, 951_782_400_000, 1_709_164_800_001, TIME_MS_MAX])
def test_times_are_written_as_the_library_does(time_ms: int) -> None:
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(milliseconds=time_ms)
    assert rfc3339(time_ms) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_every_day_of_a_cycle_is_written_as_the_library_does() -> None:
    start = datetime.date(1970, 1, 1)
    for days in range(0, 146_097 * 2, 11):
        assert rfc3339(days * 86_400_000)[:10] == (start + datetime.timedelta(days)).isoformat()
