"""What bash, zsh and fish are offered: commands, options, and names of the cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collectionstore.tests.data.running import Csctl

PROGRAM = Path(sys.executable).with_name("csctl")


@pytest.fixture
def shelf(csctl: Csctl) -> str:
    if csctl("collection", "get", "shelf").code:
        csctl.ok("collection", "create", "shelf")
        csctl.ok("put", "shelf", "dune", "title=Dune")
        csctl.ok("put", "shelf", "dusk", "title=Dusk")
        csctl.ok("index", "create", "shelf", "by_title", "title")
    return "shelf"


def offered(env: dict[str, str], *words: str) -> list[str]:
    """Return what bash is offered for the last word."""
    variables = {
        "PATH": "/usr/bin",
        "_CSCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["csctl", *words]),
        "COMP_CWORD": str(len(words)),
        **env,
    }
    done = subprocess.run([PROGRAM], env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_names_of_the_cluster_are_offered(shelf: str, env: dict[str, str], csctl: Csctl) -> None:
    csctl.ok("context", "set", "prod", "--url", csctl.url)
    assert offered(env, "fin") == ["find"]
    assert offered(env, "find", "sh") == ["shelf"]
    assert offered(env, "get", "shelf", "du") == ["dune", "dusk"]
    assert offered(env, "index", "drop", "shelf", "") == ["by_title"]
    assert offered(env, "context", "use", "p") == ["prod"]
    assert offered(env, "find", "--context", "prod", "sh") == ["shelf"]
    assert "--columns" in offered(env, "find", "--")


def test_nothing_is_offered_and_nothing_said_without_a_cluster(env: dict[str, str]) -> None:
    nowhere = {**env, "COLLECTIONSTORE_URL": "http://127.0.0.1:1"}
    assert offered(nowhere, "find", "sh") == []
    assert offered({**env, "COLLECTIONSTORE_URL": "nonsense"}, "find", "sh") == []
    assert offered(env, "get", "nope", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_those_of_the_shell(csctl: Csctl, shell: str) -> None:
    script = csctl.ok("completion", shell).out
    assert f"_CSCTL_COMPLETE={shell}_complete" in script
    program = shutil.which(shell)
    if shell == "bash":
        assert program is not None
        done = subprocess.run([program, "-n"], input=script, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
