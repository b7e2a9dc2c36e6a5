"""The images of the cluster, and their import into the nodes.

`pause` and `toolbox` are only the base. The node's image is the base, the locked dependencies of the node and the
wheels of node and telemetry; the operator's likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube import containerd
from collectionstore_e2e.kube.images import oci, python_layers, rootfs
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import NODES, STATE
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools import older_version, wheels
from collectionstore_testkit.tools.older_version import OlderVersion

TOOLBOX: Final = "localhost/toolbox:1"
NODE: Final = "localhost/collectionstore-node:dev"
NODE_NEXT: Final = "localhost/collectionstore-node:dev-next"
"""The same program in an image with another digest: the target of upgrades."""
NODE_OLDER: Final = "localhost/collectionstore-node:older"
"""The node of `older_version.FIRST`, from which clusters are upgraded."""
OPERATOR: Final = "localhost/collectionstore-operator:dev"
OPERATOR_OLDER: Final = "localhost/collectionstore-operator:older"
PROMETHEUS: Final = "localhost/prometheus:dev"

# A package has the name of the program that it installs.
NODE_PACKAGE: Final = "collectionstore-node"
OPERATOR_PACKAGE: Final = "collectionstore-operator"

USER: Final = "10001:10001"


@dataclass(frozen=True, slots=True)
class Built:
    """All images: `base` changes with the lock and is unpacked once, `project` changes with the code."""

    base: tuple[oci.Image, ...]
    project: tuple[oci.Image, ...]


def build(progress: Progress) -> Built:
    """Build all images of this checkout and of the older version; unchanged layers are cached."""
    base = rootfs.build(progress)
    older = older_version.check_out()
    node = _today(NODE_PACKAGE, base, progress)
    operator = _today(OPERATOR_PACKAGE, base, progress)
    node_older = _older(older, NODE_PACKAGE, base, progress)
    operator_older = _older(older, OPERATOR_PACKAGE, base, progress)
    version, version_older = wheels.version(), older.revision[:12]
    return Built(
        base=(
            oci.Image(containerd.PAUSE, [base], ["/bin/sleep", "infinity"]),
            oci.Image(TOOLBOX, [base], ["/bin/sh"]),
            *(
                oci.Image(f"localhost/{name}-dependencies:dev", layers[:-1], ["/bin/sh"])
                for name, layers in (
                    ("collectionstore-node", node),
                    ("collectionstore-operator", operator),
                    ("collectionstore-node-older", node_older),
                    ("collectionstore-operator-older", operator_older),
                )
            ),
        ),
        project=(
            _image(NODE, node, NODE_PACKAGE, version),
            _image(NODE_NEXT, node, NODE_PACKAGE, f"{version}-next"),
            _image(NODE_OLDER, node_older, NODE_PACKAGE, version_older),
            _image(OPERATOR, operator, OPERATOR_PACKAGE, version),
            _image(OPERATOR_OLDER, operator_older, OPERATOR_PACKAGE, version_older),
            prometheus([base, python_layers.prometheus_layer()]),
        ),
    )


def _today(package: str, base: oci.Layer, progress: Progress) -> list[oci.Layer]:
    dependencies = python_layers.dependencies(package, wheels.requirements(package), progress)
    return [base, dependencies, python_layers.project(package, partial(wheels.build, package), progress)]


def _older(older: OlderVersion, package: str, base: oci.Layer, progress: Progress) -> list[oci.Layer]:
    dependencies = python_layers.dependencies(package, older.requirements(package), progress)
    project = python_layers.project(f"{package}-older", partial(older.build, package), progress)
    return [base, dependencies, project]


def prometheus(layers: Sequence[oci.Layer]) -> oci.Image:
    """Return the image of Prometheus."""
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
            # Everything is compiled, and the root file system is read-only.
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
    """Import the project's images into every running node, without the layers that the nodes' store contains."""
    archive = STATE / "project.tar"
    with progress.step("load the project's images into the nodes"):
        below = {layer.digest for image in built.base for layer in image.layers}
        oci.write_archive(archive, built.project, known=below)
        load_archive(archive)
        archive.unlink()


def load_archive(archive: Path) -> None:
    """Import all images of an OCI or Docker archive into every running node."""

    def load_into(node: str) -> None:
        # Through stdin, because a machine does not see all of the host's files.
        with archive.open("rb") as file:
            Machine(node).run(containerd.IMPORT, stdin=file)

    running = [node for node in NODES if Machine(node).first_pid() is not None]
    with ThreadPoolExecutor(len(NODES)) as pool:
        list(pool.map(load_into, running))
