"""What processes do: crash, stand still and then get everything at once, and live by clocks of their own."""

from __future__ import annotations

from typing import Final

from collectionstore_node.raft.messages import NO_NODE, TimeoutNow
from collectionstore_node.tests.raft.server import Server
from collectionstore_node.tests.raft.world import Action, World


def crash(world: World) -> bool:
    server = world.any_awake()
    return server is not None and _crash(world, server)


def crash_leader(world: World) -> bool:
    return any([_crash(world, server) for server in world.leaders()])


def _crash(world: World, server: Server) -> bool:
    """Kill the process, or the whole machine: then only some prefix of what was not synced is left.

    The write behind that prefix may be torn. What is left of it does not show: recovery ends before it.
    """
    unsynced = server.disk.unsynced
    killed = world.random.random() < 0.3
    kept = unsynced if killed else world.random.randrange(unsynced + 1)
    if kept < unsynced:
        world.faults["unsynced writes lost"] += 1
        world.faults["torn tail"] += world.random.random() < 0.5
    world.note(f"{server.node_id} crashes")
    world.crash(server, kept)
    return True


def pause(world: World) -> bool:
    server = world.any_awake()
    if server is None:
        return False
    world.note(f"{server.node_id} pauses")
    server.paused = True
    return True


def resume(world: World) -> bool:
    paused = [server for server in world.cluster.servers.values() if server.paused]
    if not paused:
        return False
    wake(world, world.random.choice(paused))
    return True


def wake(world: World, server: Server) -> None:
    """End a pause: a tick that is due, and everything that arrived meanwhile, in either order."""
    world.note(f"{server.node_id} goes on")
    server.paused = False
    inbox, server.inbox = server.inbox, []
    tick_first = world.random.random() < 0.5
    if tick_first:
        world.tick(server)
    for message in inbox:
        world.cluster.deliver(message)
    if not tick_first and server.alive:
        world.tick(server)


def drift(world: World) -> bool:
    """Give a clock another pace."""
    server = world.any_awake()
    if server is None:
        return False
    world.speeds[server.node_id] = world.random.choice((0.2, 0.5, 0.8, 1.0, 1.3, 2.0, 4.0))
    return True


def jump(world: World) -> bool:
    """Have a server live through an election timeout while the others hardly move."""
    server = world.any_awake()
    if server is None:
        return False
    for _ in range(2 * world.cluster.settings.election_ticks):
        if server.alive:
            world.tick(server)
    return True


def usurp(world: World) -> bool:
    """Order a follower to campaign, as its leader could: that overrides every lease."""
    server = world.any_awake()
    if server is None or server.core.leader in (NO_NODE, server.node_id):
        return False
    message = TimeoutNow(server.core.leader, server.node_id, server.core.term)
    world.attempt(server, lambda: server.step(message))
    return True


def campaign(world: World) -> bool:
    server = world.any_awake()
    if server is None:
        return False
    world.attempt(server, server.core.campaign)
    if server.alive:
        server.observe()
    return True


def apply_slowly(world: World) -> bool:
    """What a server knows to be committed takes effect much later, membership changes too."""
    server = world.any_awake()
    if server is None:
        return False
    world.applying_until[server.node_id] = world.step + world.random.choice((20, 60, 200, 600))
    return True


def step_down(world: World) -> bool:
    """A watchdog takes the leadership from a process that is stuck."""
    leaders = world.leaders()
    for server in leaders:
        server.core.step_down()
        server.observe()
    return bool(leaders)


HEALING: Final = (Action("resume", 2.5, resume),)
ACTIONS: Final = (
    Action("crash", 0.8, crash),
    Action("crash of the leader", 0.4, crash_leader),
    Action("pause", 0.7, pause),
    Action("clock drift", 0.4, drift),
    Action("clock jump", 0.7, jump),
    Action("campaign by order", 1, usurp),
    Action("campaign unasked", 0.7, campaign),
    Action("slow apply", 0.7, apply_slowly),
    Action("step-down by a watchdog", 0.3, step_down),
)
