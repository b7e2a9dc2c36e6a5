"""A guard for a client port that is served from memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.authn.authenticator import Authenticator
from collectionstore_node.authn.key_sources import KeySources
from collectionstore_node.authn.passwords import Passwords
from collectionstore_node.service import Store
from collectionstore_node.tests.authn.issuers import NOW
from collectionstore_node.tests.authn.test_key_sources import Web

OWNER = "Bearer the-owner-of-the-cluster"
"""The token of a local cluster: its bearer may do everything."""
AS_OWNER = {"Authorization": OWNER}


class Counted:
    """Implements `AuthenticationMetrics`."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()

    def authenticated(self, method: str) -> None:
        self.counts[method] += 1

    def refused(self, reason: str, *, tolerated: bool) -> None:
        self.counts[reason, tolerated] += 1

    def slowed(self) -> None:
        self.counts["slowed"] += 1

    def expelled(self) -> None:
        self.counts["expelled"] += 1


class Watched:
    """A guard, and what it goes by."""

    def __init__(self, store: Store) -> None:
        self.wall = float(NOW)
        self.clock = 0.0
        self.web = Web()
        self.metrics = Counted()
        self.trust: Any = None
        self.owner = OWNER

        async def catch_up() -> None:
            return None

        self.authenticator = Authenticator(
            store.access,
            lambda changed: KeySources(self.web, lambda: self.clock, changed),
            Passwords(),
            cluster_id="shop",
            wall_s=lambda: self.wall,
            clock=lambda: self.clock,
            catch_up=catch_up,
            local=lambda header: header == self.owner,
        )

        def allows(caller: Caller, verb: Verb, kind: Kind, name: str) -> bool:
            return store.access.policy().rights(caller).allows(verb, kind, name)

        self.guard = Guard(self.authenticator, self.metrics, allows)
