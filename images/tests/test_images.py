"""The Dockerfiles, and the commands that build them with each engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collectionstore_images import build, contents
from collectionstore_testkit.tools import wheels

pytestmark = pytest.mark.xdist_group("images")

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("node", "operator")


def dockerfile(kind: str) -> str:
    return (REPOSITORY / f"Dockerfile.{kind}").read_text()


def test_hadolint_finds_nothing() -> None:
    program = Path(sys.executable).with_name("hadolint")
    files = [str(REPOSITORY / f"Dockerfile.{kind}") for kind in KINDS]
    done = subprocess.run([program, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_both_stages_have_the_base_that_is_given(kind: str) -> None:
    bases = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", dockerfile(kind), re.MULTILINE)
    assert bases == [("${UV_IMAGE}", "uv"), ("${BASE_IMAGE}", "build"), ("${BASE_IMAGE}", "")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_runs_as_another_user_than_root_and_has_no_installer(kind: str) -> None:
    final = dockerfile(kind).rpartition("FROM ")[2]
    assert "\nUSER 10001:10001\n" in final
    assert f'ENTRYPOINT ["collectionstore-{kind}"]' in final
    copied = re.findall(r"^COPY (.*)$", final, re.MULTILINE)
    assert copied == ["--from=build /opt/collectionstore /opt/collectionstore"]
    assert "pip uninstall" in final


def test_the_two_differ_in_what_they_are_and_in_nothing_else() -> None:
    node, operator = (dockerfile(kind).splitlines() for kind in KINDS)
    assert len(node) == len(operator)
    for one, other in zip(node, operator, strict=True):
        if one != other:
            assert re.search("node|7400", one, re.IGNORECASE)
            assert re.search("operator|8080", other, re.IGNORECASE)


@pytest.mark.parametrize("kind", KINDS)
def test_its_uv_is_the_one_that_the_checkout_is_installed_with(kind: str) -> None:
    (installed,) = re.findall(r"^uv_version=(\S+)$", (REPOSITORY / ".ci/install").read_text(), re.MULTILINE)
    assert f"uv:{installed}\n" in dockerfile(kind)


@pytest.mark.parametrize(("engine", "layers"), [("buildah", True), ("podman", True), ("docker", False)])
def test_every_engine_gets_the_same_arguments(engine: str, layers: bool) -> None:  # noqa: FBT001
    arguments = {"VERSION": "1", "BASE_IMAGE": "b"}
    command = build.Engine(engine).build_command("node", "t:1", arguments, certificates="/ca.crt")
    assert command[:2] == [engine, "build"]
    assert command[-1] == "."
    assert ("--layers" in command) == layers
    text = " ".join(command)
    assert "--file Dockerfile.node --tag t:1" in text
    assert "--build-arg VERSION=1 --build-arg BASE_IMAGE=b" in text
    assert "--secret id=ca-certificates,src=/ca.crt" in text


def test_without_an_engine_it_says_which_were_looked_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="buildah is not installed, podman is not installed, docker is not"):
        build.find_engine(None)


def test_an_engine_that_does_not_work_is_passed_over(tmp_path: Path, monkeypatch: Any) -> None:
    for name, code in (("buildah", 1), ("docker", 0)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nexit {code}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.find_engine(None).program == "docker"
    with pytest.raises(build.BuildError, match="`buildah info` fails"):
        build.find_engine("buildah")


@pytest.mark.parametrize("kind", KINDS)
def test_the_dependency_layer_has_every_member_that_the_image_installs(kind: str) -> None:
    """uv reads the pyproject.toml of each installed member; a missing one would fail the build, not this test."""
    first_layer = dockerfile(kind).partition("COPY . .")[0]
    copied = re.findall(r"^COPY (\w+)/pyproject\.toml \1/$", first_layer, re.MULTILINE)
    assert sorted(copied) == wheels.members(f"collectionstore-{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_build_context_has_every_member_that_the_image_installs(kind: str) -> None:
    allowed = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert {f"!{member}" for member in wheels.members(f"collectionstore-{kind}")} <= set(allowed)
    assert "!*/pyproject.toml" in allowed
    assert "**/tests" in allowed


def test_the_version_is_the_one_of_the_file() -> None:
    version = (REPOSITORY / "VERSION").read_text().strip()
    assert wheels.version() == version
    for kind in KINDS:
        assert f"ARG VERSION={version}\n" in dockerfile(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_contains_its_own_package_and_telemetry_and_no_program_of_the_repository(kind: str) -> None:
    found = contents.of(kind)
    assert [part.name.split()[0] for part in found.own] == sorted(
        [f"collectionstore_{kind}", "collectionstore_telemetry"]
    )
    assert not [part.name for part in found.dependencies if part.name.startswith("collectionstore")]
    names = {part.name.split()[0] for part in found.dependencies}
    assert ("kopf" in names) == ("kubernetes" in names) == (kind == "operator")
    assert ("rocksdict" in names) == (kind == "node")
    assert all(part.files and part.installed_bytes for part in (*found.own, *found.dependencies))
