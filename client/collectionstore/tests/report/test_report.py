"""A report has all items that can be gathered, lists the others with the reason, and has no secret."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.report import local_plugin
from collectionstore.report.archive import MANIFEST, Archive, Manifest
from collectionstore.report.command import report
from collectionstore.report.gather import gather
from collectionstore.report.items import Item, ItemUnavailable, ReportPlan
from collectionstore.report.redaction import MARK, Redactor

SECRET = "hunter2-correct-horse"


def read(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by their paths below its one folder."""
    with tarfile.open(path) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read()
        return found


async def write(plan: ReportPlan, path: Path) -> tuple[Manifest, dict[str, bytes]]:
    steps: list[tuple[int, int, str]] = []
    redactor = Redactor(plan.known_secrets)
    with Archive(path, root="report", modified=0, redactor=redactor) as archive:
        await gather(plan, archive, lambda *step: steps.append(step))
        manifest = archive.finish(cluster=plan.cluster, place=plan.place, created="now", csctl="0")
    assert steps[-1][:2] == (len(plan.items), len(plan.items))
    return manifest, read(path)


def item(path: str, content: bytes | Exception) -> Item:
    async def get() -> bytes:
        if isinstance(content, Exception):
            raise content
        return content

    return Item(path, "here", "text", get)


async def test_manifest_tells_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    items = [
        item("a.txt", f"token={SECRET}".encode()),
        item("b.txt", ItemUnavailable("it is off")),
        item("c.txt", b"fine"),
    ]
    manifest, files = await write(ReportPlan("demo", "local", items), tmp_path / "r.tar.gz")
    assert files["a.txt"] == f"token={MARK}".encode()
    assert [(one.path, one.redactions) for one in manifest.included] == [("a.txt", 1), ("c.txt", 0)]
    assert [(one.path, one.reason) for one in manifest.missing] == [("b.txt", "it is off")]
    assert json.loads(files[MANIFEST])["missing"][0]["reason"] == "it is off"
    assert manifest.redactions == 1


async def test_a_file_that_cannot_be_read_is_missing_and_no_more(tmp_path: Path) -> None:
    error = PermissionError(13, "Permission denied", "/x")
    manifest, _ = await write(ReportPlan("demo", "local", [item("a", error), item("b", b"")]), tmp_path / "r.tar.gz")
    assert manifest.missing[0].reason == "Permission denied: /x"
    assert [one.path for one in manifest.included] == ["b"]


async def test_the_archive_is_for_its_owner_and_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "r.tar.gz"
    await write(ReportPlan("demo", "local", [item("a", b"1")]), path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError), Archive(path, root="x", modified=0, redactor=Redactor()):
        raise AssertionError
    assert read(path)["a"] == b"1"


async def test_a_failure_leaves_no_half_archive(tmp_path: Path) -> None:
    path = tmp_path / "r.tar.gz"
    with pytest.raises(ZeroDivisionError):
        await write(ReportPlan("demo", "local", [item("a", ZeroDivisionError("a bug"))]), path)
    assert not path.exists()


def test_exit_codes_are_those_of_csctl(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(report, ["-k"]).exit_code == ExitCode.USAGE
    assert runner.invoke(report, ["--since", "yesterday"]).exit_code == ExitCode.USAGE
    assert runner.invoke(report, ["--since", "0h"]).exit_code == ExitCode.USAGE


def test_unusable_kubeconfig_is_a_message(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "nothing")}
    result = CliRunner().invoke(report, ["demo", "-k", "--file", str(tmp_path / "r.tar.gz")], env=environment)
    assert result.exit_code == ExitCode.FAILED
    assert "cannot use the kubeconfig" in result.output
    assert not (tmp_path / "r.tar.gz").exists()


def install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    """Make these the installed plugins."""
    monkeypatch.setattr(
        local_plugin, "entry_points", lambda *, group, name: [one for one in points if one.name == name]
    )


def test_report_without_the_local_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    result = CliRunner().invoke(report, [])
    assert result.exit_code == ExitCode.FAILED
    assert "pip install collectionstore-local" in result.output
    assert "csctl report NAME -k -n NAMESPACE" in result.output


def test_local_package_with_a_missing_dependency_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, EntryPoint("local", "absent_package.report:plan", local_plugin.GROUP))
    result = CliRunner().invoke(report, [])
    assert result.exit_code == ExitCode.FAILED
    assert "needs absent_package" in result.output


@asynccontextmanager
async def open_plan(state_dir: Path, cluster: str | None) -> AsyncIterator[ReportPlan]:
    """The plugin of the tests."""
    items = [item("a.txt", f"{state_dir} {cluster}".encode()), item("b.txt", ItemUnavailable("it is off"))]
    yield ReportPlan("demo", "local", items)


def test_report_of_a_plugin_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its plan decides what is in the archive; the summary is JSON for programs."""
    install(monkeypatch, EntryPoint("local", f"{__name__}:open_plan", local_plugin.GROUP))
    monkeypatch.setattr(EntryPoint, "load", lambda _point: open_plan)
    path = tmp_path / "r.tar.gz"
    result = CliRunner().invoke(report, ["demo", "--state-dir", "here", "--file", str(path), "-o", "json"])
    assert result.exit_code == ExitCode.OK, result.output
    assert read(path)["a.txt"] == b"here demo"
    summary = json.loads(result.stdout)
    assert summary == {
        "file": str(path),
        "bytes": path.stat().st_size,
        "cluster": "demo",
        "place": "local",
        "included": 1,
        "redactions": 0,
        "missing": [{"path": "b.txt", "source": "here", "reason": "it is off"}],
    }
    again = CliRunner().invoke(report, ["--file", str(path)])
    assert again.exit_code == ExitCode.FAILED
    assert "exists already" in again.output
