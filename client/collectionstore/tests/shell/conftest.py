"""csctl on pseudo-terminals, against a real engine in memory in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from collectionstore.testing import RunningStore, running_memory_store
from collectionstore.tests.data.running import Csctl


@pytest.fixture(scope="module")
def store() -> Iterator[RunningStore]:
    with structlog.testing.capture_logs(), running_memory_store() as running:
        yield running


@pytest.fixture
def csctl(store: RunningStore, tmp_path: Path) -> Csctl:
    return Csctl(store.url, tmp_path)


@pytest.fixture
def env(csctl: Csctl) -> dict[str, str]:
    """The environment of a program."""
    return {name: value for name, value in csctl.environment.items() if value is not None}
