"""What scenarios may catch; every other exception of theirs is a failure too."""

from __future__ import annotations

from collections.abc import Awaitable


class NoCluster(Exception):
    """There is no cluster to run on; the text says how to get one."""


class Refused(Exception):
    """The API server answered with an error: `status` is HTTP's, `reason` and the text are Kubernetes' own."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


async def refusal(request: Awaitable[object]) -> Refused:
    """Return how the API server refuses a request that it must refuse; an AssertionError when it grants it."""
    try:
        await request
    except Refused as refused:
        return refused
    raise AssertionError("the API server granted what it should have refused")


class DeadlinePassed(AssertionError):
    """A condition did not come true in time; the text tells what was seen last."""


class CommandRefused(AssertionError):
    """kubectl, or a command in a pod, ended with an error; `output` is what it printed on both streams."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command}\nended with exit code {code}:\n{output}")
        self.code = code
        self.output = output


async def command_refusal(command: Awaitable[object]) -> CommandRefused:
    """Return how a command fails that must fail; an AssertionError when it does not."""
    try:
        await command
    except CommandRefused as refused:
        return refused
    raise AssertionError("a command succeeded that should have been refused")
