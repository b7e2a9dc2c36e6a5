"""Membership requests: their form, their checks, and the `ConfigChange` they become. Pure.

The preconditions of a request:
- `expected_index`: the configuration index the caller planned against; with another one its plan is outdated;
- `epoch`: the caller's fencing token; one lower than the highest ever applied belongs to a caller that was replaced,
  and one that is too much higher than it is no caller's: nobody could follow it, and the cluster would be locked.
The leader checks them against applied state, which is exact: it has applied every earlier change before it may append
the next (etcd#7625).
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from collectionstore_node.errors import ChangePending, InvalidRequest
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    NO_NODE,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    Term,
    chain_hash,
    encode,
)
from collectionstore_node.statemachine.members import (
    EPOCH_MAX,
    MemberInfo,
    MembershipContext,
    MembershipRecord,
    encode_context,
)
from collectionstore_node.transport.wire.handshake import set_of

PROMOTION_LAG_MAX = 1_000
"""A learner may be promoted when it lags at most this many entries, so that the new majority can commit soon."""
EPOCH_STEP_MAX: Final = 2**32
"""The most by which one request raises the epoch. A Unix time in seconds, which an operator begins with, is within it;
and the highest epoch is as far as two million such steps away, so a mistake leaves room for the next operator."""
CHANGES_MAX: Final = 64
"""Steps in one request; a cluster has up to nine members."""

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]{2,64}\]|[A-Za-z0-9._-]{1,253}):(?P<port>[0-9]{1,5})")
_URL: Final = re.compile(r"https?://(?:\[[0-9A-Fa-f:.%]{2,64}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?")


class MemberChange(msgspec.Struct, frozen=True, array_like=True):
    """One step. `add` makes a learner of a new node, `promote` a voter of a learner, `demote` the reverse."""

    action: Literal["add", "promote", "demote", "remove"]
    node_id: NodeId
    name: str = ""
    address: str = ""
    http_address: str = ""


class MembersRequest(msgspec.Struct, frozen=True, array_like=True):
    """Steps that take effect together; any change of voters becomes ONE joint configuration."""

    changes: tuple[MemberChange, ...]
    expected_index: Index | None = None
    epoch: int | None = None


_KINDS = {
    "add": ChangeKind.ADD_LEARNER,
    "promote": ChangeKind.ADD_VOTER,
    "demote": ChangeKind.ADD_LEARNER,
    "remove": ChangeKind.REMOVE,
}


def plan_change(
    request: MembersRequest,
    record: MembershipRecord,
    configuration: Configuration,
    lag: dict[NodeId, int],
    own: NodeId = NO_NODE,
) -> ConfigChange:
    """Return the change requested by `request`. `lag` is in entries, for reachable members; `own` is the leader's ID.

    Raises `InvalidRequest` for what can never work as asked, `ChangePending` for what may work later.
    """
    _check_preconditions(request, record)
    if configuration.joint:
        raise ChangePending("a joint configuration is being left; wait until it has ended")
    if not request.changes:
        raise InvalidRequest("no_changes", "changes is empty; name at least one")
    if len(request.changes) > CHANGES_MAX:
        raise InvalidRequest("invalid_body", f"{len(request.changes)} changes; at most {CHANGES_MAX} in one request")
    if len({change.node_id for change in request.changes}) != len(request.changes):
        raise InvalidRequest("duplicate_node", "each node_id may appear once in a request")
    for change in request.changes:
        _check_step(change, record, configuration, lag)
        _check_member(change, record, frozenset((*lag, own)))
    steps = tuple(Change(_KINDS[change.action], change.node_id) for change in request.changes)
    infos = tuple(
        MemberInfo(node_id=change.node_id, name=change.name, address=change.address, http_address=change.http_address)
        for change in request.changes
        if change.address
    )
    epoch = record.fencing_epoch if request.epoch is None else request.epoch
    return ConfigChange(changes=steps, context=encode_context(MembershipContext(epoch=epoch, members=infos)))


def check_quorum_after(configuration: Configuration, active: frozenset[NodeId]) -> None:
    """Refuse a change after which the reachable voters would be no majority (etcd's strict reconfig check).

    `configuration` is what the change would lead to; both of its halves count. Raises `ChangePending`.
    """
    for voters in (configuration.voters, configuration.outgoing):
        alive = sum(1 for voter in voters if voter in active)
        if voters and alive <= len(voters) // 2:
            raise ChangePending(
                f"only {alive} of {len(voters)} voters of the new configuration are reachable: no quorum"
            )


def check_epoch(epoch: int | None, record: MembershipRecord) -> None:
    """Fence a caller that was replaced. Raises `InvalidRequest`."""
    if epoch is None:
        return
    known = record.fencing_epoch
    if epoch < known:
        raise InvalidRequest("stale_epoch", f"epoch {epoch} is behind {known}: another operator took over")
    check_new_epoch(epoch, record)


def check_new_epoch(epoch: int, record: MembershipRecord) -> None:
    """Refuse an epoch so high that no operator could follow it. Raises `InvalidRequest`."""
    limit = min(record.fencing_epoch + EPOCH_STEP_MAX, EPOCH_MAX)
    if not 0 <= epoch <= limit:
        raise InvalidRequest(
            "epoch_out_of_range", f"epoch {epoch} is out of range; after {record.fencing_epoch}, up to {limit}"
        )


def _check_preconditions(request: MembersRequest, record: MembershipRecord) -> None:
    check_epoch(request.epoch, record)
    if request.expected_index is not None and request.expected_index != record.index:
        raise InvalidRequest(
            "configuration_changed",
            f"the configuration index is {record.index}, not {request.expected_index}; plan again",
        )


def _check_member(change: MemberChange, record: MembershipRecord, active: frozenset[NodeId]) -> None:
    """Check name and addresses of a member: they are stored, and sent to clients and members as they are."""
    if not (change.name or change.address or change.http_address):
        return
    name = change.name
    if not _LABEL.fullmatch(name):
        raise InvalidRequest("invalid_member", "a member's name has 1-63 characters of a-z, 0-9 and '-'")
    # The members of a cluster are named by one controller, and so is this one's.
    sets = {found for one in record.members if (found := set_of(one.name)) is not None}
    if len(sets) == 1 and set_of(name) not in sets:
        raise InvalidRequest("invalid_member", f"{name!r} is not a member of this cluster: {sets.pop()}-<ordinal>")
    _check_address(_HOST_PORT, change.address, "address must be host:port")
    _check_address(_URL, change.http_address, "http_address must be a URL, http(s)://host:port")
    for one in record.members:
        if one.name == name and one.node_id != change.node_id and one.node_id in active:
            raise InvalidRequest(
                "name_in_use", f"{name!r} is node {one.node_id:016x}, which is heard from; stop that one first"
            )


def _check_address(form: re.Pattern[str], text: str, allowed: str) -> None:
    found = form.fullmatch(text)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise InvalidRequest("invalid_member", allowed)


def _check_step(
    change: MemberChange, record: MembershipRecord, configuration: Configuration, lag: dict[NodeId, int]
) -> None:
    shown = f"{change.node_id:016x}"
    member = change.node_id in configuration.members()
    if change.node_id in record.removed:
        raise InvalidRequest(
            "node_removed", f"node {shown} was removed and never returns; give it an empty data directory"
        )
    match change.action:
        case "add":
            if member:
                raise InvalidRequest("already_member", f"node {shown} is a member already")
            if not (change.name and change.address and change.http_address):
                raise InvalidRequest("address_missing", f"adding node {shown} needs name, address and http_address")
        case "promote":
            if change.node_id in configuration.voters:
                raise InvalidRequest("already_voter", f"node {shown} votes already")
            if not member:
                raise InvalidRequest("not_a_learner", f"node {shown} is not a member; add it as a learner first")
            if lag.get(change.node_id, PROMOTION_LAG_MAX + 1) > PROMOTION_LAG_MAX:
                raise ChangePending(
                    f"learner {shown} has not caught up yet; at most {PROMOTION_LAG_MAX} entries may be missing"
                )
        case "demote":
            if change.node_id not in configuration.voters:
                raise InvalidRequest("not_a_voter", f"node {shown} does not vote")
        case "remove":
            if not member:
                raise InvalidRequest("not_a_member", f"node {shown} is not a member")


def first_entry(me: MemberInfo, epoch: int = 0) -> tuple[Entry, HardState]:
    """Return the entry that makes `me` the only voter of a new cluster, and the hard state that has it committed."""
    change = ConfigChange(
        changes=(Change(ChangeKind.ADD_VOTER, NodeId(me.node_id)),),
        context=encode_context(MembershipContext(epoch=epoch, members=(me,))),
    )
    index, term, data = Index(1), Term(1), encode(change)
    chain = chain_hash(GENESIS_CHAIN, index, term, EntryKind.CHANGE, data)
    return Entry(index, term, EntryKind.CHANGE, data, chain), HardState(term=term, vote=NO_NODE, commit=index)
