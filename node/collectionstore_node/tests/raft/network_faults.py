"""What networks do: lose, double, delay and reorder messages, and fall apart, in one direction or both."""

from __future__ import annotations

from typing import Final

from collectionstore_node.raft.messages import AppendReply, InstallSnapshot, Message
from collectionstore_node.tests.raft.world import Action, World

LATE_MAX: Final = 60


def reorder(world: World) -> bool:
    wire = world.cluster.wire
    if len(wire) < 2:
        return False
    world.cluster.deliver(wire.pop(world.random.randrange(len(wire))))
    return True


def lose(world: World) -> bool:
    wire = world.cluster.wire
    if not wire:
        return False
    world.cluster.deliver(wire.pop(world.random.randrange(len(wire))), lost=True)
    return True


def duplicate(world: World) -> bool:
    wire = world.cluster.wire
    if not wire:
        return False
    wire.append(world.random.choice(wire))
    return True


def delay(world: World) -> bool:
    wire = world.cluster.wire
    if not wire or len(world.late) >= LATE_MAX:
        return False
    world.late.append(wire.pop(world.random.randrange(len(wire))))
    return True


def delay_acknowledgement(world: World) -> bool:
    """Put aside an acknowledgement; what it speaks of may be replaced until it arrives."""
    replies = [at for at, message in enumerate(world.cluster.wire) if type(message) is AppendReply]
    if not replies or len(world.late) >= LATE_MAX:
        return False
    world.late.append(world.cluster.wire.pop(world.random.choice(replies)))
    return True


def strand_acknowledger(world: World) -> bool:
    """Put an acknowledgement aside and cut its sender off: what it speaks of may be replaced everywhere but there."""
    known = len(world.late)
    if not delay_acknowledgement(world):
        return False
    world.cluster.isolate(world.late[known].sender)
    return True


def strand_leader(world: World) -> bool:
    """Cut a leader off while a read is being confirmed, and let the confirmations arrive much later."""
    leaders = world.leaders()
    if not leaders or len(world.late) >= LATE_MAX:
        return False
    leader = world.random.choice(leaders)
    leader.read(world.new_request())
    known = len(world.cluster.wire)
    world.attempt(leader, leader.run_io)
    sent, world.cluster.wire[known:] = world.cluster.wire[known:], []
    for message in sent:
        world.cluster.deliver(message)
    for server in world.awake():
        if server is not leader:
            world.attempt(server, server.run_io)
    wire = world.cluster.wire
    world.late += [message for message in wire if message.to == leader.node_id]
    wire[:] = [message for message in wire if message.to != leader.node_id]
    world.cluster.isolate(leader.node_id)
    return True


def deliver_late(world: World) -> bool:
    if not world.late:
        return False
    _arrive(world, world.late.pop(world.random.randrange(len(world.late))))
    return True


def deliver_to_leader(world: World) -> bool:
    """A late message arrives at a server that leads: again, or without knowing that it was replaced."""
    leaders = {server.node_id: server.core.term for server in world.leaders()}
    expected = [at for at, message in enumerate(world.late) if message.to in leaders]
    if not expected:
        return False
    outdated = [at for at in expected if world.late[at].term < leaders[world.late[at].to]]
    _arrive(world, world.late.pop(world.random.choice(outdated or expected)))
    return True


def _arrive(world: World, message: Message) -> None:
    """Hand over what was on its way already when the network fell apart."""
    receiver = world.cluster.servers.get(message.to)
    if receiver is None or not receiver.alive or receiver.paused or type(message) is InstallSnapshot:
        world.cluster.deliver(message)
    else:
        world.cluster.hand_over(receiver, message)


def deliver_old_snapshot(world: World) -> bool:
    """A snapshot that was sent before arrives (again), however old it is by now."""
    if not world.old_snapshots:
        return False
    message = world.random.choice(world.old_snapshots)
    receiver = world.cluster.servers.get(message.to)
    if receiver is None or not receiver.alive or receiver.paused:
        return False
    world.cluster.hand_over(receiver, message)
    return True


def partition(world: World) -> bool:
    servers = list(world.cluster.servers)
    world.cluster.isolate(*world.random.sample(servers, world.random.randrange(len(servers))))
    return True


def isolate_leader(world: World) -> bool:
    """Cut a leader off, alone or with one other: what it still appends will have to give way."""
    leaders = world.leaders()
    if not leaders:
        return False
    company = world.random.sample(list(world.cluster.servers), world.random.randrange(2))
    for server in leaders:
        world.cluster.isolate(server.node_id, *company)
    return True


def block_one_way(world: World) -> bool:
    """Cut one link in one direction, or everything that one server sends, or hears."""
    servers = list(world.cluster.servers)
    one, other = world.random.choice(servers), world.random.choice(servers)
    shape = world.random.randrange(4)
    for peer in servers if shape in (0, 1) else [other]:
        if shape == 0:
            world.cluster.block(one, peer, both=False)
        else:
            world.cluster.block(peer, one, both=False)
    return True


def heal(world: World) -> bool:
    world.cluster.heal()
    return True


def heal_one(world: World) -> bool:
    """Mend the links of one server; others may stay cut off."""
    blocked = world.cluster.blocked
    if not blocked:
        return False
    one = world.random.choice(sorted(world.cluster.servers))
    blocked -= {link for link in blocked if one in link}
    return True


def unreachable(world: World) -> bool:
    """Tell a server that a connection broke, whether or not it did."""
    server = world.any_awake()
    if server is None:
        return False
    server.core.report_unreachable(world.random.choice(list(world.cluster.servers)))
    return True


HEALING: Final = (Action("heal", 0.7, heal), Action("heal one", 2.5, heal_one))
ACTIONS: Final = (
    Action("message reordered", 20, reorder),
    Action("message lost", 3, lose),
    Action("message duplicated", 3, duplicate),
    Action("message delayed", 2, delay),
    Action("acknowledgement delayed", 1, delay_acknowledgement),
    Action("acknowledgement delayed, sender cut off", 1, strand_acknowledger),
    Action("confirmations delayed, leader cut off", 1, strand_leader),
    Action("message delivered late", 1.5, deliver_late),
    Action("late message delivered to a leader", 3, deliver_to_leader),
    Action("old snapshot delivered", 0.5, deliver_old_snapshot),
    Action("partition", 0.7, partition),
    Action("leader cut off", 0.6, isolate_leader),
    Action("one-way partition", 0.5, block_one_way),
    Action("connection reported broken", 0.5, unreachable),
)
