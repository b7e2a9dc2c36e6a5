"""What operators do: change members, replace those whose disk is gone, hand over, compact, switch off who left."""

from __future__ import annotations

from typing import Final

from collectionstore_node.errors import InvalidRequest, NotNow, StorageFailed
from collectionstore_node.raft.messages import Change, ChangeKind, ConfigChange, NodeId
from collectionstore_node.tests.raft.server import Server
from collectionstore_node.tests.raft.world import Action, World

MEMBERS_MAX: Final = 7


def transfer(world: World) -> bool:
    for server in world.leaders():
        try:
            server.core.transfer_leadership(world.random.choice(server.core.configuration.voters))
        except NotNow:
            return False
    return True


def transfer_during_change(world: World) -> bool:
    """Hand over where a change is in progress, at whatever step."""
    for server in world.leaders():
        status = server.core.status()
        if status.configuration.joint or status.pending_change_index > status.applied_index:
            return transfer(world)
    return False


def change_members(world: World) -> bool:
    return any([_propose(world, server, _draw_change(world, server)) for server in world.leaders()])


def _draw_change(world: World, server: Server) -> ConfigChange:
    draw = world.random
    members = sorted(server.core.configuration.members())
    steps: dict[NodeId, ChangeKind] = {}
    for _ in range(draw.choice((1, 1, 2, 3))):
        if draw.random() < 0.4 and len(members) < MEMBERS_MAX:
            steps[world.new_member()] = draw.choice((ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER))
        else:
            member = draw.choice(members)
            kind = draw.choice(list(ChangeKind))
            steps[member] = ChangeKind.REMOVE if member in world.budget.gone else kind
    return ConfigChange(tuple(Change(kind, node_id) for node_id, kind in steps.items()))


def replace(world: World) -> bool:
    """Put a new incarnation in the place of a member whose disk is gone, at once or by way of a learner."""
    for server in world.leaders():
        gone = sorted(world.budget.gone & server.core.configuration.members())
        if gone:
            kind = world.random.choice((ChangeKind.ADD_VOTER, ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER))
            lost = world.random.choice(gone)
            new = world.successors.get(lost) or world.new_incarnation(world.names[lost])
            change = ConfigChange((Change(kind, new), Change(ChangeKind.REMOVE, lost)))
            if _propose(world, server, change):
                return True
    return False


def _propose(world: World, server: Server, change: ConfigChange) -> bool:
    core = server.core
    try:
        configuration = core.next_configuration(change)
        if not world.budget.allows_change(configuration):
            return False
        index, term = core.propose_change(change)
    except (NotNow, InvalidRequest):
        return False
    except StorageFailed as error:
        world.cluster.storage_failed(server, error)
        return False
    world.budget.proposed(index, term, configuration)
    for step in change.changes:
        if step.node_id not in world.ever:
            world.add(step.node_id)
    return True


def retire(world: World) -> bool:
    """Stop the servers that a completed change has removed."""
    cluster, done = world.cluster, False
    for server in world.leaders():
        if not server.alive:
            continue
        status = server.core.status()
        if status.configuration.joint or status.pending_change_index > status.applied_index:
            continue
        known = cluster.observer.members_until(status.applied_index)
        for node_id in sorted(known - status.configuration.members()):
            removed = cluster.servers.pop(node_id, None)
            done = done or removed is not None
            if removed is not None and removed.alive:
                removed.crash()
    return done


def compact(world: World) -> bool:
    """Compact a log, more often the leader's: a follower that lags needs a snapshot then."""
    leaders = world.leaders() if world.random.random() < 0.5 else []
    server = leaders[0] if leaders else world.any_awake()
    if server is None:
        return False
    keep = world.random.choice((0, 0, 3))
    world.attempt(server, lambda: server.compact(keep))
    return True


HEALING: Final = (Action("replace", 2, replace),)
ACTIONS: Final = (
    Action("change of members", 2, change_members),
    Action("retirement", 2, retire),
    Action("transfer", 0.7, transfer),
    Action("transfer during a change", 2, transfer_during_change),
    Action("forced snapshot", 1, compact),
)
