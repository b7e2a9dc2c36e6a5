"""`KeySources`: the public keys of issuers, kept as long as they may be, and fetched again before.

Keys are fetched at the first need and every `REFRESH_S`, at once when a token names one that is not known (an issuer
that rotates begins to use a new key), and no more often than every `AGAIN_S`, so that made-up key IDs cause no flood.
An issuer that cannot be reached changes nothing until its keys are older than `max_age_s`: then none of them is used,
and its tokens are refused, until it answers. A set that has lost a key ends what that key has signed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

import structlog

from collectionstore_node.authn.keysets import KEY_SET_BYTES_MAX, NO_KEYS, InvalidKeySet, KeySet, parse_key_set

REFRESH_S: Final = 300.0
FILE_REFRESH_S: Final = 2.0
AGAIN_S: Final = 10.0
"""Between two attempts at least."""
_DISCOVERY: Final = "/.well-known/openid-configuration"
_API_SERVER_KEYS: Final = "/openid/v1/jwks"

log = structlog.get_logger()


class Unavailable(Exception):
    """Keys could not be fetched; the text says why, without what was answered."""


class Place(NamedTuple):
    """Where the keys of an issuer are: one of these, or else found by discovery at `issuer`."""

    issuer: str
    url: str = ""
    file: str = ""
    """A name in the folder of keys."""
    ca: str = ""
    """Certificates (PEM) that vouch for the server; empty for those of the system."""
    max_age_s: float = 86_400.0
    """After so long without an answer the keys are not used any more."""
    api_server: bool = False
    """Whether the issuer is the Kubernetes that the member runs in; its name is discovered if `issuer` is empty."""


class Fetch(Protocol):
    """Reads keys. All methods raise `Unavailable`."""

    async def url(self, url: str, ca: str) -> bytes:
        """Return what is at an https URL, at most `KEY_SET_BYTES_MAX` bytes; redirects are not followed."""

    async def api_server(self, path: str) -> bytes:
        """Return what the API server has at a path, by the pod's own ServiceAccount."""

    async def file(self, name: str) -> bytes:
        """Return the content of a file in the folder of keys."""


