"""What limits and the audit log take each route for."""

from __future__ import annotations

import pytest

from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.api.http.facts import facts_of
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.stream.accounts import FACTS
from collectionstore_node.api.stream.operations import KINDS, Write
from collectionstore_node.api.url_table import CLIENT, DEBUG

ROUTES = (*CLIENT, *DEBUG)
READS = (Verb.READ, Verb.WATCH, Verb.MONITOR)


def named(route: Route) -> str:
    """Return what identifies a route."""
    return f"{route.method} {route.pattern}"


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_a_route_that_changes_something_is_not_taken_for_a_read(route: Route) -> None:
    changes = route.method not in ("GET", "HEAD") and not route.read
    facts = facts_of(route.method, route.pattern, write=changes)
    assert facts.operation == named(route)
    assert not (changes and facts.verb in READS)
    if "{collection}" in route.pattern:
        assert (facts.kind, facts.named) == (Kind.COLLECTION, True)
    elif "{bucket}" in route.pattern:
        assert (facts.kind, facts.named) == (Kind.BUCKET, True)
    else:
        assert (facts.kind, facts.named) == (Kind.CLUSTER, False)
    assert (facts.verb is Verb.WATCH) == route.pattern.endswith(":watch") == facts.lasting
    for part in ("/users", "/roles", "/tokens", "/access", "/debug"):
        if part in route.pattern:
            assert facts.verb is Verb.ADMIN


@pytest.mark.parametrize(
    ("method", "pattern", "verb"),
    [
        ("PUT", "/api/v1/collections/{collection}", Verb.CREATE),
        ("DELETE", "/api/v1/collections/{collection}", Verb.DROP),
        ("PATCH", "/api/v1/collections/{collection}", Verb.ADMIN),
        ("POST", "/api/v1/collections/{collection}/indexes", Verb.INDEX),
        ("POST", "/api/v1/collections/{collection}:export", Verb.BACKUP),
        ("GET", "/api/v1/backup/state", Verb.BACKUP),
        ("POST", "/api/v1/transactions", Verb.TRANSACT),
        ("POST", "/api/v1/cluster/members", Verb.ADMIN),
        ("GET", "/api/v1/cluster", Verb.MONITOR),
        ("GET", "/api/v1/whoami", Verb.READ),
        ("POST", "/api/v1/locks/{lock}:acquire", Verb.WRITE),
    ],
)
def test_verbs_are_those_of_access_control(method: str, pattern: str, verb: Verb) -> None:
    assert facts_of(method, pattern, write=method != "GET").verb is verb


def test_every_operation_of_a_stream_has_facts() -> None:
    assert FACTS.keys() == KINDS.keys()
    for kind, facts in FACTS.items():
        assert not (issubclass(kind, Write) and facts.verb in READS)
        assert facts.streamed
