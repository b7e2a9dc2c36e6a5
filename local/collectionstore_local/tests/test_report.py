"""A report has what can be had, says what cannot and why, and holds no secret."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from collectionstore_local.errors import ExitCode
from collectionstore_local.report import on_kubernetes
from collectionstore_local.report.archive import MANIFEST, Archive, Manifest
from collectionstore_local.report.cli import log_level, report
from collectionstore_local.report.gathering import gather
from collectionstore_local.report.items import Item, NotHad, Subject
from collectionstore_local.report.redaction import MARK, Redactor
from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status

SECRET = "hunter2-correct-horse"
LABELS = {"app.kubernetes.io/name": "collectionstore", "app.kubernetes.io/instance": "demo"}


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    running = FakeApiServer()
    yield running
    await running.stop()


def read(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by their paths below its one folder."""
    with tarfile.open(path) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read()
        return found


async def write(subject: Subject, path: Path) -> tuple[Manifest, dict[str, bytes]]:
    steps: list[tuple[int, int, str]] = []
    redactor = Redactor(subject.known_secrets)
    with Archive(path, root="report", modified=0, redactor=redactor) as archive:
        await gather(subject, archive, lambda *step: steps.append(step))
        manifest = archive.finish(cluster=subject.name, place=subject.place, created="now", csctl="0")
    assert steps[-1][:2] == (len(subject.items), len(subject.items))
    return manifest, read(path)


def item(path: str, content: bytes | Exception) -> Item:
    async def get() -> bytes:
        if isinstance(content, Exception):
            raise content
        return content

    return Item(path, "here", "text", get)


async def test_manifest_tells_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    items = [item("a.txt", f"token={SECRET}".encode()), item("b.txt", NotHad("it is off")), item("c.txt", b"fine")]
    manifest, files = await write(Subject("demo", "local", items), tmp_path / "r.tar.gz")
    assert files["a.txt"] == f"token={MARK}".encode()
    assert [(one.path, one.redactions) for one in manifest.included] == [("a.txt", 1), ("c.txt", 0)]
    assert [(one.path, one.reason) for one in manifest.missing] == [("b.txt", "it is off")]
    assert json.loads(files[MANIFEST])["missing"][0]["reason"] == "it is off"
    assert manifest.redactions == 1


async def test_a_file_that_cannot_be_read_is_missing_and_no_more(tmp_path: Path) -> None:
    error = PermissionError(13, "Permission denied", "/x")
    manifest, _ = await write(Subject("demo", "local", [item("a", error), item("b", b"")]), tmp_path / "r.tar.gz")
    assert manifest.missing[0].reason == "Permission denied: /x"
    assert [one.path for one in manifest.included] == ["b"]


async def test_the_archive_is_for_its_owner_and_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "r.tar.gz"
    await write(Subject("demo", "local", [item("a", b"1")]), path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError), Archive(path, root="x", modified=0, redactor=Redactor()):
        raise AssertionError
    assert read(path)["a"] == b"1"


async def test_a_failure_leaves_no_half_archive(tmp_path: Path) -> None:
    path = tmp_path / "r.tar.gz"
    with pytest.raises(ZeroDivisionError):
        await write(Subject("demo", "local", [item("a", ZeroDivisionError("a bug"))]), path)
    assert not path.exists()


def pod(name: str, namespace: str, labels: dict[str, str], container: str, restarts: int) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": "n1", "containers": [{"name": container, "env": [{"name": "PW", "value": SECRET}]}]},
        "status": {"containerStatuses": [{"name": container, "restartCount": restarts}]},
    }


async def report_of(server: FakeApiServer, tmp_path: Path) -> tuple[Manifest, dict[str, bytes]]:
    async with await server.start() as client:
        subject = await on_kubernetes.subject(
            Kube(client), namespace="shop", name="demo", operator_namespace="ops", since_s=60
        )
        return await write(subject, tmp_path / "r.tar.gz")


