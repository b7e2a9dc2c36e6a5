"""Faults between the members of a local cluster, as values: what was asked for, which link it meets, how it is told.

A link is directed: demo-0 -> demo-1 is the connections that demo-0 dials to demo-1. Everything that demo-0 has to say
by itself travels there, and the answers to it come back on it; what demo-1 has to say travels on the other link. A
fault on a link meets both directions of its bytes. So one-way from demo-0 to demo-1 means: no message or request of
demo-0 reaches demo-1 and no answer to one comes back, while messages and requests of demo-1 reach demo-0 and are
answered.

faults.json holds what is asked for, written by csctl; proxy.json holds what is done, written by the fault proxy.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TypeVar

import msgspec

from collectionstore_local.processes.process import ProcessName
from collectionstore_local.state.directory import ClusterDirectory, write_atomically

ALL = "*"
"""Stands for every other member, also for those that join later."""

Decoded = TypeVar("Decoded")


class Mode(enum.Enum):
    """What happens to the bytes of a link."""

    DROP = "drop"
    """They vanish and connections stay open, as in a partition."""
    DELAY = "delay"
    """They arrive later."""
    SLOW = "slow"
    """Only so many a second get through."""
    CORRUPT = "corrupt"
    """A bit is flipped here and there."""
    RESET = "reset"
    """Connections are reset, and new ones too."""


class LinkFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault between a member and a peer, or `ALL`; both ways unless `one_way`, which is from member to peer."""

    member: str
    peer: str
    mode: Mode
    one_way: bool = False
    delay_s: float = 0.0
    bytes_per_s: int = 0
    since: float = 0.0
    """Unix seconds."""

    def meets(self, source: str, target: str) -> bool:
        """Return whether it applies to the link from `source` to `target`."""
        if source == self.member and self.peer in (target, ALL):
            return True
        return not self.one_way and target == self.member and self.peer in (source, ALL)

    def replaces(self, other: LinkFault) -> bool:
        """Return whether every link that `other` meets is met by this one."""
        if self.one_way and not other.one_way:
            return False
        if other.member == self.member:
            return self.peer in (ALL, other.peer)
        return not self.one_way and other.peer == self.member and self.peer in (ALL, other.member)

    def __str__(self) -> str:
        peer = "all others" if self.peer == ALL else self.peer
        return f"{self.member} {'→' if self.one_way else '↔'} {peer}: {self._effect()}"

    def _effect(self) -> str:
        match self.mode:
            case Mode.DROP:
                return "partitioned"
            case Mode.DELAY:
                return f"delayed by {self.delay_s * 1000:g} ms each way"
            case Mode.SLOW:
                return f"limited to {self.bytes_per_s:,} bytes/s"
            case Mode.CORRUPT:
                return "bits flipped"
            case Mode.RESET:
                return "connections reset"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What faults.json asks for. `generation` counts its changes; the file's absence means that faults are over."""

    generation: int
    links: tuple[LinkFault, ...] = ()

    def on(self, source: str, target: str) -> LinkFault | None:
        """Return the fault on a link: of several that meet it, the one asked for last."""
        return next((fault for fault in reversed(self.links) if fault.meets(source, target)), None)

    def adding(self, faults: tuple[LinkFault, ...]) -> Wanted:
        """Return this with more faults, without those that they replace wholly."""
        kept = tuple(old for old in self.links if not any(new.replaces(old) for new in faults))
        return Wanted(generation=self.generation + 1, links=kept + faults)


class ProxyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the fault proxy says of itself: the generation it has put into force, and each link's live connections."""

    process: ProcessName
    generation: int
    connections: dict[str, dict[str, int]]
    """source -> target -> count"""


def read_wanted(directory: ClusterDirectory) -> Wanted | None:
    """Return what is asked for, None when nothing is."""
    return _decode(directory.faults, Wanted)


def write_wanted(directory: ClusterDirectory, wanted: Wanted) -> None:
    """Ask for faults; the proxy follows."""
    _encode(directory.faults, wanted)


def read_report(directory: ClusterDirectory) -> ProxyReport | None:
    """Return what the proxy has put into force, None before it has."""
    return _decode(directory.fault_report, ProxyReport)


def write_report(directory: ClusterDirectory, report: ProxyReport) -> None:
    """Say what is in force."""
    _encode(directory.fault_report, report)


def forget_routes(directory: ClusterDirectory) -> None:
    """Have every member dial the others directly again."""
    for name in directory.node_names():
        directory.node(name).routes.unlink(missing_ok=True)
    directory.fault_report.unlink(missing_ok=True)


def _encode(path: Path, value: msgspec.Struct) -> None:
    # Not synced: after a power cut nothing is left that a fault could be between.
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n", durable=False)


def _decode(path: Path, kind: type[Decoded]) -> Decoded | None:
    """Return the content of a file; one that nobody can read, because another version wrote it, counts as none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
