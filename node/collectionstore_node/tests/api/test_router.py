"""How a path finds its route, also when the way to its last part is remembered."""

from __future__ import annotations

import pytest

from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.router import KNOWN_MAX, Router
from collectionstore_node.api.url_table import CLIENT, PROBES
from collectionstore_node.tests.api.memory_replica import RecordedMetrics

DOCUMENTS = "/api/v1/collections/{collection}/documents"


@pytest.mark.parametrize(
    ("path", "pattern", "arguments"),
    [
        ("/livez", "/livez", []),
        ("/api/v1/collections", "/api/v1/collections", []),
        ("/api/v1/collections/c", "/api/v1/collections/{collection}", ["c"]),
        ("/api/v1/collections/c/documents", DOCUMENTS, ["c"]),
        ("/api/v1/collections/c/documents/d", DOCUMENTS + "/{id}", ["c", "d"]),
        ("/api/v1/collections/documents/documents/documents", DOCUMENTS + "/{id}", ["documents", "documents"]),
        ("/api/v1/kv/b", "/api/v1/kv/{bucket}", ["b"]),
        ("/api/v1/kv/b/k", "/api/v1/kv/{bucket}/{key...}", ["b", "k"]),
        ("/api/v1/kv/b/k/l//m", "/api/v1/kv/{bucket}/{key...}", ["b", "k/l//m"]),
        ("/api/v1/kv/b//k", "/api/v1/kv/{bucket}/{key...}", ["b", "/k"]),
        ("/api/v1/kv/b/k/", "/api/v1/kv/{bucket}/{key...}", ["b", "k/"]),
        ("/api/v1/kv/b/", None, []),
        ("/api/v1/kv//k", None, []),
        ("/api/v1/collections/", None, []),
        ("/api/v1/collections/c/documents/", None, []),
        ("/api/v1/collections/c/documents/d/e", None, []),
        ("/api/v1/collections//documents/d", None, []),
        ("//livez", None, []),
        ("livez", None, []),
        ("*", None, []),
        ("/", None, []),
        ("", None, []),
    ],
)
def test_a_path_finds_its_route_every_time(path: str, pattern: str | None, arguments: list[str]) -> None:
    router = Router((*CLIENT, *PROBES), RecordedMetrics())
    for _ in range(3):
        if pattern is None:
            with pytest.raises(Problem) as raised:
                router.find("GET", path)
            assert raised.value.code == "unknown_route"
        else:
            entry, found = router.find("GET", path)
            assert (entry.pattern, found) == (pattern, arguments)
            found.append("changed by its owner")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/api/v1/collections/c:unknown", "/api/v1/collections/c:", "/api/v1/collections/:find"]
)
def test_an_unknown_verb_is_told_those_that_there_are(path: str, method: str) -> None:
    router = Router((*CLIENT, *PROBES), RecordedMetrics())
    for _ in range(2):
        with pytest.raises(Problem, match=r"known here: :aggregate, :bulk, .*:find, ") as raised:
            router.find(method, path)
        assert raised.value.code == "unknown_route"


def test_a_verb_says_which_methods_it_takes() -> None:
    with pytest.raises(Problem, match="allowed here: POST") as raised:
        Router(CLIENT, RecordedMetrics()).find("PUT", "/api/v1/collections/c:find")
    assert raised.value.code == "method_not_allowed"


def test_what_is_remembered_is_bounded_and_stays_right() -> None:
    router = Router(CLIENT, RecordedMetrics())
    for number in range(3 * KNOWN_MAX):
        entry, arguments = router.find("PUT", f"/api/v1/collections/c{number}/documents/d")
        assert (entry.pattern, arguments) == (DOCUMENTS + "/{id}", [f"c{number}", "d"])
        assert len(router._known) <= KNOWN_MAX
