"""A store spoken to in one protocol: which generator loads it, and how its result is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collectionstore_bench.contest.cases import Case, Protocol
from collectionstore_bench.contest.stores import Store
from collectionstore_bench.generators import programs, running
from collectionstore_bench.generators.load import Load, Result


@dataclass(frozen=True, slots=True)
class Tools:
    """The load generators and the text that their documents are cut from."""

    wrk: Sequence[str]
    """The words that start it."""
    etcd_load: Path | None
    filling: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """A store and a protocol; `dialect` is the REST interface that wrk.lua speaks: ours or etcd's."""

    store: Store
    protocol: Protocol
    dialect: str = "ours"

    @property
    def name(self) -> str:
        return f"{self.store.name} {self.protocol}"

    async def run(self, load: Load, urls: Sequence[str], tools: Tools, *, seconds: float) -> tuple[Result, float]:
        """Run the generator; return its result and its processor time in seconds.

        Raises CommandFailed, UnreadableOutput.
        """
        used = urls if load.spread else urls[:1]
        match self.protocol:
            case Protocol.REST:
                command = programs.wrk(tools.wrk, self.dialect, load, used, seconds=seconds, filling=tools.filling)
                parse = programs.parse_wrk
            case Protocol.GRPC:
                if tools.etcd_load is None:
                    raise ValueError("etcd-load was not built")
                command = programs.etcd_load(tools.etcd_load, load, used, seconds=seconds, filling=tools.filling)
                parse = programs.parse_result
            case Protocol.STREAM:
                command = programs.pipelined(load, used, seconds=seconds)
                parse = programs.parse_result
        printed, cpu_s = await running.run(command, seconds=seconds)
        return parse(printed), cpu_s


def contenders_of(case: Case, ours: Store, other: Store, *, other_dialect: str, stream: bool) -> list[Contender]:
    """Return who is measured in a case, ours first; none for ours if it has no `stream`."""
    found = [] if case.ours is Protocol.STREAM and not stream else [Contender(ours, case.ours)]
    return found + [Contender(other, protocol, other_dialect) for protocol in case.others]
