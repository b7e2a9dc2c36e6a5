"""The actions that both runtimes perform alike: calls to nodes that change membership or leadership.

Every call carries the configuration index it was planned from and the operator's fencing epoch, so a node refuses what
was planned from an older configuration or by an operator that lost its Lease. Nothing is retried here: the loop is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.model.actions import (
    AddLearners,
    Bootstrap,
    ChangeVoters,
    MemberRef,
    RemoveLearners,
    TransferLeadership,
)
from collectionstore_operator.model.observed import NodeStatus, Observed, Pod, Slot
from collectionstore_operator.reconcile.node_client import (
    ChangeResult,
    Done,
    MemberChange,
    NodeClient,
    Refused,
)

ClusterAction: TypeAlias = AddLearners | Bootstrap | ChangeVoters | RemoveLearners | TransferLeadership

ALREADY_BOOTSTRAPPED = "already_bootstrapped"


async def perform_on_nodes(action: ClusterAction, observed: Observed, client: NodeClient) -> None:
    """Perform an action by a call to a node. Raises ActionRefused or ActionUnfinished.

    For Bootstrap the caller has recorded `bootstrap_node` durably BEFORE.
    """
    if isinstance(action, Bootstrap):
        result = await client.bootstrap(_bootstrap_url(action, observed), epoch=observed.epoch)
        if isinstance(result, Refused) and result.code == ALREADY_BOOTSTRAPPED:
            return  # an earlier call took effect and its response was lost
    elif isinstance(action, TransferLeadership):
        result = await client.transfer_leadership(_leader_url(observed), action.to.node_id, epoch=observed.epoch)
    else:
        result = await client.change_members(
            _leader_url(observed),
            member_changes(action),
            expected_index=action.expected_index,
            epoch=observed.epoch,
        )
    _raise_unless_done(result)


def member_changes(action: AddLearners | ChangeVoters | RemoveLearners) -> tuple[MemberChange, ...]:
    """Return the parts of the single membership change that performs an action."""
    match action:
        case AddLearners():
            return tuple(_addition(member) for member in action.members)
        case RemoveLearners():
            return _removals(action.members)
        case ChangeVoters():
            promotions = (MemberChange("promote", member.node_id) for member in action.add)
            return (*promotions, *_removals(action.remove))


def _addition(member: MemberRef) -> MemberChange:
    return MemberChange("add", member.node_id, member.name, member.address, member.http_address)


def _removals(members: Iterable[MemberRef]) -> tuple[MemberChange, ...]:
    return tuple(MemberChange("remove", member.node_id) for member in members)


def _bootstrap_url(action: Bootstrap, observed: Observed) -> str:
    slot = observed.slot(action.ordinal)
    if not isinstance(slot.node, NodeStatus) or slot.node.node_id != action.node_id:
        raise ActionRefused(f"the node of member {action.ordinal} is no longer {action.node_id}")
    return _url(slot)


def _leader_url(observed: Observed) -> str:
    """Return the client URL of the leader of the highest term: a deposed leader may not know of its successor yet."""
    leaders = [
        (slot.node.term, slot)
        for slot in observed.all_slots()
        if isinstance(slot.node, NodeStatus) and slot.node.role == "Leader"
    ]
    if not leaders:
        raise ActionRefused("there is no leader")
    return _url(max(leaders, key=lambda pair: pair[0])[1])


def _url(slot: Slot) -> str:
    if not isinstance(slot.pod, Pod):
        raise ActionRefused(f"member {slot.ordinal} responds, but its pod was not observed")
    return slot.pod.http_address


def _raise_unless_done(result: ChangeResult) -> None:
    match result:
        case Done():
            return
        case Refused():
            raise ActionRefused(f"{result.code}: {result.detail}" if result.detail else result.code)
        case _:
            # No response is not a refusal: the change may have been proposed and may still commit.
            raise ActionUnfinished(result.reason)
