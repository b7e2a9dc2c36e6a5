"""Where csctl and the kubectl plugin begin: the library installs without what they need; this says what is missing."""

from __future__ import annotations

import importlib
import sys
from typing import Final

EXTRA: Final = frozenset(("click", "rich", "prompt_toolkit"))
"""Packages of the extra `collectionstore[cli]`."""


def csctl() -> None:
    """Run csctl."""
    _run("collectionstore.csctl", "csctl")


def kubectl_plugin() -> None:
    """Run `kubectl collectionstore`."""
    _run("collectionstore.plugin", "kubectl collectionstore")


def _run(module: str, name: str) -> None:
    try:
        program = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        sys.exit(
            f"Error: {name} needs the package {missing}, which is not installed. "
            "Install all that it needs: pip install 'collectionstore[cli]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    program.run()
