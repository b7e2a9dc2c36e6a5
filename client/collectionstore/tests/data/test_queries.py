"""find, count, distinct, aggregate, and their formats."""

from __future__ import annotations

import csv
import io
import json

import pytest
import yaml

from collectionstore.tests.data.running import Csctl


def test_find_shows_a_table(csctl: Csctl, books: str) -> None:
    found = csctl.ok("find", books, "year>=1900", "--sort", "-year", "--fields", "title,year")
    assert found.lines == ["_id     title       year", "dune    Dune        1965", "hobbit  The Hobbit  1937"]


def test_formats_have_the_same_documents(csctl: Csctl, books: str) -> None:
    shown = csctl.ok("find", books, "-o", "json").json
    assert yaml.safe_load(csctl.ok("find", books, "-o", "yaml").out) == shown
    assert [json.loads(line) for line in csctl.ok("find", books, "-o", "ndjson").lines] == shown
    table = list(csv.reader(io.StringIO(csctl.ok("find", books, "-o", "csv", "--columns", "_id,home.city").out)))
    assert table == [["_id", "home.city"], ["dune", "Arrakis"], ["emma", ""], ["hobbit", ""]]


def test_a_narrow_terminal_gets_a_narrow_table(csctl: Csctl, books: str) -> None:
    found = csctl("find", books, env={"COLUMNS": "40"})
    assert max(len(line) for line in found.lines) <= 40
    assert "Not shown for lack of space: " in found.err


def test_more_than_a_page(csctl: Csctl) -> None:
    csctl.ok("collection", "create", "many")
    csctl.ok("import", "many", "-", stdin="".join(f'{{"_id": "d{at:05}", "n": {at}}}\n' for at in range(2_500)))
    found = csctl.ok("find", "many")
    assert (len(found.lines), "There are more" in found.err) == (101, True)
    assert len(csctl.ok("find", "many", "--all", "-o", "ndjson").lines) == 2_500
    assert len(csctl.ok("find", "many", "--limit", "1200", "--skip", "3", "-o", "ndjson").lines) == 1_200
    assert csctl.ok("find", "many", "--first", "--sort", "-n", "-o", "json").json["n"] == 2_499
    assert csctl.ok("find", "many", "--limit", "100").err == ""
    csctl.ok("delete", "many", "--all", "--yes")
    assert csctl.ok("find", "many").err == "many has no documents.\n"


def test_counts_and_values(csctl: Csctl, books: str) -> None:
    assert csctl.ok("count", books).out == "3\n"
    assert csctl.ok("count", books, "year<1900", "-o", "json").json["count"] == 1
    assert csctl.ok("distinct", books, "tags").lines == ["tags", "classic", "desert"]


def test_aggregate(csctl: Csctl, books: str) -> None:
    stages = ('{"$unwind": "$tags"}', '{"$sortByCount": "$tags"}')
    assert csctl.ok("aggregate", books, *stages).lines == ["_id      count", "classic      2", "desert       1"]
    assert csctl.ok("aggregate", books, f"[{','.join(stages)}]", "-o", "json").json[0]["count"] == 2
    assert csctl.ok("aggregate", books, "-", stdin='[{"$match": {"a": 1}}]').err == "The pipeline makes no document.\n"
    wrong = csctl("aggregate", books, '{"$group": {"_id": {"$add": ["a"]}, "n": {"$sun": 1}}}')
    assert wrong.code == 3
    assert "/pipeline/0/$group/n" in wrong.err


def test_explain(csctl: Csctl, books: str) -> None:
    csctl.ok("index", "create", books, "by_year", "year")
    plan = csctl.ok("find", books, "year>1950", "--explain", "-o", "json").json
    assert (plan["plan"]["index"], plan["examined"]) == ("by_year", 1)
    assert "plan.index" in csctl.ok("count", books, "year>1950", "--explain").out


def test_the_past(csctl: Csctl, books: str) -> None:
    revision = csctl.ok("get", books, "dune").json["_revision"]
    csctl.ok("put", books, "dune", "title=Other")
    assert csctl.ok("get", books, "dune", "--at-revision", str(revision)).json["title"] == "Dune"
    assert csctl.ok("count", books, "title=Dune", "--at-revision", str(revision)).out == "1\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--all", "--limit", "3"), 2),
        (("--limit", "0"), 2),
        (("--limit", "x"), 2),
        (("--skip", "10001"), 2),
        (("--columns", "a,,b"), 2),
        (("-o", "xml"), 2),
        (("--hint", "nope"), 3),
        (("--at-revision", "999999999", "--timeout", "500ms"), 14),
        (("a=1", "--sort", "{"), 2),
        (("title~(",), 3),
        (("title~(?=a)",), 3),
    ],
)
def test_wrong_queries(csctl: Csctl, books: str, words: tuple[str, ...], code: int) -> None:
    outcome = csctl("find", books, *words)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err


