"""How much may be broken: never more than the protocol promises to survive.

Not limited, because it ends: messages lost, late or doubled; partitions; servers that crash, stand still or tick at
their own pace; disks that are slow, full, fail to sync or to read. A server that comes back with everything it had
made durable is as good as new.

Limited: durable state that is gone. A disk that was emptied, or that its own checks refuse, takes its server's id
with it forever. A cluster survives that as long as every committed entry is left on an intact disk and the intact can
still decide. Both hold while in every set of voters that may decide anything, of either half of a joint configuration,
the intact are a majority:
- the sets in force: those that some server has applied, in memory or on its disk, for those left behind decide too;
- the sets proposed: those of a change that may still be in some log, the founding one among them.
Damage counts when it is done, not when it is found. When a replacement is in force, there is room for the next loss.

What is outside of the promise is not injected: the loss of exactly those entries that were acknowledged within the lag
of the tail marker (`storage.tail_marker`), and damage that is deliberate (see the Byzantine actor).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectionstore_node.raft.messages import Configuration, Index, NodeId, Term

if TYPE_CHECKING:
    from collectionstore_node.tests.raft.cluster import Cluster


class Budget:
    """Which disks are damaged, and whether one more may be."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.damaged: set[NodeId] = set()
        """Their durable state is gone or not whole, whether or not that was found out."""
        self.gone: set[NodeId] = set()
        """Those of them that never come back."""
        # Every log begins with the founding voters. A server that has yet to apply that will come to decide by them.
        self._proposed = [(Index(1), Term(1), cluster.founders)]

    def allows(self, node_id: NodeId) -> bool:
        """Whether the cluster is promised to survive the loss of this server's disk too."""
        if node_id in self.damaged:
            return False
        damaged = self.damaged | {node_id}
        return all(_intact_majority(voters, damaged) for voters in self._voter_sets() if node_id in voters)

    def allows_change(self, configuration: Configuration) -> bool:
        """Whether the intact are a majority of the voters of a configuration that is about to be proposed."""
        return _intact_majority(configuration.voters, self.damaged)

    def proposed(self, index: Index, term: Term, configuration: Configuration) -> None:
        """A change was appended somewhere; until its fate is known everywhere, its voters may come to decide."""
        self._proposed.append((index, term, configuration))

    def damage(self, node_id: NodeId) -> None:
        """The disk is not whole any more."""
        self.damaged.add(node_id)

    def refused(self, node_id: NodeId) -> None:
        """The server will never come back. Raises `AssertionError` when its disk was whole."""
        assert node_id in self.damaged, f"the healthy disk of {node_id} is refused"
        self.gone.add(node_id)

    def healthy(self, node_id: NodeId) -> None:
        """The disk was opened and is whole: what was damaged had become needless before."""
        self.damaged.discard(node_id)

    def _voter_sets(self) -> set[tuple[NodeId, ...]]:
        sets: set[tuple[NodeId, ...]] = set()
        applied = Index(2**62)
        for server in self._cluster.servers.values():
            if server.node_id in self.gone:
                continue
            durable = server.disk.durable.applied
            applied = min(applied, durable.index)
            configurations = [durable.configuration]
            if server.node is not None:
                configurations.append(server.node.configuration)
            for configuration in configurations:
                sets |= {configuration.voters, configuration.outgoing}
        committed = self._cluster.observer.committed
        self._proposed = [
            (index, term, configuration)
            for index, term, configuration in self._proposed
            if index > applied and committed.get(index, (term,))[0] == term
        ]
        return sets | {configuration.voters for _, _, configuration in self._proposed}


def _intact_majority(voters: tuple[NodeId, ...], damaged: set[NodeId]) -> bool:
    return 2 * sum(1 for voter in voters if voter in damaged) < len(voters)
