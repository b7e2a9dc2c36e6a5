"""What a backup needs of an object store, asked of any: in the tests of S3 and a directory, by hand of the others.

    python -m collectionstore_node.tests.backup.store_contract --repository az://backups/demo --option endpoint=URL

Credentials come from the environment, as for `collectionstore-backup`. It stores and deletes objects below a path of
its own, and nothing else. Azurite and fake-gcs-server are such servers.
"""

from __future__ import annotations

import secrets
from typing import Final

import click
import pytest

from collectionstore_node.backup.errors import BackupError, NotFound
from collectionstore_node.backup.options import open_repository
from collectionstore_node.backup.parts import PART_BYTES
from collectionstore_node.backup.repository import Repository, Stored

NAMES: Final = ("a/1/manifest.json", "a/1/data/00000000.part", "a/2/manifest.json", "b/00000000000000000001.segment")
MANY: Final = 1_203
"""More than a store lists in one page."""


def check_contract(store: Repository, *, many: int = MANY) -> None:
    """Store, read, list and delete; a store that keeps to it can hold backups. Nothing is left, unless it fails."""
    top = f"contract-{secrets.token_hex(4)}/"
    content = {top + name: name.encode() * 100 for name in NAMES}
    for name, data in content.items():
        store.put(name, b"to be replaced")
        store.put(name, data)
    assert {name: store.get(name, 1_000_000) for name in content} == content
    with pytest.raises(NotFound):
        store.get(f"{top}a/none", 100)
    with pytest.raises(BackupError, match="at most 10 are read"):
        store.get(f"{top}{NAMES[0]}", 10)

    assert sorted(store.objects(f"{top}a/")) == sorted(
        Stored(one, len(content[one])) for one in content if "/a/" in one
    )
    assert store.folders(f"{top}a/") == ["1", "2"]
    assert store.folders(f"{top}none/") == []
    assert list(store.objects(f"{top}none/")) == []

    large = secrets.token_bytes(PART_BYTES)
    store.put(f"{top}large", large)
    assert store.get(f"{top}large", PART_BYTES) == large
    store.put(f"{top}empty", b"")
    assert store.get(f"{top}empty", 0) == b""

    log = [f"{top}log/{number:020}.segment" for number in range(many)]
    for name in log:
        store.put(name, b"x")
    found = [one.name for one in store.objects(f"{top}log/")]
    assert (found if store.ordered else sorted(found)) == log, "not all of it, or not in order"
    behind = [one.name for one in store.objects(f"{top}log/", after=log[many // 2])]
    assert sorted(behind) == log[many // 2 + 1 :]

    for name in (*content, *log, f"{top}large", f"{top}empty"):
        store.delete(name)
        store.delete(name)
    assert list(store.objects(top)) == []


@click.command()
@click.option("--repository", "url", required=True, metavar="URL")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE")
def main(url: str, options: tuple[str, ...]) -> None:
    """Ask a store for all that backups need."""
    check_contract(open_repository(url, options))
    click.echo(f"{url}: all of it holds")


if __name__ == "__main__":
    main()
