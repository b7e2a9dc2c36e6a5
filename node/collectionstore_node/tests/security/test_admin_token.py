"""The token of a local cluster: who has it may change the cluster, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from collectionstore_node.api import HttpLimits, make_client_server
from collectionstore_node.security.admin_token import AdminToken
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics

TOKEN = "t0ken-" + "x" * 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "admin.token"
    path.touch(mode=0o600)
    path.write_text(TOKEN + "\n")
    return path


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \udcff",
        "x" * 9999,
    ],
)
def test_anything_but_the_token_is_refused(file: Path, given: str) -> None:
    token = AdminToken(file)
    assert not token.matches(given)
    assert token.matches(f"Bearer {TOKEN}")
    assert token.matches(f"bearer {TOKEN} ")


@pytest.mark.parametrize(
    ("break_", "reason"),
    [
        (lambda file: file.unlink(), "No such file or directory"),
        (lambda file: file.write_text(""), "less than 32"),
        (lambda file: file.write_text("short"), "less than 32"),
        (lambda file: file.chmod(0o644), "others may read"),
    ],
    ids=["missing", "empty", "short", "readable-by-others"],
)
def test_file_that_cannot_be_trusted_admits_nobody_and_is_named_once(
    file: Path, break_: Callable[[Path], object], reason: str
) -> None:
    token = AdminToken(file)
    break_(file)
    with capture_logs() as logs:
        for given in ("", "Bearer ", "Bearer short", f"Bearer {TOKEN}"):
            assert not token.matches(given)
    assert [one["event"] for one in logs] == ["token.refused"]
    assert reason in logs[0]["reason"]
    assert TOKEN not in str(logs)


async def test_requests_that_change_the_cluster_need_the_token(file: Path) -> None:
    """401 says what is missing, 403 that it is another one; reads of data and of the cluster need nothing."""
    token = AdminToken(file)
    server = make_client_server(
        Store(MemoryReplica(), StoreLimits()),
        HttpLimits(),
        RecordedMetrics(),
        render_metrics=_nothing,
        authorize_admin=lambda request: token.matches(request.headers.get("Authorization", "")),
        admin_token=True,
        tls=False,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    guarded = [
        ("POST", "/api/v1/cluster/members"),
        ("POST", "/api/v1/cluster/transfer-leadership"),
        ("POST", "/api/v1/cluster/bootstrap"),
        ("GET", "/debug/raft"),
        ("GET", "/debug/tasks"),
        ("GET", "/debug/profile"),
        ("GET", "/debug/log-level"),
        ("PUT", "/debug/log-level"),
    ]
    try:
        async with aiohttp.ClientSession() as session:
            for method, path in guarded:
                async with session.request(method, url + path, json={}) as answer:
                    problem = await answer.json()
                    assert (answer.status, problem["code"]) == (401, "unauthorized"), path
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                    assert "admin.token" in problem["detail"]
                wrong = {"Authorization": "Bearer " + "y" * 40}
                async with session.request(method, url + path, json={}, headers=wrong) as answer:
                    assert (answer.status, (await answer.json())["code"]) == (403, "forbidden"), path
                right = {"Authorization": f"Bearer {TOKEN}"}
                async with session.request(method, url + path, json={}, headers=right) as answer:
                    assert answer.status not in (401, 403) or (await answer.json())["code"] == "profiling_disabled"
            async with session.get(f"{url}/api/v1/cluster") as answer:
                assert answer.status == 200
    finally:
        await runner.cleanup()


async def _nothing(accept: str) -> tuple[bytes, str]:
    return b"", accept
