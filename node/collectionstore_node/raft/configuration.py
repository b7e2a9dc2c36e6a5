"""The algebra of configurations: current configuration and change -> next configuration. Knows no log and no roles.

Every change of voters goes through a joint configuration, in which majorities of both the old and the new voters must
agree, and which the leader leaves automatically (thesis 4.3). Learners are added and removed in one step: they have no
vote.

Invariants of every configuration (`check`):
- each list is sorted and names a node once;
- learners vote neither in `voters` nor in `outgoing`; `learners_next` are in `outgoing` and not in `voters`;
- a configuration that is not joint has no `learners_next` and no `auto_leave`; a joint one has voters.
Source: etcd-io/raft `confchange`.
"""

from __future__ import annotations

from collectionstore_node.errors import InvalidRequest
from collectionstore_node.raft.messages import Change, ChangeKind, ConfigChange, Configuration, NodeId


def next_configuration(configuration: Configuration, change: ConfigChange) -> Configuration:
    """Return the configuration that `change` leads to from `configuration`.

    Raises `InvalidRequest` with code `not_joint`, `already_joint`, `no_voters`, `duplicate_node` or `invalid_node`.
    The first voters of an empty configuration need no joint phase: there is no other quorum to overlap with.
    """
    if not change.changes:
        return _leave_joint(configuration)
    if configuration.joint:
        raise InvalidRequest(
            "already_joint", "a joint configuration is active; the next change is allowed once the leader has left it"
        )
    _check_nodes(change.changes)
    voters, learners = set(configuration.voters), set(configuration.learners)
    demoted: set[NodeId] = set()
    for step in change.changes:
        was_voter = step.node_id in voters
        voters.discard(step.node_id)
        learners.discard(step.node_id)
        if step.kind is ChangeKind.ADD_VOTER:
            voters.add(step.node_id)
        elif step.kind is ChangeKind.ADD_LEARNER:
            # Still a voter of the outgoing set: it becomes a learner when the joint configuration is left, or one node
            # would be voter and learner at once.
            (demoted if was_voter else learners).add(step.node_id)
    if not voters:
        raise InvalidRequest(
            "no_voters", "the change would leave the cluster without a voter; at least one is required"
        )
    if not configuration.voters or voters == set(configuration.voters):
        return Configuration(voters=_sorted(voters), learners=_sorted(learners))
    return Configuration(
        voters=_sorted(voters),
        outgoing=configuration.voters,
        learners=_sorted(learners),
        learners_next=_sorted(demoted),
        auto_leave=True,
    )


def _leave_joint(configuration: Configuration) -> Configuration:
    """Return `configuration` after leaving the joint phase: `voters` decide alone, `learners_next` become learners."""
    if not configuration.joint:
        raise InvalidRequest("not_joint", "no joint configuration is active, so there is none to leave")
    learners = set(configuration.learners) | set(configuration.learners_next)
    return Configuration(voters=configuration.voters, learners=_sorted(learners))


def _check_nodes(changes: tuple[Change, ...]) -> None:
    nodes = [step.node_id for step in changes]
    if min(nodes) < 1:
        raise InvalidRequest("invalid_node", "a node id in the change is below 1; node IDs are at least 1")
    if len(set(nodes)) < len(nodes):
        raise InvalidRequest("duplicate_node", "a node appears twice in the change; each may appear once")


def find_violation(configuration: Configuration) -> str | None:
    """Return the invariant that `configuration` violates, or None."""
    voters, outgoing = set(configuration.voters), set(configuration.outgoing)
    learners, learners_next = set(configuration.learners), set(configuration.learners_next)
    lists = (configuration.voters, configuration.outgoing, configuration.learners, configuration.learners_next)
    if any(list(nodes) != sorted(set(nodes)) for nodes in lists):
        return "a list is not sorted or contains a node twice"
    if any(nodes and nodes[0] < 1 for nodes in lists):
        return "a node id is below 1"
    if learners & (voters | outgoing):
        return "a learner is also a voter"
    if not learners_next <= outgoing - voters:
        return "a learner of the next configuration is not an outgoing voter"
    if not outgoing and (learners_next or configuration.auto_leave):
        return "learners_next or auto_leave outside a joint configuration"
    if not voters and (outgoing or learners):
        return "members but no voters"
    return None


def _sorted(nodes: set[NodeId]) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes))
