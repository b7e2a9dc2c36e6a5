"""The argument of every scenario: its namespace and the tools bound to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.client import Client
from collectionstore_e2e.harness.errors import NoCluster
from collectionstore_e2e.harness.kubectl import Kubectl
from collectionstore_e2e.harness.machines import Machines
from collectionstore_e2e.kube import places
from collectionstore_e2e.kube.images import cluster_images

VARIABLES: Final = {
    "E2E_NODE_IMAGE": cluster_images.NODE,
    "E2E_NODE_NEXT_IMAGE": cluster_images.NODE_NEXT,
    "E2E_NODE_OLDER_IMAGE": cluster_images.NODE_OLDER,
    "E2E_OPERATOR_IMAGE": cluster_images.OPERATOR,
    "E2E_OPERATOR_OLDER_IMAGE": cluster_images.OPERATOR_OLDER,
    "E2E_TOOLBOX_IMAGE": cluster_images.TOOLBOX,
    "E2E_PROMETHEUS_IMAGE": cluster_images.PROMETHEUS,
}
"""For clusters that pull their images: variable -> the image on the cluster of `make kube-up`."""


@dataclass(frozen=True, slots=True)
class Images:
    """The images that scenarios run; `toolbox` has sh and python3."""

    node: str
    node_next: str
    node_older: str
    operator: str
    operator_older: str
    toolbox: str
    prometheus: str

    @classmethod
    def from_environment(cls) -> Images:
        return cls(*(os.environ.get(variable, usual) for variable, usual in VARIABLES.items()))


@dataclass(frozen=True, slots=True)
class Context:
    """One scenario's environment: a new namespace, and the tools bound to it."""

    namespace: str
    client: Client
    kubectl: Kubectl
    images: Images
    machines: Machines | None
    say: Callable[[str], None]
    """Prints a line below the scenario's name, such as a measurement."""
    later: AsyncExitStack
    """Callbacks that run after the scenario has ended and, if it failed, its diagnostics were collected."""

    def within(self, namespace: str) -> Context:
        """Return the same environment with the tools bound to another namespace."""
        client, kubectl = self.client.within(namespace), replace(self.kubectl, namespace=namespace)
        return replace(self, namespace=namespace, client=client, kubectl=kubectl)

    @property
    def own_machines(self) -> Machines:
        """The machines, for scenarios declared with `needs_machines`."""
        if self.machines is None:
            raise NoCluster("this scenario must be declared with needs_machines=True")
        return self.machines


def find_kubeconfig() -> Path:
    """Return the kubeconfig to use: KUBECONFIG's, or that of the cluster of `make kube-up`."""
    named = os.environ.get("KUBECONFIG")
    found = Path(named) if named else places.KUBECONFIG
    if not found.exists():
        start = "start one with `make kube-up` or set KUBECONFIG"
        raise NoCluster(
            f"KUBECONFIG names {found}, which does not exist" if named else f"no cluster is running: {start}"
        )
    return found
