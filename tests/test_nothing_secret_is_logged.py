"""A real cluster that logs everything, is used, misused and broken: no line and no report holds what was written.

Slow operations are logged from a millisecond on, so that every kind of line that a request can cause is there.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collectionstore_local import log_vocabulary as local
from collectionstore_node.logs import vocabulary as node
from collectionstore_operator.observability.logs import vocabulary as operator
from collectionstore_telemetry.logs import vocabulary as shared
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("nothing_secret_is_logged")

CSCTL = str(Path(sys.executable).with_name("csctl"))
DEADLINE_S = 120
MARK = "zqxjkvbp"
"""In everything that is written; no word of any program."""


@dataclass
class Cluster:
    """A local cluster with TLS, reached by csctl and by HTTP as its operator."""

    folder: Path
    base_port: int

    @property
    def files(self) -> Path:
        return self.folder / "state" / "quiet"

    def csctl(self, *arguments: str, check: bool = True) -> str:
        environment = {**os.environ, "COLLECTIONSTORE_STATE_DIR": str(self.folder / "state")}
        done = subprocess.run(
            [CSCTL, *arguments], env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def request(self, method: str, ordinal: int, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        url = f"https://127.0.0.1:{self.base_port + 10 * ordinal}{path}"
        named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        request = urllib.request.Request(url, data=content, method=method, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._tls()) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def until_written(self, ordinal: int, path: str, body: Any) -> None:
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            try:
                if self.request("PUT", ordinal, path, body)[0] in (200, 201):
                    return
            except OSError:
                continue  # that member is down at this moment
        raise AssertionError(f"{path} was never acknowledged")

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.files / "ca" / "ca.crt"))
        context.load_cert_chain(self.files / "operator" / "tls.crt", self.files / "operator" / "tls.key")
        return context

    def logs(self) -> dict[str, str]:
        paths = [*self.files.glob("nodes/*/node.log"), self.files / "supervisor.log"]
        return {str(path.relative_to(self.files)): path.read_text() for path in paths}

    def key_lines(self) -> set[str]:
        keys = [path.read_text().splitlines() for path in self.files.rglob("*.key")]
        assert len(keys) >= 5  # the authority's, the operator's and the members'
        return {line for lines in keys for line in lines if not line.startswith("-----")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members that have been used in every way, with everything logged."""
    running = Cluster(tmp_path_factory.mktemp("quiet"), free_base_port(30, within=range(20_000, 30_000)))
    manifest = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "quiet"},
        "spec": {
            "replicas": 3,
            "local": {"basePort": running.base_port},
            "diagnostics": {
                "profiling": "Enabled",
                "slowMilliseconds": dict.fromkeys(("write", "read", "fsync", "apply", "http"), 1),
            },
            "pod": {"environment": [{"name": "PROXY", "value": f"http://ada:{MARK}@proxy"}]},
        },
    }
    file = running.folder / "quiet.json"  # JSON is YAML
    file.write_text(json.dumps(manifest))
    try:
        running.csctl("local", "up", "-f", str(file))
        running.csctl("log-level", "debug")
        running.csctl("log-level", "debug", "supervisor")
        _use(running)
        _misuse(running)
        running.csctl("local", "kill", "0")
        running.csctl("local", "restart")
        running.csctl("local", "rotate-authority")
        running.until_written(0, f"/api/v1/kv/b/{MARK}-after", {MARK: MARK})
        yield running
    finally:
        running.csctl("local", "clean", "--yes", check=False)


def _use(cluster: Cluster) -> None:
    cluster.until_written(0, "/api/v1/collections/people", b"")
    for ordinal in range(3):
        document = {"name": MARK, MARK: [MARK, {"deep": MARK}]}
        cluster.until_written(ordinal, f"/api/v1/collections/people/documents/{MARK}-{ordinal}", document)
        cluster.until_written(ordinal, f"/api/v1/kv/b/{MARK}/{ordinal}", MARK.encode() * 1000)
    keyed = {"Idempotency_Key": MARK, "X_Request_Id": "r-1", "Authorization": f"Bearer {MARK}"}
    assert cluster.request("POST", 1, "/api/v1/collections/people/documents", {"x": MARK}, **keyed)[0] == 201
    assert cluster.request("GET", 2, f"/api/v1/collections/people/documents?prefix={MARK}")[0] == 200
    guard = {"bucket": "b", "key": MARK, "field": "exists", "operand": False}
    write = {"op": "put", "collection": "people", "id": f"{MARK}-t", "document": {"x": MARK}}
    assert cluster.request("POST", 0, "/api/v1/transactions", {"compare": [guard], "then": [write]})[0] == 200


