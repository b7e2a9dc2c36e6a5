"""csctl against a real engine in memory: one for each module, with collections that each test names itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from collectionstore.testing import RunningStore, running_memory_store
from collectionstore.tests.data.running import Csctl


@pytest.fixture(scope="module")
def store() -> Iterator[RunningStore]:
    # The node is in this process, and would log to the stdout of the command that runs meanwhile.
    with structlog.testing.capture_logs(), running_memory_store() as running:
        yield running


@pytest.fixture
def csctl(store: RunningStore, tmp_path: Path) -> Csctl:
    return Csctl(store.url, tmp_path)


@pytest.fixture
def books(csctl: Csctl, request: pytest.FixtureRequest) -> str:
    """A collection with three books; returns its name."""
    name = f"books-{abs(hash(request.node.nodeid)) % 10**9}"
    csctl.ok("collection", "create", name)
    csctl.ok("put", name, "dune", "title=Dune", "year=1965", "tags[]=desert", "tags[]=classic", "home.city=Arrakis")
    csctl.ok("put", name, "hobbit", '{"title": "The Hobbit", "year": 1937, "price": 1.10e2}')
    csctl.ok("put", name, "emma", "title=Emma", "year=1815", "tags[]=classic")
    return name
