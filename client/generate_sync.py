"""Generate `collectionstore/synchronous/` from `collectionstore/asynchronous/`: the same without await.

`python client/generate_sync.py` says whether it is current, and `--write` writes it. What waits is in the runtime, of
which each has its own; everything else is the same text.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent / "collectionstore"
SOURCE: Final = PACKAGE / "asynchronous"
TARGET: Final = PACKAGE / "synchronous"
NOTE: Final = "# Generated from ../asynchronous by client/generate_sync.py: change it there.\n"

RULES: Final[tuple[tuple[str, str], ...]] = (
    (r"collectionstore\.asynchronous", "collectionstore.synchronous"),
    (
        r"from collectionstore\.runtime\.loop import AsyncRuntime",
        "from collectionstore.runtime.blocking import Runtime",
    ),
    (r"from collections\.abc import ([^\n]*)", "_imports"),
    (r"Awaitable\[([A-Za-z]+)\]", r"\1"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\b__aiter__\b", "__iter__"),
    (r"\b__anext__\b", "__next__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\bAsync(?=[A-Z])", ""),
)

DOCSTRINGS: Final[dict[str, str]] = {
    "The client for programs with an event loop. `synchronous` is generated from it: `client/generate_sync.py`.": (
        "The client for programs without an event loop, generated from `asynchronous`."
    ),
    "one cluster, for one event loop": "one cluster, for all threads of a process",
}


def translate(text: str) -> str:
    """Return the text of a module without await."""
    for pattern, replacement in RULES:
        if replacement == "_imports":
            text = re.sub(pattern, lambda match: _imports(match[1]), text)
        else:
            text = re.sub(pattern, replacement, text)
    for before, after in DOCSTRINGS.items():
        text = text.replace(before, after)
    return NOTE + text


def _imports(names: str) -> str:
    kept = {name.removeprefix("Async") for name in names.split(", ") if name != "Awaitable"}
    return f"from collections.abc import {', '.join(sorted(kept))}"


def generate() -> dict[str, str]:
    """Return the generated modules by their names, formatted."""
    return {path.name: _formatted(translate(path.read_text()), path.name) for path in sorted(SOURCE.glob("*.py"))}


def _formatted(text: str, name: str) -> str:
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET / name), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=PACKAGE.parents[1],
        )
        text = done.stdout
    return text


def stale(modules: dict[str, str]) -> list[str]:
    """Return the names of modules that are missing, superfluous, or not as they would be generated."""
    present = {path.name: path.read_text() for path in TARGET.glob("*.py")}
    return sorted(name for name in present.keys() | modules.keys() if present.get(name) != modules.get(name))


def main(arguments: list[str]) -> int:
    """Write, or check; return the exit code."""
    modules = generate()
    if arguments == ["--write"]:
        TARGET.mkdir(exist_ok=True)
        for name in stale(modules):
            if name in modules:
                (TARGET / name).write_text(modules[name])
            else:
                (TARGET / name).unlink()
        return 0
    if arguments:
        sys.stderr.write("generate_sync.py takes --write, or nothing\n")
        return 64
    wrong = stale(modules)
    if wrong:
        sys.stderr.write(f"not current: {', '.join(wrong)}; run python client/generate_sync.py --write\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
