"""The program as it is run: exit codes, messages, JSON, deadlines."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collectionstore_node.backup.cli import main
from collectionstore_node.backup.commands import keeping
from collectionstore_node.backup.errors import ExitCode
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.retention import Found
from collectionstore_node.backup.stored import folder
from collectionstore_node.tests.backup.conftest import KEY
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState

Make = Callable[..., Manifest]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def succeed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "repository")


def test_a_backup_from_creation_to_restore(root: str, state: SampleState, tmp_path: Path) -> None:
    where = ("--repository", root, "-o", "json", "--quiet")
    (tmp_path / "key").write_text(KEY.hex())
    key = ("--key-file", str(tmp_path / "key"))
    with FakeCluster([FakeMember("n0", state, leader=True), FakeMember("n1", state)]) as cluster:
        made = json.loads(succeed("create", "--endpoint", cluster.members[0].address, *where, *key))
    assert made["revision"] == state.header.revision
    assert [one["id"] for one in json.loads(succeed("list", *where))] == [made["id"]]
    assert json.loads(succeed("inspect", "latest", *where))["parts"]
    assert json.loads(succeed("verify", made["id"], *where, *key))["verified"] is True
    assert json.loads(succeed("prune", *where))["keep"] == [made["id"]]
    target = ("--data-dir", str(tmp_path / "data"), "--cluster-id", "new", "--name", "new-0")
    addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2")
    restored = json.loads(succeed("restore", "latest", *where, *key, *target, *addresses))
    assert restored["state_digest"] == made["state_digest"]
    refused = run("restore", "latest", *where, *key, *target, *addresses)
    assert (refused.exit_code, "never replaces data" in refused.output) == (ExitCode.REFUSED, True)


def test_a_restore_for_a_request_can_be_repeated(root: str, make: Make, tmp_path: Path) -> None:
    """As the init container of a pod is; also while the repository does not exist any more."""
    made = make(Repository(root))
    target = ("--data-dir", str(tmp_path / "data"), "--cluster-id", "new", "--name", "new-0")
    addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2")
    asked = (*target, *addresses, "-o", "json", "--request")
    first = json.loads(succeed("restore", "latest", "--repository", root, *asked, "one"))
    assert first["backup"] == made.id
    gone = (tmp_path / "gone").as_uri()
    assert json.loads(succeed("restore", "latest", "--repository", gone, *asked, "one"))["already"] is True
    other = run("restore", "latest", "--repository", root, *asked, "two")
    assert (other.exit_code, "never replaces data" in other.output) == (ExitCode.REFUSED, True)


def test_text_is_for_people(root: str, make: Make) -> None:
    made = make(Repository(root))
    assert made.id in succeed("list", "--repository", root)
    assert "state digest" in succeed("inspect", made.id, "--repository", root)
    assert "are intact" in succeed("verify", "latest", "--repository", root)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("list",), ExitCode.USAGE, "--repository"),
        (("list", "--repository", "ftp://x"), ExitCode.USAGE, "a repository is s3://"),
        (("list", "--repository", "{root}", "--option", "x"), ExitCode.USAGE, "NAME=VALUE"),
        (("list", "--repository", "{root}", "--deadline", "soon"), ExitCode.USAGE, "such as 30d"),
        (("verify", "latest", "--repository", "{root}"), ExitCode.NOT_FOUND, "no complete backup"),
        (("verify", "../etc", "--repository", "{root}"), ExitCode.NOT_FOUND, "is not the ID of a backup"),
        (("verify", "20260101T000000Z-00000000", "--repository", "{root}"), ExitCode.NOT_FOUND, "does not exist"),
        (("delete", "20260101T000000Z-00000000", "--repository", "{root}"), ExitCode.NOT_FOUND, "no backup"),
        (("prune", "--repository", "{root}", "--keep-last", "0"), ExitCode.USAGE, "keep-last"),
        (("prune", "--repository", "{root}", "--unfinished-after", "0s"), ExitCode.USAGE, "allowed: 3600s or more"),
        (("prune", "--repository", "{root}", "--unfinished-after", "59m"), ExitCode.USAGE, "allowed: 3600s or more"),
        (
            ("create", "--repository", "{root}", "--endpoint", "http://127.0.0.1:1"),
            ExitCode.UNREACHABLE,
            "no member answers",
        ),
        (
            ("create", "--repository", "{root}", "--endpoint", "http://127.0.0.1:1", "--key-file", "{root}/none"),
            ExitCode.USAGE,
            "No such file",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    root: str, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    result = run(*(one.format(root=root) for one in arguments))
    assert result.exit_code == code, result.output
    assert message in result.output


def test_the_last_intact_backup_is_deleted_on_request_only(root: str, make: Make) -> None:
    made = make(Repository(root))
    refused = run("delete", made.id, "--repository", root)
    assert (refused.exit_code, "--last" in refused.output) == (ExitCode.REFUSED, True)
    succeed("delete", made.id, "--repository", root, "--last")
    assert succeed("list", "--repository", root, "-o", "json").strip() == "[]"


def test_prune_keeps_the_newest_and_removes_leftovers(root: str, make: Make) -> None:
    repository = Repository(root)
    made = sorted(make(repository).id for _ in range(3))
    repository.put(folder("20200101T000000Z-00000000") + "data/00000000.part", b"left over")
    planned = json.loads(succeed("prune", "--repository", root, "--keep-last", "1", "--dry-run", "-o", "json"))
    assert planned["delete"] == made[:2]
    assert len(json.loads(succeed("list", "--repository", root, "-o", "json"))) == 4

    succeed("prune", "--repository", root, "--keep-last", "1")

    assert [one["id"] for one in json.loads(succeed("list", "--repository", root, "-o", "json"))] == made[2:]


def test_prune_spares_what_became_complete_since_it_was_listed(
    root: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Init: a listing from before the manifest of a backup was stored."""
    made = make(Repository(root))
    old = Found(made.id, datetime(2020, 1, 1, tzinfo=UTC), complete=False, intact=False, cluster_id="")
    monkeypatch.setattr(keeping, "look", lambda _repository, _listed: old)

    succeed("prune", "--repository", root)

    monkeypatch.undo()
    assert json.loads(succeed("verify", made.id, "--repository", root, "-o", "json"))["verified"] is True


