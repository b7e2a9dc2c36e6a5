"""Finds `prometheus` and `promtool`: those on the PATH, else those of Debian's package, unpacked once into the cache.

Unpacking needs no root, and nothing of the package is started or configured on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from collectionstore_observe.errors import ObserveFailed

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "collectionstore-observe"
PACKAGE: Final = "prometheus"
_UNPACKED: Final = CACHE / PACKAGE
_COMMAND_TIMEOUT_S: Final = 300.0


def prometheus() -> Path:
    """Return the server. Raises `ObserveFailed` when there is none and none can be had."""
    return _find("prometheus")


def promtool() -> Path:
    """Return the tool that checks rules and metrics and runs rule tests. Raises `ObserveFailed` as `prometheus`."""
    return _find("promtool")


def version() -> str:
    """Return the server's version, such as `2.42.0+ds`."""
    said = _run([str(prometheus()), "--version"], Path.cwd())
    match = re.search(r"version (\S+)", said)
    if match is None:
        raise ObserveFailed(f"{prometheus()} --version says nothing of a version: {said}")
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
        raise ObserveFailed(
            "prometheus and promtool are not on the PATH: install them, from prometheus.io or a package"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    # Several may do this at once, test processes for example: each works in a folder of its own, the first one wins.
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        scratch = Path(folder)
        _download(scratch)
        archive = next(scratch.glob(f"{PACKAGE}_*.deb"))
        _run(["dpkg", "-x", str(archive), "unpacked"], scratch)
        try:
            (scratch / "unpacked").rename(_UNPACKED)
        except OSError:
            if not _UNPACKED.exists():
                raise


def _download(folder: Path) -> None:
    command = ["apt-get", "-qq", "download", PACKAGE]
    try:
        _run(command, folder)
    except ObserveFailed:
        # A fresh machine has no lists of packages yet; only root may get them.
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "-qq", "update"], folder)
        _run(command, folder)


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ObserveFailed(f"{' '.join(command)} took longer than {_COMMAND_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        raise ObserveFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout + done.stderr
