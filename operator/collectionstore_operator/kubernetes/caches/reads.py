"""The reads of one cluster's rounds: from the newest state, or from caches that are not behind it.

What one round has read from the API server itself, or was answered to its writes, is a floor for the next: a cache that
has not come as far is not used for this cluster. So the loop reads its own writes, and never looks back.

What is not watched, because the operator must not list it or because it hardly changes, is remembered for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.caches.caches import Caches
from collectionstore_operator.kubernetes.caches.store import NO_VERSION, NotComparable, Store, version_of
from collectionstore_operator.kubernetes.caches.watched import group_asked_for
from collectionstore_operator.reconcile.reading import Reading

EDITED_S: Final = 15.0
"""For how long an object is remembered that is edited by hand, and that no event tells of: what an idle loop remembers
is read again in its second round at the latest, within 30 s."""
QUIET_S: Final = 60.0
"""For how long an object that hardly changes is remembered, or that there is none."""
REMEMBERED_S: Final[Mapping[Kind, float]] = {
    Kind.CONFIG_MAP: EDITED_S,
    Kind.NETWORK_POLICY: QUIET_S,
    Kind.PERSISTENT_VOLUME: QUIET_S,
    Kind.POD_DISRUPTION_BUDGET: QUIET_S,
    Kind.POD_MONITOR: EDITED_S,
    Kind.SECRET: EDITED_S,
    Kind.SERVICE: QUIET_S,
    Kind.SERVICE_ACCOUNT: QUIET_S,
}
"""For how long an answer of the API server is good enough to say that nothing is to be done. For watched kinds that is
the answer that there is no such object, as of one that the resource does not require. Not pods, claims, the StatefulSet
and the resource itself: whether one of those is missing is asked every time. Nor the namespace: nothing may be created
in one that is being deleted, which pods that go show first."""


class _Remembered(NamedTuple):
    body: Body | None
    until: float


class Reads:
    """Of one cluster; belongs to its loop. Implements `api.reader.Reader` and `reconcile.reading.Source`."""

    def __init__(
        self, kube: Kube, caches: Caches | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Without caches every read returns the newest state."""
        self._kube = kube
        self._caches = caches
        self._clock = clock
        self._newest = True
        self._floors: dict[Kind, int] = {}
        self._gone: dict[Kind, set[str]] = {}
        self._remembered: dict[tuple[Kind, str, str | None], _Remembered] = {}
        self.from_cache = False
        """Whether a cache or the memory has answered anything since `begin`."""

    @property
    def newest(self) -> bool:
        """Whether every read returns the newest state now."""
        return self._newest

    @property
    def remembered(self) -> int:
        """Return how many answers are remembered."""
        return len(self._remembered)

    def begin(self, reading: Reading) -> None:
        """Read in this way from now on."""
        self._newest = reading is Reading.NEWEST or self._caches is None
        self.from_cache = False
        if self._newest:
            # This round sees the newest state: what it reads is what the next ones are measured against.
            self._floors.clear()
            self._gone.clear()
            now = self._clock()
            self._remembered = {key: one for key, one in self._remembered.items() if now < one.until}

    def saw(self, kind: Kind, body: Body) -> None:
        """Remember that the loop has read or written this state of an object: no cache that is behind it is used."""
        try:
            self._floors[kind] = max(self._floors.get(kind, NO_VERSION), version_of(body))
        except NotComparable:
            return  # then nothing is cached either: such a store never is complete

    async def find(self, kind: Kind, name: str, namespace: str | None = None) -> Body | None:
        """Return an object, None when there is none: only the API server's answer proves that."""
        store = self._usable(kind, namespace)
        if store is not None:
            found = store.find(namespace or "", name)
            if found is not None and found["metadata"].get("uid") not in self._gone.get(kind, ()):
                self.from_cache = True
                return found
        key = (kind, name, namespace)
        known = self._remembered.get(key)
        if not self._newest and known is not None and self._clock() < known.until:
            self.from_cache = True
            return known.body
        answer = await self._kube.find(kind, name, namespace)
        if answer is not None:
            self.saw(kind, answer)
        kept_s = REMEMBERED_S.get(kind)
        if kept_s is not None and (answer is None or not self._is_watched(kind, namespace)):
            self._remembered[key] = _Remembered(answer, self._clock() + kept_s)
        else:
            self._remembered.pop(key, None)
        return answer

    async def find_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        selector: Mapping[str, str] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
    ) -> list[Body]:
        """Return all objects with these labels and fields."""
        group = group_asked_for(kind, selector, fields)
        store = self._usable(kind, namespace) if group is not None else None
        if store is not None and group is not None and not self._shows_gone(store, kind, namespace, group):
            self.from_cache = True
            return store.find_group(namespace or "", group)
        answer = await self._kube.find_all(kind, namespace, selector, fields=fields)
        for body in answer:
            self.saw(kind, body)
        self._note_gone(kind, namespace, group, answer)
        return answer

    async def requests_of(self, account: str, signer: str) -> list[Body]:
        """Return the CertificateSigningRequests that a user has made for a signer."""
        store = self._usable(Kind.SIGNING_REQUEST, None)
        if store is not None:
            self.from_cache = True
            return store.find_group("", account)
        answer = await self._kube.find_all(Kind.SIGNING_REQUEST, fields={"spec.signerName": signer})
        found = [body for body in answer if (body.get("spec") or {}).get("username") == account]
        for body in found:
            self.saw(Kind.SIGNING_REQUEST, body)
        return found

    def _usable(self, kind: Kind, namespace: str | None) -> Store | None:
        if self._newest or self._caches is None:
            return None
        store = self._caches.store(kind, namespace)
        return store if store is not None and store.version >= self._floors.get(kind, NO_VERSION) else None

    def _is_watched(self, kind: Kind, namespace: str | None) -> bool:
        return self._caches is not None and self._caches.watches(kind, namespace)

    def _note_gone(self, kind: Kind, namespace: str | None, group: str | None, answer: list[Body]) -> None:
        """Remember what the caches still show of what is gone already."""
        store = self._caches.store(kind, namespace) if self._caches is not None else None
        if store is not None and group is not None:
            there = {body["metadata"].get("uid") for body in answer}
            self._gone[kind] = {uid for uid in store.uids(namespace or "", group) if uid not in there}

    def _shows_gone(self, store: Store, kind: Kind, namespace: str | None, group: str) -> bool:
        gone = self._gone.get(kind, set())
        return bool(gone) and any(uid in gone for uid in store.uids(namespace or "", group))
