"""Images: the same content has the same digest, and the archive is what containerd reads."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from collectionstore_e2e.kube.images import oci


def _tree(folder: Path, *, when: int) -> Path:
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "motd").write_text("hello")
    (folder / "dev").mkdir()
    (folder / "dev" / "null").write_text("not a device")
    (folder / "link").symlink_to("etc/motd")
    for path in folder.rglob("*"):
        os.utime(path, (when, when), follow_symlinks=False)
    return folder


def test_layer_digest_does_not_depend_on_times_or_place(tmp_path: Path) -> None:
    """Two copies of a tree, of different age and in different folders, make the same layer."""
    for name, when in (("a", 1_000_000_000), ("b", 1_700_000_000)):
        oci.write_layer(tmp_path / f"{name}.tar", _tree(tmp_path / name, when=when))
    assert oci.Layer.of(tmp_path / "a.tar").digest == oci.Layer.of(tmp_path / "b.tar").digest


def test_layer_digest_depends_on_content(tmp_path: Path) -> None:
    """One changed file makes another layer."""
    oci.write_layer(tmp_path / "a.tar", _tree(tmp_path / "a", when=1))
    (tmp_path / "a" / "etc" / "motd").write_text("hullo")
    oci.write_layer(tmp_path / "b.tar", tmp_path / "a")
    assert oci.Layer.of(tmp_path / "a.tar").digest != oci.Layer.of(tmp_path / "b.tar").digest


def test_layer_leaves_out_what_the_runtime_provides_and_belongs_to_root(tmp_path: Path) -> None:
    """Contents of `bare` folders are left out, the folders stay; parents of the prefix are folders of their own."""
    target = tmp_path / "layer.tar"
    oci.write_layer(target, _tree(tmp_path / "root", when=1), prefix="opt/x/", bare=("dev",))
    with tarfile.open(target) as tar:
        assert tar.getnames() == ["opt", "opt/x", "opt/x/dev", "opt/x/etc", "opt/x/etc/motd", "opt/x/link"]
        assert {(entry.uid, entry.gid, entry.mtime) for entry in tar} == {(0, 0, 0)}


@pytest.fixture
def image(tmp_path: Path) -> oci.Image:
    oci.write_layer(tmp_path / "layer.tar", _tree(tmp_path / "root", when=1))
    layer = oci.Layer.of(tmp_path / "layer.tar")
    return oci.Image("localhost/thing:dev", [layer], ["/bin/thing"], {"A": "1"}, "10001", {"title": "thing"})


def test_archive_holds_every_blob_under_its_digest(tmp_path: Path, image: oci.Image) -> None:
    """From the index one gets to manifest, config and layers, and every blob is what its name says."""
    oci.write_archive(tmp_path / "archive.tar", [image])
    with tarfile.open(tmp_path / "archive.tar") as tar:
        content = {entry.name: _read(tar, entry.name) for entry in tar}
    index = json.loads(content["index.json"])
    (described,) = index["manifests"]
    assert described["annotations"]["io.containerd.image.name"] == "localhost/thing:dev"
    manifest = json.loads(content[_blob(described["digest"])])
    config = json.loads(content[_blob(manifest["config"]["digest"])])
    assert config["config"]["Entrypoint"] == ["/bin/thing"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    for name, blob in content.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"


def test_archive_leaves_out_known_layers_and_writes_none_twice(tmp_path: Path, image: oci.Image) -> None:
    """A layer that the receiver has is not sent, and one that two images share is sent once."""
    other = oci.Image("localhost/other:dev", image.layers, ["/bin/other"])
    oci.write_archive(tmp_path / "all.tar", [image, other])
    oci.write_archive(tmp_path / "few.tar", [image, other], known={image.layers[0].digest})
    with tarfile.open(tmp_path / "all.tar") as tar:
        names = tar.getnames()
    with tarfile.open(tmp_path / "few.tar") as tar:
        few = tar.getnames()
    assert len(names) == len(set(names))
    assert set(names) - set(few) == {_blob(image.layers[0].digest)}


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()
