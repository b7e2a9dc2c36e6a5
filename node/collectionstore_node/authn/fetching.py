"""Fetches the keys of issuers: files, https URLs, and the API server of the Kubernetes around the node."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from collectionstore_node.authn.key_sources import Unavailable
from collectionstore_node.authn.keysets import KEY_SET_BYTES_MAX

TIMEOUT_S: Final = 5.0


class ApiServerAccess(NamedTuple):
    """The API server, and the pod's credentials; the token is read for every call, as it rotates."""

    url: str
    ca_file: Path
    token_file: Path


class KeyFetch:
    """Implements `Fetch`. Belongs to one event loop; close it."""

    def __init__(self, folder: Path | None = None, api_server: ApiServerAccess | None = None) -> None:
        """`folder` holds files with keys, None for none; `api_server` is None outside of Kubernetes."""
        self._folder = folder
        self._api_server = api_server
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def url(self, url: str, ca: str) -> bytes:
        """Return what is at an https URL, by `ca` or the authorities of the system. Raises `Unavailable`."""
        if not url.startswith("https://"):
            raise Unavailable("keys are fetched from https URLs only")
        try:
            # In a thread: the authorities of the system are a large file.
            tls = await asyncio.to_thread(ssl.create_default_context, cadata=ca or None)
        except (ssl.SSLError, ValueError):
            raise Unavailable("the certificates of `ca` cannot be read") from None
        return await self._get(url, {}, tls)

    async def api_server(self, path: str) -> bytes:
        """Return what the API server has at a path. Raises `Unavailable`."""
        access = self._api_server
        if access is None:
            raise Unavailable("the node knows no API server; COLLECTIONSTORE_API_SERVER says where it is")
        try:
            token = (await asyncio.to_thread(access.token_file.read_text)).strip()
            tls = ssl.create_default_context(cafile=str(access.ca_file))
        except (OSError, ValueError) as error:
            raise Unavailable(f"the ServiceAccount of the pod cannot be read: {type(error).__name__}") from None
        return await self._get(access.url + path, {"Authorization": f"Bearer {token}"}, tls)

    async def file(self, name: str) -> bytes:
        """Return the content of a file in the folder. Raises `Unavailable`."""
        if self._folder is None:
            raise Unavailable("the node has no folder of keys; COLLECTIONSTORE_KEYS_DIR says where it is")
        if "/" in name or name.startswith("."):
            raise Unavailable("a file of keys is named without a path")
        try:
            return await asyncio.to_thread(_read, self._folder / name)
        except OSError as error:
            raise Unavailable(error.strerror or type(error).__name__) from None

    async def _get(self, url: str, headers: dict[str, str], tls: ssl.SSLContext) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            # No redirects: the URL that is configured is the one that is trusted.
            async with self._session.get(
                url, headers=headers | {"Accept-Encoding": "identity"}, ssl=tls, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise Unavailable(f"it answers {answer.status}")
                text = await answer.content.read(KEY_SET_BYTES_MAX + 1)
                while len(text) <= KEY_SET_BYTES_MAX and (more := await answer.content.read(KEY_SET_BYTES_MAX)):
                    text += more
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise Unavailable(f"it cannot be reached: {type(error).__name__}") from None
        if len(text) > KEY_SET_BYTES_MAX:
            raise Unavailable(f"it answers more than {KEY_SET_BYTES_MAX} bytes")
        return text


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(KEY_SET_BYTES_MAX + 1)
