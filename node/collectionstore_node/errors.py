"""Everything a node raises on purpose, as one tree; each class says what its catcher should do.

NodeError
├── InvalidRequest            the caller's fault: tell it what, where and what is allowed (4xx)
│   └── TooLarge              a document or value is over its limit in bytes (413)
├── NotNow                    nothing was applied: try again, elsewhere or later (503)
│   ├── NotLeader             `leader` is a hint, or None when none is known
│   ├── Overloaded            a bounded queue is full
│   ├── ChangePending         a membership change is still running, or this one would not be safe now
│   └── LeadershipTransferring  proposals pause until the transfer ends or aborts
├── OutcomeUnknown            the command may or may not be applied: never call it failed (504)
├── MessageRejected           a peer sent what no correct peer sends: count it, log it, drop it
└── Fatal                     ours: log, exit, let the supervisor restart the process
    ├── DataDirectoryRefused  not our disk, or not whole: the message says what to do
    ├── StorageFailed         first I/O error: the process must stop, retrying fsync proves nothing
    └── InvariantViolated     a bug, or a corrupt message got past its checks
"""

from __future__ import annotations


class NodeError(Exception):
    """Root of the tree; never raised itself."""


class InvalidRequest(NodeError):
    """The caller asked for something that can never work; `code` is stable, the text is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TooLarge(InvalidRequest):
    """A document or value has more than `limit_bytes` bytes."""

    def __init__(self, detail: str, *, limit_bytes: int) -> None:
        super().__init__("too_large", detail)
        self.limit_bytes = limit_bytes


class NotNow(NodeError):
    """Nothing was applied; the same request may work later."""


class NotLeader(NotNow):
    """This node does not lead. `leader` is the node id of the leader it knows, 0 when it knows none."""

    def __init__(self, leader: int = 0) -> None:
        super().__init__(f"not the leader; known leader: {leader:016x}" if leader else "no leader is known")
        self.leader = leader


class Overloaded(NotNow):
    """A bounded queue is full; back off."""


class ChangePending(NotNow):
    """A membership change is running, or the requested one is not allowed in the current configuration."""


class LeadershipTransferring(NotNow):
    """The leader is handing over and takes no proposals until that ends."""


class ReadTimedOut(NotNow):
    """A linearizable read was not confirmed within its deadline; nothing was read."""


class OutcomeUnknown(NodeError):
    """The command was handed to consensus and its fate was not learnt in time; it may still be applied."""


class MessageRejected(NodeError):
    """A peer sent a malformed or impossible message; nothing changed here. Count it, log it and drop it.

    The text says which rule it broke. A peer that goes on like this is corrupt, hostile or of another version.
    """


class Fatal(NodeError):
    """The process must stop; a supervisor restarts it."""


class DataDirectoryRefused(Fatal):
    """The data directory belongs to another member or cluster, or is damaged. The text says what to do."""


class StorageFailed(Fatal):
    """The disk reported an error. What was being written is unknown, not failed (ATC'20, Rebello et al.)."""


class InvariantViolated(Fatal):
    """A state that the algorithm excludes. Raised with `if`, not `assert`: -O removes asserts."""
