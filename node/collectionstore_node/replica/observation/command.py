"""A queued command, as consensus, forwarding and observers see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from collectionstore_node.statemachine.commands import Outcome

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span


class QueuedCommand(msgspec.Struct, eq=False):
    """An encoded command and its caller. In seconds: `deadline` in loop time, `since` its arrival by `perf_counter`.

    The loop counts whole milliseconds only: enough for deadlines, useless for durations. `span` is there when the
    command is sampled.
    """

    command: bytes
    deadline: float
    future: asyncio.Future[Outcome]
    since: float = 0.0
    span: Span | None = None
