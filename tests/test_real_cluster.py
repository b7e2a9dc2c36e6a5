"""The whole product on this machine: `csctl local` starts real nodes, which are used, killed, scaled and stopped.

One cluster for the module, since starting one takes seconds; the tests run in order and leave it whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics

from collectionstore_node import metrics as node_metrics
from collectionstore_operator.observability import metrics as operator_metrics
from collectionstore_testkit.clusters.ports import free_base_port
from collectionstore_testkit.histories.checker import check
from collectionstore_testkit.histories.workload import Workload, WorkloadSettings
from collectionstore_testkit.tools.prometheus import promtool

pytestmark = pytest.mark.xdist_group("real_cluster")

CSCTL = str(Path(sys.executable).with_name("csctl"))
DEADLINE_S = 120
POLL_S = 0.05
REQUEST_TIMEOUT_S = 10


@dataclass
class Cluster:
    """A local cluster, reached as a user reaches it: by csctl and by HTTP."""

    folder: Path
    base_port: int
    acknowledged: dict[str, bytes] = field(default_factory=dict)

    def csctl(self, *arguments: str) -> str:
        """Run `csctl local` and return what it printed. Fails the test when it fails."""
        command = [CSCTL, "local", *arguments]
        environment = {**os.environ, "COLLECTIONSTORE_STATE_DIR": str(self.folder / "state")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, replicas: int, **spec: Any) -> Path:
        """Write the manifest."""
        path = self.folder / "cluster.json"  # JSON is YAML
        resource = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "real"},
            "spec": {
                "replicas": replicas,
                "local": {"basePort": self.base_port},
                "tls": {"client": "Disabled"},
                "snapshot": {"commands": 1_000},
                **spec,
            },
        }
        path.write_text(json.dumps(resource))
        return path

    def request(
        self, method: str, ordinal: int, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send one request to a member and return status and body."""
        url = f"http://127.0.0.1:{self.base_port + 10 * ordinal}{path}"
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def status(self, ordinal: int) -> dict[str, Any]:
        """Return a node's own status, as soon as it knows a leader: it may have been restarted a moment ago."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            try:
                _, body = self.request("GET", ordinal, "/status")
            except OSError:
                time.sleep(POLL_S)
                continue
            status = json.loads(body)
            if status["leader"] and status["leader"]["name"]:
                assert isinstance(status, dict)
                return status
            time.sleep(POLL_S)
        raise AssertionError(f"member {ordinal} knows no leader")

    def leader(self) -> int:
        """Return the ordinal of the leader."""
        return int(self.status(0)["leader"]["name"].rsplit("-", 1)[1])

    def write(self, key: str, value: bytes, ordinal: int) -> None:
        """Write until it is acknowledged; the idempotency key makes the retries one write."""
        token = str(uuid.uuid4())
        for attempt in range(10_000):
            try:
                code, _ = self.request(
                    "PUT", (ordinal + attempt) % 3, f"/api/v1/kv/real/{key}", value, **{"Idempotency-Key": token}
                )
            except OSError:
                continue  # that node is down at this moment
            if code in (200, 201):
                self.acknowledged[key] = value
                return
        raise AssertionError(f"{key} was never acknowledged")

    def assert_nothing_lost(self) -> None:
        """Read every acknowledged write back, from all members in turn."""
        for ordinal in range(3):
            self.status(ordinal)  # it may have been killed a moment ago
        for number, (key, value) in enumerate(self.acknowledged.items()):
            assert self.request("GET", number % 3, f"/api/v1/kv/real/{key}") == (200, value)


class Writer:
    """Writes in a thread, continuously, until it is stopped."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._failure: BaseException | None = None
        self.written = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        assert self._failure is None, self._failure

    def wait_for(self, more: int) -> None:
        """Return when `more` further writes are acknowledged."""
        with self._progress:
            goal = self.written + more
            reached = self._progress.wait_for(lambda: self.written >= goal or self._failure is not None, DEADLINE_S)
        assert reached
        assert self._failure is None, self._failure

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._cluster.write(f"{self._prefix}-{self.written}", os.urandom(64), self.written)
                with self._progress:
                    self.written += 1
                    self._progress.notify_all()
        except BaseException as error:
            with self._progress:
                self._failure = error
                self._progress.notify_all()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster of three."""
    running = Cluster(tmp_path_factory.mktemp("real"), 1 + free_base_port(61, within=range(10_000, 20_000)))
    try:
        running.csctl("up", "-f", str(running.apply(3)))
        yield running
    finally:
        running.csctl("clean", "--yes")


def test_second_up_changes_nothing_and_says_so(cluster: Cluster) -> None:
    before = [cluster.status(ordinal)["pid"] for ordinal in range(3)]
    assert "unchanged" in cluster.csctl("up", "-f", str(cluster.apply(3)))
    assert [cluster.status(ordinal)["pid"] for ordinal in range(3)] == before


def test_every_member_takes_every_request(cluster: Cluster) -> None:
    assert cluster.request("PUT", 0, "/api/v1/collections/books")[0] == 201
    for ordinal in range(3):
        path = f"/api/v1/collections/books/documents/from-{ordinal}"
        body = json.dumps({"from": ordinal}).encode()
        assert cluster.request("PUT", ordinal, path, body, **{"Content-Type": "application/json"})[0] == 201
        for reader in range(3):
            assert cluster.request("GET", reader, path) == (200, body.replace(b" ", b""))


def test_metrics_of_both_programs_are_clean_and_those_declared(cluster: Cluster) -> None:
    """What Prometheus' own linter says of a scrape, whether it is the table's, and whether both formats can be read."""
    programs = [(cluster.base_port + 10 * ordinal + 2, node_metrics.SERIES) for ordinal in range(3)]
    programs.append((cluster.base_port - 1, operator_metrics.SERIES))
    for port, table in programs:
        text, openmetrics = scrape(port), scrape(port, "application/openmetrics-text; version=1.0.0")
        linted = subprocess.run(
            [promtool(), "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=REQUEST_TIMEOUT_S,
            check=False,
        )
        assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")
        declared = {series.name + ("_info" if series.kind.value == "info" else "") for series in table}
        reported = set(re.findall("^# HELP (collectionstore_[a-z0-9_]+)", text, re.MULTILINE))
        assert reported == declared
        families: list[Metric] = list(read_openmetrics(openmetrics))  # type: ignore[no-untyped-call]
        own = {family.name for family in families if family.name.startswith("collectionstore_")}
        assert own == {series.name.removesuffix("_total") for series in table}


def scrape(port: int, accept: str = "text/plain") -> str:
    """Return the response of a port of this machine."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
        assert answer.headers["Content-Type"].startswith(accept.partition(";")[0])
        return str(answer.read().decode())


