"""`TokenUses`: what notes in the state when tokens were last used, seldom: a read must not cost a write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from collectionstore_node.errors import NotNow, OutcomeUnknown
from collectionstore_node.service.access import Access

log = structlog.get_logger()

LOOK_S: Final = 60.0


class TokenUses:
    """Stores the uses that a member has seen, each token's once an hour at most. Belongs to one event loop."""

    def __init__(self, access: Access, sleep: Callable[[float], Awaitable[None]]) -> None:
        """`sleep` waits for so many seconds."""
        self._access = access
        self._sleep = sleep

    async def run(self) -> None:
        """Store uses until it is cancelled."""
        while True:
            await self._sleep(LOOK_S)
            try:
                await self._access.store_uses()
            except (NotNow, OutcomeUnknown) as error:
                # They are noted again when the tokens are used again.
                log.debug("token.uses_not_stored", reason=str(error))