def test_indexes(csctl: Csctl, books: str) -> None:
    made = csctl.ok("index", "create", books, "by_title", "title", "year:-1", "--fold", "title", "-w", "year>1")
    assert made.out == f"index by_title of {books} is ready\n"
    listed = csctl.ok("index", "list", books).lines
    assert listed[1].split() == ["by_title", "title,", "-year", "partial", "ready", "3", "3"]
    assert csctl.ok("index", "get", books, "by_title").json["entries"] == 3
    failed = csctl("index", "create", books, "unique_tags", "none", "--unique")
    assert (failed.code, "cannot be built" in failed.err) == (1, True)
    assert csctl("index", "drop", books, "by_title").code == 2
    assert "would be dropped" in csctl.ok("index", "drop", books, "by_title", "--dry-run").out
    csctl.ok("index", "drop", books, "by_title", "--yes")
    csctl.ok("index", "drop", books, "unique_tags", "--yes")
    assert csctl.ok("index", "list", books).err == f"{books} has no index.\n"


def test_schemas(csctl: Csctl, books: str) -> None:
    schema = '{"required": ["title"], "properties": {"title": {"type": "string"}, "price": {"type": "string"}}}'
    tried = csctl("schema", "set", books, schema, "--dry-run")
    assert (tried.code, "/price" in tried.out) == (16, True)
    assert csctl.ok("schema", "get", books).err == f"{books} has no schema.\n"
    csctl.ok("schema", "set", books, schema)
    assert csctl.ok("schema", "get", books).json["mode"] == "strict"
    refused = csctl("put", books, "x", "title=1")
    assert (refused.code, '/title: allowed: type "string"' in refused.err) == (3, True)
    csctl.ok("schema", "set", books, "-", "--mode", "warn", stdin=schema)
    assert "only warns" in csctl.ok("put", books, "x", "title=1").out
    assert csctl("schema", "validate", books, "-o", "json").json["invalid"] == 2
    csctl.ok("schema", "clear", books, "--yes")
    assert csctl("schema", "validate", books).code == 3


def test_collections(csctl: Csctl) -> None:
    csctl.ok("collection", "create", "c-one")
    assert csctl("collection", "create", "c-one").code == 13
    assert "exists already" in csctl.ok("collection", "create", "c-one", "--if-absent").out
    csctl.ok("collection", "create", "c-two", "--ids", "sequence", "--ttl", "30m")
    assert csctl.ok("collection", "get", "c-two").json["options"]["ids"] == "sequence"
    csctl.ok("insert", "c-one", "a=1")
    listed = csctl.ok("collection", "list", "c-", "--counts", "-o", "json").json
    assert [(one["name"], one["documents"]) for one in listed] == [("c-one", 1), ("c-two", 0)]
    assert csctl("collection", "drop", "c-one").code == 2
    assert "with 1 document dropped" in csctl.ok("collection", "drop", "c-one", "--yes").out
    assert csctl("collection", "get", "c-one").code == 5


def test_watch_what_there_is(csctl: Csctl, books: str) -> None:
    csctl.ok("update", books, "dune", "copies=1")
    lines = csctl.ok("watch", books, "--from", "0", "--no-wait").lines
    assert [line.split()[1] for line in lines] == ["create_collection", "insert", "insert", "insert", "update"]
    events = [json.loads(line) for line in csctl.ok("watch", books, "--from", "0", "--no-wait", "-o", "ndjson").lines]
    assert events[-1]["document"]["copies"] == 1
    rest = csctl.ok("watch", books, "--from", events[-2]["token"], "--no-wait", "-o", "ndjson").lines
    assert [json.loads(line) for line in rest] == events[-1:]


def test_watch_from_a_snapshot_ends_after_a_number(csctl: Csctl, books: str) -> None:
    found = csctl.ok("watch", books, "year>1900", "--from", "snapshot", "-c", "2", "-f", "title")
    assert sorted(line.split()[1:3] for line in found.lines) == [
        ["document", f"{books}/dune"],
        ["document", f"{books}/hobbit"],
    ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("x", "--bucket", "y"), 2),
        (("books", "-o", "csv"), 2),
        (("--from", "yesterday", "--no-wait"), 3),
        (("--from", "999999999", "--no-wait"), 3),
        (("--ops", "nonsense", "--no-wait"), 3),
        (("nope", "--no-wait"), 5),
    ],
)
def test_wrong_watches(csctl: Csctl, words: tuple[str, ...], code: int) -> None:
    outcome = csctl("watch", *words)
    assert outcome.code == code, outcome.err
