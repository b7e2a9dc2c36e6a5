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

from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools import go_programs
from collectionstore_testkit.tools.go_programs import HELM, PROGRAMS, Module
from collectionstore_testkit.tools.kubernetes_programs import ETCD, GO_MODULES, KUBERNETES

MODULES: Final = (
    ETCD,
    KUBERNETES,
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
