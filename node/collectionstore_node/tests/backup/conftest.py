"""Repositories for the tests: a directory, and a bucket of a real S3 server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer

from collectionstore_node.backup.create import Progress, create_backup
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState, make_state

KEY = bytes(range(32))
S3 = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    ).create_bucket(Bucket="backups")
    yield endpoint
    server.stop()


@pytest.fixture(params=["directory", "s3"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    if request.param == "directory":
        return Repository(str(tmp_path / "repository"))
    endpoint = request.getfixturevalue("s3_endpoint")
    return Repository(f"s3://backups/{tmp_path.name}", S3 | {"endpoint": endpoint})


@pytest.fixture
def directory(tmp_path: Path) -> Repository:
    return Repository(str(tmp_path / "repository"))


@pytest.fixture(scope="session")
def state() -> SampleState:
    return make_state(400)


PART_BYTES = 16 << 10
"""So small that a small state has several."""
QUIET = Progress(lambda _text: None, lambda _bytes: None)


@pytest.fixture
def make(state: SampleState) -> Callable[..., Manifest]:
    """Makes a backup of one follower."""

    def made(repository: Repository, key: bytes | None = None, of: SampleState = state) -> Manifest:
        with FakeCluster([FakeMember("n0", of, leader=True), FakeMember("n1", of)]) as cluster:
            source = Source([cluster.members[0].address], Access())
            return create_backup(
                source, repository, key=key, expected_cluster=None, stale=False, progress=QUIET, part_bytes=PART_BYTES
            )

    return made
