"""After the faults: a cluster in which nothing goes wrong, and leadership that is handed over while members change.

No time passes between a change and the moment when everything has come to rest (`handovers`), so whatever election
follows a handover must be won at once. Then a few election timeouts must do for the rest.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.tests.raft import administration
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
    scheduler = Scheduler(cluster, world.random)
    for _ in range(ROUNDS):
        administration.change_members(world)
        for _ in range(world.random.choice((1, 1, 2))):
            for _ in range(world.random.randrange(STEPS_BEFORE_MAX)):
                scheduler.step()
            world.faults["calm handover"] += administration.transfer(world)
        scheduler.rest()
        assert led_by(cluster) is not None, "nobody leads after a handover, and nothing went wrong"
        for _ in range(PATIENCE * cluster.settings.election_ticks):
            if whole_under(cluster) is not None:
                break
            pass_time(world)
        else:
            newest = cluster.leader()
            raise AssertionError(f"a change does not end: {newest and newest.core.status()}")
