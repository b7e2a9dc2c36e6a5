"""Wheels and requirements of the workspace's packages, by uv: what an image of a program contains.

The lock decides which members of the workspace and which dependencies a package needs; nothing is listed twice.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import ToolUnavailable
from collectionstore_testkit.places import REPOSITORY

_MEMBER: Final = "./"


def uv() -> str:
    """Return the program. Raises ToolUnavailable."""
    found = shutil.which("uv") or shutil.which(REPOSITORY / ".venv-tools" / "bin" / "uv")
    if found is None:
        raise ToolUnavailable("uv is not installed: run  make install")
    return found


def version() -> str:
    """Return the version of all packages, from the file VERSION."""
    return (REPOSITORY / "VERSION").read_text().strip()


def members(package: str, repository: Path = REPOSITORY) -> list[str]:
    """Return the folders of the workspace members that `package` consists of, itself included: `["node", ...]`.

    Raises ToolError.
    """
    lines = export(repository, "--no-hashes", "--no-editable", "--package", package).splitlines()
    return sorted(line.removeprefix(_MEMBER).split()[0] for line in lines if line.startswith(_MEMBER))


def requirements(package: str, repository: Path = REPOSITORY) -> str:
    """Return the third-party dependencies of `package`, pinned and with hashes, as a requirements file.

    Raises ToolError.
    """
    return export(repository, "--no-emit-workspace", "--package", package)


def build(package: str, folder: Path, repository: Path = REPOSITORY) -> list[Path]:
    """Build the wheels of `package` and of the members it depends on into `folder`. Raises ToolError."""
    for member in members(package, repository):
        run_uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(repository / member))
    return sorted(folder.glob("*.whl"))


def install(requirements: str, target: Path, *, python_version: str | None = None) -> None:
    """Install what a requirements file names into the folder `target`, from wheels only.

    `python_version`, such as `3.11`, selects wheels for another Python than the running one. Raises ToolError.
    """
    target.mkdir(parents=True)
    listed = target.parent / "requirements.txt"
    listed.write_text(requirements)
    command = ["pip", "install", "--quiet", "--python", sys.executable]
    command += ["--python-version", python_version] if python_version else []
    command += ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy"]
    run_uv(*command, "--target", str(target), "--requirements", str(listed))


def run_uv(*arguments: str) -> str:
    """Run uv in the repository and return its output. Raises ToolError."""
    return run([uv(), *arguments], cwd=REPOSITORY)


def export(repository: Path, *options: str) -> str:
    """Return what the lock of a checkout says, as a requirements file. Raises ToolError."""
    # --frozen: this reads the lock; whether it is current is checked by `make install`. Without annotations two locks
    # that name the same versions give the same text, and so the same cached layer.
    common = ["export", "--quiet", "--frozen", "--no-dev", "--no-header", "--no-annotate"]
    return run_uv("--directory", str(repository), *common, *options)
