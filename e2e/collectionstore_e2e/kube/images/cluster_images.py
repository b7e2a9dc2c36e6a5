"""The images that run on the cluster, and their way into the nodes' stores.

`pause` and `toolbox` are the base alone. The node's image is the base, the locked dependencies of the node and the
wheels of node and telemetry; the operator's likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube import containerd
from collectionstore_e2e.kube.images import oci, python_layers, rootfs
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import NODES, STATE
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools import wheels

TOOLBOX: Final = "localhost/toolbox:1"
NODE: Final = "localhost/collectionstore-node:dev"
NODE_NEXT: Final = "localhost/collectionstore-node:dev-next"
"""The same program in an image of another digest: something to upgrade to."""
OPERATOR: Final = "localhost/collectionstore-operator:dev"
PROMETHEUS: Final = "localhost/prometheus:dev"
NODE_DEPENDENCIES: Final = "localhost/collectionstore-node-dependencies:dev"
OPERATOR_DEPENDENCIES: Final = "localhost/collectionstore-operator-dependencies:dev"

# The package is called like the program that it installs.
NODE_PACKAGE: Final = "collectionstore-node"
OPERATOR_PACKAGE: Final = "collectionstore-operator"

USER: Final = "10001:10001"


@dataclass(frozen=True, slots=True)
class Built:
    """All images: `base` changes with the lock and is unpacked once, `project` with every line of code."""

    base: tuple[oci.Image, ...]
    project: tuple[oci.Image, ...]


def build(progress: Progress) -> Built:
    """Build all images from this checkout; what did not change comes from the cache."""
    base = rootfs.build(progress)
    node = [base, python_layers.dependencies(NODE_PACKAGE, progress)]
    operator = [base, python_layers.dependencies(OPERATOR_PACKAGE, progress)]
    node_project = python_layers.project(NODE_PACKAGE, progress)
    operator_project = python_layers.project(OPERATOR_PACKAGE, progress)
    version = wheels.version()
    return Built(
        base=(
            oci.Image(containerd.PAUSE, [base], ["/bin/sleep", "infinity"]),
            oci.Image(TOOLBOX, [base], ["/bin/sh"]),
            oci.Image(NODE_DEPENDENCIES, node, ["/bin/sh"]),
            oci.Image(OPERATOR_DEPENDENCIES, operator, ["/bin/sh"]),
        ),
        project=(
            _image(NODE, [*node, node_project], NODE_PACKAGE, version),
            _image(NODE_NEXT, [*node, node_project], NODE_PACKAGE, f"{version}-next"),
            _image(OPERATOR, [*operator, operator_project], OPERATOR_PACKAGE, version),
            prometheus([base, python_layers.prometheus_layer()]),
        ),
    )


def prometheus(layers: Sequence[oci.Layer]) -> oci.Image:
    """Return the image of the Prometheus that looks at the pods."""
    return oci.Image(PROMETHEUS, layers, [f"/{python_layers.PROMETHEUS}"], user=USER)


def _image(name: str, layers: Sequence[oci.Layer], program: str, version: str) -> oci.Image:
    return oci.Image(
        name,
        layers,
        entrypoint=[f"/{python_layers.SCRIPTS}/{program}"],
        environment={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": python_layers.PYTHON_PATH,
            "PYTHONUNBUFFERED": "1",
            # Everything is compiled already, and the root file system is read-only.
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        user=USER,
        labels={
            "org.opencontainers.image.title": program,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    )


def load(built: Built, progress: Progress) -> None:
    """Bring the project's images into every node that runs; what is below them is in the nodes' store already."""
    archive = STATE / "project.tar"
    with progress.step("load the project's images into the nodes"):
        below = {layer.digest for image in built.base for layer in image.layers}
        oci.write_archive(archive, built.project, known=below)
        load_archive(archive)
        archive.unlink()


def load_archive(archive: Path) -> None:
    """Bring all images of an OCI or Docker archive into the store of every node that runs."""

    def load_into(node: str) -> None:
        # Through a pipe, because the machine does not see all of the host's files.
        with archive.open("rb") as file:
            Machine(node).run(containerd.IMPORT, stdin=file)

    running = [node for node in NODES if Machine(node).first_pid() is not None]
    with ThreadPoolExecutor(len(NODES)) as pool:
        list(pool.map(load_into, running))
