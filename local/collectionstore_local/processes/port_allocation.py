"""The TCP ports of local nodes, and the process that listens on a port already in use.

A node has three consecutive ports on 127.0.0.1: clients, peers, and metrics with probes. `spec.local` determines the
first.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.process import PROC, command_line, process_ids
from collectionstore_operator.resource.desired import Desired

HOST = "127.0.0.1"
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The three ports of one node."""

    client: int
    peer: int
    metrics: int

    @property
    def all(self) -> tuple[int, int, int]:
        return (self.client, self.peer, self.metrics)


@dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port; `pid` is None if it belongs to another user and is not visible."""

    port: int
    pid: int | None
    command: str


class PortsTaken(LocalError):
    """Ports of nodes are in use by other processes; nothing was started."""

    exit_code = ExitCode.PORT_TAKEN


def node_ports(desired: Desired, ordinal: int) -> NodePorts:
    """Return the ports of the node with this ordinal, of the group of `desired`."""
    client = desired.local_port(ordinal)
    return NodePorts(client=client, peer=client + 1, metrics=client + 2)


def member_ports(desired: Desired, name: str) -> NodePorts | None:
    """Return the ports of a voter or read replica by its name; None for a name that is not of the cluster."""
    for group in (desired, desired.reads()):
        ordinal = group.ordinal(name)
        if ordinal is not None:
            return node_ports(group, ordinal)
    return None


def taken_ports(ports: Iterable[int]) -> tuple[int, ...]:
    """Return those of `ports` that are in use, in the given order."""
    return tuple(port for port in ports if not _can_listen(port))


def port_holders(ports: Iterable[int]) -> tuple[PortHolder, ...]:
    """Return the process that holds each of `ports`, in the given order; without pid if it is not visible."""
    requested = tuple(ports)
    # Two steps, because the kernel's table of sockets has inodes and no pids; a pid's descriptors link to inodes.
    inodes = _listening_inodes(set(requested))
    pids = _socket_owners(set(inodes.values()))
    return tuple(_holder(port, pids.get(inodes.get(port, 0))) for port in requested)


def _holder(port: int, pid: int | None) -> PortHolder:
    command = command_line(pid) if pid is not None else "a process of another user, or one that has just ended"
    return PortHolder(port, pid, command)


def _can_listen(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier run in TIME_WAIT do not count as in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def _listening_inodes(ports: set[int]) -> dict[int, int]:
    """Return the inode of the listening socket of each port, from the kernel's tables."""
    found: dict[int, int] = {}
    for table in ("net/tcp", "net/tcp6"):
        for line in _table_lines(PROC / table):
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == LISTENING and port in ports:
                found.setdefault(port, int(fields[9]))
    return found


def _table_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()[1:]
    except FileNotFoundError:
        return []  # a kernel without IPv6


def _socket_owners(inodes: set[int]) -> dict[int, int]:
    """Return the pid that has each socket open, for processes that this user may inspect."""
    targets = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, int] = {}
    for pid in process_ids():
        if len(owners) == len(targets):
            break
        for target in _open_files(pid):
            if target in targets:
                owners.setdefault(targets[target], pid)
    return owners


def _open_files(pid: int) -> Iterator[str]:
    """Yield the target of each descriptor of a process; nothing if it has ended or may not be inspected."""
    folder = PROC / str(pid) / "fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield os.readlink(folder / descriptor)
        except OSError:
            continue  # closed since the listing
