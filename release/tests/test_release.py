"""Which checkouts can be released, and what the sums cover."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from collectionstore_release import __main__ as release
from collectionstore_release.checks import problems
from collectionstore_testkit.places import REPOSITORY

FILES = (
    "VERSION",
    "charts/collectionstore-cluster/Chart.yaml",
    "charts/collectionstore-operator/Chart.yaml",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A commit that is ready: this checkout's files, and a changelog with the version."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    version = (tmp_path / "VERSION").read_text().strip()
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {version} - 2026-11-28\n\n### Added\n- It.\n")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "all")):
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


def commit(checkout: Path, name: str, text: str) -> None:
    (checkout / name).write_text(text)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "--message", "one"], cwd=checkout, check=True)


def test_this_version_is_the_same_everywhere(checkout: Path) -> None:
    """The charts of this checkout carry its VERSION: `make generate` after a change of it."""
    assert problems(checkout) == []


@pytest.mark.parametrize(
    "heading", ["## Unreleased", "## 9.9.9 - 2026-11-28", "## {version}", "### {version} - 2026-11-28"]
)
def test_changelog_without_the_version_is_refused(checkout: Path, heading: str) -> None:
    version = (checkout / "VERSION").read_text().strip()
    commit(checkout, "CHANGELOG.md", heading.format(version=version) + "\n")
    (problem,) = problems(checkout)
    assert problem.startswith(f"CHANGELOG.md has no section `## {version} - YYYY-MM-DD`")


def test_other_version_in_a_chart_is_refused(checkout: Path) -> None:
    commit(checkout, "VERSION", "7.0.0\n")
    commit(checkout, "CHANGELOG.md", "## 7.0.0 - 2026-11-28\n")
    found = problems(checkout)
    assert len(found) == 4, found
    assert all("Chart.yaml" in one for one in found)


@pytest.mark.parametrize("version", ["", "1.0", "v1.0.0", "1.0.0+build", "latest"])
def test_version_of_another_form_is_refused(checkout: Path, version: str) -> None:
    commit(checkout, "VERSION", version + "\n")
    (problem,) = problems(checkout)
    assert problem.startswith("VERSION holds")


def test_changed_file_is_refused(checkout: Path) -> None:
    (checkout / "VERSION").write_text((checkout / "VERSION").read_text() + "\n")
    (problem,) = problems(checkout)
    assert "VERSION" in problem
    assert "commit them first" in problem


def test_sums_cover_every_file(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_bytes(b"a")
    (tmp_path / "b.tgz").write_bytes(b"b")
    release.write_sums(tmp_path)
    release.write_sums(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == (
        f"{hashlib.sha256(b'b').hexdigest()}  b.tgz\n{hashlib.sha256(b'a').hexdigest()}  wheels/a.whl\n"
    )
