"""The contract of an object store: of a directory, of an S3 server, and of one that lists more than it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import obstore
import pytest

from collectionstore_node.backup.repository import Repository
from collectionstore_node.tests.backup.store_contract import check_contract


def test_a_store_does_all_that_backups_need(repository: Repository) -> None:
    check_contract(repository)


def test_a_store_that_lists_from_the_beginning_shows_only_what_is_behind(
    directory: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Azurite, which takes no notice of where a listing is to begin: an archive would go on in its past."""
    every = obstore.list

    def without_offset(store: Any, prefix: str, **_options: Any) -> Iterator[Any]:
        yield from every(store, prefix)

    monkeypatch.setattr(obstore, "list", without_offset)
    for number in range(5):
        directory.put(f"log/{number}", b"x")
    assert sorted(one.name for one in directory.objects("log/", after="log/2")) == ["log/3", "log/4"]
    assert len(list(directory.objects("log/"))) == 5
