"""Signatures, provenance and bills of materials: what is signed is found whole, and every change of it is seen."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from collectionstore_release import __main__ as release
from collectionstore_release import image_sbom, provenance, verify
from collectionstore_release.signing import NotSigned, envelope, load_private, load_public, make_keys, opened
from collectionstore_testkit.places import REPOSITORY

COMMIT = "1" * 40


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "cosign.key", tmp_path / "cosign.pub"
    make_keys(private, public, b"")
    return private, public


@pytest.fixture
def dist(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """A release with two files, as `make release` leaves it."""
    folder = tmp_path / "dist"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "a.whl").write_bytes(b"a wheel")
    (folder / "chart.tgz").write_bytes(b"a chart")
    made = provenance.statement(
        folder,
        [path for path in folder.rglob("*") if path.is_file()],
        root=REPOSITORY,
        commit=COMMIT,
        version="1.0.0",
        left_out=["images"],
    )
    (folder / provenance.FILE).write_text(json.dumps(made))
    release.write_sums(folder)
    verify.sign(folder, made, keys[0])
    return folder


def test_release_that_is_whole_is_verified(dist: Path, keys: tuple[Path, Path]) -> None:
    assert verify.problems(dist, keys[1]) == []
    assert verify.main(["--key", str(keys[1]), str(dist)]) == 0


@pytest.mark.parametrize("name", ["wheels/a.whl", "chart.tgz", "provenance.json"])
def test_changed_or_missing_file_is_seen(dist: Path, keys: tuple[Path, Path], name: str) -> None:
    (dist / name).write_bytes(b"another one")
    assert any(name in one for one in verify.problems(dist, keys[1]))
    (dist / name).unlink()
    assert f"{name} is missing" in verify.problems(dist, keys[1])


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS.sig", "provenance.dsse.json"])
def test_changed_or_missing_signature_is_refused(dist: Path, keys: tuple[Path, Path], name: str) -> None:
    content = (dist / name).read_bytes()
    for wrong in (content[:-10], b"", b"{}", content + b"0" * 64 + b"  more\n"):
        (dist / name).write_bytes(wrong)
        with pytest.raises(NotSigned):
            verify.problems(dist, keys[1])
    (dist / name).unlink()
    with pytest.raises(NotSigned):
        verify.problems(dist, keys[1])
    assert verify.main(["--key", str(keys[1]), str(dist)]) == 1


def test_other_key_verifies_nothing(dist: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "other.key", tmp_path / "other.pub", b"")
    with pytest.raises(NotSigned):
        verify.problems(dist, tmp_path / "other.pub")


def test_signature_is_the_one_that_openssl_and_so_cosign_verify(dist: Path, keys: tuple[Path, Path]) -> None:
    """cosign verify-blob: base64 of a DER signature over the SHA-256 of the file."""
    binary = dist.parent / "signature"
    binary.write_bytes(base64.b64decode((dist / "SHA256SUMS.sig").read_bytes()))
    command = ["openssl", "dgst", "-sha256", "-verify", str(keys[1]), "-signature", str(binary)]
    done = subprocess.run([*command, str(dist / "SHA256SUMS")], capture_output=True, text=True, check=False)
    assert "Verified OK" in done.stdout, done.stderr


def test_provenance_has_the_form_of_slsa_and_every_file(dist: Path, keys: tuple[Path, Path]) -> None:
    found = opened((dist / "provenance.dsse.json").read_bytes(), load_public(keys[1]))
    assert (found["_type"], found["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert {one["name"]: one["digest"]["sha256"] for one in found["subject"]} == {
        "chart.tgz": hashlib.sha256(b"a chart").hexdigest(),
        "wheels/a.whl": hashlib.sha256(b"a wheel").hexdigest(),
    }
    definition = found["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"version": "1.0.0", "without": ["images"]}
    names = {one["name"] for one in definition["resolvedDependencies"]}
    assert {"source", "uv.lock", "Dockerfile.node", "Dockerfile.operator"} <= names
    assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": COMMIT}


def test_envelope_of_another_type_is_refused(keys: tuple[Path, Path]) -> None:
    """What is signed is the type with the payload: one cannot pass for the other."""
    made = json.loads(envelope({"a": 1}, load_private(keys[0], b"")))
    made["payloadType"] = "text/plain"
    with pytest.raises(NotSigned, match="text/plain"):
        opened(json.dumps(made).encode(), load_public(keys[1]))


def test_private_key_is_for_its_owner_and_is_never_overwritten(tmp_path: Path) -> None:
    private, public = tmp_path / "k.key", tmp_path / "k.pub"
    make_keys(private, public, b"a password")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in private.read_bytes()
    assert load_private(private, b"a password").curve.name == "secp256r1"
    with pytest.raises(NotSigned):
        load_private(private, b"another")
    with pytest.raises(NotSigned, match="exists already"):
        make_keys(private, public, b"")


def layer(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(content.getvalue())


def oci(path: Path, *layers: bytes) -> Path:
    """Write an OCI archive with these layers."""

    def name(data: bytes) -> str:
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    manifest = json.dumps({"layers": [{"digest": name(one)} for one in layers]}).encode()
    index = json.dumps({"manifests": [{"digest": name(manifest)}]}).encode()
    blobs = {f"blobs/sha256/{name(one).partition(':')[2]}": one for one in (manifest, *layers)}
    with tarfile.open(path, "w") as archive:
        for key, data in {"index.json": index, **blobs}.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9
Description: GNU C Library
 A line: that is no field

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_sbom_of_an_image_has_what_is_in_its_layers(tmp_path: Path) -> None:
    base = layer({"var/lib/dpkg/status": STATUS.replace(b"deb12u9", b"deb12u1"), "etc/passwd": b"root"})
    python = b"Metadata-Version: 2.1\nName: Ruamel.Yaml\nVersion: 0.18\n\nText\n"
    top = layer({"var/lib/dpkg/status": STATUS, "./venv/lib/ruamel.yaml-0.18.dist-info/METADATA": python})
    found = image_sbom.sbom(oci(tmp_path / "node.tar", base, top), "node")
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    assert [one["purl"] for one in found["components"]] == [
        "pkg:deb/debian/libc6@2.36-9+deb12u9?arch=amd64",
        "pkg:pypi/ruamel-yaml@0.18",
    ]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x00" * 10_240])
def test_file_that_is_no_image_is_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(image_sbom.NoImage):
        image_sbom.sbom(tmp_path / "x.tar", "x")
