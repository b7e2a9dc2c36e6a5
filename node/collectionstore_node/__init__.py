"""A storage node of Collection Store: Raft over mutual TLS into RocksDB, served over HTTP.

Layers, each importing only those to its right (checked by import-linter):
`__main__` -> `app` -> `api` -> `replica` -> `storage` | `transport` -> `logs` | `metrics` | `settings` ->
`raft` | `statemachine` -> `errors`. `raft` and `statemachine` are pure: values in, values out.
"""

import sys
from importlib.metadata import version
from types import ModuleType
from typing import cast


def _import_structlog() -> None:
    """Import structlog without rich, 3 MB, which it loads where that is installed to print exceptions.

    No image of a node has it, development environments do. Nothing is lost: `collectionstore_telemetry.logs` has a form
    of exceptions of its own, without documents and secrets.
    """
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    sys.modules["rich"] = cast(ModuleType, None)  # by the language: importing it raises ModuleNotFoundError
    try:
        import structlog  # noqa: F401 - BEFORE any other module of the node imports it
    finally:
        del sys.modules["rich"]


_import_structlog()

__version__ = version("collectionstore-node")
