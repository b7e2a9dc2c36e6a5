"""Finds a headless Chromium: the one on the PATH, else Debian's, which root may install.

It has too many libraries to be unpacked into a folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import ToolUnavailable

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_INSTALL_TIMEOUT_S: Final = 600.0
_LOCK: Final = Path(tempfile.gettempdir()) / "collectionstore-chromium.lock"
"""Concurrent test processes may all have to install: the first does, and the others wait for it."""
FLAGS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing on the screen, and nothing asked of other hosts."""


def program() -> str:
    """Return the path of a Chromium. Raises `ToolError` when there is none and none can be installed."""
    found = _found()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        with _LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _found() is None:
                _install()
        found = _found()
    if found is None:
        raise ToolUnavailable("Chromium is not on the PATH: install the package chromium")
    return found


def flags() -> list[str]:
    """Return the flags of this machine: `FLAGS`, and what root needs."""
    # Chromium cannot set its sandbox up for root; the pages are our own.
    return [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = ("chromium", "fonts-dejavu-core")
    for command in (["update"], ["-y", "--no-install-recommends", "install", *packages]):
        run(["apt-get", "-qq", *command], environment=environment, timeout_s=_INSTALL_TIMEOUT_S)


def _found() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)
