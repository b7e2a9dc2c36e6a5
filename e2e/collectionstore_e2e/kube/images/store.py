"""The nodes' image store, unpacked once and shared by all: starting a node copies and unpacks nothing.

The store holds the base and the dependencies of the project's images, which change with the lock. A separate
containerd builds it, and it is kept in the cache. A node has its layers as bind mounts, its blobs as an overlay (lower:
the store, upper: the node's), and copies of the two small databases; images loaded later, such as this checkout's, are
only on the node. Nothing writes to the store.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube import containerd
from collectionstore_e2e.kube.images import oci
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import BUILDER, CACHE, STATE
from collectionstore_testkit.progress import Progress

FOLDER: Final = CACHE / "stores"
MOUNTED: Final = "/run/store"
DATABASES: Final = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)
CONTENT: Final = "io.containerd.content.v1.content"
SNAPSHOTS: Final = "io.containerd.snapshotter.v1.overlayfs/snapshots"

MOUNT: Final = f"""
set -e
cd /var/lib/containerd
mkdir -p {CONTENT} ../containerd-content/upper ../containerd-content/work
upper=$(realpath ../containerd-content)
mount -t overlay -o "lowerdir={MOUNTED}/{CONTENT},upperdir=$upper/upper,workdir=$upper/work" content {CONTENT}
for layer in {MOUNTED}/{SNAPSHOTS}/*; do
    mkdir -p "{SNAPSHOTS}/$(basename "$layer")"
    mount --bind "$layer" "{SNAPSHOTS}/$(basename "$layer")"
done
"""


def build(images: Sequence[oci.Image], programs: Path, progress: Progress) -> Path:
    """Return the store with these images; build it unless it is cached."""
    target = FOLDER / key(images)
    if not target.exists():
        with progress.step("unpack the images' base and dependencies (again when the lock changes)"):
            _make(target, images, programs)
    return target


def key(images: Sequence[oci.Image]) -> str:
    """Return a digest of all layers: the store's name in the cache."""
    return hashlib.sha256("".join(layer.digest for image in images for layer in image.layers).encode()).hexdigest()[:12]


def _make(target: Path, images: Sequence[oci.Image], programs: Path) -> None:
    # Stores of other locks are never used again, and large.
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished = target.with_name(f"{target.name}.new")
    unfinished.mkdir(parents=True)
    builder = Machine(BUILDER)
    builder.start({"kube": programs, "store": unfinished})
    containerd.start(builder, root=MOUNTED)
    archive = STATE / "base.tar"
    oci.write_archive(archive, images)
    with archive.open("rb") as file:
        builder.run(containerd.IMPORT, stdin=file)
    archive.unlink()
    builder.kill()
    builder.delete_files()
    unfinished.rename(target)


def install(node: Machine, store: Path) -> None:
    """Give a new node its copies of the databases."""
    root = node.lib / "containerd"
    for database in DATABASES:
        (root / database).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store / database, root / database)


def mount(node: Machine) -> None:
    """Mount the store, bound to MOUNTED, into a node that has just started."""
    node.run(["sh", "-c", MOUNT])
