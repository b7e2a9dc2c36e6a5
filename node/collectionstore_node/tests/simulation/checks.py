"""What must hold while a world runs, and when it has come to rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from collectionstore_node.raft.log_reader import Compacted
from collectionstore_node.raft.messages import Index, NodeId, Term
from collectionstore_node.replica import LocalMember
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.tests.simulation.hosts import Host
from collectionstore_node.tests.simulation.memory_storage import MemoryDatabase


class Running(NamedTuple):
    """A member that runs."""

    host: Host
    local: LocalMember
    database: MemoryDatabase


def members(hosts: list[Host]) -> Iterator[Running]:
    """Yield the members that have started and whose disk works."""
    for host in hosts:
        run = host.run
        if not host.up or run is None or run.member is None or run.database is None:
            continue
        if not run.database.failstop.failed:
            yield Running(host, run.member.local, run.database)


@dataclass(slots=True)
class Invariants:
    """Raft's promises, looked at from outside between two callbacks; cheap enough to do often."""

    leaders: dict[Term, NodeId] = field(default_factory=dict)
    chains: dict[Index, bytes] = field(default_factory=dict)
    """The chain value at every applied index that was looked at."""

    def look(self, hosts: list[Host]) -> None:
        """Check every member that runs. Raises `AssertionError`."""
        running = list(members(hosts))
        common = min((one.database.state.applied.index for one in running), default=Index(0))
        for one in running:
            raft, applied = one.local.consensus.raft, one.database.state.applied.index
            node_id = one.database.identity.node_id
            if raft.is_leader:
                other = self.leaders.setdefault(raft.term, node_id)
                assert other == node_id, f"term {raft.term} has two leaders: {show_id(other)} and {show_id(node_id)}"
            commit = raft.status().commit_index
            assert applied <= commit, f"{one.host.name}: applied {applied}, committed {commit}"
            for index in (common, applied):
                self._compare(one, index)

    def _compare(self, one: Running, index: Index) -> None:
        try:
            chain = one.database.log.chain(index)
        except Compacted:
            return
        known = self.chains.setdefault(index, chain)
        assert known == chain, f"{one.host.name} applied another entry at {index} than another member"


def converged(hosts: list[Host]) -> bool:
    """Whether all `hosts` run, agree on a leader, and have applied the same log to its end."""
    places = set()
    running = list(members(hosts))
    for one in running:
        raft = one.local.consensus.raft
        if not raft.leader or raft.applied != raft.last_index:
            return False
        places.add((raft.leader, raft.term, raft.last_index))
    return len(places) == 1 and len(running) == len(hosts)


def check_states(hosts: list[Host]) -> None:
    """Raise `AssertionError` unless all `hosts` hold the same state, byte for byte."""
    states = {one.host.name: dict(one.database.state.scan(b"", b"\xff" * 64)) for one in members(hosts)}
    names = list(states)
    for name in names[1:]:
        if states[name] != states[names[0]]:
            different = sorted(states[name].items() ^ states[names[0]].items())[:4]
            raise AssertionError(f"the state of {name} differs from that of {names[0]}: {different}")


def describe(host: Host) -> str:
    """Return where a host stands, for the report of a failure."""
    for one in members([host]):
        raft = one.local.raft_status()
        voters = [show_id(voter)[:6] for voter in raft.configuration.voters]
        known = [f"{info.name}={show_id(info.node_id)[:6]}" for info in one.local.record.members]
        return (
            f"{host.name} {show_id(one.database.identity.node_id)[:6]}: {raft.role.value} of term {raft.term}, "
            f"follows {show_id(raft.leader)[:6] if raft.leader else 'nobody'}, "
            f"log {raft.first_index}-{raft.last_index}, committed {raft.commit_index}, applied {raft.applied_index}, "
            f"voters {voters}, members {known}{', paused' if host.process and host.process.paused else ''}"
        )
    return f"{host.name}: {f'refused: {host.refused}' if host.refused else 'down'}"
