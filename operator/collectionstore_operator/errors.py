"""Everything the operator raises on purpose, as one tree; each class says what its catcher should do.

OperatorError
├── InvalidResource       the user's fault: show every error with path and what is allowed; touch nothing
├── ActionRefused         a precondition no longer holds and nothing was done: observe again, plan again
├── HeldElsewhere         another operator may act on this cluster: do nothing, look again
├── ActionUnfinished      it may or may not have happened: observe again, never call it failed
└── InvariantViolated     ours: log, fail this round; the loop must not act on such a plan
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class OperatorError(Exception):
    """Root of the tree; never raised itself."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with a resource: where, what, and what would be right.

    `path` is written as users write it: `spec.raft.heartbeatMilliseconds`.
    """

    path: str
    message: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}; allowed: {self.allowed}"


class InvalidResource(OperatorError):
    """The resource cannot be accepted. `errors` is never empty and names every fault found, in document order.

    `generation` is the resource's, 0 when it has none.
    """

    def __init__(self, errors: Sequence[FieldError], *, generation: int = 0) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)
        self.generation = generation


class HeldElsewhere(OperatorError):
    """Another operator holds the Lease of this cluster, or may hold it: nothing may be done, and nothing was."""


class ActionRefused(OperatorError):
    """The cluster changed between observation and action (UID, configuration index, epoch): nothing was done."""


class ActionUnfinished(OperatorError):
    """The action was started and its outcome was not known in time; the next observation shows it."""


class InvariantViolated(OperatorError):
    """A state that the planner excludes. Raised with `if`, not `assert`: -O removes asserts."""
