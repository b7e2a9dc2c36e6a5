"""backup and restore of a cluster of this machine: every option arrives, or is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from collectionstore.operate import saving
from collectionstore.plugin import main

BACKUP = ("backup", "demo", "--local", "--repository", "s3://b/x")
RESTORE = ("restore", "copy", "--local", "--repository", "s3://b/x")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands that were run, which is nothing before a verb."""
    found: list[list[str]] = []
    monkeypatch.setattr(saving, "run_local", lambda command, words: found.append([command, *words]))
    return found


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_local_backup_gets_the_options_of_the_store(tmp_path: Path, ran: list[list[str]]) -> None:
    given = ("--option", "endpoint=https://minio:9000", "--option", "region=eu")
    run(*BACKUP, *given, "--state-dir", str(tmp_path))
    place = ["--repository", "s3://b/x", "--cluster", "demo", "--state-dir", str(tmp_path)]
    assert ran == [["backup", "create", *place, *given]]


@pytest.mark.parametrize(
    "option",
    [
        ("--credentials-secret", "store"),
        ("--encryption-secret", "key"),
        ("--claim", "volume"),
        ("--name", "one"),
        ("--no-wait",),
        ("--timeout", "3600"),
    ],
)
def test_local_backup_refuses_what_it_cannot_do(option: tuple[str, ...], ran: list[list[str]]) -> None:
    """Dropped, the encryption would be missing from the stored data without a word."""
    assert f"{option[0]} cannot be given" in run(*BACKUP, *option, code=2)
    assert ran == []


def test_local_backup_names_every_refused_option(ran: list[list[str]]) -> None:
    output = run(*BACKUP, "--claim", "c", "--encryption-secret", "key", code=2)
    assert "--encryption-secret, --claim" in output
    assert "csctl backup create --help" in output
    assert ran == []


def test_local_restore_gets_its_options(tmp_path: Path, ran: list[list[str]]) -> None:
    manifest = str(tmp_path / "copy.yaml")
    run(*RESTORE, "--backup", "one", "-f", manifest, "--timeout", "7", "--state-dir", str(tmp_path))
    words = ["one", "--from", "s3://b/x", "--name", "copy", "-f", manifest, "--timeout", "7.0"]
    assert ran == [["restore", *words, "--state-dir", str(tmp_path)]]


def test_local_restore_keeps_its_own_timeout(tmp_path: Path, ran: list[list[str]]) -> None:
    run(*RESTORE, "--state-dir", str(tmp_path))
    assert ran == [["restore", "--from", "s3://b/x", "--name", "copy", "--state-dir", str(tmp_path)]]


def test_local_restore_refuses_what_it_cannot_do(ran: list[list[str]]) -> None:
    assert "--no-wait cannot be given" in run(*RESTORE, "--no-wait", code=2)
    assert "restored from --repository" in run("restore", "copy", "--local", "--from-backup", "one", code=2)
    assert ran == []