def _misuse(cluster: Cluster) -> None:
    """Requests that are refused at every step on the way."""
    documents = "/api/v1/collections/people/documents"
    refused = [
        cluster.request("PUT", 0, f"{documents}/x", f'{{"{MARK}": }}'.encode()),
        cluster.request("PUT", 0, f"{documents}/x", f'{{"{MARK}": 1, "{MARK}": 2}}'.encode()),
        cluster.request("PUT", 0, f"{documents}/x", {f"_{MARK}": 1}),
        cluster.request("PUT", 0, f"{documents}/%00{MARK}", {}),
        cluster.request("PUT", 1, f"/api/v1/collections/{MARK.upper()}", b""),
        cluster.request("GET", 1, f"{documents}?cursor={MARK}"),
        cluster.request("GET", 1, f"{documents}?{MARK}=1"),
        cluster.request("PUT", 2, f"{documents}/{MARK}-0", {}, If_Match=f'"{MARK}"'),
        cluster.request("GET", 2, f"/{MARK}"),
    ]
    assert [code for code, _ in refused if code < 400 or code >= 500] == []
    # Only the leader takes these; the others name it.
    called = [cluster.request("POST", ordinal, "/api/v1/cluster/members", {"action": MARK})[0] for ordinal in range(3)]
    assert sorted(called)[:2] == [307, 307], called
    assert 400 <= max(called) < 500, called


def test_no_log_holds_what_was_written(cluster: Cluster) -> None:
    for name, text in cluster.logs().items():
        assert MARK not in text, [name, *[line for line in text.splitlines() if MARK in line][:3]]


def test_no_log_holds_a_key(cluster: Cluster) -> None:
    keys = cluster.key_lines()
    for name, text in cluster.logs().items():
        assert "PRIVATE KEY" not in text, name
        assert not [key for key in keys if key in text], name


def test_every_line_is_an_event_with_its_fields(cluster: Cluster) -> None:
    seen = set()
    for name, text in cluster.logs().items():
        vocabularies = (shared, node) if name.startswith("nodes") else (shared, operator, local)
        events = {event.name: event for vocabulary in vocabularies for event in vocabulary.EVENTS}
        common = {field for vocabulary in vocabularies for field in vocabulary.FIELDS}
        for line in text.splitlines():
            fields = json.loads(line)
            event = events[fields["event"]]
            assert fields["level"] in event.levels, line
            assert set(fields) <= {*common, *event.fields}, line
            seen.add((event.name, fields.get("kind")))
    # What the run was for is there.
    assert {("operation.slow", "http"), ("operation.slow", "write"), ("node.ended", None)} <= seen
    assert ("level.changed", None) in seen


def test_a_slow_write_says_where_its_time_went(cluster: Cluster) -> None:
    lines = [json.loads(line) for text in cluster.logs().values() for line in text.splitlines()]
    writes = [line for line in lines if line["event"] == "operation.slow" and line["kind"] == "write"]
    assert writes
    for line in writes:
        assert set(line["phases"]) == {"queue", "sync", "quorum", "apply"}
        assert abs(sum(line["phases"].values()) - line["seconds"]) < 0.001  # they are rounded
        assert all(seconds >= 0 for seconds in line["phases"].values())


def test_members_tell_operators_what_they_do(cluster: Cluster) -> None:
    code, profile = cluster.request("GET", 1, "/debug/profile?seconds=1")
    assert code == 200
    assert b"MainThread;" in profile
    code, report = cluster.request("GET", 1, "/debug/raft")
    raft = json.loads(report)
    assert raft["configuration"]["voters"]
    assert {peer["name"] for peer in raft["queues"]["peers"]} == {"quiet-0", "quiet-2"}
    assert MARK.encode() not in profile + report


def test_the_report_holds_neither(cluster: Cluster) -> None:
    file = cluster.folder / "report.tar.gz"
    summary = json.loads(cluster.csctl("report", "--file", str(file), "-o", "json"))
    with tarfile.open(file) as tar:
        files = {member.name.partition("/")[2]: tar.extractfile(member) for member in tar}
        contents = {name: content.read().decode() for name, content in files.items() if content is not None}
    for name, text in contents.items():
        assert MARK not in text, name
        assert "PRIVATE KEY" not in text, name
        assert not [key for key in cluster.key_lines() if key in text], name
    assert summary["missing"] == []
    assert summary["redactions"] >= 2  # the variable, in the resource and in its manifest
    for number in range(3):
        root = f"members/quiet-{number}"
        expected = {"node.log", "status.json", "metrics.txt", "raft.json", "tasks.json", "data.json"}
        assert {f"{root}/{one}" for one in expected} <= set(contents)


def test_a_stopped_cluster_can_be_reported_on(cluster: Cluster) -> None:
    """The last in this file: what is not there is missing, with the reason."""
    cluster.csctl("local", "down")
    file = cluster.folder / "down.tar.gz"
    summary = json.loads(cluster.csctl("report", "--file", str(file), "-o", "json"))
    missing = {one["path"]: one["reason"] for one in summary["missing"]}
    assert "members/quiet-0/status.json" in missing
    assert "onnect" in missing["members/quiet-0/status.json"]
    assert summary["included"] > 10
    assert cluster.csctl("report", "--file", str(file), check=False) == ""
