"""The command lines of the load generators, and how their output is read. Nothing is run here.

wrk and etcd-load report corrected latencies: a request that took at least twice the mean stands for those that its
stalled client did not send (wrk's `stats_correct`). The generator of streams reports what it measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from collectionstore_bench.generators.load import Load, Result
from collectionstore_bench.generators.pipelined import STREAM_MODULE

SCRIPT: Final = Path(__file__).with_name("wrk.lua")
MARKER: Final = "result "
PIPELINED: Final = "collectionstore_bench.generators.pipelined"
GRPC_CONNECTIONS: Final = 16
TIMEOUT_S: Final = 5


class UnreadableOutput(Exception):
    """A generator did not print a result; the text contains what it printed."""


def wrk(
    program: Sequence[str], store: str, load: Load, urls: Sequence[str], *, seconds: float, filling: Path
) -> list[str]:
    """Return the command of wrk against `store`, `ours` or `etcd`.

    One thread per node, because the nodes share this machine with it. Raises ValueError for what wrk would round: parts
    of seconds, and a number of clients that its threads cannot share evenly.
    """
    if seconds != int(seconds) or load.clients % len(urls):
        raise ValueError(f"wrk cannot run for {seconds:g} s, or with {load.clients} connections to {len(urls)} nodes")
    nodes = [word for url in urls for word in _host_and_port(url)]
    arguments = [store, load.work, str(load.keys), str(load.size), str(filling), load.prefix, *nodes]
    threads = len(urls)
    command = [*program, "--threads", str(threads), "--connections", str(load.clients)]
    command += ["--duration", f"{seconds:.0f}s", "--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT)]
    return [*command, urls[0], "--", *arguments]


def parse_wrk(printed: str) -> Result:
    """Return the result in the output of wrk with `wrk.lua`. Raises UnreadableOutput."""
    lines = [line for line in printed.splitlines() if line.startswith(MARKER)]
    if len(lines) != 1:
        raise UnreadableOutput(f"wrk printed no result but:\n{printed}")
    read = parse_result(lines[0].removeprefix(MARKER))
    return msgspec.structs.replace(read, errors={cause: count for cause, count in read.errors.items() if count})


def etcd_load(program: Path, load: Load, urls: Sequence[str], *, seconds: float, filling: Path) -> list[str]:
    """Return the command of etcd-load, whose clients share GRPC_CONNECTIONS connections."""
    return [
        *(str(program), "-endpoints", ",".join(urls), "-connections", str(GRPC_CONNECTIONS)),
        *("-clients", str(load.clients), "-seconds", f"{seconds:g}", "-work", load.work),
        *("-keys", str(load.keys), "-bytes", str(load.size), "-filling", str(filling), "-prefix", load.prefix),
    ]


def parse_result(printed: str) -> Result:
    """Return a result that is JSON. Raises UnreadableOutput."""
    try:
        return msgspec.json.decode(printed, type=Result)
    except msgspec.DecodeError as error:
        raise UnreadableOutput(f"no result ({error}) but:\n{printed}") from error


def has_stream_load() -> bool:
    """Return whether this checkout has the generator of the pipelined stream."""
    return find_spec(STREAM_MODULE) is not None


def pipelined(load: Load, urls: Sequence[str], *, seconds: float) -> list[str]:
    """Return the command of the generator that keeps `load.clients` operations in flight at the first node."""
    return [
        *(sys.executable, "-m", PIPELINED, "--target", urls[0], "--work", load.work),
        *("--inflight", str(load.clients), "--seconds", f"{seconds:g}", "--payload", str(load.size)),
    ]


def _host_and_port(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url!r} is not a base URL with a port like http://127.0.0.1:7400")
    return parts.hostname, str(parts.port)
