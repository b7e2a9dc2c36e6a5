"""Injects and ends faults: on links through the fault proxy, pauses and kills by signal.

For local clusters only: a fault is a file in the directory of the cluster or a signal to one of its processes, and a
node follows routes only while it listens on loopback.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError
from collectionstore_local.faults.link_faults import (
    DesiredFaults,
    LinkFault,
    delete_routes,
    read_desired_faults,
    read_report,
    write_desired_faults,
)
from collectionstore_local.processes import node_records, process
from collectionstore_local.processes.process import adopt, is_paused
from collectionstore_local.processes.supervisor_process import is_locked
from collectionstore_local.state.directory import ClusterDirectory

MODULE = "collectionstore_local.faults.proxy"
PROXY_TIMEOUT_S = 10.0
"""For the proxy to start, or to put faults into force."""
PROXY_STOP_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 1.5
"""For members to connect through the proxy before a fault begins; it applies to later connections too."""
POLL_S = 0.02


class ClusterDown(LocalError):
    """The command needs a running cluster or member, and this one is stopped."""

    exit_code = ExitCode.NOT_FOUND


class ProxyLost(LocalError):
    """The fault proxy did not start, respond or stop in time; the message names its log."""


@dataclass(frozen=True, slots=True)
class ActiveFaults:
    """The faults in force. `orphaned`: the proxy has ended unexpectedly, so that no member reaches another."""

    links: tuple[LinkFault, ...]
    paused: tuple[str, ...]
    orphaned: bool

    def __bool__(self) -> bool:
        return bool(self.links or self.paused or self.orphaned)

    def lines(self) -> tuple[str, ...]:
        """Return a line for each fault, for messages."""
        lines = [str(link) for link in self.links] + [f"{name}: paused" for name in self.paused]
        if self.orphaned:
            lines.append("the fault proxy has ended unexpectedly: members cannot reach each other")
        return tuple(lines)


def active_faults(directory: ClusterDirectory) -> ActiveFaults:
    """Return the faults in force now."""
    desired = read_desired_faults(directory)
    paused = tuple(
        name
        for name in directory.node_names()
        if (one := node_records.running_process(directory.node(name))) is not None and is_paused(one.pid)
    )
    orphaned = desired is not None and not is_locked(directory.proxy_lock)
    return ActiveFaults(desired.links if desired is not None else (), paused, orphaned)


def inject(directory: ClusterDirectory, faults: tuple[LinkFault, ...]) -> ActiveFaults:
    """Inject faults on links, superseding earlier ones on the same links; they are in force on return.

    Raises ProxyLost.
    """
    with directory.edit_lock():
        current = ensure_proxy(directory)
        # Connections go through the proxy BEFORE the fault begins: in a partition they stay open, and members have to
        # detect it by themselves.
        _await_connections(directory, current, faults)
        apply_faults(directory, current.with_faults(faults))
    return active_faults(directory)


def ensure_proxy(directory: ClusterDirectory) -> DesiredFaults:
    """Start the fault proxy if it does not run, without faults; return the desired faults.

    The caller holds `directory.edit_lock`. Raises ProxyLost.
    """
    desired = read_desired_faults(directory)
    if desired is None:
        desired = DesiredFaults(generation=1)
        write_desired_faults(directory, desired)
    started = 0.0
    deadline = time.monotonic() + PROXY_TIMEOUT_S
    while not is_locked(directory.proxy_lock) or not _is_in_force(directory, desired):
        now = time.monotonic()
        if now > deadline:
            raise ProxyLost(f"the fault proxy did not start; see {directory.proxy_log}")
        # A proxy that is about to end may still hold the lock, and a new one then exits: start it again each second.
        if not is_locked(directory.proxy_lock) and now - started > 1.0:
            directory.fault_report.unlink(missing_ok=True)
            command = (sys.executable, "-P", "-m", MODULE, str(directory.path))
            process.start(command, os.environ, output=directory.proxy_log).close()
            started = now
        time.sleep(POLL_S)
    return desired


def apply_faults(directory: ClusterDirectory, desired: DesiredFaults) -> None:
    """Set the desired faults and return when they are in force. The caller holds `directory.edit_lock`."""
    write_desired_faults(directory, desired)
    if not _wait(lambda: _is_in_force(directory, desired), PROXY_TIMEOUT_S):
        raise ProxyLost(f"the fault proxy does not respond; see {directory.proxy_log}, stop it: csctl local heal")


def heal(directory: ClusterDirectory) -> tuple[str, ...]:
    """End every fault: resume paused members, stop the proxy. Return a line for each fault that was ended."""
    ended = active_faults(directory).lines()
    for name in directory.node_names():
        resume(directory, name)
    with directory.edit_lock():
        directory.faults.unlink(missing_ok=True)
        if not _wait(lambda: not is_locked(directory.proxy_lock), PROXY_STOP_TIMEOUT_S):
            _kill_proxy(directory)
        # AFTER the proxy has stopped: it writes routes as long as it runs.
        delete_routes(directory)
    return ended


def _kill_proxy(directory: ClusterDirectory) -> None:
    """Kill a proxy that did not stop by itself. Raises ProxyLost."""
    report = read_report(directory)
    held = adopt(report.process) if report is not None else None
    if held is not None:
        held.send(signal.SIGKILL)
        held.close()
    if not _wait(lambda: not is_locked(directory.proxy_lock), PROXY_STOP_TIMEOUT_S):
        raise ProxyLost(f"the fault proxy does not stop; see {directory.proxy_log}")


def signal_member(directory: ClusterDirectory, name: str, number: signal.Signals) -> int:
    """Send a signal to the process of a member; return its pid. Raises ClusterDown if it does not run."""
    recorded = node_records.load(directory.node(name)).process
    held = adopt(recorded) if recorded is not None else None
    if held is None:
        raise ClusterDown(f"{name} is not running; see csctl local status")
    held.send(number)
    held.close()
    return held.identity.pid


def pause(directory: ClusterDirectory, name: str) -> None:
    """Stop the process of a member with SIGSTOP; it is stopped on return. Raises ClusterDown if it does not run."""
    pid = signal_member(directory, name, signal.SIGSTOP)
    _wait(lambda: is_paused(pid) or node_records.running_process(directory.node(name)) is None, PROXY_TIMEOUT_S)


def resume(directory: ClusterDirectory, name: str) -> None:
    """Resume a paused member; does nothing if it is not paused, or has ended."""
    running = node_records.running_process(directory.node(name))
    if running is not None and is_paused(running.pid):
        try:
            signal_member(directory, name, signal.SIGCONT)
        except ClusterDown:
            pass  # it has ended meanwhile


def _await_connections(directory: ClusterDirectory, current: DesiredFaults, faults: Iterable[LinkFault]) -> None:
    """Wait until the links that the faults apply to are connected, CONNECT_TIMEOUT_S at most."""
    responsive = []
    for name in directory.node_names():
        running = node_records.running_process(directory.node(name))
        if running is not None and not is_paused(running.pid):
            responsive.append(name)
    links = [
        (source, target)
        for source in responsive
        for target in responsive
        if source != target
        and current.fault_on(source, target) is None
        and any(one.applies_to(source, target) for one in faults)
    ]

    def connected() -> bool:
        report = read_report(directory)
        return report is not None and all(report.connections.get(one, {}).get(other) for one, other in links)

    _wait(connected, CONNECT_TIMEOUT_S)


def _is_in_force(directory: ClusterDirectory, desired: DesiredFaults) -> bool:
    report = read_report(directory)
    return report is not None and report.generation >= desired.generation


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
