"""After the faults: a cluster in which nothing goes wrong, and leadership that is handed over while members change.

No time passes between a change and the moment when everything has come to rest (`handovers`), so whatever election
follows a handover must be won at once. Then a few election timeouts must do for the rest.

Each round begins whole: under a leader that all members follow. Recovery leaves it so, with one exception. A removed
voter that still runs, and does not know of its removal, goes on campaigning (thesis 4.2.3). Pre-vote keeps it from
raising the term, as its log is behind, and check-quorum gives the members a lease in which they ignore it; with both
off it may depose the leader in the ticks that end recovery. Then the members get time to elect another one.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.tests.raft import administration
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.handovers import Scheduler, led_by
from collectionstore_node.tests.raft.recovery import pass_time, whole_under
from collectionstore_node.tests.raft.world import World

ROUNDS: Final = 2
STEPS_BEFORE_MAX: Final = 200
PATIENCE: Final = 20
"""In election timeouts: a new member may need a snapshot, with windows of one byte."""


def live_on(world: World) -> None:
    """Change members and hand over, `ROUNDS` times. Raises `AssertionError` when nobody leads."""
    cluster = world.cluster
    if any(server.disk.rotten for server in cluster.servers.values()):
        return  # Damage that nobody has read yet would still end a process.
    if whole_under(cluster) is None:
        assert _is_unsettled_by_the_removed(cluster), "the leader is lost after recovery, and nobody could depose it"
        _come_together(world)
    scheduler = Scheduler(cluster, world.random)
    for _ in range(ROUNDS):
        administration.change_members(world)
        for _ in range(world.random.choice((1, 1, 2))):
            for _ in range(world.random.randrange(STEPS_BEFORE_MAX)):
                scheduler.step()
            world.faults["calm handover"] += administration.transfer(world)
        scheduler.rest()
        assert led_by(cluster) is not None, "nobody leads after a handover, and nothing went wrong"
        _come_together(world)


def _come_together(world: World) -> None:
    cluster = world.cluster
    for _ in range(PATIENCE * cluster.settings.election_ticks):
        if whole_under(cluster) is not None:
            return
        pass_time(world)
    newest = cluster.leader()
    raise AssertionError(f"the members do not come together: {newest and newest.core.status()}")


def _is_unsettled_by_the_removed(cluster: Cluster) -> bool:
    """Whether nothing restrains campaigns, and a server runs that is no member but takes itself for a voter."""
    if cluster.settings.pre_vote or cluster.settings.check_quorum:
        return False
    newest = max(cluster.alive(), key=lambda server: server.core.applied)
    removed = [one for one in cluster.alive() if one.node_id not in newest.core.configuration.members()]
    return any(one.node_id in {*one.core.configuration.voters, *one.core.configuration.outgoing} for one in removed)
