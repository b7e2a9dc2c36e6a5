"""The tutorial of csctl is true: its commands are run as they are written, and show what it says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
import structlog

from collectionstore.testing import running_memory_store
from collectionstore.tests.data.running import Csctl

PAGE = Path(__file__).parents[4] / "docs" / "start" / "csctl.md"


def steps() -> list[tuple[str, list[str]]]:
    """Return the commands of the page, each with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def shows(said: list[str], shown: list[str]) -> bool:
    """Whether these lines were shown; `...` stands for the rest of a line, or for any lines."""
    pattern = "\n".join(re.escape(line).replace(r"\.\.\.", "(?s:.*)") for line in said)
    return re.fullmatch(pattern, "\n".join(shown)) is not None


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = steps()
    assert len(found) > 15
    with structlog.testing.capture_logs(), running_memory_store() as store:
        csctl = Csctl(store.url, tmp_path)
        for command, said in found:
            words = shlex.split(command)
            assert words[0] == "csctl"
            outcome = csctl(*words[1:])
            lines = [line.rstrip() for line in (outcome.out + outcome.err).splitlines()]
            assert outcome.code == 0, (command, outcome.err)
            assert shows(said, lines), (command, lines)
    assert os.listdir(tmp_path)
