"""What disks do: hang, fail to sync, fill up, cannot be read; rot, lose their end, go back in time, and are emptied.

The first four end and cost nothing durable. The others destroy durable state, so the budget decides.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.raft.messages import NO_NODE, HardState, Index, Term
from collectionstore_node.tests.raft import life
from collectionstore_node.tests.raft.server import Server
from collectionstore_node.tests.raft.world import Action, World


def hang(world: World) -> bool:
    """The next syncs of a server do not end for a long while."""
    server = world.any_awake()
    if server is None:
        return False
    world.hung_until[server.node_id] = world.step + world.random.choice((20, 60, 200, 600))
    return True


def hang_leader(world: World) -> bool:
    """The leader's disk hangs with what was just proposed, and the leader may be cut off at the same time."""
    leaders = world.leaders()
    for server in leaders:
        life.propose(world)
        world.hung_until[server.node_id] = world.step + world.random.choice((200, 600))
        if server.alive and server.writing is None:
            world.attempt(server, server.begin_io)
        if world.random.random() < 0.5:
            world.cluster.isolate(server.node_id)
    return bool(leaders)


def fail_sync(world: World) -> bool:
    server = world.any_awake()
    if server is None:
        return False
    server.disk.sync_fails = True
    return True


def fill(world: World) -> bool:
    server = world.any_awake()
    if server is None:
        return False
    server.disk.full = True
    return True


def free(world: World) -> bool:
    full = [server for server in world.cluster.servers.values() if server.disk.full]
    if not full:
        return False
    world.random.choice(full).disk.full = False
    return True


def fail_reads(world: World) -> bool:
    """Entries that are not in memory any more cannot be read, until the process starts anew."""
    server = world.any_awake()
    if server is None:
        return False
    server.disk.unreadable = True
    return True


def rot(world: World) -> bool:
    """A stored entry is not what was written. Found when it is read, or when the log is opened."""
    server = _victim(world)
    if server is None or not server.disk.durable.entries:
        return False
    entry = world.random.choice(server.disk.durable.entries)
    server.disk.rotten[entry.index] = entry.term
    _damaged(world, server)
    return True


def cut(world: World) -> bool:
    """A crash takes the end of the log along, though it was synced; recovery finds nothing wrong with the rest."""
    server = _victim(world)
    if server is None:
        return False
    tail_marker, first = server.disk.tail_marker, Index(server.disk.durable.snapshot.index + 1)
    if tail_marker.last_index < first:
        return False
    world.crash(server, 0)
    server.disk.cut_from = Index(world.random.randrange(first, tail_marker.last_index + 1))
    _damaged(world, server)
    return True


def forget(world: World) -> bool:
    """A crash brings an older term and vote back."""
    server = _victim(world)
    if server is None:
        return False
    tail_marker = server.disk.tail_marker
    if tail_marker.vote == NO_NODE and tail_marker.term < 2:
        return False
    world.crash(server, 0)
    back = 0 if tail_marker.vote != NO_NODE else 1
    server.disk.forgotten = HardState(Term(tail_marker.term - back), NO_NODE, Index(0))
    _damaged(world, server)
    return True


def empty(world: World) -> bool:
    """A disk is lost. What comes in its place is empty, and generates another node ID: the old one never returns."""
    server = _victim(world)
    if server is None:
        return False
    world.crash(server, 0)
    _damaged(world, server)
    world.budget.refused(server.node_id)
    successor = world.new_incarnation(world.names[server.node_id])
    world.successors[server.node_id] = successor
    world.add(successor)
    return True


def _victim(world: World) -> Server | None:
    server = world.random.choice(list(world.cluster.servers.values()))
    return server if world.budget.allows(server.node_id) else None


def _damaged(world: World, server: Server) -> None:
    world.note(f"{server.node_id} is damaged")
    world.budget.damage(server.node_id)


HEALING: Final = (Action("free", 1.5, free),)
ACTIONS: Final = (
    Action("slow sync", 0.7, hang),
    Action("slow sync of the leader", 0.3, hang_leader),
    Action("failed sync", 0.4, fail_sync),
    Action("full disk", 0.4, fill),
    Action("failed read", 0.4, fail_reads),
    Action("bit rot", 0.3, rot),
    Action("log cut short", 0.2, cut),
    Action("vote forgotten", 0.2, forget),
    Action("disk lost", 0.2, empty),
)
