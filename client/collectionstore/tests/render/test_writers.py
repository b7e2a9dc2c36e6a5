"""Every format shows the same documents; numbers keep their digits where the text passes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from collectionstore.render import json_text, writers
from collectionstore.render.paths import ABSENT, columns_of, value_at
from collectionstore.render.writers import ColumnsNeeded, Look

DUNE = '{"_id":"dune","_revision":2,"title":"Dune","price":1.10e2,"home":{"city":"Arrakis"},"tags":["a","b"]}'
EMMA = '{"_id":"emma","_revision":3,"title":"Emma","note":null}'
VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def written(output: str, *texts: str, **look: Any) -> str:
    made = writers.writer(output, Look(dump_yaml=lambda value: yaml.safe_dump(value, sort_keys=False), **look))
    return "".join([*(made.add(text) for text in texts), made.end()])


def test_table_has_the_columns_of_all_documents() -> None:
    assert written("table", DUNE, EMMA, hidden=["_revision"]).splitlines() == [
        "_id   title  price  home.city  tags       note",
        'dune  Dune   110.0  Arrakis    ["a","b"]',
        "emma  Emma                                null",
    ]


def test_named_columns_are_paths() -> None:
    assert written("table", DUNE, columns=["tags.0", "home.city"]).splitlines() == [
        "tags.0  home.city",
        "a       Arrakis",
    ]


def test_ndjson_and_json_keep_the_text() -> None:
    assert written("ndjson", DUNE, EMMA) == f"{DUNE}\n{EMMA}\n"
    shown = written("json", DUNE, EMMA)
    assert '"price": 1.10e2' in shown
    assert json.loads(shown) == [json.loads(DUNE), json.loads(EMMA)]


def test_nothing_is_a_valid_document_of_every_format() -> None:
    assert [written(one) for one in ("json", "yaml", "ndjson", "csv", "table")] == ["[]\n", "[]\n", "", "", ""]


def test_yaml_is_one_list() -> None:
    assert yaml.safe_load(written("yaml", DUNE, EMMA)) == [json.loads(DUNE), json.loads(EMMA)]


def test_csv_quotes_texts_that_would_be_read_as_something_else() -> None:
    text = '{"a":"12","b":"x, \\"y\\"","c":"","d":true,"e":"-"}'
    header, record = csv.reader(io.StringIO(written("csv", text)))
    assert header == ["a", "b", "c", "d", "e"]
    assert record == ['"12"', 'x, "y"', '""', "true", "-"]


def test_csv_of_too_many_documents_needs_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "CSV_HELD_MAX", 1)
    with pytest.raises(ColumnsNeeded, match="--columns"):
        written("csv", DUNE, EMMA)
    assert written("csv", DUNE, EMMA, columns=["title"]).split() == ["title", "Dune", "Emma"]


def test_a_terminal_gets_no_character_that_it_obeys() -> None:
    text = '{"a":"\x9b31m\u202e\x7f"}'
    for output in ("json", "ndjson"):
        shown = written(output, text, terminal=True)
        assert not set(shown) & {"\x9b", "\u202e", "\x7f"}
        found = json.loads(shown)
        assert (found[0] if output == "json" else found) == json.loads(text)
        assert "\x9b" in written(output, text)


def test_colors_are_control_sequences_around_tokens() -> None:
    shown = written("ndjson", '{"a":[1,null,"b: c"]}', colors=True, terminal=True)
    assert shown == '{\x1b[34;1m"a"\x1b[0m:[\x1b[36m1\x1b[0m,\x1b[35mnull\x1b[0m,\x1b[32m"b: c"\x1b[0m]}\n'


@given(VALUES)
def test_indented_text_is_the_same_json(value: Any) -> None:
    text = json_text.compact(value)
    shown = json_text.indented_text(text)
    assert json.loads(shown) == json.loads(text)
    assert shown == json_text.indented(value)
    assert json.loads(json_text.harmless(shown)) == json.loads(text)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", {"b": [{"c": 1}, {"c": 2}, 3]}),
        ("a.b.0.c", 1),
        ("a.b.c", [1, 2]),
        ("a.b.9", ABSENT),
        ("a.b.99999999999999999999", ABSENT),
        ("a.x", ABSENT),
        ("a.b.0.c.d", ABSENT),
        ("d.e", "with a dot"),
        ("d.e.f", ABSENT),
        ("", ABSENT),
        (".", ABSENT),
    ],
)
def test_paths(path: str, found: Any) -> None:
    document = {"a": {"b": [{"c": 1}, {"c": 2}, 3]}, "d.e": "with a dot"}
    assert value_at(document, path) == found


@pytest.mark.parametrize(
    ("documents", "columns"),
    [
        ([{"a": {"b": 1}}, {"a": 2}], ["a"]),
        ([{"a": {}}, {"a": {"b": {"c": 1}}}], ["a"]),
        ([{"b": 1, "_id": "x"}], ["_id", "b"]),
    ],
)
def test_columns(documents: Sequence[dict[str, Any]], columns: list[str]) -> None:
    assert columns_of(documents, first=("_id",)) == columns
