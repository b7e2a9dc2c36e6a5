"""Filters, updates, documents and orders as people write them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore.data import arguments
from collectionstore.data.arguments import ArgumentInvalid


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], {}),
        (["year=1965"], {"year": {"$eq": 1965}}),
        (["zip=00120"], {"zip": {"$eq": "00120"}}),
        (['zip="1965"'], {"zip": {"$eq": "1965"}}),
        (["title=The Hobbit"], {"title": {"$eq": "The Hobbit"}}),
        (["a="], {"a": {"$eq": ""}}),
        (["a=null"], {"a": {"$eq": None}}),
        (["a=b=c"], {"a": {"$eq": "b=c"}}),
        (["year>=1950", "tags=classic"], {"year": {"$gte": 1950}, "tags": {"$eq": "classic"}}),
        (["year>1", "year<=9"], {"$and": [{"year": {"$gt": 1}}, {"year": {"$lte": 9}}]}),
        (["home.city!=London"], {"home.city": {"$ne": "London"}}),
        (["title~^D"], {"title": {"$regex": "^D"}}),
        (['{"$or": [{"a": 1}]}', "b<2"], {"$or": [{"a": 1}], "b": {"$lt": 2}}),
    ],
)
def test_filters(words: list[str], found: dict[str, Any]) -> None:
    assert arguments.filter_of(words) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a=1"], {"$set": {"a": 1}}),
        (["a+=1", "b-=2.5"], {"$inc": {"a": 1, "b": -2.5}}),
        (["tags[]=new"], {"$push": {"tags": "new"}}),
        (["old-"], {"$unset": {"old": ""}}),
        (["a-b=1"], {"$set": {"a-b": 1}}),
        (['{"$max": {"a": 5}}', "b=2"], {"$max": {"a": 5}, "$set": {"b": 2}}),
    ],
)
def test_updates(words: list[str], found: dict[str, Any]) -> None:
    assert arguments.update_of(words) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no change is given"),
        (["a"], "is no change; allowed"),
        (["a+=x"], "takes a number"),
        (["a+=true"], "takes a number"),
        (["a=1", "a=2"], "names a twice"),
        (["{"], "not JSON"),
        (['{"$set": 1}'], "must be an object"),
        (['{"a": 1, "a": 2}'], "twice"),
    ],
)
def test_updates_that_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ArgumentInvalid, match=message):
        arguments.update_of(words)


@pytest.mark.parametrize("word", ["zzz", "=1", "a b=1", "[1]", "{", '{"a": NaN}', "[" * 100_000, "{" * 100_000, "~"])
def test_filters_that_are_refused(word: str) -> None:
    with pytest.raises(ArgumentInvalid) as refused:
        arguments.filter_of([word])
    assert len(str(refused.value)) < 300


@given(st.text())
def test_any_text_is_a_filter_or_refused(word: str) -> None:
    try:
        found = arguments.filter_of([word])
    except ArgumentInvalid:
        return
    json.dumps(found)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a=1", "b.c=x", "b.d=true", "t[]=1", "t[]=2"], {"a": 1, "b": {"c": "x", "d": True}, "t": [1, 2]}),
        (['{"a": 1}'], {"a": 1}),
    ],
)
def test_documents(words: list[str], found: dict[str, Any]) -> None:
    assert arguments.document_of(words) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a=1", "a=2"], "given twice"),
        (["a=1", "a.b=2"], "has a value of its own"),
        (["a=1", "a\\[\\]=2"], "is no value"),
        (["a=1", "a[]=2"], "is no array"),
        (["a+=1"], "is no value"),
    ],
)
def test_documents_that_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ArgumentInvalid, match=message):
        arguments.document_of(words)


def test_bodies_keep_the_digits_and_drop_what_is_not_part_of_the_document() -> None:
    text = '{"_id":"a","n":1.10e2,"_revision":7,"big":123456789012345678901234567890.5}'
    assert arguments.body_of([text]) == ("a", 7, b'{"n":1.10e2,"big":123456789012345678901234567890.5}')
    assert arguments.body_of(['{"n": 1e-400 }']) == (None, None, b'{"n": 1e-400 }')


@pytest.mark.parametrize("text", ['{"_id": 1}', '{"_revision": "x"}', '{"_revision": true}', '{"_revision": 0}'])
def test_bodies_with_another_id_or_revision_are_refused(text: str) -> None:
    with pytest.raises(ArgumentInvalid):
        arguments.body_of([text])


def test_orders_and_projections() -> None:
    assert arguments.sort_of("-year,title") == {"year": -1, "title": 1}
    assert arguments.sort_of('{"a": -1}') == {"a": -1}
    assert arguments.projection_of("title,home.city") == {"title": 1, "home.city": 1}
    assert arguments.projection_of("-notes") == {"notes": 0}
    assert arguments.fields_of(["year", "-title", "a:-1", "b:1"]) == {"year": 1, "title": -1, "a": -1, "b": 1}


@pytest.mark.parametrize("text", ["", ",", "a,,b", "-", "a,-", "a,a", "a,-a", "a b"])
def test_orders_that_are_refused(text: str) -> None:
    with pytest.raises(ArgumentInvalid):
        arguments.sort_of(text)


def test_a_projection_shows_or_leaves_out() -> None:
    with pytest.raises(ArgumentInvalid, match="either"):
        arguments.projection_of("a,-b")
