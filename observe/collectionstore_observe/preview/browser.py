"""Turns pages into PNG with a headless Chromium: the one on the PATH, else Debian's, which root may install."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from collectionstore_observe.errors import ObserveFailed

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_S: Final = 120.0
_INSTALL_TIMEOUT_S: Final = 600.0


def browser() -> str:
    """Return a Chromium. Raises `ObserveFailed` when there is none and none can be installed."""
    found = _found()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _run(["apt-get", "-qq", "update"], _INSTALL_TIMEOUT_S)
        _run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "chromium"], _INSTALL_TIMEOUT_S)
        found = _found()
    if found is None:
        raise ObserveFailed("the pictures need Chromium: install the package chromium, or say --no-pictures")
    return found


def draw(html: str, width: int, height: int, picture: Path) -> None:
    """Write a picture of a page. Raises `ObserveFailed`."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html)
        command = [browser(), "--headless=new", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # which Chromium cannot set up for root; the page is our own
        command += [f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri()]
        # An earlier picture must not pass for this one.
        picture.unlink(missing_ok=True)
        said = _run(command, _TIMEOUT_S)
    if not picture.exists():
        raise ObserveFailed(f"Chromium has drawn nothing: {said}")


def _found() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def _run(command: list[str], timeout_s: float) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment)
    except subprocess.TimeoutExpired as error:
        raise ObserveFailed(f"{command[0]} took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise ObserveFailed(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stderr
