"""Requests from member to member and their replies: msgpack inside a transport request.

Errors cross the wire as their class name, so that the caller raises what the callee raised.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from collectionstore_node.errors import (
    ChangePending,
    InsufficientStorage,
    InvalidRequest,
    LeadershipTransferring,
    NodeError,
    NotLeader,
    NotNow,
    OutcomeUnknown,
    Overloaded,
    UpgradePending,
)
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.health.space import SpaceReport
from collectionstore_node.replica.membership.changes import MembersRequest
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.statemachine.codec import decode
from collectionstore_node.statemachine.commands import Outcome

COMMANDS_MAX: Final = 4_096
"""Commands in one request. A follower sends those of one turn of its loop, of at most 1,024 requests being served."""


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=1, omit_defaults=True):
    """Commands that arrived at a follower in one turn of the loop; answered with one `Result` each."""

    commands: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=COMMANDS_MAX)]
    """Encoded by `encode_command`; not decoded yet."""
    timeout_s: float
    contexts: Annotated[
        tuple[tuple[int, Annotated[bytes, msgspec.Meta(min_length=24, max_length=24)]], ...],
        msgspec.Meta(max_length=COMMANDS_MAX),
    ] = ()
    """Trace contexts of sampled commands, by position; as `commands.SpanContext`."""
    early: bool = False
    """Whether to answer each command once the leader has it on its own disk. A version that does not know it answers
    with the outcome, which says more."""


class ChangeMembers(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A membership request, as members of older versions forward it; refused."""

    request: MembersRequest
    timeout_s: float


class Transfer(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A leadership transfer, as members of older versions forward it; refused."""

    to: NodeId
    timeout_s: float
    epoch: int | None = None


class GetDigests(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Get the digests of the state of the receiver; answered with a list of `Checkpoint`, or with a `MemberReport`.

    A version without reports ignores the field and answers with the list; one that does not ask for it gets the list.
    """

    report: bool = False


class VerifyState(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The sender found that the state of the receiver differs; the receiver should compare too. One `Result`."""


class MemberReport(msgspec.Struct, frozen=True):
    """The digests of a member, and what it reports of its disk. A map on the wire, which tells it from a list."""

    checkpoints: tuple[Checkpoint, ...]
    space: SpaceReport


Call: TypeAlias = Propose | ChangeMembers | Transfer | GetDigests | VerifyState


class Result(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """An outcome or an error; both None for a request that returns nothing."""

    outcome: Outcome | None = None
    error: str | None = None
    code: str = ""
    detail: str = ""
    leader: NodeId = NodeId(0)
    durable: bool = False
    """The command of an early call is on the leader's own disk, and its outcome is not known."""


_REMOTE: dict[str, type[NodeError]] = {
    kind.__name__: kind
    for kind in (
        Overloaded,
        InsufficientStorage,
        ChangePending,
        LeadershipTransferring,
        UpgradePending,
        OutcomeUnknown,
        NotNow,
    )
}

_encoder = msgspec.msgpack.Encoder()
_call_decoder: msgspec.msgpack.Decoder[Call] = msgspec.msgpack.Decoder(
    Propose | ChangeMembers | Transfer | GetDigests | VerifyState
)
_results_decoder = msgspec.msgpack.Decoder(tuple[Result, ...])
_checkpoints_decoder: msgspec.msgpack.Decoder[tuple[Checkpoint, ...] | MemberReport] = msgspec.msgpack.Decoder(
    tuple[Checkpoint, ...] | MemberReport
)


def encode_call(call: Call) -> bytes:
    """Return the payload of a transport request."""
    return _encoder.encode(call)


def decode_call(payload: bytes) -> Call:
    """Decode a transport request. Raises `msgspec.DecodeError` on anything else."""
    return decode(_call_decoder, payload)


def encode_results(results: list[Result]) -> bytes:
    """Return the payload of a transport reply."""
    return _encoder.encode(results)


def decode_results(payload: bytes) -> tuple[Result, ...]:
    """Decode a transport reply. Raises `msgspec.DecodeError` on anything else."""
    return decode(_results_decoder, payload)


def encode_checkpoints(checkpoints: tuple[Checkpoint, ...]) -> bytes:
    """Return the payload of the answer to `GetDigests` without a report."""
    return _encoder.encode(checkpoints)


def encode_report(report: MemberReport) -> bytes:
    """Return the payload of the answer to `GetDigests` with a report."""
    return _encoder.encode(report)


def decode_checkpoints(payload: bytes) -> tuple[tuple[Checkpoint, ...], SpaceReport | None]:
    """Decode either answer to `GetDigests`; None: the member has no report. Raises `msgspec.DecodeError`."""
    answer = decode(_checkpoints_decoder, payload)
    return (answer.checkpoints, answer.space) if isinstance(answer, MemberReport) else (answer, None)


def failure(error: NodeError) -> Result:
    """Return the wire form of an error."""
    match error:
        case InvalidRequest():
            return Result(error="InvalidRequest", code=error.code, detail=error.detail)
        case NotLeader():
            return Result(error="NotLeader", leader=NodeId(error.leader))
        case _:
            return Result(error=type(error).__name__, detail=str(error))


def error_of(result: Result) -> NodeError | None:
    """Return the error in a result, or None. An error class from a newer release becomes `OutcomeUnknown`."""
    match result.error:
        case None:
            return None
        case "InvalidRequest":
            return InvalidRequest(result.code, result.detail)
        case "NotLeader":
            return NotLeader(result.leader)
        case name:
            return _REMOTE.get(name, OutcomeUnknown)(result.detail)
