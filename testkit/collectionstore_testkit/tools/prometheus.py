"""Finds `prometheus` and `promtool`: on the PATH, otherwise from Debian's package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import CommandFailed
from collectionstore_testkit.places import PROMETHEUS_CACHE
from collectionstore_testkit.tools import debian

CACHE: Final = PROMETHEUS_CACHE
PACKAGE: Final = "prometheus"


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
    return Path(on_path) if on_path is not None else debian.unpacked(PACKAGE, CACHE) / "usr" / "bin" / program
