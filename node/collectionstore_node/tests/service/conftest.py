"""A store over a replica held in memory."""

from __future__ import annotations

from typing import TypeVar

import pytest

from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.memory_replica import MemoryReplica

LIMITS = StoreLimits(
    document_bytes_max=64,
    value_bytes_max=32,
    transaction_items_max=3,
    list_items_max=5,
    list_bytes_max=200,
    inflight_requests_max=2,
)

T = TypeVar("T")


def as_is(item: T) -> T:
    """Show an item of a list as it was read."""
    return item


@pytest.fixture
def replica() -> MemoryReplica:
    return MemoryReplica()


@pytest.fixture
def store(replica: MemoryReplica) -> Store:
    return Store(replica, LIMITS)
