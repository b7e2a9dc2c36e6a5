"""An older commit of this repository, checked out and installed: what upgrades start from and downgrades return to.

A checkout is a git worktree below `build/older/`, kept for the next run. It is installed by its own `.ci/install`, so
its programs run with the dependencies that its own lock names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import CommandFailed, ToolUnavailable
from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.tools import wheels

FIRST: Final = "dbff4e38dccf676a2ccefdc5f309332549701434"
"""The oldest commit that upgrades are tested from: the last one before the workspace."""
CHECKOUTS: Final = REPOSITORY / "build" / "older"


@dataclass(frozen=True, slots=True)
class OlderVersion:
    """The checkout of an older commit; `revision` is its full hash."""

    revision: str
    path: Path

    @property
    def python(self) -> Path:
        """The interpreter of its environment, which knows its packages; exists after `install`."""
        return self.path / ".venv" / "bin" / "python"

    @property
    def csctl(self) -> Path:
        """Its `csctl`; exists after `install`."""
        return self.python.with_name("csctl")

    def install(self) -> None:
        """Install it into a separate virtual environment. Raises ToolError."""
        # Its script looks for uv on PATH; without this it would install one more.
        path = f"{Path(wheels.uv()).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | {"PATH": path}
        run(["bash", ".ci/install"], cwd=self.path, environment=environment)

    def requirements(self, package: str) -> str:
        """Return the third-party dependencies of a package, as `wheels.requirements` does. Raises ToolError."""
        if self._is_workspace:
            return wheels.requirements(package, self.path)
        extra = package.removeprefix("collectionstore-")
        return wheels.export(self.path, "--no-emit-project", "--extra", extra)

    def build(self, package: str, folder: Path) -> list[Path]:
        """Build the wheels that a package consists of into `folder`. Raises ToolError."""
        if self._is_workspace:
            return wheels.build(package, folder, self.path)
        # Before the workspace one wheel held every program.
        wheels.run_uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(self.path))
        return sorted(folder.glob("*.whl"))

    @property
    def _is_workspace(self) -> bool:
        return (self.path / "node" / "pyproject.toml").exists()


def check_out(commit: str = FIRST) -> OlderVersion:
    """Return the checkout of a commit, made now or by an earlier run. Raises ToolError."""
    revision = _revision(commit) or _fetch(commit)
    path = CHECKOUTS / revision[:12]
    if not (path / ".git").exists():
        # A deleted folder is still listed, and would be refused.
        _git("worktree", "prune")
        _git("worktree", "add", "--force", "--detach", str(path), revision)
    return OlderVersion(revision, path)


def _revision(commit: str) -> str:
    """Return the full hash of a commit, empty if this clone does not have it."""
    try:
        return _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except CommandFailed:
        return ""


def _fetch(commit: str) -> str:
    """Get a commit that a shallow clone lacks; return its full hash. Raises ToolUnavailable."""
    try:
        _git("fetch", "--quiet", "--unshallow")
        return _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except CommandFailed as error:
        raise ToolUnavailable(f"this clone does not have the commit {commit}, nor has its remote: {error}") from error


def supported_level(python: Path) -> int:
    """Return the highest feature level that the node of an interpreter supports. Raises ToolError."""
    code = (
        "from importlib.util import find_spec\n"
        "name = 'collectionstore_node.statemachine.levels'\n"
        "print(__import__(name, fromlist=['HIGHEST']).HIGHEST if find_spec(name) else 1)"
    )
    return int(run([python, "-P", "-c", code]))


def _git(*arguments: str) -> str:
    return run(["git", *arguments], cwd=REPOSITORY).strip()