def test_leader_killed_under_a_writer_loses_nothing(cluster: Cluster) -> None:
    with Writer(cluster, "leader") as writer:
        writer.wait_for(20)
        term = cluster.status(0)["term"]
        os.kill(cluster.status(cluster.leader())["pid"], signal.SIGKILL)
        writer.wait_for(50)
    cluster.assert_nothing_lost()
    assert cluster.status(0)["term"] > term


def test_all_killed_under_a_writer_lose_nothing(cluster: Cluster) -> None:
    with Writer(cluster, "all") as writer:
        writer.wait_for(20)
        for pid in [cluster.status(ordinal)["pid"] for ordinal in range(3)]:
            os.kill(pid, signal.SIGKILL)
        writer.wait_for(20)
    cluster.assert_nothing_lost()


def test_partitioned_leader_is_succeeded_and_follows_once_healed(cluster: Cluster) -> None:
    """The others elect one of them and write; the isolated member has all writes after the partition."""
    cut_off = cluster.leader()
    other = (cut_off + 1) % 3
    cluster.csctl("partition", str(cut_off))
    assert f"real-{cut_off} ↔ all others: partitioned" in cluster.csctl("status")
    until = time.monotonic() + DEADLINE_S
    while cluster.request("PUT", other, "/api/v1/kv/real/partition", b"written meanwhile")[0] not in (200, 201):
        assert time.monotonic() < until
    assert f"ended: real-{cut_off}" in cluster.csctl("heal")
    cluster.status(cut_off)
    while (answer := cluster.request("GET", cut_off, "/api/v1/kv/real/partition"))[0] != 200:
        assert time.monotonic() < until
    assert answer[1] == b"written meanwhile"


def test_scaling_under_a_writer_changes_all_voters_in_one_step(cluster: Cluster) -> None:
    # Two generations past the compaction threshold, so that new members need a snapshot.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: cluster.write(f"bulk-{number}", b"x", number), range(2_200)))
    assert cluster.status(0)["first_index"] > 1
    with Writer(cluster, "scale") as writer:
        writer.wait_for(20)
        before = cluster.status(0)["configuration"]["index"]
        cluster.csctl("scale", "--replicas", "5")
        grown = cluster.status(0)["configuration"]
        assert len(grown["voters"]) == 5
        assert grown["index"] > before
        # Nothing below the cut was replicated to them: they began with a snapshot.
        assert all(cluster.status(ordinal)["first_index"] > 1 for ordinal in (3, 4))
        assert "tolerates 2 failures" in cluster.csctl("status")
        cluster.csctl("scale", "--replicas", "3")
        writer.wait_for(20)
    assert len(cluster.status(0)["configuration"]["voters"]) == 3
    cluster.assert_nothing_lost()


def test_clients_see_one_store_while_a_leader_is_killed(cluster: Cluster) -> None:
    async def use() -> Workload:
        async with aiohttp.ClientSession() as session:
            workload = Workload(
                urls=lambda: [f"http://127.0.0.1:{cluster.base_port + 10 * ordinal}" for ordinal in range(3)],
                session=session,
                now=time.monotonic,
                random=random.Random(1),
                settings=WorkloadSettings(clients=8, operations_per_key=60),
            )
            await workload.prepare()
            leader = await asyncio.to_thread(lambda: cluster.status(cluster.leader())["pid"])
            run = asyncio.create_task(workload.run(until=time.monotonic() + 3))
            await asyncio.sleep(0.5)  # the clients' time to get going; nothing is asserted about how far they are
            os.kill(leader, signal.SIGKILL)
            await run
            await workload.read_all()
            return workload

    workload = asyncio.run(use())
    assert workload.progress.outcomes["ok"] > 200
    verdict = check(workload.history)
    assert verdict.ok, verdict.explanation


def test_down_keeps_the_data_and_up_brings_it_back(cluster: Cluster) -> None:
    cluster.csctl("down")
    cluster.csctl("up", "-f", str(cluster.apply(3)))
    cluster.assert_nothing_lost()
    assert cluster.acknowledged


def test_invalid_manifest_changes_nothing(cluster: Cluster) -> None:
    before = [cluster.status(ordinal)["pid"] for ordinal in range(3)]
    path = cluster.apply(4)
    done = subprocess.run(
        [CSCTL, "local", "up", "-f", str(path)],
        env={**os.environ, "COLLECTIONSTORE_STATE_DIR": str(cluster.folder / "state")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 3
    assert "spec.replicas" in done.stderr
    assert [cluster.status(ordinal)["pid"] for ordinal in range(3)] == before
