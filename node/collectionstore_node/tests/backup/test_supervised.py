"""What a supervisor relies on: runs that are repeated, results in a file, drills, and the status of an archive."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from collectionstore_node.backup import drill as drills
from collectionstore_node.backup.cli import main
from collectionstore_node.backup.drill import drill_backup
from collectionstore_node.backup.errors import Corrupt, CredentialsRefused, ExitCode
from collectionstore_node.backup.manifest import Manifest, encode_manifest
from collectionstore_node.backup.parts import part_name
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import Restored
from collectionstore_node.backup.results import BYTES_MAX, VARIABLE, record, record_failure
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.backup.stored import folder, manifest_name
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState, make_state

Make = Callable[..., Manifest]
RUN = "20260102T030405Z-0123abcd"


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "repository")


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the file of the result."""
    path = tmp_path / "result"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def create(root: str, state: SampleState, run: str = RUN) -> Result:
    with FakeCluster([FakeMember("n0", state, leader=True), FakeMember("n1", state)]) as cluster:
        address = cluster.members[0].address
        return invoke("create", "--endpoint", address, "--repository", root, "--run", run, "-o", "json", "-q")


def ids(root: str) -> list[str]:
    return [one["id"] for one in json.loads(invoke("list", "--repository", root, "-o", "json").stdout)]


def test_a_run_that_is_repeated_makes_one_backup(root: str, state: SampleState) -> None:
    first, second = create(root, state), create(root, state)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert json.loads(first.stdout)["id"] == json.loads(second.stdout)["id"]
    assert ids(root) == [json.loads(first.stdout)["id"]]
    assert ids(root)[0].endswith("-0123abcd")


def test_a_run_does_not_take_an_older_backup_for_its_own(root: str, state: SampleState) -> None:
    """The numbers of two runs may be equal, once in four thousand million."""
    create(root, state)
    later = create(root, state, "20990101T000000Z-0123abcd")
    assert later.exit_code == 0
    assert len(ids(root)) >= 1
    assert json.loads(later.stdout)["revision"] == state.header.revision


def test_a_run_does_not_take_what_was_interrupted_for_complete(root: str, state: SampleState) -> None:
    Repository(root).put(folder("20260102T030500Z-0123abcd") + part_name(0), b"interrupted")
    made = create(root, state)
    assert made.exit_code == 0
    assert json.loads(made.stdout)["id"] != "20260102T030500Z-0123abcd"


def test_a_run_does_not_take_a_damaged_backup_for_complete(root: str, state: SampleState) -> None:
    made = json.loads(create(root, state).stdout)["id"]
    old = made.replace(made[:8], "20260103")
    repository = Repository(root)
    manifest = msgspec.structs.replace(
        msgspec.json.decode(
            msgspec.json.decode(repository.get(manifest_name(made), 1 << 20), type=dict[str, msgspec.Raw])["manifest"],
            type=Manifest,
        ),
        id=old,
    )
    invoke("delete", made, "--last", "--repository", root)
    repository.put(manifest_name(old), encode_manifest(manifest, None))
    again = json.loads(create(root, state).stdout)["id"]
    assert again != old


def test_a_run_that_is_no_run_is_refused(root: str, state: SampleState) -> None:
    refused = create(root, state, "now")
    assert (refused.exit_code, "8 hexadecimal digits" in refused.output) == (ExitCode.USAGE, True)


def test_result_of_a_backup_is_in_the_file(root: str, state: SampleState, result: Path) -> None:
    made = json.loads(create(root, state).stdout)
    told = json.loads(result.read_bytes())
    assert {name: told[name] for name in ("id", "revision", "state_digest", "stored_bytes")} == {
        name: made[name] for name in ("id", "revision", "state_digest", "stored_bytes")
    }
    assert (told["index"], told["member"]) == (made["applied_index"], "n1")


def test_reason_of_a_failure_is_in_the_file(root: str, result: Path) -> None:
    failed = invoke("create", "--endpoint", "http://127.0.0.1:1", "--repository", root)
    told = json.loads(result.read_bytes())
    assert (failed.exit_code, told["reason"]) == (ExitCode.UNREACHABLE, "ClusterUnreachable")
    assert "no member answers" in told["message"]


