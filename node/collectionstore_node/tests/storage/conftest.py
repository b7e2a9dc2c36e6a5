"""A database of one's own for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collectionstore_node.storage import Database
from collectionstore_node.tests.storage.entries import open_database


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where `database` lies, and where a test may open what it left."""
    return tmp_path / "data"


@pytest.fixture
def database(directory: Path) -> Iterator[Database]:
    """A new, empty database. A test may close it."""
    opened = open_database(directory)
    yield opened
    if not opened.failstop.failed:
        opened.close()
