"""When rounds of backups are due: when something was applied, when a run has ended, or when the time has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from collectionstore_local.backups.rounds import BackupRounds
from collectionstore_local.errors import LocalError
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource.desired import Desired

FAILED_S: Final = 5.0

log = structlog.get_logger(__name__)


class BackupLoop:
    """Runs rounds until it is cancelled. `wake` may be called at any time."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have the next round run now."""
        self._woken.set()

    async def run(self, rounds: BackupRounds, desired: Callable[[], Awaitable[Desired | None]]) -> None:
        """Run rounds; one that fails is repeated."""
        while True:
            self._woken.clear()
            wait_s = await self._round(rounds, desired)
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                continue  # it is due

    async def _round(self, rounds: BackupRounds, desired: Callable[[], Awaitable[Desired | None]]) -> float:
        try:
            found = await desired()
            return FAILED_S if found is None else await rounds.once(found, time.time())
        except InvalidResource:
            return FAILED_S  # the loop of the cluster reports it
        except (OSError, LocalError) as error:
            # A full disk, or a file that was edited by hand: nothing was changed, and the members need this process.
            log.warning("backup_round.failed", error=type(error).__name__, detail=str(error))
            return FAILED_S
        except Exception:
            # A bug; the members need this process all the same.
            log.exception("backup_round.failed")
            return FAILED_S
