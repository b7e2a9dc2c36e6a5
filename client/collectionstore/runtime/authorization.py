"""The `Authorization` of requests and streams, renewed once the store refuses it."""

from __future__ import annotations

import asyncio
import inspect

from collectionstore.errors import ConfigurationError
from collectionstore.settings.credentials import Credentials, basic, bearer

TOKEN_BYTES_MAX = 32 << 10


class Authorization:
    """Belongs to one event loop."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._header: str | None = None
        self._asking = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether a refusal may be answered with another token."""
        return self._credentials.renewable

    async def headers(self) -> dict[str, str]:
        """Return the headers to send. Raises ConfigurationError."""
        if self._credentials.empty:
            return {}
        if self._header is None:
            async with self._asking:
                if self._header is None:
                    self._header = await self._ask()
        return {"Authorization": self._header}

    def refused(self, headers: dict[str, str]) -> bool:
        """Forget what was refused; return whether asking again may give something else."""
        if not self.renewable:
            return False
        if headers.get("Authorization") == self._header:
            self._header = None
        return True

    async def _ask(self) -> str:
        given = self._credentials
        if given.token:
            return bearer(given.token)
        if given.user:
            return basic(given.user, given.password)
        if given.token_file is not None:
            try:
                return bearer(await asyncio.to_thread(_read, given))
            except OSError as error:
                raise ConfigurationError(f"{given.token_file} cannot be read: {type(error).__name__}") from None
        assert given.get_token is not None  # one of them is given
        token = given.get_token()
        return bearer(await token if inspect.isawaitable(token) else token)


def _read(given: Credentials) -> str:
    assert given.token_file is not None
    with given.token_file.open("rb") as file:
        return file.read(TOKEN_BYTES_MAX).decode("ascii", "replace")
