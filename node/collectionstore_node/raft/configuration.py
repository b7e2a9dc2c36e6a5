"""The algebra of configurations: what a change makes of the one in force. Pure values, no log, no roles.

Every change of voters goes through a joint configuration, in which both the old and the new voters must agree, and
which the leader leaves by itself (thesis 4.3). Learners come and go in one step: they decide nothing.

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
    """Return what `change` makes of `configuration`.

    Raises `InvalidRequest` with code `not_joint`, `already_joint`, `no_voters`, `duplicate_node` or `invalid_node`.
    The first voters of an empty configuration are taken as they are: there is nobody to agree with.
    """
    if not change.changes:
        return _leave_joint(configuration)
    if configuration.joint:
        raise InvalidRequest("already_joint", "the joint configuration has to be left before the next change")
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
            # Still a voter of the outgoing set, hence a learner only once that is left.
            (demoted if was_voter else learners).add(step.node_id)
    if not voters:
        raise InvalidRequest("no_voters", "the change would leave no voter")
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
    """Return `configuration` after leaving its joint phase: `voters` decide alone, `learners_next` are learners."""
    if not configuration.joint:
        raise InvalidRequest("not_joint", "there is no joint configuration to leave")
    learners = set(configuration.learners) | set(configuration.learners_next)
    return Configuration(voters=configuration.voters, learners=_sorted(learners))


def _check_nodes(changes: tuple[Change, ...]) -> None:
    nodes = [step.node_id for step in changes]
    if min(nodes) < 1:
        raise InvalidRequest("invalid_node", "node ids are at least 1")
    if len(set(nodes)) < len(nodes):
        raise InvalidRequest("duplicate_node", "a change names each node once")


def find_violation(configuration: Configuration) -> str | None:
    """Return which invariant `configuration` breaks, or None."""
    voters, outgoing = set(configuration.voters), set(configuration.outgoing)
    learners, learners_next = set(configuration.learners), set(configuration.learners_next)
    lists = (configuration.voters, configuration.outgoing, configuration.learners, configuration.learners_next)
    if any(list(nodes) != sorted(set(nodes)) for nodes in lists):
        return "a list is not sorted or names a node twice"
    if any(nodes and nodes[0] < 1 for nodes in lists):
        return "a node id is below 1"
    if learners & (voters | outgoing):
        return "a learner is also a voter"
    if not learners_next <= outgoing - voters:
        return "a learner of the next configuration is not an outgoing voter"
    if not outgoing and (learners_next or configuration.auto_leave):
        return "leftovers of a joint configuration"
    if not voters and (outgoing or learners):
        return "members but no voters"
    return None


def _sorted(nodes: set[NodeId]) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes))
