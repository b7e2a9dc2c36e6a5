"""The client alone: its wheel in an empty environment runs csctl, without the libraries of operator and node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNWANTED = {"kopf", "kubernetes", "rocksdict", "collectionstore-operator", "collectionstore-node"}
OF_THE_COMMAND_LINE = {"click", "rich", "prompt-toolkit"}


def uv() -> str:
    """Return the uv that `make install` found or installed."""
    found = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv-tools" / "bin"))
    assert found is not None, "uv is missing: make install"
    return found


def run(*command: str | Path, allowed: int = 0) -> str:
    """Run a program outside of the checkout's environment; return its output."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == allowed, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel."""
    folder = tmp_path_factory.mktemp("client")
    run(uv(), "build", "--wheel", "--package", "collectionstore", "--out-dir", folder / "dist", ROOT)
    (built,) = (folder / "dist").glob("collectionstore-*.whl")
    return built


def installed(wheel: Path, name: str, extra: str = "") -> Path:
    """Return a virtual environment with only the client's wheel and what that depends on."""
    folder = wheel.parent / name
    run(uv(), "venv", folder)
    run(uv(), "pip", "install", "--python", folder / "bin" / "python", f"{wheel}{extra}")
    return folder


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """A virtual environment with csctl."""
    return installed(wheel, "csctl", "[cli]")


def test_the_library_needs_no_command_line(wheel: Path) -> None:
    library = installed(wheel, "library")
    lines = run(uv(), "pip", "list", "--python", library / "bin" / "python", "--format", "freeze").splitlines()
    assert not {line.partition("==")[0].lower() for line in lines} & (UNWANTED | OF_THE_COMMAND_LINE)
    run(library / "bin" / "python", "-c", "import collectionstore; collectionstore.AsyncClient")
    for program in ("csctl", "kubectl-collectionstore"):
        told = run(library / "bin" / program, "find", "books", allowed=1)
        assert "pip install 'collectionstore[cli]'" in told
        assert "Traceback" not in told


def test_nothing_of_the_operator_or_the_node_is_installed(environment: Path) -> None:
    lines = run(uv(), "pip", "list", "--python", environment / "bin" / "python", "--format", "freeze").splitlines()
    installed = {line.partition("==")[0].lower() for line in lines}
    assert "collectionstore" in installed
    assert not installed & UNWANTED


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["report", "--help"]])
def test_csctl_runs(environment: Path, arguments: list[str]) -> None:
    assert "csctl" in run(environment / "bin" / "csctl", *arguments)


def test_plugin_runs_and_says_what_kubernetes_needs(environment: Path) -> None:
    plugin = environment / "bin" / "kubectl-collectionstore"
    assert "kubectl collectionstore status" in run(plugin, "--help")
    assert "pip install 'collectionstore[kubernetes]'" in run(plugin, "status", "demo", allowed=1)
    assert "pip install collectionstore-local" in run(plugin, "status", "--local", allowed=1)


def test_commands_of_other_packages_say_what_to_install(environment: Path) -> None:
    csctl = environment / "bin" / "csctl"
    assert "pip install collectionstore-local" in run(csctl, "local", "up", "-f", "x.yaml", allowed=1)
    assert "pip install collectionstore-local" in run(csctl, "log-level", allowed=1)
    assert "pip install collectionstore-local" in run(csctl, "report", allowed=1)
    assert "pip install 'collectionstore[kubernetes]'" in run(csctl, "report", "demo", "-k", allowed=1)
