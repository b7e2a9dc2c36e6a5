"""What a node's memory is before it serves: `python -m collectionstore_bench.storage.imports`.

One new interpreter imports what a node imports, one group after the other, and reads `/proc/self/smaps_rollup` after
each. `resident` includes the code of libraries, which processes share; `own` is what was written, which they do not.
The order counts: a group is charged with what it is the first to import.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Final

from collectionstore_bench.tables import table

GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("interpreter", ()),
    (
        "standard library",
        ("asyncio", "dataclasses", "email.parser", "logging", "ssl", "importlib.metadata"),
    ),
    ("uvloop", ("uvloop",)),
    ("cryptography", ("cryptography.x509",)),
    ("msgspec, orjson", ("msgspec", "orjson")),
    ("structlog", ("collectionstore_node",)),
    ("prometheus_client", ("prometheus_client",)),
    ("aiohttp", ("aiohttp", "aiohttp.web")),
    ("rocksdict, with RocksDB", ("rocksdict",)),
    ("the node", ("collectionstore_node.__main__",)),
)
"""What is imported, by name; the package of the node imports structlog first, in the way that it wants it."""

_PROGRAM: Final = """
import importlib, json, sys
found = []
for name, modules in json.loads(sys.argv[1]):
    for module in modules:
        importlib.import_module(module)
    with open("/proc/self/smaps_rollup") as file:
        sizes = dict(line.split()[:2] for line in file.readlines()[1:])
    own = int(sizes["Private_Dirty:"])
    found.append((name, len(sys.modules), int(sizes["Rss:"]), own))
print(json.dumps(found))
"""


def measure() -> list[tuple[str, int, int, int]]:
    """Return, after each group, its name, the number of modules, and resident and own KiB of the process."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(GROUPS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [(name, modules, rss, own) for name, modules, rss, own in json.loads(done.stdout)]


def render(found: list[tuple[str, int, int, int]]) -> str:
    """Return a table in MiB: of each group what it adds, and the sum."""
    rows = []
    before = (0, 0, 0)
    for name, modules, rss, own in found:
        rows.append((name, str(modules - before[0]), _mib(rss - before[1]), _mib(own - before[2]), _mib(rss)))
        before = (modules, rss, own)
    return table(("adds MiB", "modules", "resident", "own", "sum"), rows, right=range(1, 5))


def _mib(kib: int) -> str:
    return f"{kib / 1024:.1f}"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(prog="python -m collectionstore_bench.storage.imports", description=__doc__).parse_args()
    sys.stdout.write(render(measure()) + "\n")


if __name__ == "__main__":
    main()
