"""How far an archive is, as its program says over HTTP."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import aiohttp
import msgspec
from msgspec import Meta

from collectionstore_operator.model.backups.observed import Lag

TIMEOUT_S: Final = 2.0
ANSWER_MAX: Final = 4_096
_Count: TypeAlias = Annotated[int, Meta(ge=0)]


class _Answer(msgspec.Struct, frozen=True):
    started: bool
    archived_index: _Count = 0
    applied_index: _Count = 0
    lag_entries: _Count = 0
    age_seconds: float = 0.0
    lag_seconds: Annotated[float, Meta(ge=0)] | None = None
    lag_revisions: _Count | None = None
    lag_bytes: _Count | None = None


async def ask_archive(url: str) -> Lag | None:
    """Return what an archive says; None if it does not answer, or has not told anything yet."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            told = msgspec.json.decode(await answer.content.read(ANSWER_MAX), type=_Answer)
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError):
        return None  # reported by the condition Archiving: the program does not tell how far it is
    if not told.started:
        return None
    return Lag(
        archived_index=told.archived_index,
        applied_index=told.applied_index,
        lag_entries=told.lag_entries,
        age_s=told.age_seconds,
        lag_s=told.lag_seconds,
        lag_revisions=told.lag_revisions,
        lag_bytes=told.lag_bytes,
    )
