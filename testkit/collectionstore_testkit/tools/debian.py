"""Programs from Debian's packages, unpacked once into a cache: needs no root, and changes nothing on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import CommandFailed, ToolUnavailable

_COMMAND_TIMEOUT_S: Final = 300.0


def unpacked(package: str, cache: Path, *, libraries: tuple[str, ...] = ()) -> Path:
    """Return the folder that holds the files of `package` and of the packages `libraries`: `usr/bin` and so on.

    Raises ToolUnavailable where there is no apt, CommandFailed when a download fails.
    """
    target = cache / package
    if target.exists():
        return target
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise ToolUnavailable(f"{package} is not on the PATH: install it, from its project or a package")
    cache.mkdir(parents=True, exist_ok=True)
    # Concurrent test processes may all unpack: each uses its own folder, and the first rename wins.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        scratch = Path(folder)
        _download((package, *libraries), scratch)
        for archive in scratch.glob("*.deb"):
            run(["dpkg", "-x", str(archive), "unpacked"], cwd=scratch)
        try:
            (scratch / "unpacked").rename(target)
        except OSError:
            if not target.exists():
                raise
    return target


def _download(packages: tuple[str, ...], folder: Path) -> None:
    command = ["apt-get", "-qq", "download", *packages]
    try:
        run(command, cwd=folder, timeout_s=_COMMAND_TIMEOUT_S)
    except CommandFailed:
        # A new machine has no package lists yet; only root may download them.
        if os.geteuid() != 0:
            raise
        run(["apt-get", "-qq", "update"], cwd=folder, timeout_s=_COMMAND_TIMEOUT_S)
        run(command, cwd=folder, timeout_s=_COMMAND_TIMEOUT_S)
