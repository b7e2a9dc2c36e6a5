"""Measure this store beside etcd, or beside an older commit of itself, under the same load in interleaved rounds.

Both run as three nodes on this machine with mutual TLS between the nodes; clients talk to the leader unless the case
says otherwise. Only one of them is loaded at a time; the other one idles, and what that costs is in the last table.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from collectionstore_bench.contest import etcd_cluster, results
from collectionstore_bench.contest.cases import Case, Protocol
from collectionstore_bench.contest.contenders import Contender, Tools, contenders_of
from collectionstore_bench.contest.options import Options, parse_options
from collectionstore_bench.contest.our_cluster import our_cluster, unchecked
from collectionstore_bench.contest.report import Compared, render
from collectionstore_bench.contest.stores import Store
from collectionstore_bench.contest.summary import Results
from collectionstore_bench.contest.turns import TURN_OVERHEAD_S, Memory, Turn, memory_of, take_all
from collectionstore_bench.generators import programs, running
from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.program import exit_code, say
from collectionstore_bench.results import keep
from collectionstore_testkit.clusters.local import STATE_PARENT
from collectionstore_testkit.errors import ToolError
from collectionstore_testkit.tools import older_version, wrk
from collectionstore_testkit.tools.older_version import OlderVersion

OTHER_PORTS = 40
"""Ports between the two stores."""
TLS_PORTS = 200
"""Ports between the clusters without client TLS and those with it, whose connections may still be closing."""
OURS, BEFORE = "ours", "before"


@dataclass(slots=True)
class Measured:
    """What was measured so far."""

    turns: list[Turn] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    memory: dict[str, tuple[Memory, Memory]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


class Contest:
    """One run of the command."""

    def __init__(self, options: Options, older: OlderVersion | None, tools: Tools) -> None:
        self._options = options
        self._older = older
        self._tools = tools
        self._stream = programs.has_stream_load() and older is None
        self._cases = [self._adapted(case) for case in options.cases()]
        self._started = 0.0
        self._done = 0
        self.measured = Measured()

    async def run(self) -> Measured:
        """Measure everything; clusters with client TLS are started after the others have ended."""
        say(f"{self._turns()} turns, about {self._estimate_s() / 60:.1f} minutes")
        for tls in (False, True):
            cases = [case for case in self._cases if case.tls is tls]
            if cases:
                async with self._stores(tls=tls) as (ours, other):
                    await self._measure(cases, ours, other, tls=tls)
        return self.measured

    def _adapted(self, case: Case) -> Case:
        if self._older is None:
            return case
        return Case(case.name, case.load, Protocol.REST, (Protocol.REST,), case.tls)

    async def _measure(self, cases: Sequence[Case], ours: Store, other: Store, *, tls: bool) -> None:
        for size in sorted({case.load.size for case in cases}):
            for store in (ours, other):
                await store.fill(size)
        dialect = "ours" if self._older else "etcd"
        plan = [(case, contenders_of(case, ours, other, other_dialect=dialect, stream=self._stream)) for case in cases]
        self.measured.compared += [_compared(case, contenders, ours) for case, contenders in plan]
        before = [await memory_of(store) for store in (ours, other)]
        self._started = self._started or time.monotonic()
        options = self._options
        self.measured.turns += await take_all(
            plan, self._tools, rounds=options.rounds, seconds=options.seconds, tell=self._tell
        )
        for store, first in zip((ours, other), before, strict=True):
            name = f"{store.name}{', client TLS' if tls else ''}"
            self.measured.memory[name] = (first, await memory_of(store))
            self.measured.versions[store.name] = store.version

    @asynccontextmanager
    async def _stores(self, *, tls: bool) -> AsyncIterator[tuple[Store, Store]]:
        port = self._options.base_port + (TLS_PORTS if tls else 0)
        say(f"starting three nodes each{', with client TLS' if tls else ''}")
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(our_cluster(OURS, base_port=port, tls=tls))
            other_port = port + OTHER_PORTS
            if self._older is not None:
                other: Store = await stack.enter_async_context(
                    our_cluster(BEFORE, base_port=other_port, tls=tls, program=self._older.csctl)
                )
            else:
                connector = aiohttp.TCPConnector(ssl=unchecked())
                session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
                other = await stack.enter_async_context(
                    etcd_cluster.etcd_cluster(session, base_port=other_port, tls=tls)
                )
            yield ours, other

    def _turns(self) -> int:
        missing = sum(case.ours is Protocol.STREAM and not self._stream for case in self._cases)
        return self._options.rounds * (sum(1 + len(case.others) for case in self._cases) - missing)

    def _estimate_s(self) -> float:
        return self._turns() * (self._options.seconds + TURN_OVERHEAD_S)

    def _tell(self, turn: Turn) -> None:
        self._done += 1
        left = (self._turns() - self._done) * (time.monotonic() - self._started) / self._done
        trouble = ", WITH ERRORS" if turn.errors or turn.leader_changed else ""
        say(
            f"[{self._done:3}/{self._turns()}, {left / 60:4.1f} min left] round {turn.round + 1}: {turn.case:22} "
            f"{turn.contender:12} {turn.per_second:>9,.0f}/s{trouble}"
        )


def _compared(case: Case, contenders: Sequence[Contender], ours: Store) -> Compared:
    names = [contender.name for contender in contenders]
    own = next((one.name for one in contenders if one.store is ours), "")
    return Compared(case.name, own, [name for name in names if name != own])


def settings_of(options: Options, versions: dict[str, str]) -> dict[str, object]:
    """Return under which settings the figures hold."""
    return {
        "profile": options.profile,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "versions": versions,
        "compared_with": options.commit or "etcd",
        "grpc_connections": programs.GRPC_CONNECTIONS,
        "peer_tls": True,
        "fsync": True,
    }


def lines_of(options: Options, versions: dict[str, str]) -> list[str]:
    """Return the settings as text."""
    stores = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"stores    {stores}; three nodes each, peer TLS, fsync on, clients at the leader; the other one idles",
        f"settings  {options.profile}: {options.rounds} rounds in turns of {options.seconds:g} s, 255 B unless named; "
        f"REST by wrk, gRPC by etcd's client over {programs.GRPC_CONNECTIONS} connections",
    ]
    if not programs.has_stream_load() and not options.commit:
        lines.append("missing   this checkout has no load generator for its pipelined stream")
    return lines


async def run(options: Options, older: OlderVersion | None) -> Measured:
    """Measure everything. Raises ClusterFailed, ToolError, UnreadableOutput, OSError."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    etcd_load = None if older else etcd_cluster.programs_folder() / "etcd-load"
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(wrk.command(), etcd_load, running.write_filling(Path(folder)))
        return await Contest(options, older, tools).run()


def publish(options: Options, machine: Machine, measured: Measured) -> None:
    """Print the result and keep it."""
    content = results.as_json(machine, settings_of(options, measured.versions), measured.turns, measured.memory)
    tables = render(Results(measured.turns), measured.compared, measured.memory)
    page = "\n".join([*machine.lines(), *lines_of(options, measured.versions), "", tables])
    print(content if options.output == "json" else page)
    if options.keep:
        kind = f"{'compare' if options.commit else 'etcd'}-{options.profile}"
        say(f"kept: {keep(kind, machine, content, page)}")


def main() -> int:
    """Run; 0 measured, 1 a store or a generator failed, 130 interrupted."""
    options = parse_options(__doc__ or "")
    machine = describe(STATE_PARENT)

    def work() -> int:
        older = None
        if options.commit:
            older = older_version.check_out(options.commit)
            say(f"installing {older.revision[:12]}")
            older.install()
        publish(options, machine, asyncio.run(run(options, older)))
        return 0

    return exit_code(work, ToolError, programs.UnreadableOutput)


if __name__ == "__main__":
    sys.exit(main())
