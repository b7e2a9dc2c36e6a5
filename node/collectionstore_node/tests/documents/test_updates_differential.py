"""Operators agree with a slow, obvious reference, and patches with the libraries' laws, on random documents."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.documents.updates import Budget, Failed, Fields, Form, Reason, parse_update
from collectionstore_node.errors import InvalidPart
from collectionstore_node.tests.documents.json_values import DOCUMENTS, VALUES
from collectionstore_node.tests.documents.reference_update import updated

NAMES = st.sampled_from(["a", "b", "c"])
OBJECTS = st.recursive(
    st.dictionaries(NAMES, VALUES.filter(lambda value: type(value) is not dict), max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | VALUES.filter(lambda value: type(value) is not dict), max_size=3),
    max_leaves=6,
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
SCALARS = VALUES.filter(lambda value: type(value) is not dict)
FIELDS = st.one_of(
    st.tuples(st.sampled_from(["$set", "$unset", "$push", "$addToSet", "$pull"]), PATHS, SCALARS),
    st.tuples(st.just("$inc"), PATHS, st.sampled_from([1, -1, 0.5, (1 << 63) - 1, -(1 << 63)])),
)


def grouped(fields: list[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    update: dict[str, dict[str, Any]] = {}
    for operator, path, value in fields:
        update.setdefault(operator, {})[path] = value
    return update


UPDATES = st.lists(FIELDS, min_size=1, max_size=3).map(grouped)


def run(update: Any, document: Any, form: Form = Form.OPERATORS) -> Any:
    """Return the new document, or the reason; None if the update is invalid in any state."""
    try:
        program = parse_update(form, update)
    except InvalidPart:
        return None
    budget = Budget()
    text = orjson.dumps(document)
    try:
        return orjson.loads(program.run(Fields(text, budget), budget, time_ms=0) or text)
    except Failed as failed:
        return failed.reason


def through_array(document: Any, update: dict[str, dict[str, Any]]) -> bool:
    """Whether a path leads into an array, of which the reference knows nothing."""
    for fields in update.values():
        for path in fields:
            holder = document
            for name in path.split(".")[:-1]:
                holder = holder.get(name) if isinstance(holder, dict) else None
                if isinstance(holder, list):
                    return True
    return False


@settings(max_examples=400)
@given(OBJECTS, UPDATES)
def test_operators_do_what_the_reference_does(document: dict[str, Any], update: dict[str, dict[str, Any]]) -> None:
    found = run(update, document)
    if found is None or through_array(document, update):
        return
    expected = updated(document, update)
    assert found == expected
    if not isinstance(expected, Reason):
        assert orjson.dumps(found) == orjson.dumps(expected)


def merged(target: Any, patch: Any) -> Any:
    """Return what RFC 7396, section 2, computes; its pseudocode."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@settings(max_examples=300)
@given(DOCUMENTS, DOCUMENTS)
def test_merge_patches_do_what_the_rfc_says(document: dict[str, Any], patch: dict[str, Any]) -> None:
    assert orjson.dumps(run(patch, document, Form.MERGE_PATCH)) == orjson.dumps(merged(document, patch))


@settings(max_examples=200)
@given(DOCUMENTS, DOCUMENTS)
def test_a_json_patch_can_make_any_document_of_any_other(left: dict[str, Any], right: dict[str, Any]) -> None:
    patch = [{"op": "test", "path": "", "value": left}]
    patch += [{"op": "remove", "path": f"/{name}"} for name in left]
    patch += [{"op": "add", "path": f"/{name}", "value": value} for name, value in right.items()]

    assert orjson.dumps(run(patch, left, Form.JSON_PATCH)) == orjson.dumps(right)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "$a", "/a/0", "-", "/", "a.$", "a.$[x]", "_a", "^a("]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "a",
                    "b",
                    "a.b",
                    "a.0",
                    "a.$[]",
                    "a.$[].b",
                    "$each",
                    "$sort",
                    "$slice",
                    "$position",
                    "$gt",
                    "$in",
                    "$type",
                    "op",
                    "path",
                    "value",
                    "from",
                    "$or",
                    "_a",
                    "",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
OPERATOR_NAMES = [
    "$set",
    "$unset",
    "$inc",
    "$mul",
    "$min",
    "$max",
    "$rename",
    "$push",
    "$addToSet",
    "$pull",
    "$pullAll",
    "$pop",
    "$currentDate",
    "$setOnInsert",
]
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": st.sampled_from(["", "/a", "/a/0", "/a/-", "/a/b", "/b", "/a/0/b", "/0"]),
        "from": st.sampled_from(["", "/a", "/a/0", "/b"]),
        "value": ANYTHING,
    }
)


@settings(max_examples=500)
@given(
    DOCUMENTS,
    st.one_of(
        st.tuples(st.just(Form.OPERATORS), st.dictionaries(st.sampled_from(OPERATOR_NAMES), ANYTHING, max_size=3)),
        st.tuples(
            st.just(Form.OPERATORS),
            st.dictionaries(
                st.sampled_from(OPERATOR_NAMES),
                st.dictionaries(
                    st.sampled_from(["a", "b", "a.0", "a.$[]", "a.b", "a.$[].a", "0.1"]), ANYTHING, max_size=2
                ),
                max_size=3,
            ),
        ),
        st.tuples(st.just(Form.MERGE_PATCH), ANYTHING),
        st.tuples(st.just(Form.JSON_PATCH), st.lists(OPERATIONS, max_size=5)),
    ),
)
def test_anything_is_refused_or_carried_out_and_twice_the_same(
    document: dict[str, Any], given_update: tuple[Form, Any]
) -> None:
    """No other exception, the same bytes from a program that was used before, and a result that is a document."""
    form, update = given_update
    try:
        program = parse_update(form, update)
    except InvalidPart:
        return
    text = orjson.dumps(document)
    results: list[tuple[Any, ...]] = []
    for one in (program, program, parse_update(form, update)):
        budget = Budget()
        try:
            new = one.run(Fields(text, budget), budget, time_ms=1)
        except Failed as failed:
            results.append((failed.reason, failed.position, budget.steps))
            continue
        results.append((new, budget.steps, budget.read_bytes, budget.written_bytes))
        if new is not None:
            assert isinstance(orjson.loads(new), dict)
            assert new != text
    assert results[0] == results[1] == results[2]
