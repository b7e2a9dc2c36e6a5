"""Exceptions that scenarios may catch; every other exception fails the scenario as well."""

from __future__ import annotations

from collections.abc import Awaitable


class NoCluster(Exception):
    """There is no cluster to run on; the message says how to start one."""


class Refused(Exception):
    """The API server responded with an error: the HTTP `status`, and `reason` and `message` of the Status object."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


async def refusal(request: Awaitable[object]) -> Refused:
    """Return the API server's error for a request that it must reject. Raises AssertionError if it accepts it."""
    try:
        await request
    except Refused as refused:
        return refused
    raise AssertionError("the API server accepted a request that it should have rejected")


class DeadlinePassed(AssertionError):
    """A condition did not hold in time; the message contains the last state."""


class CommandRefused(AssertionError):
    """kubectl, helm, or a command in a pod failed; `output` is its stderr and stdout."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command}\nfailed with exit code {code}:\n{output}")
        self.code = code
        self.output = output


async def command_refusal(command: Awaitable[object]) -> CommandRefused:
    """Return the error of a command that must fail. Raises AssertionError if it succeeds."""
    try:
        await command
    except CommandRefused as refused:
        return refused
    raise AssertionError("a command succeeded that should have failed")
