"""Builds the programs of a Kubernetes cluster from Go modules pinned by `e2e/go/*/go.sum`, and Helm.

The result is one folder in the cache whose name is a digest of all modules. A module that was already built for another
set of versions is reused.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.places import GO_MODULES, KUBERNETES_VERSION
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools import go_programs
from collectionstore_testkit.tools.go_programs import HELM, PROGRAMS, Module

_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
# Without these the components report version v0.0.0, and version checks between them fail.
KUBERNETES_FLAGS: Final = (
    " ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in (("gitVersion", KUBERNETES_VERSION), ("gitMajor", _MAJOR), ("gitMinor", _MINOR))
    )
    + f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"
)


MODULES: Final = (
    Module("etcd", "half a minute", renamed=(("server", "etcd"),), parent=GO_MODULES),
    Module("kubernetes", "five minutes", linker_flags=KUBERNETES_FLAGS, parent=GO_MODULES),
    Module("coredns", "two minutes", parent=GO_MODULES),
    Module("local-path", "a minute", parent=GO_MODULES),
    HELM,
)


def folder() -> Path:
    """Return the folder of the programs in this checkout's versions; `build` creates it."""
    key = hashlib.sha256("".join(module.key() for module in MODULES).encode()).hexdigest()[:12]
    return PROGRAMS / key


def build(progress: Progress) -> Path:
    """Build missing programs and return the folder with all of them."""
    target = folder()
    if target.exists():
        return target
    parts = [go_programs.build(module, progress) for module in MODULES]
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for part in parts:
        for program in part.iterdir():
            os.link(program, unfinished / program.name)
    # LAST: a folder under its final name is complete, whenever a build is killed.
    unfinished.rename(target)
    return target
