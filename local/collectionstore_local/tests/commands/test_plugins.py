"""The commands and the report that this package adds to csctl by entry points."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.csctl import main
from collectionstore.report.items import ItemUnavailable
from collectionstore_local.commands.report_items import fetch
from collectionstore_local.state import applied_resource, manifest
from collectionstore_local.state.directory import StateDirectory

MANIFEST = Path(__file__).parents[4] / "examples" / "local.yaml"
KEY = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7Tpp"


def csctl(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


@pytest.mark.parametrize("command", [("report",), ("log-level", "debug"), ("local", "status")])
def test_missing_cluster_has_its_exit_code(command: tuple[str, ...], tmp_path: Path) -> None:
    code, output = csctl(*command, "--state-dir", str(tmp_path / "state"))
    assert code == ExitCode.NOT_FOUND
    assert "no local cluster" in output


def test_unknown_level_is_a_usage_error(tmp_path: Path) -> None:
    assert csctl("log-level", "loud", "--state-dir", str(tmp_path / "state"))[0] == ExitCode.USAGE


def test_edited_resource_is_named(tmp_path: Path) -> None:
    """csctl writes valid resources only: an invalid one was edited by hand."""
    directory = StateDirectory.at(tmp_path / "state").create_cluster("demo")
    directory.resource.write_text('{"spec": 5}')
    code, output = csctl("log-level", "--state-dir", str(tmp_path / "state"))
    assert code == ExitCode.FAILED
    assert "the applied resource, resource.json, is invalid" in output


def test_report_of_a_stopped_cluster_has_its_files_and_no_key(tmp_path: Path) -> None:
    """Pages of members that do not run are missing, and not a failure."""
    state = StateDirectory.at(tmp_path / "state")
    directory = state.create_cluster("demo")
    applied_resource.write(directory, applied_resource.prepare_apply(directory, manifest.load(MANIFEST)))
    tls = directory.node("demo-0").tls
    tls.mkdir(parents=True)
    (tls / "tls.key").write_text(f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n")
    directory.log.write_text(f"cannot read {KEY}\n")
    path = tmp_path / "r.tar.gz"
    code, output = csctl("report", "--state-dir", str(state.path), "--file", str(path))
    assert code == ExitCode.OK, output
    with tarfile.open(path) as tar:
        files = {member.name.partition("/")[2]: tar.extractfile(member) for member in tar}
        content = {name: file.read() for name, file in files.items() if file is not None}
    assert {"cluster/resource.json", "cluster/manifest.json", "supervisor/supervisor.log", "machine.json"} <= set(
        content
    )
    assert b"members/demo-0/status.json" in content["manifest.json"]
    assert KEY.encode() not in b"".join(content.values())


async def test_page_is_content_whatever_its_status() -> None:
    """404 is a page that a member of an older version does not have."""
    app = web.Application()

    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(status=503, text="not ready")

    app.router.add_get("/readyz", readyz)
    async with TestServer(app) as server, ClientSession() as session:
        assert await fetch(session, str(server.make_url("/readyz"))) == b"not ready"
        with pytest.raises(ItemUnavailable, match="version may be older"):
            await fetch(session, str(server.make_url("/debug/raft")))