async def test_kubernetes_objects_logs_and_pages(server: FakeApiServer, tmp_path: Path) -> None:
    server.put(Kind.CLUSTER.path("shop", "demo"), {"kind": "CollectionStoreCluster", "metadata": {"name": "demo"}})
    server.put(Kind.POD.path("shop", "demo-0"), pod("demo-0", "shop", LABELS, "node", 2))
    operator = {"app.kubernetes.io/name": "collectionstore-operator"}
    server.put(Kind.POD.path("ops", "op-1"), pod("op-1", "ops", operator, "operator", 0))

    async def behave(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("/log"):
            before = "previous" in request.query
            return web.Response(text=f'{{"event": "node.started", "token": "{SECRET}", "before": {before!r}}}\n')
        if "/proxy/" in request.path:
            if request.path.endswith("readyz"):
                return web.json_response({"code": "not_ready"}, status=503)
            return web.json_response({"page": request.path.rpartition("/proxy/")[2], "password": SECRET})
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.34.1"})
        if request.path == Kind.NODE.path(None, "n1"):
            return status(403, "Forbidden", "nodes is forbidden")
        return None

    server.behave = behave
    manifest, files = await report_of(server, tmp_path)
    assert json.loads(files["members/demo-0/raft.json"])["page"] == "debug/raft"
    assert json.loads(files["members/demo-0/readyz.json"]) == {"code": "not_ready"}
    assert {"members/demo-0/node.log", "members/demo-0/node.before.log", "operator/op-1/operator.log"} <= set(files)
    assert "operator/op-1/operator.before.log" not in files
    assert json.loads(files["operator/op-1/clusters.json"])["page"] == "debug/clusters"
    reasons = {one.path: one.reason for one in manifest.missing}
    assert "nodes is forbidden" in reasons["kubernetes/nodes.json"]
    assert "cluster/record.json" in reasons
    assert SECRET.encode() not in b"".join(files.values())
    # None of Kubernetes' Secrets is asked for.
    assert not [path for _, path in server.requests if "/secrets" in path]


async def test_what_may_not_be_read_is_a_reason(server: FakeApiServer, tmp_path: Path) -> None:
    """With no right but to list pods there is still a report."""

    async def behave(request: web.Request) -> web.StreamResponse | None:
        if request.path == Kind.POD.path("shop"):
            return None
        return status(403, "Forbidden", "no")

    server.behave = behave
    manifest, files = await report_of(server, tmp_path)
    assert set(files) == {"kubernetes/nodes.json", "kubernetes/pods.json", MANIFEST}
    assert all("no" in one.reason for one in manifest.missing)


async def test_nothing_at_all_is_an_error(server: FakeApiServer, tmp_path: Path) -> None:
    async def behave(_request: web.Request) -> web.StreamResponse | None:
        return status(403, "Forbidden", "no")

    server.behave = behave
    with pytest.raises(ApiError):
        await report_of(server, tmp_path)


def test_exit_codes_are_those_of_csctl(tmp_path: Path) -> None:
    state = ["--state-dir", str(tmp_path / "state")]
    runner = CliRunner()
    assert runner.invoke(report, state).exit_code == ExitCode.NOT_FOUND
    assert runner.invoke(log_level, ["debug", *state]).exit_code == ExitCode.NOT_FOUND
    assert runner.invoke(log_level, ["loud", *state]).exit_code == ExitCode.USAGE
    assert runner.invoke(report, ["-k", *state]).exit_code == ExitCode.USAGE
    assert runner.invoke(report, ["--since", "yesterday", *state]).exit_code == ExitCode.USAGE


def test_no_kubernetes_is_a_message(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "nothing")}
    result = CliRunner().invoke(report, ["demo", "-k", "--file", str(tmp_path / "r.tar.gz")], env=environment)
    assert result.exit_code == ExitCode.FAILED
    assert "no Kubernetes to ask" in result.output
    assert not (tmp_path / "r.tar.gz").exists()
