"""What is measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from collectionstore_bench.generators.load import Load, Work


class Protocol(StrEnum):
    """What a load generator speaks to a store."""

    REST = "REST"
    GRPC = "gRPC"
    STREAM = "stream"


class Profile(StrEnum):
    """How much is measured: QUICK takes minutes."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the tables: a load, and whether clients use TLS.

    `ours` is the protocol of this store; those of the other one are compared with it, each by itself.
    """

    name: str
    load: Load
    ours: Protocol = Protocol.REST
    others: tuple[Protocol, ...] = (Protocol.REST, Protocol.GRPC)
    tls: bool = False


KIB: Final = 1024
COUNTS: Final = (1, 16, 64, 256)
MANY: Final = 1000
"""Clients that only protocols with many requests per connection are loaded with."""
USUAL: Final = 64
SPREAD: Final = 66
"""Clients of all nodes, a multiple of three: wrk gives each of its threads as many."""
FEW: Final = 16
"""Clients of the largest documents: 64 of them would measure the budgets for memory."""


def cases_of(profile: Profile) -> list[Case]:
    """Return the cases of a profile, in the order of the tables."""
    return _quick() if profile is Profile.QUICK else _full()


def _quick() -> list[Case]:
    return [
        _case(Work.PUT, 1),
        _case(Work.PUT, USUAL),
        _case(Work.GET, USUAL),
        _pipelined(Work.PUT),
        _pipelined(Work.GET),
    ]


def _full() -> list[Case]:
    cases = [_case(work, clients) for work in (Work.PUT, Work.GET) for clients in COUNTS]
    cases += [_pipelined(Work.PUT), _pipelined(Work.GET)]
    cases.append(Case(f"get {SPREAD}, all nodes", Load(Work.GET, SPREAD, spread=True)))
    cases += [_case(Work.STALE, USUAL), _case(Work.MIXED, USUAL)]
    for size, clients in ((KIB, USUAL), (16 * KIB, USUAL), (256 * KIB, FEW)):
        for work in (Work.PUT, Work.GET):
            cases.append(Case(f"{work} {clients}, {size // KIB} KiB", Load(work, clients, size)))
    cases += [Case(f"{work} {USUAL}, client TLS", Load(work, USUAL), tls=True) for work in (Work.PUT, Work.GET)]
    return cases


def _case(work: Work, clients: int) -> Case:
    return Case(f"{work} {clients}", Load(work, clients))


def _pipelined(work: Work) -> Case:
    return Case(f"{work} {MANY:,} in flight", Load(work, MANY), Protocol.STREAM, (Protocol.GRPC,))
