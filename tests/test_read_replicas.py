"""Read replicas of a real local cluster: bounded reads, one cut off and back, a change of their bound, down to none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("read_replicas")

CSCTL = str(Path(sys.executable).with_name("csctl"))
STEP = 3
NODES = 11
"""Ports of read replicas come after those of nine members."""
DEADLINE_S = 120.0
POLL_S = 0.05
DOCUMENT = "api/v1/collections/books/documents/dune"


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any


@dataclass
class Cluster:
    """A local cluster, reached as a user reaches it: by csctl and by HTTP."""

    folder: Path
    base_port: int

    def csctl(self, *arguments: str) -> str:
        environment = {**os.environ, "COLLECTIONSTORE_STATE_DIR": str(self.folder / "state")}
        command = [CSCTL, "local", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, command: str, **spec: Any) -> None:
        local = {"basePort": self.base_port, "portStep": STEP}
        resource = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "real"},
            "spec": {"replicas": 3, "local": local, "tls": {"client": "Disabled"}, **spec},
        }
        path = self.folder / "cluster.json"  # JSON is YAML
        path.write_text(json.dumps(resource))
        self.csctl(command, "-f", str(path), "--timeout", "90")

    def members(self) -> dict[str, dict[str, Any]]:
        status = json.loads(self.csctl("status", "-o", "json"))
        return {row["name"]: row for row in status["local"]["members"]}

    def request(self, place: int, path: str, *, body: bytes | None = None, port: int = 0) -> Answer:
        """Send to a member by its place: read replicas have the places from 9 on. `port` 2 is that of probes."""
        url = f"http://127.0.0.1:{self.base_port + place * STEP + port}/{path}"
        method = "GET" if body is None else "PUT"
        request = urllib.request.Request(url, method=method, data=body, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return Answer(answer.status, answer.headers, json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, json.loads(error.read()))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(
        tmp_path_factory.mktemp("replicas"), 1 + free_base_port(NODES * STEP + 1, within=range(20_000, 30_000))
    )
    try:
        made.apply("up", readReplicas=2, readReplicaMaxStalenessSeconds=2)
        made.request(0, "api/v1/collections/books", body=b"")
        yield made
    finally:
        made.csctl("clean", "-y")


def test_they_are_members_without_a_vote(cluster: Cluster) -> None:
    roles = {name: row["role"] for name, row in cluster.members().items()}
    assert (roles["real-read-0"], roles["real-read-1"]) == ("ReadReplica", "ReadReplica")
    seen = cluster.request(0, "api/v1/cluster").body
    names = {one["node_id"]: one["name"] for one in seen["members"]}
    configuration = seen["configuration"]
    assert sorted(names[one] for one in configuration["voters"]) == ["real-0", "real-1", "real-2"]
    assert sorted(names[one] for one in configuration["learners"]) == ["real-read-0", "real-read-1"]


def test_a_bounded_read_sees_every_older_write(cluster: Cluster) -> None:
    for value in range(20):
        written = cluster.request(value % 3, DOCUMENT, body=json.dumps({"value": value}).encode())
        assert written.status in (200, 201)
        time.sleep(0.06)  # what the bound is about: the write must be older than it
        for place, name in ((9, "real-read-0"), (10, "real-read-1")):
            found = cluster.request(place, f"{DOCUMENT}?consistency=stale&max_staleness=50ms")
            assert (found.status, found.body) == (200, {"value": value})
            assert found.headers["X-Served-By"] == name
            assert int(found.headers["X-Staleness-Ms"]) >= 0


def test_a_linearizable_read_works_there_too(cluster: Cluster) -> None:
    cluster.request(1, DOCUMENT, body=b'{"value":"now"}')
    found = cluster.request(9, DOCUMENT)
    assert found.body == {"value": "now"}
    assert found.headers["X-Staleness-Ms"] is None


def test_one_that_is_cut_off_refuses_and_returns(cluster: Cluster) -> None:
    stale = f"{DOCUMENT}?consistency=stale&timeout=1s"
    term = cluster.request(0, "status", port=2).body["term"]
    cluster.csctl("partition", "real-read-0")
    until(lambda: cluster.request(9, stale).status == 503, "it refuses")
    refused = cluster.request(9, stale)
    assert refused.body["code"] == "too_stale"
    assert refused.body["outcome"] == "not_applied"
    assert int(refused.headers["X-Staleness-Ms"]) > 2_000
    assert cluster.request(9, "readyz", port=2).status == 503
    assert cluster.request(10, stale).status == 200, "the other one serves"
    assert cluster.request(0, DOCUMENT, body=b'{"value":"meanwhile"}').status == 200
    until(lambda: not cluster.members()["real-read-0"]["ready"], "the status shows it")
    cluster.csctl("heal")
    until(lambda: cluster.request(9, "readyz", port=2).status == 200, "it is ready again")
    assert cluster.request(9, stale).body == {"value": "meanwhile"}
    assert cluster.request(0, "status", port=2).body["term"] == term, "it has disturbed no leader"


def test_a_change_of_their_bound_restarts_them_alone(cluster: Cluster) -> None:
    before = {name: row["pid"] for name, row in cluster.members().items()}
    cluster.apply("apply", readReplicas=2, readReplicaMaxStalenessSeconds=4)
    after = {name: row["pid"] for name, row in cluster.members().items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"real-read-0", "real-read-1"}
    assert cluster.request(9, "status", port=2).body["staleness_max_ms"] == 4_000


def test_they_go_and_come_back_as_new_members(cluster: Cluster) -> None:
    before = cluster.members()["real-read-0"]["nodeId"]
    cluster.apply("apply", readReplicas=0)
    assert not cluster.request(0, "api/v1/cluster").body["configuration"]["learners"]
    cluster.apply("apply", readReplicas=1)
    after = cluster.members()["real-read-0"]
    assert (after["role"], after["ready"]) == ("ReadReplica", True)
    assert after["nodeId"] != before, "a removed member returned with its old data"
