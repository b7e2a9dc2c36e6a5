"""Turns pages into PNG with a headless Chromium."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from collectionstore_observe.errors import ObserveFailed
from collectionstore_testkit.commands import run
from collectionstore_testkit.tools import chromium

_TIMEOUT_S: Final = 120.0


def draw(html: str, width: int, height: int, picture: Path) -> None:
    """Write a picture of a page. Raises `ToolError`, and `ObserveFailed` when Chromium has drawn nothing."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html)
        command = [chromium.program(), "--headless=new", *chromium.flags(), "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/user", f"--window-size={width},{height}", f"--screenshot={picture}"]
        # An earlier picture must not pass for this one.
        picture.unlink(missing_ok=True)
        run([*command, page.as_uri()], timeout_s=_TIMEOUT_S)
    if not picture.exists():
        raise ObserveFailed("Chromium has drawn nothing")
