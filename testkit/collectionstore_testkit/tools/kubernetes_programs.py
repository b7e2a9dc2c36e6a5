"""Kubernetes as Go modules pinned by `e2e/go/*/go.sum`: for `make kube-up` and `make bench-operator`."""

from __future__ import annotations

from typing import Final

from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.tools.go_programs import Module

GO_MODULES: Final = REPOSITORY / "e2e" / "go"
KUBERNETES_VERSION: Final = "v1.34.4"
"""As in go/kubernetes/go.mod. Not 1.35, whose kubelet refuses cgroup v1."""

_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
# Without these the components report version v0.0.0, and version checks between them fail.
KUBERNETES_FLAGS: Final = (
    " ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in (("gitVersion", KUBERNETES_VERSION), ("gitMajor", _MAJOR), ("gitMinor", _MINOR))
    )
    + f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"
)

ETCD: Final = Module("etcd", "half a minute", renamed=(("server", "etcd"),), parent=GO_MODULES)
KUBERNETES: Final = Module("kubernetes", "five minutes", linker_flags=KUBERNETES_FLAGS, parent=GO_MODULES)
