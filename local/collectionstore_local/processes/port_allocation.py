"""Which TCP ports a local node uses, and which process holds one that is taken.

A node has three ports in a row on 127.0.0.1: clients, peers, metrics and probes. The first of them follows from
`spec.local`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collectionstore_local.errors import ExitCode, LocalError
from collectionstore_local.processes.process import PROC, command_line, process_ids
from collectionstore_operator.resource.desired import Local

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
    """Who listens on a port; `pid` is None when the process belongs to another user and cannot be seen."""

    port: int
    pid: int | None
    command: str


class PortsTaken(LocalError):
    """Ports that nodes need are taken by others; nothing was started."""

    exit_code = ExitCode.PORT_TAKEN


def node_ports(local: Local, ordinal: int) -> NodePorts:
    """Return the ports of the node with this ordinal."""
    client = local.client_port(ordinal)
    return NodePorts(client=client, peer=client + 1, metrics=client + 2)


def taken_ports(ports: Iterable[int]) -> tuple[int, ...]:
    """Return those of `ports` on which nobody could listen now, in the given order."""
    return tuple(port for port in ports if not _can_listen(port))


def holders(ports: Iterable[int]) -> tuple[PortHolder, ...]:
    """Return who holds each of `ports`, in the given order; a port held by nobody visible has a holder without pid."""
    wanted = tuple(ports)
    inodes = _listening_inodes(set(wanted))
    pids = _socket_owners(set(inodes.values()))
    return tuple(_holder(port, pids.get(inodes.get(port, 0))) for port in wanted)


def _holder(port: int, pid: int | None) -> PortHolder:
    command = command_line(pid) if pid is not None else "a process of another user, or one that has just ended"
    return PortHolder(port, pid, command)


def _can_listen(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a server does: connections of an earlier run in TIME_WAIT do not count as taken.
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
    """Return the socket inode that listens on each port, from the kernel's tables."""
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
    """Return the pid that has each socket open, for processes this user may look into."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, int] = {}
    for pid in process_ids():
        if len(owners) == len(wanted):
            break
        for target in _open_files(pid):
            if target in wanted:
                owners.setdefault(wanted[target], pid)
    return owners


def _open_files(pid: int) -> Iterator[str]:
    """Yield what each file descriptor of a process refers to; nothing when it has ended or is not ours to look into."""
    folder = PROC / str(pid) / "fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield os.readlink(folder / descriptor)
        except OSError:
            continue  # closed since it was listed