class Source:
    """The keys of one issuer."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self.place = place
        self.issuer = place.issuer
        """What `iss` must be; empty as long as it is not discovered."""
        self.keys: KeySet = NO_KEYS
        self.fetched_at: float | None = None
        self.tried_at: float | None = None
        self.problem = ""
        """Why the last attempt failed; empty if it did not."""
        self.fetching: asyncio.Task[None] | None = None

    @property
    def refresh_s(self) -> float:
        """How old keys become before they are fetched again."""
        return FILE_REFRESH_S if self.place.file else REFRESH_S


class KeySources:
    """The keys of all issuers of a store. Belongs to one event loop; close it."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """`clock` is monotonic, in seconds. `changed` is called when keys are not valid any more that were before."""
        self._fetch = fetch
        self._clock = clock
        self._changed = changed
        self._sources: dict[str, Source] = {}

    def configure(self, places: Mapping[str, Place]) -> None:
        """Use these issuers, by names; what is known of those that stay as they are is kept."""
        for name in [name for name, source in self._sources.items() if places.get(name) != source.place]:
            source = self._sources.pop(name)
            if source.fetching is not None:
                source.fetching.cancel()
        for name, place in places.items():
            if name not in self._sources:
                self._sources[name] = Source(name, place)

    def ages_s(self) -> dict[str, float]:
        """Return how old the keys of each issuer are that has answered."""
        now = self._clock()
        return {one.name: now - one.fetched_at for one in self._sources.values() if one.fetched_at is not None}

    @property
    def without_keys(self) -> int:
        """How many issuers have no keys that may be used."""
        return sum(not one.keys.all for one in self._sources.values())

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())

    def of_issuer(self, issuer: str) -> Source | None:
        """Return the source whose tokens say `issuer`, None if there is none."""
        return next((one for one in self._sources.values() if issuer and one.issuer == issuer), None)

    def get(self, name: str) -> Source | None:
        """Return a source by its name."""
        return self._sources.get(name)

    def age_s(self, source: Source) -> float | None:
        """Return how old its keys are, None if there are none."""
        return None if source.fetched_at is None else self._clock() - source.fetched_at

    async def wait_undiscovered(self) -> None:
        """Return when issuers whose names are not known yet were asked for them."""
        for source in tuple(self._sources.values()):
            if not source.issuer:
                await self.look_again(source)

    async def look_again(self, source: Source) -> None:
        """Fetch keys, unless that was tried just now. What goes wrong is in `Source.problem`."""
        if source.fetching is None:
            if source.tried_at is not None and self._clock() - source.tried_at < AGAIN_S:
                return
            source.fetching = asyncio.get_running_loop().create_task(self._refresh(source), name="issuer-keys")
        # Not ended with a client that does not wait for it: others do.
        await asyncio.wait((source.fetching,))

    async def tend(self) -> None:
        """Fetch what is old, and drop what is too old."""
        now = self._clock()
        for source in tuple(self._sources.values()):
            age = self.age_s(source)
            if age is not None and age >= source.place.max_age_s and source.keys.all:
                source.keys = NO_KEYS
                log.error("keys.expired", issuer=source.name, age_s=round(age))
                self._changed()
            due = age is None or age >= source.refresh_s
            wait_s = FILE_REFRESH_S if source.place.file else AGAIN_S
            if due and source.fetching is None and (source.tried_at is None or now - source.tried_at >= wait_s):
                source.fetching = asyncio.get_running_loop().create_task(self._refresh(source), name="issuer-keys")

    async def close(self) -> None:
        """End what is being fetched."""
        running = [one.fetching for one in self._sources.values() if one.fetching is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _refresh(self, source: Source) -> None:
        source.tried_at = self._clock()
        try:
            issuer, text = await self._read(source.place)
            keys = parse_key_set(text)
        except (Unavailable, InvalidKeySet) as error:
            if str(error) != source.problem:
                log.warning("keys.unavailable", issuer=source.name, reason=str(error))
            source.problem = str(error)
        else:
            if source.problem:
                log.info("keys.available", issuer=source.name)
            source.problem = ""
            lost = source.keys.thumbprints - keys.thumbprints
            source.keys, source.issuer, source.fetched_at = keys, issuer, self._clock()
            if lost:
                log.info("keys.rotated", issuer=source.name, removed=len(lost), keys=len(keys.all))
                self._changed()
        finally:
            source.fetching = None

    async def _read(self, place: Place) -> tuple[str, bytes]:
        """Return the name of the issuer and the text of its keys. Raises `Unavailable`."""
        if place.api_server:
            issuer = place.issuer or _text(await self._fetch.api_server(_DISCOVERY), "issuer")
            return issuer, await self._fetch.api_server(_API_SERVER_KEYS)
        if place.file:
            return place.issuer, await self._fetch.file(place.file)
        if place.url:
            return place.issuer, await self._fetch.url(place.url, place.ca)
        found = await self._fetch.url(place.issuer.rstrip("/") + _DISCOVERY, place.ca)
        # OpenID Connect Discovery 1.0, 4.3: otherwise one issuer could speak for another.
        if _text(found, "issuer") != place.issuer:
            raise Unavailable("what is discovered is of another issuer")
        keys_url = _text(found, "jwks_uri")
        if not keys_url.startswith("https://"):
            raise Unavailable("its jwks_uri is no https URL")
        return place.issuer, await self._fetch.url(keys_url, place.ca)


def _text(document: bytes, name: str) -> str:
    """Return a text in a discovery document. Raises `Unavailable`."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise Unavailable("what is discovered is not JSON") from None
    value = found.get(name) if isinstance(found, dict) else None
    if not isinstance(value, str) or not value:
        raise Unavailable(f"what is discovered has no {name}")
    return value


__all__ = ["KEY_SET_BYTES_MAX", "Fetch", "KeySources", "Place", "Source", "Unavailable"]
