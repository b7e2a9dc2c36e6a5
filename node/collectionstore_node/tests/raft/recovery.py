"""The end of every run: faults stop, and the cluster has to live.

A leader emerges, every change of members ends, lost servers are replaced, all members come to the same state and take
new proposals, no request is pending forever, and no acknowledged write is missing.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.tests.raft import administration, process_faults
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.server import Server
from collectionstore_node.tests.raft.world import World

PATIENCE: Final = 60
"""In election timeouts: enough to lose some elections, abort a transfer, fail reads and replace lost servers."""


def recover(world: World) -> None:
    """Heal what can be healed, and check that the cluster works. Raises `AssertionError` when it does not."""
    _heal(world)
    cluster = world.cluster
    cluster.settle()
    for _ in range(PATIENCE * cluster.settings.election_ticks):
        pass_time(world)
        leader = whole_under(cluster)
        if leader is not None:
            break
    else:
        newest = cluster.leader()
        assert newest is not None, "no leader emerges"
        raise AssertionError(f"the members do not come together: {newest.core.status()}")
    index = cluster.propose(b"after")
    for _ in range(2 * cluster.settings.election_ticks):
        pass_time(world)
    for member in leader.core.configuration.members():
        applied = cluster.servers[member].core.applied
        assert applied >= index, f"{member} does not apply what is proposed after the faults"
    _check_promises(world, leader, index)
    assert not cluster.rejected, f"a correct peer's message is rejected: {cluster.rejected[0]}"


def _heal(world: World) -> None:
    cluster = world.cluster
    cluster.heal()
    world.speeds.clear()
    world.hung_until.clear()
    world.applying_until.clear()
    world.installing_until.clear()
    for server in list(cluster.servers.values()):
        server.disk.full = server.disk.sync_fails = server.disk.unreadable = False
        if server.paused:
            process_faults.wake(world, server)
    _start_all(world)
    cluster.wire += world.late


def _start_all(world: World) -> None:
    for server in world.cluster.servers.values():
        if not server.alive and server.node_id not in world.budget.gone:
            world.start(server)


def pass_time(world: World) -> None:
    """Let all live through one tick, and repair what is still broken."""
    world.cluster.tick()
    world.elapsed_ticks += 1
    # A process may still stop at an entry that rotted; its supervisor starts it anew, or its disk is refused.
    _start_all(world)
    if administration.replace(world):
        world.cluster.settle()


def whole_under(cluster: Cluster) -> Server | None:
    """Return the leader under which all members have come together; None while they have not.

    A candidate in a later term is still to be waited for: it will depose the leader.
    """
    leader = cluster.leader()
    if leader is None:
        return None
    status = leader.core.status()
    servers = [cluster.servers[member] for member in status.configuration.members()]
    whole = (
        leader.node_id in status.configuration.voters
        and not status.configuration.joint
        and status.pending_change_index <= status.applied_index
        and not status.transferring_to
        and all(server.alive and _follows(server, leader) for server in servers)
    )
    return leader if whole else None


def _follows(server: Server, leader: Server) -> bool:
    core = server.core
    return core.term == leader.core.term and core.applied == leader.core.status().last_index


def _check_promises(world: World, leader: Server, index: Index) -> None:
    """Check what clients have received and what is pending, under the leader that all servers follow."""
    observer = world.cluster.observer
    promises = observer.promises
    missing = [at for at, promised in promises.acknowledged.items() if observer.committed.get(at) != promised]
    assert not missing, f"acknowledged, and not there any more: {missing}"
    assert leader.applied.index >= max(promises.acknowledged, default=index), "acknowledged, beyond the leader's log"
    if leader.core.is_leader:
        late = promises.waiting_proposals(leader.node_id, leader.core.term)
        assert not late, f"proposals that wait forever: {late}"
    waiting = [key for key in promises.waiting_reads() if _still_lives(world, *key[:2])]
    assert not waiting, f"reads that wait forever: {waiting}"


def _still_lives(world: World, node_id: NodeId, life: int) -> bool:
    server = world.cluster.servers.get(node_id)
    return server is not None and server.alive and server.life == life
