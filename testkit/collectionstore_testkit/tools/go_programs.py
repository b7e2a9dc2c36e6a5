"""Builds programs from Go modules pinned by go.mod and go.sum, once per set of versions.

The result is a folder in the cache whose name contains a digest of all pins and flags, so that a build is neither
repeated nor used out of date.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import ToolUnavailable
from collectionstore_testkit.places import KUBE_CACHE, REPOSITORY
from collectionstore_testkit.progress import Progress

PROGRAMS: Final = KUBE_CACHE / "programs"
OWN_MODULES: Final = REPOSITORY / "testkit" / "go"


@dataclass(frozen=True, slots=True)
class Module:
    """A folder with a go.mod: all its `tool`s are built, its own among them. `renamed` maps names to the usual ones."""

    name: str
    typical: str
    """How long the first build takes on two cores, for the progress line."""
    linker_flags: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    parent: Path = OWN_MODULES

    @property
    def folder(self) -> Path:
        return self.parent / self.name

    def key(self) -> str:
        """Return a digest of everything the programs are built from, except the compiler."""
        pins = [(self.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        sources = [source.read_bytes() for source in sorted(self.folder.rglob("*.go"))]
        return hashlib.sha256(b"\0".join([*pins, self.linker_flags.encode(), b"1", *sources])).hexdigest()[:12]


HELM: Final = Module("helm", "a minute")


def helm() -> Path:
    """Return the path of Helm; the first call builds it. Raises ToolError."""
    return build(HELM, Progress()) / "helm"


def build(module: Module, progress: Progress) -> Path:
    """Build a module unless the cache has it; return the folder of its programs. Raises ToolError."""
    target = PROGRAMS / f"{module.name}-{module.key()}"
    if target.exists():
        return target
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / f"{module.name}.lock").open("w") as lock:
        # Concurrent test processes ask at the same time; the second one finds the result of the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(module, target, progress)
    return target


def _build(module: Module, target: Path, progress: Progress) -> None:
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


def _go(module: Module) -> str:
    """Return the compiler: from this environment, otherwise from the PATH."""
    needed = _go_line((module.folder / "go.mod").read_text())
    own = Path(sys.executable).with_name("go")
    found = str(own) if own.exists() else shutil.which("go")
    if found is None:
        raise ToolUnavailable(f"Go {needed} or newer is needed to build {module.name}: try  make install")
    # Since 1.21, an older Go downloads the required toolchain as a module.
    version = run([found, "env", "GOVERSION"]).strip()
    match = re.match(r"go1\.(\d+)", version)
    if match is None or int(match[1]) < 21:
        raise ToolUnavailable(f"Go {needed} or newer is needed to build {module.name}; {found} is {version}")
    return found


def _go_line(go_mod: str) -> str:
    match = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    return match[1] if match else "1.24"
