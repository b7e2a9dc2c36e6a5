"""Wheels and requirements of the workspace's packages, by uv: what an image of a program contains.

The lock decides which members of the workspace and which dependencies a package needs; nothing is listed twice.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectionstore_testkit.errors import ToolUnavailable

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PACKAGE_PREFIX: Final = "collectionstore-"
_MEMBER: Final = "./"
_TIMEOUT_S: Final = 900.0


def uv() -> str:
    """Return the program. Raises ToolUnavailable."""
    found = shutil.which("uv") or shutil.which(REPOSITORY / ".venv-tools" / "bin" / "uv")
    if found is None:
        raise ToolUnavailable("uv is not installed: run  make install")
    return found


def version() -> str:
    """Return the version of all packages, from the file VERSION."""
    return (REPOSITORY / "VERSION").read_text().strip()


def members(package: str) -> list[str]:
    """Return the folders of the workspace members that `package` consists of, itself included: `["node", ...]`.

    Raises ToolUnavailable.
    """
    lines = _export(package, "--no-hashes", "--no-annotate", "--no-editable").splitlines()
    return sorted(line.removeprefix(_MEMBER).split()[0] for line in lines if line.startswith(_MEMBER))


def requirements(package: str) -> str:
    """Return the third-party dependencies of `package`, pinned and with hashes, as a requirements file.

    Raises ToolUnavailable.
    """
    return _export(package, "--no-emit-workspace")


def build(package: str, folder: Path) -> list[Path]:
    """Build the wheels of `package` and of the members it depends on into `folder`. Raises ToolUnavailable."""
    for member in members(package):
        run_uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(REPOSITORY / member))
    return sorted(folder.glob("*.whl"))


def run_uv(*arguments: str) -> str:
    """Run uv in the repository and return its output. Raises ToolUnavailable."""
    return _run([uv(), *arguments])


def _export(package: str, *options: str) -> str:
    # --frozen: this reads the lock; whether it is current is checked by `make install`.
    return run_uv("export", "--quiet", "--frozen", "--no-dev", "--no-header", "--package", package, *options)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise ToolUnavailable(f"{' '.join(command)}\nexited with code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout
