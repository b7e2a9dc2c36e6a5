"""The version of both charts, from the file VERSION."""

from __future__ import annotations

import re
from pathlib import Path

from collectionstore_testkit.tools import wheels


def text(chart: Path) -> str:
    """Return Chart.yaml with the project's version as its own and as that of the application."""
    written = (chart / "Chart.yaml").read_text()
    return re.sub(r"^(version|appVersion): .*$", rf"\1: {wheels.version()}", written, flags=re.MULTILINE)
