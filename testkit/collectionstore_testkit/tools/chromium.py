"""Finds a headless Chromium: the one on the PATH, else Debian's, which root may install.

It has too many libraries to be unpacked into a folder.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import ToolUnavailable

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_INSTALL_TIMEOUT_S: Final = 600.0
_APT: Final = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
"""Concurrent test processes may all install: each waits for the others."""
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
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run([*_APT, "update"], environment=environment, timeout_s=_INSTALL_TIMEOUT_S)
        install = [*_APT, "-y", "--no-install-recommends", "install", "chromium", "fonts-dejavu-core"]
        run(install, environment=environment, timeout_s=_INSTALL_TIMEOUT_S)
        found = _found()
    if found is None:
        raise ToolUnavailable("Chromium is not on the PATH: install the package chromium")
    return found


def flags() -> list[str]:
    """Return the flags of this machine: `FLAGS`, and what root needs."""
    # Chromium cannot set its sandbox up for root; the pages are our own.
    return [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def _found() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)
