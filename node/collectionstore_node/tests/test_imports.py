"""What a running node has not loaded: memory that every node would hold for what few use."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

PROGRAM: Final = """
import sys
import collectionstore_node.__main__
print(*sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    """The modules of a node that is about to start, with no tracing."""
    command = [sys.executable, "-c", PROGRAM]
    return frozenset(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ("opentelemetry", "tracing is off unless an endpoint is set"),
        ("google", "protobuf is of the exporters of traces"),
        ("grpc", "as protobuf"),
        ("requests", "the exporters' client, and that of other programs"),
        ("rich", "structlog loads it if it is installed, for what ours does in another way"),
        ("pygments", "rich loads it"),
        ("multiprocessing", "a node is one process"),
        ("kopf", "of the operator"),
        ("kubernetes", "of the operator"),
        ("collectionstore_node.backup", "a program of its own"),
        ("collectionstore_node.tracing", "tracing is off unless an endpoint is set"),
        ("collectionstore_node.tests", "not part of a node"),
    ],
)
def test_node_does_not_load(loaded: frozenset[str], package: str, why: str) -> None:
    found = sorted(name for name in loaded if name == package or name.startswith(package + "."))
    assert not found, why


def test_node_loads_what_it_serves_with(loaded: frozenset[str]) -> None:
    """So that the names above are those that would be in the list."""
    assert {"aiohttp", "structlog", "prometheus_client", "rocksdict", "collectionstore_node.app"} <= loaded


def test_rich_can_be_imported_afterwards() -> None:
    """A program that uses both, such as a test, finds it where it is installed."""
    program = "import collectionstore_node, sys; assert 'rich' not in sys.modules; import rich.console"
    subprocess.run([sys.executable, "-c", program], check=True)
