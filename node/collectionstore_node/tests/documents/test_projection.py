"""Projections: what is shown, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.documents.projection import FIELDS_MAX, parse_projection
from collectionstore_node.errors import InvalidPart

DOCUMENT = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 1, "h": 2}, 5, [{"g": 3, "h": 4}]], "i": None}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": True, "i": 1.0}, {"a": 1, "i": None}),
        ({"i": 1, "a": 1}, {"a": 1, "i": None}),
        ({"b.c": 1}, {"b": {"c": 2}}),
        ({"b.d.e": 1, "b.c": 1}, {"b": {"c": 2, "d": {"e": 3}}}),
        ({"b.x": 1}, {"b": {}}),
        ({"a.x": 1}, {}),
        ({"x": 1}, {}),
        ({"f.g": 1}, {"f": [{"g": 1}, [{"g": 3}]]}),
        ({"a": 0}, {key: value for key, value in DOCUMENT.items() if key != "a"}),
        ({"b": False, "f": 0, "i": 0}, {"a": 1}),
        ({"b.d": 0, "f": 0}, {"a": 1, "b": {"c": 2}, "i": None}),
        ({"f.g": 0, "b": 0}, {"a": 1, "f": [{"h": 2}, 5, [{"h": 4}]], "i": None}),
        ({"a.x": 0, "b": 0, "f": 0}, {"a": 1, "i": None}),
    ],
    ids=str,
)
def test_fields_are_shown_or_hidden(given: dict[str, Any], shown: dict[str, Any]) -> None:
    found = parse_projection(given)(DOCUMENT)

    assert (found, list(found)) == (shown, list(shown))


@pytest.mark.parametrize(
    ("given", "pointer", "detail"),
    [
        ({}, "", "is an object"),
        ([], "", "is an object"),
        ({"a": 1, "b": 0}, "/b", "not both"),
        ({"a": 2}, "/a", "1 or true"),
        ({"a": "x"}, "/a", "1 or true"),
        ({"a": {"$slice": 1}}, "/a", "1 or true"),
        ({"a..b": 1}, "/a..b", "no empty part"),
        ({"$a": 1}, "/$a", "dollar sign"),
        ({"a.b": 1, "a": 1}, "/a", "within it"),
        ({"a": 1, "a.b": 1}, "/a.b", "contains it"),
        ({"_id": 0}, "/_id", "beside the document"),
        ({f"f{at}": 1 for at in range(FIELDS_MAX + 1)}, "", f"at most {FIELDS_MAX}"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_refused_with_its_place(given: Any, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_projection(given)

    assert (refused.value.code, refused.value.pointer) == ("invalid_projection", pointer)
    assert detail in refused.value.detail