def test_no_backup_of_another_cluster_is_taken_for_the_wanted_one(
    root: str, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """Init: backups of two clusters in one repository. Check: neither `latest`, a revision nor a time takes any."""
    made = make(Repository(root))
    member = FakeMember("n0", state, leader=True, change={"cluster_id": "bank"})
    with FakeCluster([member]) as cluster:
        where = ("--endpoint", cluster.members[0].address, "--repository", root, "-o", "json", "--quiet")
        other = json.loads(succeed("create", *where))
    new = ("--data-dir", str(tmp_path / "data"), "--cluster-id", "new", "--name", "new-0")
    addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2", "--repository", root)
    revision = f"revision:{state.header.revision}"
    for arguments in (
        ("verify", "latest", "--repository", root),
        ("inspect", revision, "--repository", root),
        ("restore", "latest", *new, *addresses),
        ("restore", "latest", *new, *addresses, "--to", "2996-01-02T03:04:05Z"),
        ("restore", "latest", *new, *addresses, "--to", revision),
        ("restore", made.id, *new, *addresses, "--source-cluster", "bank"),
        ("delete", made.id, "--repository", root),
        ("delete", other["id"], "--repository", root),
    ):
        refused = run(*arguments)
        assert refused.exit_code == ExitCode.REFUSED, (arguments, refused.output)
    assert not (tmp_path / "data").exists()
    found = json.loads(succeed("inspect", "latest", "--source-cluster", "bank", "--repository", root, "-o", "json"))
    assert found["id"] == other["id"]
    kept = json.loads(succeed("prune", "--keep-last", "1", "--repository", root, "-o", "json"))["keep"]
    assert sorted(kept) == sorted([made.id, other["id"]])


def test_a_deadline_ends_a_run_that_hangs_and_leaves_nothing(root: str, state: SampleState) -> None:
    """A member that stops in the middle of its stream: as a process, because the deadline ends it."""
    hang = threading.Event()
    with FakeCluster([FakeMember("n0", state, leader=True, hang=hang, cut_at=20_000)]) as cluster:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "collectionstore_node.backup", "create", "--repository", root),
                *("--endpoint", cluster.members[0].address, "--deadline", "1s"),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
    assert done.returncode == ExitCode.TIMED_OUT, done.stderr
    assert "did not end within 1 s" in done.stderr
    assert not any(one["complete"] for one in json.loads(succeed("list", "--repository", root, "-o", "json")))
