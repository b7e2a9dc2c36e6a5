"""The cluster: its members, and the operators' requests that change it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, cast

import msgspec

from collectionstore_node.api.http.answers import JSON, Answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import IDEMPOTENCY_KEY
from collectionstore_node.api.http.json_bodies import decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.service.membership import (
    Bootstrap,
    ConfigurationStatus,
    Index,
    LeaderStatus,
    MemberChange,
    MembersRequest,
    MemberStatus,
    NodeId,
    NodeStatus,
    TransferLeadership,
)

_NODE_ID: Final = re.compile(r"[0-9a-f]{16}")
_NOTHING: Final = msgspec.Raw()
"""A field that is not given: `Raw | None` would make msgspec refuse every value but null."""
_encoder = msgspec.json.Encoder()


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One change of one node. `replace` promotes `node_id` to voter and removes `replaces` in one step."""

    action: Literal["add", "promote", "demote", "remove", "replace"]
    node_id: str
    name: str = ""
    address: str = ""
    http_address: str = ""
    replaces: str | None = None


class SingleChange(Step, frozen=True, kw_only=True):
    """A request with one step, the configuration index it was planned against, and the caller's fencing token."""

    expected_index: int | None = None
    epoch: int | None = None


class JointChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request whose steps take effect together."""

    changes: list[Step]
    expected_index: int | None = None
    epoch: int | None = None


class _Several(msgspec.Struct, frozen=True):
    """Tells the one from the other."""

    changes: msgspec.Raw = _NOTHING


class Transfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The node to transfer leadership to; null selects the reachable voter with the longest log."""

    node_id: str | None = None
    epoch: int | None = None


class NewCluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new cluster; the caller's epoch becomes its first."""

    epoch: int | None = None


class ClusterStatus(msgspec.Struct, frozen=True):
    """The part of a node's status that describes the cluster."""

    cluster_id: str
    term: int
    leader: LeaderStatus | None
    revision: int
    epoch: int
    configuration: ConfigurationStatus
    members: list[MemberStatus]
    fault_tolerance: int
    transferring_to: str | None


async def get(call: Call) -> Answer:
    """Return the cluster as this node sees it; only the leader knows replication progress."""
    return _cluster_answer(call.api.store.cluster())


async def change_members(call: Call) -> Answer:
    """Change the membership; answered when the new configuration is applied."""
    _check_client(call)
    limits = call.api.limits
    request = _members_request(await call.json_text(limits.control_bytes_max, Rules(limits.depth_max, names_depth=0)))
    store = call.api.store
    try:
        status = await store.change_members(request, timeout_s=call.timeout_s)
    except InvalidRequest as error:
        # With the current configuration in the answer, a caller whose plan was stale can plan again without a read.
        current = msgspec.to_builtins(store.status().configuration)
        raise Problem(error.code, error.detail, configuration=current) from None
    return _cluster_answer(status)


async def bootstrap(call: Call) -> Answer:
    """Make this empty node the first voter of its cluster; once in the life of a cluster."""
    _check_client(call)
    body = await call.json_struct(NewCluster)
    return _status_answer(await call.api.store.bootstrap(Bootstrap(body.epoch)))


async def transfer_leadership(call: Call) -> Answer:
    """Transfer leadership; answered when another node leads."""
    _check_client(call)
    body = await call.json_struct(Transfer)
    to = None if body.node_id is None else _node_id(body.node_id, "node_id")
    request = TransferLeadership(to, body.epoch)
    return _status_answer(await call.api.store.transfer_leadership(request, timeout_s=call.timeout_s))


def _check_client(call: Call) -> None:
    """Refuse clients that are no operators, and a header whose protection these requests do not have.

    Raises `Problem`.
    """
    call.require_operator("changing the cluster")
    if IDEMPOTENCY_KEY in call.request.headers:
        raise Problem("invalid_idempotency_key", "no key here: `expected_index` keeps a change from being made twice")


def _members_request(body: bytes) -> MembersRequest:
    asked: SingleChange | JointChange
    if decode(body, _Several).changes != _NOTHING:
        asked = decode(body, JointChange)
        steps: Iterable[tuple[str, Step]] = [(f"changes[{at}].", step) for at, step in enumerate(asked.changes)]
    else:
        asked = decode(body, SingleChange)
        steps = [("", asked)]
    changes = tuple(change for path, step in steps for change in _member_changes(step, path))
    expected = None if asked.expected_index is None else Index(asked.expected_index)
    return MembersRequest(changes=changes, expected_index=expected, epoch=asked.epoch)


def _member_changes(step: Step, path: str) -> tuple[MemberChange, ...]:
    node_id = _node_id(step.node_id, f"{path}node_id")
    if (step.action == "replace") != (step.replaces is not None):
        raise Problem("invalid_body", f"{path}replaces belongs to the action replace, and only to it")
    if step.replaces is not None:
        return (
            MemberChange("promote", node_id, step.name, step.address, step.http_address),
            MemberChange("remove", _node_id(step.replaces, f"{path}replaces")),
        )
    action = cast(Literal["add", "promote", "demote", "remove"], step.action)
    return (MemberChange(action, node_id, step.name, step.address, step.http_address),)


def _node_id(text: str, path: str) -> NodeId:
    if not _NODE_ID.fullmatch(text) or text == "0" * 16:
        raise Problem("invalid_body", f"{path} must be 16 hexadecimal digits in lower case, and not all 0")
    return NodeId(int(text, 16))


def _cluster_answer(status: NodeStatus) -> Answer:
    fields = {name: getattr(status, name) for name in ClusterStatus.__struct_fields__}
    return Answer(200, JSON + revision_line(status.revision), _encoder.encode(ClusterStatus(**fields)))


def _status_answer(status: NodeStatus) -> Answer:
    return Answer(200, JSON + revision_line(status.revision), _encoder.encode(status))
