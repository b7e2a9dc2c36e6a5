"""Waits for the first certificate, and renews it while the node runs.

Invariants:
- a valid pair on the volume is used without a request, so a pod restarts without the operator;
- a pair is replaced only by one that was verified: it matches its key, names this node, and a trusted authority
  signed it;
- nothing here stops a running node: if a certificate cannot be renewed, the old one stays in use and the log says so.
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
    Purpose,
    Refused,
    SigningRequests,
)

LIFETIME_S: Final = 365 * 86_400
"""What is asked for: the longest that a resource may choose. The operator decides, and signs for 90 days by default."""
POLL_MIN_S: Final = 0.25
POLL_MAX_S: Final = 10.0
RETRY_REFUSED_S: Final = 30.0
"""Pause after a refusal: the signer may not have observed this pod yet."""
RECHECK_S: Final = 10.0
"""How often the running node checks its pair and the trusted authorities."""
RETRY_STORE_S: Final = 60.0
"""Pause after a failed write: each attempt would leave another request at the API server."""

log = structlog.get_logger()


class Enrolment:
    """Obtains and renews one node's certificate. Belongs to one event loop."""

    def __init__(
        self,
        server: ApiServer,
        files: KeyPairFiles,
        trust_file: Path,
        *,
        name: str,
        node: str,
        now: Callable[[], float],
        purpose: Purpose = Purpose.MEMBER,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`trust_file` holds the authorities of `purpose`, as published by the operator; `name` is `<namespace>-<pod>`,
        `node` the URI of this incarnation.

        `now()` is in Unix seconds: the validity of certificates is in wall-clock time.
        """
        self._server = server
        self._files = files
        self._trust_file = trust_file
        self._name = name
        self._node = node
        self._asked_for_names = False
        self._now = now
        self._purpose = purpose
        self._sleep = sleep
        self._obstacle = "the pair on the volume is being checked"

    @property
    def obstacle(self) -> str:
        """Why there is no certificate yet, for the readiness probe."""
        return self._obstacle

    async def ensure(self) -> Validity:
        """Return when a usable pair is on the volume; if there is none, request one for as long as it takes.

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
                # Until the operator publishes the authorities, no certificate can be verified.
                self._wait_for(f"{error.filename} does not exist yet: the operator publishes it")
                await self._sleep(pause_s)
                pause_s = min(2 * pause_s, POLL_MAX_S)
                continue
            return validity

    async def keep(self) -> None:
        """Renew the pair when it is due, and follow changes of the authorities, until cancelled."""
        while True:
            await self._sleep(RECHECK_S)
            try:
                validity = await self.ensure()
                reason = self._why_renew(validity)
                if reason:
                    log.info("certificate.wanted", reason=reason)
                    await self._enrol()
            except (OSError, CredentialsUnusable) as error:
                # A full or lost volume stops the node when its log cannot be written; a certificate is no reason to.
                log.error("certificate.not_stored", reason=str(error))
                await self._sleep(RETRY_STORE_S)

    def _why_renew(self, validity: Validity) -> str:
        if self._now() >= validity.renew_at:
            return "two thirds of its lifetime have passed"
        if not validity.by_first:
            # The operator puts the authority that signs first, once every member trusts it.
            return "another authority signs now"
        if validity.lacks and not self._asked_for_names:
            # Once: an operator that does not know the names would sign without them for ever.
            self._asked_for_names = True
            return f"it is not for {', '.join(sorted(validity.lacks))}"
        return ""

    async def _enrol(self) -> Validity:
        requests = SigningRequests(self._server)
        try:
            while True:
                try:
                    return await self._request(requests, make_key(self._name, self._node))
                except (Refused, Unusable) as error:
                    log.error("certificate.refused", purpose=self._purpose.value or "members", reason=str(error))
                    self._obstacle = f"the certificate was refused: {error}"
                    await self._sleep(RETRY_REFUSED_S)
        finally:
            await requests.close()

    async def _request(self, requests: SigningRequests, key: NewKey) -> Validity:
        """Request a certificate for `key`. Raises `Refused`, or `Unusable` if the certificate does not verify."""
        name = f"collectionstore-{self._name}-{key.fingerprint[:16]}"
        created = False
        pause_s = POLL_MIN_S
        while True:
            try:
                # Repeated after a lost answer: the request's name is derived from the key, so it finds the same one.
                if not created:
                    await requests.create(name, key.request_pem, LIFETIME_S, self._purpose)
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
            self._follow()

    def _follow(self) -> None:
        """While the node waits, however long, it trusts whom the other members trust."""
        try:
            trust = self._trust_file.read_bytes()
        except FileNotFoundError:
            return  # the operator publishes it again; what was trusted stays so until then
        self._files.trust_if_in_use(trust)

    def _wait_for(self, obstacle: str) -> None:
        log.warning("certificate.waiting", reason=obstacle)
        self._obstacle = obstacle
