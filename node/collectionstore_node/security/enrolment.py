"""Waits for the first certificate, and renews it while the node runs.

Invariants:
- a valid pair on the volume is used without asking anybody, so a pod restarts without the operator;
- a pair is replaced only by one that was checked: it fits its key, is signed by a trusted authority, names this node;
- nothing here ends a running node: while a certificate cannot be renewed the old one is used, and the log says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from collectionstore_node.security.key_pair import KeyPairFiles, NewKey, Unusable, Validity, make_key
from collectionstore_node.security.signing_requests import (
    ApiServer,
    ApiUnavailable,
    CredentialsUnusable,
    Refused,
    SigningRequests,
)

LIFETIME_S: Final = 90 * 86_400
POLL_MIN_S: Final = 0.25
POLL_MAX_S: Final = 10.0
ASKED_ANEW_S: Final = 30.0
"""After a refusal: what the signer knows of a pod may be behind."""
RECHECK_S: Final = 60.0
"""How often the running node looks at its pair and at the trusted authorities."""

log = structlog.get_logger()


class Enrolment:
    """Gets and keeps one node's certificate. Belongs to an event loop."""

    def __init__(
        self,
        server: ApiServer,
        files: KeyPairFiles,
        trust_file: Path,
        *,
        name: str,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`trust_file` holds the cluster's authorities, as the operator publishes them; `name` is `<namespace>-<pod>`.

        `now()` is in Unix seconds: certificates are about the wall clock.
        """
        self._server = server
        self._files = files
        self._trust_file = trust_file
        self._name = name
        self._now = now
        self._sleep = sleep
        self._obstacle = "the pair on the volume is being checked"

    @property
    def obstacle(self) -> str:
        """What the first certificate waits for, in words for people."""
        return self._obstacle

    async def ensure(self) -> Validity:
        """Return when a usable pair is on the volume; asks for one, for as long as it takes, when there is none.

        Raises `OSError` when the volume cannot be written, and `CredentialsUnusable`.
        """
        pause_s = POLL_MIN_S
        while True:
            try:
                trust = self._trust_file.read_bytes()
                validity = self._files.check(trust, self._now())
                self._files.trust(trust)
            except Unusable as reason:
                log.info("certificate.wanted", reason=str(reason))
                return await self._enrol()
            except FileNotFoundError as error:
                # The operator publishes the authorities; until then there is nobody to be trusted.
                self._wait_for(f"{error.filename} is not there yet: the operator publishes it")
                await self._sleep(pause_s)
                pause_s = min(2 * pause_s, POLL_MAX_S)
                continue
            return validity

    async def keep(self) -> None:
        """Renew the pair when its time comes, and follow changes of the authorities, until cancelled."""
        while True:
            await self._sleep(RECHECK_S)
            try:
                validity = await self.ensure()
                if self._now() >= validity.renew_at:
                    log.info("certificate.wanted", reason="two thirds of its life are over")
                    await self._enrol()
            except (OSError, CredentialsUnusable) as error:
                # The volume is full or gone: the node finds that out by itself, and may live.
                log.error("certificate.not_stored", reason=str(error))

    async def _enrol(self) -> Validity:
        requests = SigningRequests(self._server)
        try:
            while True:
                try:
                    return await self._request(requests, make_key(self._name))
                except (Refused, Unusable) as error:
                    log.error("certificate.refused", purpose="members", reason=str(error))
                    self._obstacle = f"the certificate was refused: {error}"
                    await self._sleep(ASKED_ANEW_S)
        finally:
            await requests.close()

    async def _request(self, requests: SigningRequests, key: NewKey) -> Validity:
        """Ask for a certificate for `key`. Raises `Refused`, or `Unusable` when what was signed is of no use here."""
        name = f"collectionstore-{self._name}-{key.fingerprint[:16]}"
        created = False
        pause_s = POLL_MIN_S
        while True:
            try:
                if not created:
                    await requests.create(name, key.request_pem, LIFETIME_S)
                    created = True
                    log.info("certificate.requested", request=name)
                    self._obstacle = f"the operator has not signed the request {name} yet"
                certificate = await requests.certificate(name)
                if certificate is not None:
                    validity = self._files.store(key, certificate, self._trust_file.read_bytes(), self._now())
                    log.info("certificate.stored", request=name, not_after=int(validity.not_after))
                    return validity
            except ApiUnavailable as error:
                self._wait_for(str(error))
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)

    def _wait_for(self, obstacle: str) -> None:
        log.warning("certificate.waiting", reason=obstacle)
        self._obstacle = obstacle
