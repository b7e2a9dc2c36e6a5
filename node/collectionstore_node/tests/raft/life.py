"""What goes on in every run: messages arrive, disks work, time passes, clients ask, and what stopped starts again."""

from __future__ import annotations

from typing import Final

from collectionstore_node.errors import NotNow, StorageFailed
from collectionstore_node.tests.raft.server import Server
from collectionstore_node.tests.raft.world import Action, World

WIRE_MAX: Final = 300
"""More messages than this are not kept: the oldest connections' queues overflow."""


def deliver(world: World) -> bool:
    wire = world.cluster.wire
    if not wire:
        return work(world)
    world.cluster.deliver(wire.pop(0))
    return True


def work(world: World) -> bool:
    """Let one server with pending work do one piece of I/O. If none has any, time advances."""
    servers = world.awake()
    if not servers:
        return False
    wire, draw = world.cluster.wire, world.random
    start = draw.randrange(len(servers))
    for server in servers[start:] + servers[:start]:
        try:
            if _work(world, server):
                break
        except StorageFailed as error:
            world.cluster.storage_failed(server, error)
            break
    else:
        return bool(wire) or tick(world)
    while len(wire) > WIRE_MAX:
        world.cluster.deliver(wire.pop(draw.randrange(len(wire))), lost=True)
    return True


def _work(world: World, server: Server) -> bool:
    """Do one piece of the sync, or one of the driver's: neither waits for the other, and each may be far behind."""
    if world.random.random() >= world.sync_pace:
        return _drive(world, server)
    return _sync(world, server) or _drive(world, server)


def _sync(world: World, server: Server) -> bool:
    if server.syncing:
        if world.hangs(server):
            return False
        server.end_sync()
        return True
    if not server.begin_sync():
        return False
    if not world.hangs(server) and world.random.random() >= world.fine:
        server.end_sync()
    return True


def _drive(world: World, server: Server) -> bool:
    ready = server.writing
    stops = world.fine > 0 and world.random.random() < world.fine
    if ready is None:
        if server.backlog > world.backlog_max:
            return False
        return server.take_io() if stops else server.begin_io()
    if not server.written:
        if ready.snapshot is not None and world.installs_slowly(server):
            return False
        server.write_io()
    elif ready.committed and not server.has_applied and world.applies_slowly(server):
        return False
    elif stops and not server.has_applied:
        server.apply_io()
    else:
        server.advance_io()
    return True


def tick(world: World) -> bool:
    server = world.any_awake()
    if server is None:
        return False
    world.elapsed_ticks += 1 / len(world.cluster.servers)
    speed = world.speeds.get(server.node_id, 1.0)
    ticks = int(speed) + (world.random.random() < speed % 1)
    for _ in range(ticks):
        if server.alive:
            world.tick(server)
    return True


def propose(world: World) -> bool:
    for server in world.leaders():
        data = world.random.randbytes(world.random.choice((0, 5, 30)))
        try:
            server.propose(data)
        except NotNow:
            return False
        except StorageFailed as error:
            world.cluster.storage_failed(server, error)
    return True


def tell_commit(world: World) -> bool:
    """Let time pass at the leaders that keep a commit index for the next entry."""
    return any([server.tell_commit() for server in world.leaders()])


def read(world: World) -> bool:
    """Ask for a read anywhere, but rather where it could go wrong: at a leader that was replaced and does not know."""
    leaders = world.leaders()
    if len(leaders) > 1:
        server: Server | None = min(leaders, key=lambda leader: leader.core.term)
    elif leaders and world.random.random() < 0.3:
        server = leaders[0]
    else:
        server = world.any_awake()
    if server is None:
        return False
    server.read(world.new_request())
    return True


def restart(world: World) -> bool:
    gone = world.budget.gone
    down = [one for one in world.cluster.servers.values() if not one.alive and one.node_id not in gone]
    if not down:
        return False
    world.start(world.random.choice(down))
    return True


ACTIONS: Final = (
    Action("deliver", 60, deliver),
    Action("work", 50, work),
    Action("tick", 25, tick),
    Action("propose", 6, propose),
    Action("tell commit", 3, tell_commit),
    Action("read", 4, read),
    Action("restart", 4, restart),
)
