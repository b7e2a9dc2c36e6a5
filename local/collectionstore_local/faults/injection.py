"""Faults as csctl makes and ends them: links through the fault proxy, pauses and kills by signal.

Made for clusters of this machine alone: a fault is a file in the folder of a local cluster, a signal to a process of
it, and a node takes routes on loopback only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from collectionstore_local.errors import ExitCode, LocalError
from collectionstore_local.faults.link_faults import (
    LinkFault,
    Wanted,
    forget_routes,
    read_report,
    read_wanted,
    write_wanted,
)
from collectionstore_local.processes import process, records
from collectionstore_local.processes.process import adopt, is_paused
from collectionstore_local.processes.supervision import is_locked
from collectionstore_local.state.directory import ClusterDirectory

MODULE = "collectionstore_local.faults.proxy"
ANSWER_S = 10.0
"""How long the proxy may take to do what it is asked for."""
END_S = 5.0
JOIN_S = 1.5
"""How long members may take to connect through the proxy before a fault begins; those that do not are met later."""
POLL_S = 0.02


class ClusterDown(LocalError):
    """The command needs a running cluster, or a running member, and this one is stopped."""

    exit_code = ExitCode.NOT_FOUND


class ProxyLost(LocalError):
    """The fault proxy does not do what it is asked for; the message names its log."""


@dataclass(frozen=True, slots=True)
class Active:
    """The faults that are in force. `orphaned`: the proxy has ended, so that no member reaches another."""

    links: tuple[LinkFault, ...]
    paused: tuple[str, ...]
    orphaned: bool

    def __bool__(self) -> bool:
        return bool(self.links or self.paused or self.orphaned)

    def lines(self) -> tuple[str, ...]:
        """Return each fault in words."""
        lines = [str(link) for link in self.links] + [f"{name}: paused" for name in self.paused]
        if self.orphaned:
            lines.append("the fault proxy has ended unasked: members cannot reach each other")
        return tuple(lines)


def active(directory: ClusterDirectory) -> Active:
    """Return which faults are in force now."""
    wanted = read_wanted(directory)
    paused = tuple(
        name
        for name in directory.node_names()
        if (one := records.living_process(directory.node(name))) is not None and is_paused(one.pid)
    )
    orphaned = wanted is not None and not is_locked(directory.proxy_lock)
    return Active(wanted.links if wanted is not None else (), paused, orphaned)


def strain(directory: ClusterDirectory, faults: tuple[LinkFault, ...]) -> Active:
    """Put faults on links, in place of earlier ones on the same links; they are in force when this returns.

    Connections are led through the proxy first and the fault begins on them, so that a partition is one in which
    connections stay open. Raises ProxyLost.
    """
    with directory.edit():
        wanted = stand_proxy(directory)
        _await_connections(directory, wanted, faults)
        ask(directory, wanted.adding(faults))
    return active(directory)


def stand_proxy(directory: ClusterDirectory) -> Wanted:
    """Have a fault proxy between all members, which passes everything on so far; return what is asked of it.

    The caller holds `directory.edit`. Raises ProxyLost.
    """
    wanted = read_wanted(directory)
    if wanted is None:
        wanted = Wanted(generation=1)
        write_wanted(directory, wanted)
    started = 0.0
    deadline = time.monotonic() + ANSWER_S
    while not is_locked(directory.proxy_lock) or not _has_done(directory, wanted):
        now = time.monotonic()
        if now > deadline:
            raise ProxyLost(f"the fault proxy does not start; see {directory.proxy_log}")
        # One that is about to end may still hold the lock, so that a new one finds itself unneeded: once is not enough.
        if not is_locked(directory.proxy_lock) and now - started > 1.0:
            directory.fault_report.unlink(missing_ok=True)
            command = (sys.executable, "-P", "-m", MODULE, str(directory.path))
            process.start(command, os.environ, output=directory.proxy_log).close()
            started = now
        time.sleep(POLL_S)
    return wanted


def ask(directory: ClusterDirectory, wanted: Wanted) -> None:
    """Ask the proxy for faults and return when they are in force. The caller holds `directory.edit`."""
    write_wanted(directory, wanted)
    if not _wait(lambda: _has_done(directory, wanted), ANSWER_S):
        raise ProxyLost(f"the fault proxy does not answer; see {directory.proxy_log}, end it: csctl local heal")


def heal(directory: ClusterDirectory) -> tuple[str, ...]:
    """End every fault: paused members go on, links are whole and direct again. Return what was ended, in words."""
    ended = active(directory).lines()
    for name in directory.node_names():
        resume(directory, name)
    with directory.edit():
        directory.faults.unlink(missing_ok=True)
        if not _wait(lambda: not is_locked(directory.proxy_lock), END_S):
            _end_proxy(directory)
        forget_routes(directory)
    return ended


def _end_proxy(directory: ClusterDirectory) -> None:
    """Kill a proxy that did not end by itself. Raises ProxyLost."""
    report = read_report(directory)
    held = adopt(report.process) if report is not None else None
    if held is not None:
        held.send(signal.SIGKILL)
        held.close()
    if not _wait(lambda: not is_locked(directory.proxy_lock), END_S):
        raise ProxyLost(f"the fault proxy does not end; see {directory.proxy_log}")


def signal_member(directory: ClusterDirectory, name: str, number: signal.Signals) -> int:
    """Send a signal to the process of a member; return its pid. Raises ClusterDown when it does not run."""
    recorded = records.load(directory.node(name)).process
    held = adopt(recorded) if recorded is not None else None
    if held is None:
        raise ClusterDown(f"{name} does not run; see csctl local status")
    held.send(number)
    held.close()
    return held.name.pid


def pause(directory: ClusterDirectory, name: str) -> None:
    """Hold the process of a member; it stands when this returns. Raises ClusterDown when it does not run."""
    pid = signal_member(directory, name, signal.SIGSTOP)
    _wait(lambda: is_paused(pid) or records.living_process(directory.node(name)) is None, ANSWER_S)


def resume(directory: ClusterDirectory, name: str) -> None:
    """Let a paused member go on; nothing happens when it is not paused, or has ended."""
    living = records.living_process(directory.node(name))
    if living is not None and is_paused(living.pid):
        try:
            signal_member(directory, name, signal.SIGCONT)
        except ClusterDown:
            pass  # it has ended meanwhile


def _await_connections(directory: ClusterDirectory, wanted: Wanted, faults: Iterable[LinkFault]) -> None:
    """Give the members that are about to be strained a moment to be connected through the proxy."""
    able = []
    for name in directory.node_names():
        living = records.living_process(directory.node(name))
        if living is not None and not is_paused(living.pid):
            able.append(name)
    links = [
        (source, target)
        for source in able
        for target in able
        if source != target and wanted.on(source, target) is None and any(one.meets(source, target) for one in faults)
    ]

    def connected() -> bool:
        report = read_report(directory)
        return report is not None and all(report.connections.get(one, {}).get(other) for one, other in links)

    _wait(connected, JOIN_S)


def _has_done(directory: ClusterDirectory, wanted: Wanted) -> bool:
    report = read_report(directory)
    return report is not None and report.generation >= wanted.generation


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
