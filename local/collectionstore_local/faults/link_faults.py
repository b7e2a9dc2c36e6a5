"""Network faults between members of a local cluster as values: which links a fault applies to, and their files.

A link is directed: demo-0 -> demo-1 is the connections that demo-0 opens to demo-1. Requests of demo-0 travel on it,
and so do their responses; requests of demo-1 travel on the other link. A fault on a link applies to both directions of
its bytes. So one-way from demo-0 to demo-1 means: no request of demo-0 reaches demo-1 and no response returns, while
requests of demo-1 reach demo-0 and are answered.

faults.json is the desired state, written by csctl; proxy.json is the current state, written by the fault proxy.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TypeVar

import msgspec

from collectionstore_local.processes.process import ProcessIdentity
from collectionstore_local.state.directory import ClusterDirectory, write_atomically

ALL = "*"
"""Every other member, including those that join later."""

Decoded = TypeVar("Decoded")


class Mode(enum.Enum):
    """The effect on the bytes of a link."""

    DROP = "drop"
    """They are dropped and connections stay open, as in a partition."""
    DELAY = "delay"
    """They are delayed."""
    SLOW = "slow"
    """Their rate is limited."""
    CORRUPT = "corrupt"
    """Single bits are flipped."""
    RESET = "reset"
    """Connections are reset, including new ones."""


class LinkFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault between a member and a peer or `ALL`; in both directions unless `one_way`, from member to peer."""

    member: str
    peer: str
    mode: Mode
    one_way: bool = False
    delay_s: float = 0.0
    bytes_per_s: int = 0
    since: float = 0.0
    """Unix seconds."""

    def applies_to(self, source: str, target: str) -> bool:
        """Return whether the fault applies to the link from `source` to `target`."""
        if source == self.member and self.peer in (target, ALL):
            return True
        return not self.one_way and target == self.member and self.peer in (source, ALL)

    def supersedes(self, other: LinkFault) -> bool:
        """Return whether this fault applies to every link that `other` applies to."""
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


class DesiredFaults(msgspec.Struct, frozen=True, kw_only=True):
    """The content of faults.json. `generation` counts its changes; no file means that there are no faults."""

    generation: int
    links: tuple[LinkFault, ...] = ()

    def fault_on(self, source: str, target: str) -> LinkFault | None:
        """Return the fault on a link: the last one added of those that apply to it."""
        return next((fault for fault in reversed(self.links) if fault.applies_to(source, target)), None)

    def with_faults(self, faults: tuple[LinkFault, ...]) -> DesiredFaults:
        """Return the next generation with more faults, without those that they supersede."""
        kept = tuple(old for old in self.links if not any(new.supersedes(old) for new in faults))
        return DesiredFaults(generation=self.generation + 1, links=kept + faults)


class ProxyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of proxy.json: the generation in force, and the number of open connections per link."""

    process: ProcessIdentity
    generation: int
    connections: dict[str, dict[str, int]]
    """By source, then by target."""


def read_desired_faults(directory: ClusterDirectory) -> DesiredFaults | None:
    """Return the desired faults, None if there are none."""
    return _read(directory.faults, DesiredFaults)


def write_desired_faults(directory: ClusterDirectory, desired: DesiredFaults) -> None:
    """Set the desired faults; the proxy follows them."""
    _write(directory.faults, desired)


def read_report(directory: ClusterDirectory) -> ProxyReport | None:
    """Return the state of the proxy, None before it has written any."""
    return _read(directory.fault_report, ProxyReport)


def write_report(directory: ClusterDirectory, report: ProxyReport) -> None:
    """Write the state of the proxy."""
    _write(directory.fault_report, report)


def delete_routes(directory: ClusterDirectory) -> None:
    """Delete the routes of all members, so that they connect directly again."""
    for name in directory.node_names():
        directory.node(name).routes.unlink(missing_ok=True)
    directory.fault_report.unlink(missing_ok=True)


def _write(path: Path, value: msgspec.Struct) -> None:
    # Not synced: after a power failure no member is left that a fault could apply to.
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n", durable=False)


def _read(path: Path, kind: type[Decoded]) -> Decoded | None:
    """Return the content of a file; a file of another version that cannot be decoded counts as missing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
