"""Limits as the applied access configuration and the records of users say them."""

from __future__ import annotations

from itertools import count

import orjson
import pytest

from collectionstore_node.access.configuration import COLLECTION_LIMITS_MAX, parse_configuration
from collectionstore_node.access.limits import UserLimits
from collectionstore_node.errors import InvalidPart
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.rates import LOOK_S, AppliedLimits
from collectionstore_node.statemachine.access_commands import ConfigureAccess, PutUser
from collectionstore_node.statemachine.commands import Command
from collectionstore_node.tests.api.memory_replica import MemoryReplica


def body(**members: object) -> bytes:
    """Return an access configuration."""
    return orjson.dumps({"mode": "Permissive", **members})


async def test_nothing_is_limited_where_access_control_was_never_used() -> None:
    store = Store(MemoryReplica(), StoreLimits())
    assert AppliedLimits(store.access, lambda: 0.0).current() is None


async def test_limits_are_those_of_the_user_else_of_the_configuration() -> None:
    replica = MemoryReplica()
    store = Store(replica, StoreLimits())
    ticks = count()
    limits = AppliedLimits(store.access, lambda: LOOK_S * next(ticks))
    given = body(limits={"streams": 3}, collection_limits=[{"collection": "books", "requests_per_second": 5}])
    await replica.propose(Command(ConfigureAccess(given)), timeout_s=1)
    user = orjson.dumps({"limits": {"requests_per_second": 7}})
    await replica.propose(Command(PutUser("ada", user)), timeout_s=1)
    current = limits.current()
    assert current is not None
    assert current.of_user("ada") == UserLimits(requests_per_second=7)
    assert current.of_user("eve") == UserLimits(streams=3)
    found = current.of_collection("books")
    assert found is not None
    assert (found.requests_per_second, found.bytes_per_second) == (5, 0)
    assert current.of_collection("others") is None
    before = current.revision
    await replica.propose(Command(ConfigureAccess(body())), timeout_s=1)
    after = limits.current()
    assert after is not None
    assert after.revision > before
    assert after.of_collection("books") is None


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        ([{"requests_per_second": 1}], "/collection_limits/0"),
        ([{"collection": "A b"}], "/collection_limits/0/collection"),
        ([{"collection": "a"}, {"collection": "a"}], "/collection_limits/1/collection"),
        ([{"collection": "a", "requests_per_second": -1}], "/collection_limits/0/requests_per_second"),
        ([{"collection": "a", "streams": 1}], "/collection_limits/0"),
        ([{"collection": f"c{at}"} for at in range(COLLECTION_LIMITS_MAX + 1)], "/collection_limits"),
        ({}, "/collection_limits"),
    ],
)
def test_a_mistake_has_its_place(limits: object, pointer: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_configuration(body(collection_limits=limits))
    assert refused.value.pointer == pointer
