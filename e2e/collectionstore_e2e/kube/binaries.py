"""Builds the programs that make a Kubernetes, from Go modules pinned by `e2e/go/*/go.sum`, once per set of versions.

The result is a folder in the cache whose name is a digest of all pins and flags, so that nothing is ever rebuilt in
vain or used out of date. A module that was built for another set is taken over.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.commands import run
from collectionstore_e2e.kube.errors import PrerequisiteMissing
from collectionstore_e2e.kube.places import CACHE, GO_MODULES, KUBERNETES_VERSION
from collectionstore_e2e.kube.progress import Progress

_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
# Without these the components call themselves v0.0.0, and version checks between them fail.
KUBERNETES_FLAGS: Final = (
    " ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in (("gitVersion", KUBERNETES_VERSION), ("gitMajor", _MAJOR), ("gitMinor", _MINOR))
    )
    + f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"
)


@dataclass(frozen=True, slots=True)
class Module:
    """A folder of `e2e/go`: all its `tool`s are built. `renamed` gives programs the name they are known by."""

    name: str
    typical: str
    """How long the first build takes on two cores, for people who wait."""
    linker_flags: str = ""
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> Path:
        return GO_MODULES / self.name

    def key(self) -> str:
        """Return a digest of everything the programs are made of, except the compiler."""
        pins = [(self.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        return hashlib.sha256(b"\0".join([*pins, self.linker_flags.encode(), b"1"])).hexdigest()[:12]


MODULES: Final = (
    Module("etcd", "half a minute", renamed=(("server", "etcd"),)),
    Module("kubernetes", "five minutes", linker_flags=KUBERNETES_FLAGS),
    Module("coredns", "two minutes"),
    Module("local-path", "a minute"),
    Module("helm", "a minute"),
)


def folder() -> Path:
    """Return where the programs of this checkout's versions are, or will be."""
    key = hashlib.sha256("".join(module.key() for module in MODULES).encode()).hexdigest()[:12]
    return CACHE / "programs" / key


def build(progress: Progress) -> Path:
    """Build what is missing and return the folder that holds all programs."""
    target = folder()
    if target.exists():
        return target
    parts = [_build_module(module, progress) for module in MODULES]
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for part in parts:
        for program in part.iterdir():
            os.link(program, unfinished / program.name)
    unfinished.rename(target)
    return target


def build_one(name: str, progress: Progress) -> Path:
    """Build one module alone, for those who need no cluster; return the folder of its programs."""
    return _build_module(next(module for module in MODULES if module.name == name), progress)


def _build_module(module: Module, progress: Progress) -> Path:
    target = CACHE / "programs" / f"{module.name}-{module.key()}"
    if target.exists():
        return target
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with progress.step(f"build {module.name} (first time only, about {module.typical} on two cores)") as step:
        compiled = 0

        def on_line(line: str) -> None:
            nonlocal compiled
            if line.startswith("go: downloading"):
                step.detail = line.removeprefix("go: ")
            else:
                compiled += 1
                step.detail = f"{compiled} packages compiled"

        command = [_go(module), "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags", f"-s -w {module.linker_flags}".strip(), "-o", f"{unfinished}/", "tool"]
        run(command, cwd=module.folder, environment={**os.environ, "CGO_ENABLED": "0"}, on_line=on_line)
    for built, known in module.renamed:
        (unfinished / built).rename(unfinished / known)
    unfinished.rename(target)
    return target


def _go(module: Module) -> str:
    """Return the compiler: the one of this environment, else the one on the PATH."""
    needed = _go_line((module.folder / "go.mod").read_text())
    own = Path(sys.executable).with_name("go")
    found = str(own) if own.exists() else shutil.which("go")
    if found is None:
        raise PrerequisiteMissing(f"Go {needed} or newer is needed to build {module.name}: try  make install")
    # From 1.21 on, an older Go gets the newer one itself, as a module.
    version = run([found, "env", "GOVERSION"]).strip()
    match = re.match(r"go1\.(\d+)", version)
    if match is None or int(match[1]) < 21:
        raise PrerequisiteMissing(f"Go {needed} or newer is needed to build {module.name}; {found} is {version}")
    return found


def _go_line(go_mod: str) -> str:
    match = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    return match[1] if match else "1.24"
