"""Writes container images: layers from folders, and archives that containerd, Podman, buildah and Docker can load.

An image of the same content has the same digest, wherever and whenever it is made: entries are sorted, times are zero,
nothing is compressed. Source: OCI image specification 1.1 (layout, index, manifest, config, layer).
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

EPOCH: Final = 0
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
CHUNK_BYTES: Final = 1 << 20

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Layer:
    """A tar file; uncompressed, so its digest and its diff id are one."""

    path: Path
    digest: str

    @classmethod
    def of(cls, path: Path) -> Layer:
        """Return the layer of a tar file, with its digest."""
        with path.open("rb") as file:
            return cls(path, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its full name, such as `localhost/collectionstore-node:dev`."""

    name: str
    layers: Sequence[Layer]
    entrypoint: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def write_layer(
    target: Path, folder: Path, *, prefix: str = "", keep_owner: bool = False, bare: Collection[str] = ()
) -> None:
    """Write `folder` as a layer whose paths begin with `prefix`; owned by root unless `keep_owner`.

    The contents of the top-level folders in `bare` are left out: devices and mount points that a runtime provides.
    """
    unfinished = target.with_suffix(".new")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        for parent in _parents(prefix):
            entry = tarfile.TarInfo(parent)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path in _walk(folder, bare):
            entry = tar.gettarinfo(path, arcname=f"{prefix}{path.relative_to(folder)}")
            entry.mtime, entry.uname, entry.gname = EPOCH, "", ""
            if not keep_owner:
                entry.uid = entry.gid = 0
            if entry.isreg():
                with path.open("rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)
    unfinished.rename(target)


def _parents(prefix: str) -> list[str]:
    parts = prefix.strip("/").split("/") if prefix else []
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def _walk(folder: Path, bare: Collection[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if len(relative.parts) > 1 and relative.parts[0] in bare:
            continue
        if path.is_symlink() or path.is_dir() or path.is_file():
            yield path


def write_archive(target: Path, images: Sequence[Image], *, known: Collection[str] = ()) -> None:
    """Write an OCI layout of all images as one tar file. Layers with a digest in `known` are omitted."""
    unfinished = target.with_suffix(".new")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        written = set(known)
        for layer in (layer for image in images for layer in image.layers):
            if layer.digest not in written:
                written.add(layer.digest)
                _add_file(tar, _blob(layer.digest), layer.path)
        manifests = [_add_image(tar, image, written) for image in images]
        _add(tar, "index.json", _json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}))
    unfinished.rename(target)


def _add_image(tar: tarfile.TarFile, image: Image, written: set[str]) -> dict[str, Any]:
    config = _json(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {
                "Entrypoint": list(image.entrypoint),
                "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
                "Labels": dict(sorted(image.labels.items())),
                "User": image.user,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in image.layers]},
        }
    )
    layers = [_descriptor(LAYER_TYPE, layer.digest, layer.path.stat().st_size) for layer in image.layers]
    described = _descriptor(CONFIG_TYPE, _digest(config), len(config))
    manifest = _json({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": layers})
    for content in (config, manifest):
        if _digest(content) not in written:
            written.add(_digest(content))
            _add(tar, _blob(_digest(content)), content)
    # containerd reads the first name; the second is the one of the specification.
    names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name.rpartition(":")[2]}
    return {**_descriptor(MANIFEST_TYPE, _digest(manifest), len(manifest)), "annotations": names}


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(entry, file)
