"""The krew manifest is valid as krew documents it, of this version, and its archive runs the wheel of that version."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from collectionstore_release import krew

VERSION = "1.2.3"
TEXT = {"type": "string", "minLength": 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "krew.googlecontainertools.github.com/v1alpha2"},
        "kind": {"const": "Plugin"},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"type": "string", "pattern": r"^[a-z][a-z0-9-]*$"}},
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["version", "platforms", "shortDescription", "homepage", "description"],
            "properties": {
                "version": {"type": "string", "pattern": r"^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$"},
                "homepage": {"type": "string", "pattern": "^https://"},
                "shortDescription": {"type": "string", "pattern": r"^[^\n]{1,50}$"},
                "description": TEXT,
                "caveats": TEXT,
                "platforms": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["uri", "sha256", "bin", "selector"],
                        "properties": {
                            "uri": {"type": "string", "pattern": r"^https://.*\.(tar\.gz|zip)$"},
                            "sha256": {"type": "string", "pattern": "^[a-f0-9]{64}$"},
                            "bin": TEXT,
                            "files": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "required": ["from", "to"],
                                    "properties": {"from": TEXT, "to": TEXT},
                                },
                            },
                            "selector": {
                                "type": "object",
                                "properties": {
                                    "matchExpressions": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["key", "operator", "values"],
                                            "properties": {
                                                "key": {"enum": ["os", "arch"]},
                                                "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                                            },
                                        },
                                    }
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What krew requires of a manifest, from its developer guide: no field is unknown, none that is required is missing."""


def unpacked(folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(krew.archive(VERSION))) as tar:
        tar.extractall(folder, filter="data")
    return folder / krew.PROGRAM


def test_manifest_of_this_version_is_valid(tmp_path: Path) -> None:
    krew.write(tmp_path / "krew")
    found = yaml.safe_load((tmp_path / "krew" / "collectionstore.yaml").read_text())
    jsonschema.validate(found, SCHEMA)
    version = found["spec"]["version"].removeprefix("v")
    (platform,) = found["spec"]["platforms"]
    content = (tmp_path / "krew" / krew.archive_name(version)).read_bytes()
    assert platform["sha256"] == hashlib.sha256(content).hexdigest()
    assert platform["uri"].endswith(f"/{krew.archive_name(version)}")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert {one["from"] for one in platform["files"]} == set(tar.getnames())
        assert tar.getmember(platform["bin"]).mode == 0o755


def test_equal_versions_have_equal_archives() -> None:
    """A manifest is reviewed with its digest: a second build must not have another."""
    assert krew.archive(VERSION) == krew.archive(VERSION)
    assert krew.archive(VERSION) != krew.archive("1.2.4")


@pytest.mark.parametrize(
    ("program", "begins"),
    [("uv", "tool run --quiet --from collectionstore[kubernetes]==1.2.3"), ("pipx", "run --spec collectionstore[")],
)
def test_launcher_runs_the_wheel_of_its_version_with_all_arguments(tmp_path: Path, program: str, begins: str) -> None:
    launcher = unpacked(tmp_path)
    fake = tmp_path / "bin" / program
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$*"\n')
    fake.chmod(0o755)
    words: list[Path | str] = [launcher, "status", "a b"]
    done = subprocess.run(words, env={"PATH": str(fake.parent)}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(begins)
    assert done.stdout.endswith("kubectl-collectionstore status a b\n")


def test_launcher_without_uv_and_pipx_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run([unpacked(tmp_path)], env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'collectionstore[kubernetes]==1.2.3'" in done.stderr