def test_store_that_does_not_answer_is_told_from_the_cluster(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    option = ("--option", "endpoint=http://127.0.0.1:1", "--option", "region=x")
    failed = invoke("list", "--repository", "s3://bucket/path", *option, "--deadline", "60s")
    assert failed.exit_code == ExitCode.UNREACHABLE, failed.output
    assert json.loads(result.read_bytes())["reason"] == "StoreUnreachable"


def test_store_without_credentials_is_told_from_one_that_does_not_answer(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    option = ("--option", "endpoint=http://127.0.0.1:1", "--option", "region=x")
    failed = invoke("list", "--repository", "s3://bucket/path", *option, "--deadline", "200s")
    assert failed.exit_code == ExitCode.CREDENTIALS, failed.output
    assert json.loads(result.read_bytes())["reason"] == "CredentialsRefused"


def test_result_is_never_longer_than_kubernetes_keeps(result: Path) -> None:
    record_failure("Failed", "é" * 10_000, 1)
    assert len(result.read_bytes()) <= BYTES_MAX
    with pytest.raises(ValueError, match="4096"):
        record({"text": "x" * BYTES_MAX})


def test_result_that_cannot_be_written_hides_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none" / "result"))
    failed = invoke("verify", "latest", "--repository", str(tmp_path / "repository"))
    assert failed.exit_code == ExitCode.NOT_FOUND


def test_drill_restores_compares_and_leaves_nothing(root: str, make: Make, tmp_path: Path, result: Path) -> None:
    made = make(Repository(root))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = invoke("drill", "latest", "--repository", root, "--scratch", str(scratch), "-o", "json", "-q")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["id"], told["state_digest"], told["records"]) == (made.id, made.state_digest, made.records)
    assert told["seconds"] > 0
    assert json.loads(result.read_bytes()) == told
    assert list(scratch.iterdir()) == []


def test_drill_of_a_damaged_backup_fails_and_leaves_nothing(root: str, make: Make, tmp_path: Path) -> None:
    repository = Repository(root)
    made = make(repository)
    name = folder(made.id) + part_name(0)
    data = bytearray(repository.get(name, 1 << 30))
    data[len(data) // 2] ^= 1
    repository.put(name, bytes(data))
    with pytest.raises(Corrupt):
        drill_backup(repository, made.id, None, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["repository"]


def test_drill_compares_what_was_opened(root: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(root)
    made = make(repository)
    other = Restored("0", made.applied_index, made.term, made.revision, "0" * 64)
    monkeypatch.setattr(drills, "restore_directory", lambda *_args, **_options: other)
    with pytest.raises(Corrupt, match="state digest of the restored database"):
        drill_backup(repository, made.id, None, tmp_path)


def test_drill_without_a_place_is_refused(root: str, make: Make, tmp_path: Path) -> None:
    make(Repository(root))
    refused = invoke("drill", "latest", "--repository", root, "--scratch", str(tmp_path / "none"))
    assert (refused.exit_code, "cannot be written" in refused.output) == (ExitCode.REFUSED, True)


def test_prune_of_one_cluster_keeps_those_of_another(root: str, state: SampleState) -> None:
    """Schedules of several clusters share a repository, each with its own retention."""
    other = make_state(10)
    for one, cluster in ((state, "a"), (state, "a"), (other, "b"), (other, "b")):
        with FakeCluster([FakeMember("n0", one, leader=True, change={"cluster_id": cluster})]) as running:
            address = running.members[0].address
            assert invoke("create", "--endpoint", address, "--repository", root, "-q").exit_code == 0
    invoke("prune", "--repository", root, "--keep-last", "1", "--source-cluster", "a")
    listed = json.loads(invoke("list", "--repository", root, "-o", "json").stdout)
    assert sorted(one["cluster_id"] for one in listed) == ["a", "b", "b"]


def test_credentials_that_are_replaced_are_read_again(state: SampleState, tmp_path: Path) -> None:
    """An archive runs for longer than a certificate lives."""
    token = tmp_path / "token"
    token.write_text("old")
    with FakeCluster([FakeMember("n0", state, leader=True)], token="new") as cluster:
        source = Source([cluster.members[0].address], Access(token_file=token))
        (member,) = source.cluster().members
        with pytest.raises(CredentialsRefused):
            source.open_state(member, stale=False)
        token.write_text("new")
        os.utime(token, ns=(1, 1))
        answer = source.open_state(member, stale=False)
        assert answer.read(1 << 24), "nothing was sent"
        answer.close()
