"""Finds `prometheus` and `promtool`: on the PATH, otherwise from Debian's package, unpacked once into the cache.

Unpacking needs no root and neither starts nor configures the package on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import CommandFailed, ToolUnavailable
from collectionstore_testkit.places import PROMETHEUS_CACHE

CACHE: Final = PROMETHEUS_CACHE
PACKAGE: Final = "prometheus"
_UNPACKED: Final = CACHE / PACKAGE
_COMMAND_TIMEOUT_S: Final = 300.0


def server() -> Path:
    """Return the path of the server. Raises `ToolError` when it is missing and cannot be unpacked."""
    return _find("prometheus")


def promtool() -> Path:
    """Return the path of the tool that checks rules and metrics and runs rule tests. Raises `ToolError`."""
    return _find("promtool")


def version() -> str:
    """Return the server's version, such as `2.42.0+ds`."""
    printed = run([server(), "--version"])
    match = re.search(r"version (\S+)", printed)
    if match is None:
        raise CommandFailed(f"{server()} --version prints no version: {printed}")
    return match[1]


def _find(program: str) -> Path:
    on_path = shutil.which(program)
    if on_path is not None:
        return Path(on_path)
    if not _UNPACKED.exists():
        _unpack()
    return _UNPACKED / "usr" / "bin" / program


def _unpack() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise ToolUnavailable(
            "prometheus and promtool are not on the PATH: install them, from prometheus.io or a package"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    # Concurrent test processes may all unpack: each uses its own folder, and the first rename wins.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        scratch = Path(folder)
        _download(scratch)
        archive = next(scratch.glob(f"{PACKAGE}_*.deb"))
        run(["dpkg", "-x", str(archive), "unpacked"], cwd=scratch)
        try:
            (scratch / "unpacked").rename(_UNPACKED)
        except OSError:
            if not _UNPACKED.exists():
                raise


def _download(folder: Path) -> None:
    command = ["apt-get", "-qq", "download", PACKAGE]
    try:
        run(command, cwd=folder, timeout_s=_COMMAND_TIMEOUT_S)
    except CommandFailed:
        # A new machine has no package lists yet; only root may download them.
        if os.geteuid() != 0:
            raise
        run(["apt-get", "-qq", "update"], cwd=folder, timeout_s=_COMMAND_TIMEOUT_S)
        run(command, cwd=folder, timeout_s=_COMMAND_TIMEOUT_S)
