"""Tests of the generator of streams: what it asks the loop for, and what it reports."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

import pytest

from collectionstore_bench.generators import pipelined, programs
from collectionstore_bench.generators.load import Load, Result, Work
from collectionstore_bench.load.http_load import Measured, Target


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """A generator is a program of its own, and stops collecting garbage."""
    yield
    gc.enable()
    gc.unfreeze()


def test_existing_documents_are_used_and_nothing_is_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the nodes would work for operations that are not counted."""
    asked: dict[str, object] = {}
    module = ModuleType(pipelined.STREAM_MODULE)

    def encode_operations(op: str, collection: str, documents: Sequence[tuple[str, bytes]]) -> list[str]:
        asked.update(op=op, collection=collection, size=len(documents[0][1]), name=documents[0][0])
        return [name for name, _ in documents]

    async def run_stream_round(targets: Sequence[Target], operations: Sequence[str], **options: object) -> Measured:
        asked.update(options, targets=targets, operations=len(operations))
        return Measured(2.0, [0.001, 0.002, 0.003], {"503": 1}, {})

    module.encode_operations = encode_operations  # type: ignore[attr-defined]
    module.run_stream_round = run_stream_round  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, pipelined.STREAM_MODULE, module)
    load = Load(Work.GET, 1000)
    command = programs.pipelined(load, ["http://127.0.0.1:1", "http://127.0.0.1:2"], seconds=2)
    assert command[:3] == [sys.executable, "-m", programs.PIPELINED]
    result = pipelined.measure(pipelined.parse_options(command[3:]))
    assert result == Result(3, 2.0, 2000.0, 3000.0, 3000.0, {"503": 1})
    assert str(asked.pop("name")).startswith(load.prefix)
    assert asked == {
        "op": "get_document",
        "collection": "bench",
        "size": 255,
        "targets": [Target("127.0.0.1", 1, tls=False)],
        "operations": load.keys,
        "connections": pipelined.STREAMS,
        "inflight": 1000,
        "seconds": 2.0,
        "warm_up_s": 0.0,
    }
