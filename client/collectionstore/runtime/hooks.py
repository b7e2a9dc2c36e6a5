"""What a client tells about its calls, for metrics and traces: never a document, a value or a credential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call that has ended."""

    name: str
    """Of the operation, such as `put_document` or `POST /leases`."""
    seconds: float
    """With all of its attempts and pauses."""
    attempts: int
    member: str
    """URL of the member that was asked last."""
    status: int
    """Of the last answer; 0 if there was none."""
    error: str
    """The `code` of the problem, or the name of the error; empty for a success."""


class Hooks(Protocol):
    """What a user may give; it must neither raise nor wait."""

    def traceparent(self) -> str | None:
        """Return the W3C trace context to send along, if there is one. Called at the beginning of each call."""

    def ended(self, event: CallEvent) -> None:
        """Take note of a call that has ended."""
