"""get, put, insert, update, delete against a real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectionstore.tests.data.running import Csctl


def test_a_document_comes_back_as_it_was_put(csctl: Csctl, books: str) -> None:
    assert csctl.ok("get", books, "hobbit", "-o", "ndjson").out.endswith(
        '"title":"The Hobbit","year":1937,"price":1.10e2}\n'
    )
    assert csctl.ok("get", books, "dune").json["home"] == {"city": "Arrakis"}


def test_what_get_shows_put_takes(csctl: Csctl, books: str, tmp_path: Path) -> None:
    shown = csctl.ok("get", books, "hobbit", "-o", "json").out
    (tmp_path / "hobbit.json").write_text(shown.replace("1937", "1938"))
    changed = csctl.ok("put", books, f"@{tmp_path}/hobbit.json", "--if-unchanged")
    assert f"{books}/hobbit replaced at revision" in changed.out
    assert csctl.ok("get", books, "hobbit").json["year"] == 1938

    again = csctl("put", books, f"@{tmp_path}/hobbit.json", "--if-unchanged")
    assert (again.code, "precondition_failed" in again.err) == (13, True)


def test_put_from_stdin_and_with_an_id(csctl: Csctl, books: str) -> None:
    csctl.ok("put", books, "b", "-", stdin='{"title": "B"}')
    csctl.ok("put", books, "-", stdin='{"_id": "c", "title": "C"}')
    assert {one["_id"] for one in csctl.documents(books)} == {"dune", "hobbit", "emma", "b", "c"}


def test_insert_makes_an_id(csctl: Csctl, books: str) -> None:
    made = csctl.ok("insert", books, "title=New", "-o", "json").json
    assert csctl.ok("get", books, made["_id"]).json["title"] == "New"
    assert csctl("insert", books, '{"_id": "x"}').code == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("get", "BOOKS", "nope"), 5, "cannot read BOOKS/nope"),
        (("get", "nope", "x"), 5, "csctl collection create"),
        (("get", "BOOKS"), 2, "Missing argument"),
        (("put", "BOOKS", "dune"), 2, "the document is missing"),
        (("put", "BOOKS", "title=x"), 2, "an ID is missing"),
        (("put", "BOOKS", "a", '{"_id": "b"}'), 2, "not 'a'"),
        (("put", "BOOKS", "a", "{"), 2, "not JSON"),
        (("put", "BOOKS", "a", "[1]"), 2, "is no value"),
        (("put", "BOOKS", "a", '{"a": 1, "a": 2}'), 2, "twice"),
        (("put", "BOOKS", "a", '{"_x": 1}'), 3, "reserved_field"),
        (("put", "BOOKS", "a", "@/nowhere/at/all"), 1, "No such file"),
        (("put", "BOOKS", "dune", "a=1", "--if-absent"), 13, "precondition_failed"),
        (("put", "BOOKS", "new", "a=1", "--if-present"), 13, "precondition_failed"),
        (("put", "BOOKS", "dune", "a=1", "--if-absent", "--if-present"), 2, "exclude"),
        (("put", "BOOKS", "dune", "a=1", "--ttl", "soon"), 3, "ttl is"),
        (("put", "BOOKS", "a" * 2000, "a=1"), 3, "invalid_name"),
        (("put", "BOOKS", "..", "a=1"), 3, ""),
        (("put", "BAD NAME/..", "x", "a=1"), 3, "invalid_name"),
        (("update", "BOOKS"), 2, "name a document"),
        (("update", "BOOKS", "dune"), 2, "no change is given"),
        (("update", "BOOKS", "nope", "a=1"), 5, "document_not_found"),
        (("update", "BOOKS", "dune", "title+=1"), 3, "update_failed"),
        (("update", "BOOKS", "dune", "a=1", "--when", "year>2000"), 13, "precondition_failed"),
        (("update", "BOOKS", "--where", "a=1", "--all", "b=1"), 2, "excludes"),
        (("update", "BOOKS", "--all", "b=1"), 2, "Confirm with --yes"),
        (("delete", "BOOKS"), 2, "name documents"),
        (("delete", "BOOKS", "a", "--all"), 2, "name documents"),
        (("delete", "BOOKS", "nope"), 5, "document_not_found"),
        (("delete", "BOOKS", "--all"), 2, "Confirm with --yes"),
        (("find", "BOOKS", "--url", "http://127.0.0.1:1", "--timeout", "200ms"), 14, "127.0.0.1:1"),
        (("find", "BOOKS", "--url", "ftp://x"), 2, "connection string"),
        (("find", "BOOKS", "--url", "http://u:hunter2@[::zz]"), 2, ""),
        (("find", "BOOKS", "--context", "nope"), 5, "there is no context"),
        (("find", "BOOKS", "--local", "--url", "http://x"), 2, "exclude"),
        (("find", "BOOKS", "--timeout", "-1s"), 2, "allowed"),
    ],
)
def test_mistakes_have_their_exit_codes(
    csctl: Csctl, books: str, words: tuple[str, ...], code: int, message: str
) -> None:
    before = csctl.documents(books)
    outcome = csctl(*(one.replace("BOOKS", books) for one in words))
    assert (outcome.code, message.replace("BOOKS", books) in outcome.err) == (code, True), outcome.err
    assert outcome.out == ""
    assert "hunter2" not in outcome.err
    assert csctl.documents(books) == before


def test_update_one(csctl: Csctl, books: str) -> None:
    shown = csctl.ok("update", books, "dune", "copies+=3", "tags[]=new", "home-", "-o", "json").json
    assert (shown["copies"], shown["tags"], "home" in shown) == (3, ["desert", "classic", "new"], False)
    assert "is as it was" in csctl.ok("update", books, "dune", "copies=3").out
    csctl.ok("update", books, "other", "n+=1", "--upsert")
    assert csctl.ok("get", books, "other").json["n"] == 1
    csctl.ok("update", books, "dune", "--merge", '{"copies": null}')
    csctl.ok("update", books, "dune", "--patch", '[{"op": "remove", "path": "/tags"}]')
    assert set(csctl.ok("get", books, "dune").json) == {"_id", "_revision", "title", "year"}


def test_update_many(csctl: Csctl, books: str) -> None:
    assert "would be updated" in csctl.ok("update", books, "--where", "tags=classic", "old=true", "--dry-run").out
    done = csctl.ok("update", books, "--where", "tags=classic", "old=true", "--yes", "-o", "json")
    assert done.json == {"matched": 2, "modified": 2, "skipped": 0}
    assert csctl.ok("count", books, "old=true").out == "2\n"
    csctl.ok("update", books, "--all", "--one", "first=true")
    assert csctl.ok("count", books, "first=true").out == "1\n"


def test_update_of_many_that_fails_says_how_far_it_came(csctl: Csctl, books: str) -> None:
    outcome = csctl("update", books, "--all", "--yes", "home.city.x=1")
    assert outcome.code in (3, 16)
    assert "update_failed" in outcome.err


def test_delete(csctl: Csctl, books: str) -> None:
    assert "Nothing was changed" in csctl.ok("delete", books, "dune", "--dry-run").out
    assert "deleted at revision" in csctl.ok("delete", books, "dune").out
    assert csctl.ok("delete", books, "dune", "--ignore-missing").out == ""
    assert csctl.ok("delete", books, "--where", "year<1900", "--yes", "-o", "json").json == {"deleted": 1, "skipped": 0}
    csctl.ok("delete", books, "--all", "--yes")
    assert csctl.documents(books) == []


def test_dry_runs_of_put(csctl: Csctl, books: str) -> None:
    assert "would be created" in csctl.ok("put", books, "x", "a=1", "--dry-run").out
    assert "would be replaced" in csctl.ok("put", books, "dune", "a=1", "--dry-run").out
    assert len(csctl.documents(books)) == 3


def test_values(csctl: Csctl, tmp_path: Path) -> None:
    content = bytes(range(256))
    (tmp_path / "logo").write_bytes(content)
    csctl.ok("kv", "put", "files", "a/b", f"@{tmp_path}/logo", "--type", "image/png")
    csctl.ok("kv", "put", "files", "note", "be kind")
    assert csctl.ok("kv", "get", "files", "note").out == "be kind"
    listed = csctl.ok("kv", "list", "files", "-o", "json").json
    assert [(one["key"], one["size"], one["content_type"]) for one in listed] == [
        ("a/b", 256, "image/png"),
        ("note", 7, "text/plain; charset=utf-8"),
    ]
    assert csctl("kv", "put", "files", "note", "x", "--if-absent").code == 13
    assert csctl("kv", "delete", "files").code == 2
    csctl.ok("kv", "delete", "files", "--prefix", "", "--yes")
    assert csctl.ok("kv", "list", "files").err == "files has no keys.\n"


def test_transactions(csctl: Csctl, books: str) -> None:
    lend = ("transaction", f"update {books} dune copies-=1", f'put {books} loan {{"of": "dune"}}')
    refused = csctl(*lend, "--if", f"{books} dune copies>0")
    assert (refused.code, refused.err) == (13, "Error: a guard does not hold; nothing was changed\n")
    csctl.ok("update", books, "dune", "copies=1")
    assert "created" in csctl.ok(*lend, "--if", f"{books} dune copies>0", "--unless", f"{books} loan").out
    assert csctl.ok("get", books, "dune").json["copies"] == 0
    other = csctl.ok(*lend, "--if", f"{books} dune copies>0", "--else", f"delete {books} loan", "-o", "json")
    assert (other.json["succeeded"], csctl("get", books, "loan").code) == (False, 5)
    body = json.dumps({"then": [{"op": "get", "collection": books, "id": "emma"}]})
    assert csctl.ok("transaction", "-", "-o", "json", stdin=body).json["results"][0]["document"]["title"] == "Emma"


@pytest.mark.parametrize("words", [("",), ("put a",), ("frobnicate a b",), ("get a b c",), ("put a b '",), ("{",)])
def test_transactions_that_are_refused(csctl: Csctl, words: tuple[str, ...]) -> None:
    assert csctl("transaction", *words).code == 2
