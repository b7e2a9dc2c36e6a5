"""The span of a command: `forward` on the follower that received it, `propose` on the leader.

It ends with the future of the outcome, an unknown outcome included. Attributes are the stable ones of OpenTelemetry's
database conventions that contain no key, ID or content; the name of a collection is schema and is recorded, that of a
bucket is not: there may be as many buckets as users.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.statemachine.access_commands import (
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)
from collectionstore_node.statemachine.commands import (
    AckConsumer,
    Action,
    BuildIndex,
    Command,
    Commit,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DocumentRef,
    DropCollection,
    DropIndex,
    Expire,
    Expiring,
    GrantLease,
    GuardedTransaction,
    Insert,
    KeepLease,
    LimitHistory,
    Outcome,
    Put,
    PutConsumer,
    RevokeLease,
    Settle,
    Touch,
    Transaction,
    Update,
)

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span, Tracing

_OPERATIONS: Final[dict[type[Action], str]] = {
    Put: "put",
    Delete: "delete",
    CreateCollection: "create_collection",
    DropCollection: "drop_collection",
    Transaction: "transaction",
    GuardedTransaction: "transaction",
    Commit: "commit",
    Settle: "settle",
    Update: "update",
    CreateIndex: "create_index",
    DropIndex: "drop_index",
    BuildIndex: "build_index",
    Expiring: "write_expiring",
    Touch: "touch",
    GrantLease: "grant_lease",
    KeepLease: "keep_lease",
    RevokeLease: "revoke_lease",
    Expire: "expire",
    ConfigureCollection: "configure_collection",
    Insert: "insert",
    LimitHistory: "limit_history",
    PutConsumer: "put_consumer",
    AckConsumer: "ack_consumer",
    DeleteConsumer: "delete_consumer",
    PutUser: "put_user",
    DeleteUser: "delete_user",
    PutRole: "put_role",
    DeleteRole: "delete_role",
    CreateToken: "create_token",
    RotateToken: "rotate_token",
    RevokeToken: "revoke_token",
    UseTokens: "use_tokens",
    ConfigureAccess: "configure_access",
    SetPassword: "set_password",
}


def begin_forward(tracing: Tracing | None, command: Command, parent: bytes | None) -> Span | None:
    """Start the span of a command that is sent to the leader; None unless `parent` is sampled."""
    if tracing is None or parent is None:
        return None
    return _begin(tracing, "forward", command, parent, "client")


def begin_propose(
    tracing: Tracing | None, command: Command, parent: bytes | None, *, forwarded: bool = False
) -> Span | None:
    """Start the span of a command that is put into the log here; None unless `parent` is sampled."""
    if tracing is None or parent is None:
        return None
    return _begin(tracing, "propose", command, parent, "server" if forwarded else "internal")


def end_with(span: Span, future: asyncio.Future[Outcome]) -> None:
    """End `span` with `future`, BEFORE its awaiters resume: callbacks run in the order they were added."""
    future.add_done_callback(partial(_end, span))


def _begin(
    tracing: Tracing, verb: str, command: Command, parent: bytes, kind: Literal["client", "server", "internal"]
) -> Span | None:
    action = command.action
    operation = _OPERATIONS[type(action)]
    attributes: dict[str, str | int | bool] = {"db.system.name": "collectionstore", "db.operation.name": operation}
    collection = _collection(action)
    if collection:
        attributes["db.collection.name"] = collection
    if isinstance(action, GuardedTransaction):
        action = action.transaction
    if isinstance(action, Transaction):
        attributes["db.operation.batch.size"] = max(len(action.then), len(action.otherwise))
    elif isinstance(action, Commit):
        attributes["db.operation.batch.size"] = len(action.writes)
    return tracing.start(f"{verb} {operation}", parent, kind, attributes)


def _collection(action: Action) -> str:
    if isinstance(action, CreateCollection | DropCollection):
        return action.name
    if isinstance(action, CreateIndex | DropIndex | BuildIndex | ConfigureCollection | Insert):
        return action.collection
    if isinstance(action, Put | Delete | Update | Expiring | Touch) and isinstance(action.ref, DocumentRef):
        return action.ref.collection
    return ""


def _end(span: Span, future: asyncio.Future[Outcome]) -> None:
    if future.cancelled():
        span.end("cancelled")
        return
    error = future.exception()
    if error is None:
        outcome = future.result()
        span.set({"db.response.status_code": outcome.code.name, "collectionstore.revision": outcome.revision})
        span.end()
    else:
        unknown = isinstance(error, OutcomeUnknown)
        span.set({"collectionstore.outcome": "unknown" if unknown else "not_applied"})
        span.end(type(error).__name__)
