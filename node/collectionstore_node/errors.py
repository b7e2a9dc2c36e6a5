"""The exceptions of the node, as one tree; each class says what its catcher must do.

NodeError
├── InvalidRequest            the caller's fault: say what is wrong, where, and what is allowed (4xx)
│   ├── InvalidPart           `pointer` says where in the body (RFC 6901)
│   ├── Forbidden             the caller may not do that to this resource (403)
│   ├── HistoryGone           what changed since that revision is not kept any more (410)
│   └── TooLarge              a document or value is over its limit in bytes (413)
├── NotNow                    not applied: retry, elsewhere or later (503)
│   ├── NotLeader             `leader` is a hint, 0 if no leader is known
│   ├── Overloaded            a bounded queue is full
│   ├── InsufficientStorage   a member is short of disk space, and the write adds data (507)
│   ├── ChangePending         a membership change is in progress, or this one is not safe yet
│   ├── LeadershipTransferring  proposals are refused until the transfer completes or aborts
│   ├── ReadTimedOut          a linearizable read was not confirmed by its deadline
│   │   └── RevisionNotReached  this member has not applied so much yet
│   ├── UpgradePending       the cluster's feature level is too low for the command; it is being upgraded
│   ├── TooStale              the state may be older than a stale read may be
│   └── ManyDeleted           a scan met too many deleted keys in a row; they are being reclaimed
├── OutcomeUnknown            the command may or may not be applied: never report it as failed (504)
├── MessageRejected           a peer sent an invalid message: count it, log it, drop it
└── Fatal                     this process must stop: log, exit, let the supervisor restart it
    ├── DataDirectoryRefused  another owner's, corrupt or quarantined: the message says what to do
    │   └── DataTooNew        of a feature level that this program does not support: another version reads it
    ├── StorageFailed         first I/O error: stop, as a retried fsync proves nothing
    ├── OutOfMemory           memory ran out: stop at once, what is left may not suffice for an orderly end
    │   └── DescriptorsExhausted  no file could be opened (EMFILE): the process is at fault, not the disk
    └── InvariantViolated     a bug, or a corrupt message that passed validation
"""

from __future__ import annotations


class NodeError(Exception):
    """Base of all exceptions of the node; never raised itself."""


class InvalidRequest(NodeError):
    """The request can never succeed. `code` is stable and for programs, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class InvalidPart(InvalidRequest):
    """A part of the request's body is not allowed; `pointer` is its JSON pointer (RFC 6901), "" for the whole body."""

    def __init__(self, code: str, pointer: str, detail: str) -> None:
        super().__init__(code, detail)
        self.pointer = pointer


class Forbidden(InvalidRequest):
    """The caller may not do `verb` to a resource. Names both, and nothing of what is there."""

    def __init__(self, verb: str, kind: str, name: str = "", *, of: str = "") -> None:
        """`kind` is that of the resource, `name` its name, empty for the cluster; `of` narrows it down."""
        self.verb = verb
        self.kind = kind
        self.name = name
        where = f"the {kind} {name!r}" if name else f"the {kind}"
        super().__init__("forbidden", f"{verb} on {of and of + 'of '}{where} is not allowed")


class HistoryGone(InvalidRequest):
    """The state of a revision cannot be told any more; `oldest` is the first one that can be, as far as is known."""

    def __init__(self, detail: str, *, oldest: int) -> None:
        super().__init__("history_gone", detail)
        self.oldest = oldest


class TooLarge(InvalidRequest):
    """A document or value has more than `limit_bytes` bytes."""

    def __init__(self, detail: str, *, limit_bytes: int) -> None:
        super().__init__("too_large", detail)
        self.limit_bytes = limit_bytes


class NotNow(NodeError):
    """Not applied; the same request may succeed later."""


class NotLeader(NotNow):
    """This node is not the leader. `leader` is the node ID of the leader, 0 if none is known."""

    def __init__(self, leader: int = 0) -> None:
        super().__init__(
            f"this node is not the leader; the leader is {leader:016x}" if leader else "no leader is known"
        )
        self.leader = leader


class Overloaded(NotNow):
    """A bounded queue is full; retry with backoff, at the earliest after `retry_after_s`."""

    def __init__(self, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class InsufficientStorage(NotNow):
    """A member is short of disk space, or has reached its quota, and the write adds data. Reads and deletes work."""


class ChangePending(NotNow):
    """A membership change is in progress, or the requested one is not allowed in the current configuration."""


class UpgradePending(NotNow):
    """The cluster is at a feature level that does not know the command: not all of its members are upgraded yet."""


class LeadershipTransferring(NotNow):
    """Leadership is being transferred; proposals are refused until that completes or aborts."""


class ReadTimedOut(NotNow):
    """A linearizable read was not confirmed by its deadline; nothing was read."""


class RevisionNotReached(ReadTimedOut):
    """The member had not applied a revision by the read's deadline; nothing was read. It may not exist at all."""

    def __init__(self, revision: int, applied: int) -> None:
        super().__init__(f"this member has applied revision {applied}, and the read is of {revision} or a later one")
        self.revision = revision
        self.applied = applied


class TooStale(NotNow):
    """It is not confirmed that the state is within the bound of a stale read; nothing was read."""


class ManyDeleted(NotNow):
    """A scan met more deleted keys in a row, in `[lo, hi)`, than it may skip; nothing was read."""

    def __init__(
        self,
        detail: str = "many keys of this list were deleted, and their space is still being reclaimed",
        *,
        lo: bytes = b"",
        hi: bytes = b"",
    ) -> None:
        super().__init__(detail)
        self.lo = lo
        self.hi = hi


class OutcomeUnknown(NodeError):
    """The command was proposed, and whether it commits was not known by the deadline; it may still be applied."""


class MessageRejected(NodeError):
    """A peer sent a malformed or impossible message; no state was changed. Count it, log it and drop it.

    The text names the violated rule. A peer that keeps doing so is corrupt, malicious or of another version.
    """


class Fatal(NodeError):
    """The process must stop; its supervisor restarts it."""


class DataDirectoryRefused(Fatal):
    """The data directory is another member's or cluster's, corrupt, quarantined or in use. The text says what to do."""


class DataTooNew(DataDirectoryRefused):
    """The data is of a feature level that this program does not support; it is unharmed. Run a version that does."""


class StorageFailed(Fatal):
    """The disk reported an error. The outcome of the write is unknown, not failed (Rebello et al., ATC'20)."""


class OutOfMemory(Fatal):
    """An allocation failed. The state is as it was: what is applied is stored in one batch or not at all."""


class DescriptorsExhausted(StorageFailed):
    """A file could not be opened because the process, or the machine, has no descriptor left; the disk is healthy."""


class InvariantViolated(Fatal):
    """An invariant does not hold. Raised explicitly, not by `assert`, which -O removes."""
