"""csctl bench measures on a collection of its own, and leaves nothing behind."""

from __future__ import annotations

from collectionstore.tests.data.running import Csctl


def test_every_operation_is_measured_and_the_collection_dropped(csctl: Csctl) -> None:
    done = csctl.ok("bench", "--seconds", "0.2", "--concurrency", "4", "--documents", "50", "-o", "json")
    assert [one["operation"] for one in done.json] == ["put", "get", "update", "find"]
    assert all(one["done"] > 0 and one["errors"] == 0 for one in done.json)
    assert csctl.ok("collection", "list", "-o", "json").json == []


def test_wrong_operations_are_refused(csctl: Csctl) -> None:
    assert csctl("bench", "--operations", "put,fly").code == 2
    assert csctl("bench", "--concurrency", "0").code == 2
    assert csctl("bench", "--url", "http://127.0.0.1:1", "--timeout", "200ms").code == 14
