"""`HistoryKeeper`: what bounds the history of changes while a member is short of disk space, on the leader.

Deletes must free space then, and what they delete would stay in the history for hours. The bound is part of the
replicated state, as all that decides what is stored: every member looks, and who leads proposes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from collectionstore_node.errors import NotNow, OutcomeUnknown
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.statemachine.commands import Command, LimitHistory
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.history import LIMIT_MIN_BYTES

log = structlog.get_logger()

LOOK_S: Final = 1.0
CALM_LOOKS: Final = 60
"""How often in a row no member must have been short before the bound is lifted: while clients still delete, a longer
history would take what they free, and the member would be short again."""
PROPOSE_TIMEOUT_S: Final = 10.0


class HistoryKeeper:
    """Keeps the history small while a member is short of space. Belongs to one event loop."""

    def __init__(self, replica: StoreReplica, sleep: Callable[[float], Awaitable[None]]) -> None:
        """`sleep` waits for so many seconds."""
        self._replica = replica
        self._sleep = sleep
        self._calm = 0
        """Looks since a member was short."""

    async def run(self) -> None:
        """Look until it is cancelled."""
        while True:
            await self._sleep(LOOK_S)
            try:
                await self.look()
            except (NotNow, OutcomeUnknown) as error:
                # Not the leader any more, or overloaded: the next look sees what has become of it.
                log.debug("history.not_limited", reason=str(error))

    async def look(self) -> None:
        """Propose another bound if the present one does not fit. Raises what proposing raises."""
        replica = self._replica
        if not replica.is_leader:
            self._calm = 0  # another one may see more
            return
        short = replica.short_of_space
        self._calm = 0 if short else self._calm + 1
        history = read_header(replica.view).history
        wanted = LIMIT_MIN_BYTES if short else 0
        if history is None or history.bytes_max == wanted or not (short or self._calm >= CALM_LOOKS):
            return
        await replica.propose(Command(LimitHistory(wanted)), timeout_s=PROPOSE_TIMEOUT_S)
        log.info("history.limited", bytes_max=wanted, bytes=history.size_bytes)
