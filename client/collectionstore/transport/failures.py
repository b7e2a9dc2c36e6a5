"""What can become of an attempt besides an answer. Internal: `runtime.calls` turns them into errors of the user."""

from __future__ import annotations


class AttemptFailed(Exception):
    """There is no answer. `sent`: whether the member may have got it, so that a write may be applied."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class AttemptTimedOut(AttemptFailed):
    """The time of the attempt is over, without an answer."""


class Backlogged(AttemptTimedOut):
    """It was not sent, as too many operations of this client are under way: no fault of the member."""


class StreamRefused(AttemptFailed):
    """The handshake was answered with another status than 101: `status`, and the `body` of the problem."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the stream was refused with {status}", sent=False)
        self.status = status
        self.body = body
