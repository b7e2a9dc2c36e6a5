"""`Authenticator`: from what a request brings to its caller.

The rules:
- an Authorization header counts alone: one that is refused does not fall back to the certificate, or to nobody;
- a member's certificate is refused whatever comes with it;
- what is refused looks the same to its client whatever was wrong, and takes as long where time could tell: a user who
  does not exist costs a check of a password as well;
- what was checked once is remembered by a keyed digest of the header, never by the header itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.tokens import TOKEN_PREFIX, parse_token
from collectionstore_node.authn import jwts
from collectionstore_node.authn.certificates import refuse_member
from collectionstore_node.authn.directory import Directory
from collectionstore_node.authn.evaluation import Evaluation, Trust
from collectionstore_node.authn.headers import Basic, parse_authorization
from collectionstore_node.authn.identities import (
    FOR_EVER,
    CertificateProof,
    Identity,
    JwtProof,
    LocalProof,
    NoProof,
    PasswordProof,
    Presented,
    Proof,
    TokenProof,
)
from collectionstore_node.authn.key_sources import KeySources
from collectionstore_node.authn.passwords import Passwords
from collectionstore_node.authn.refusals import Reason, Refused, TooManyAttempts
from collectionstore_node.authn.slowing import Slowing

REMEMBERED_MAX: Final = 4_096
"""Credentials whose proof is remembered."""
USER_FREE: Final = 5
"""Wrong passwords of one user before the next one waits."""
ADDRESS_FREE: Final = 20
"""The same from one address: there may be many people behind one."""
GUESSES_MAX: Final = 5
"""Different passwords of one user that are checked at a time."""
GUESS_S: Final = 1.0
KNOWN_MAX: Final = 16_384
"""Pairs of user and address with the right password once: failures of others do not slow these."""

_MAY_BE_NEW: Final = (Reason.UNKNOWN, Reason.DISABLED)


class Authenticator:
    """Finds callers for the ports of a member. Belongs to one event loop."""

    def __init__(
        self,
        directory: Directory,
        keys: Callable[[Callable[[], None]], KeySources],
        passwords: Passwords,
        *,
        cluster_id: str,
        wall_s: Callable[[], float],
        clock: Callable[[], float],
        trust: Trust | None = None,
        catch_up: Callable[[], Awaitable[None]],
        local: Callable[[str], bool] | None = None,
    ) -> None:
        """`keys` is given what it calls when keys have ended. `clock` is monotonic, `wall_s` the time of day.

        `catch_up` returns when this member has applied what others have acknowledged, or raises `NotNow`. For the
        others see `Evaluation`.
        """
        self.keys = keys(self.changed)
        """The keys of issuers."""
        self.passwords = passwords
        self.directory = directory
        """The replicated state."""
        self._evaluation = Evaluation(directory, self.keys, cluster_id=cluster_id, trust=trust, local=local)
        self._cluster_id = cluster_id
        self.wall_s = wall_s
        """The time of day."""
        self._has_local = local is not None
        self._catch_up = catch_up
        self._catching_up: asyncio.Task[None] | None = None
        self._epoch = 0
        self._revision = -1
        self._configuration: AccessConfiguration | None = None
        self._secret = os.urandom(32)
        self._remembered: OrderedDict[bytes, Identity] = OrderedDict()
        self._checking: dict[bytes, asyncio.Task[PasswordProof | None]] = {}
        self._guesses: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._users = Slowing(clock, free=USER_FREE)
        self._addresses = Slowing(clock, free=ADDRESS_FREE)

    # What is asked for every request

    @property
    def mode(self) -> Mode:
        """Whether refusals are enforced."""
        return self.directory.policy().mode

    @property
    def epoch(self) -> int:
        """Rises whenever a proof may not hold any more."""
        return self.epoch_at(self.directory.policy().revision)

    def epoch_at(self, revision: int) -> int:
        """Return the epoch, for a caller that has just asked for the access revision."""
        if revision != self._revision:
            self._revision = revision
            self._epoch += 1
            configuration = self.directory.configuration
            if configuration != self._configuration:
                self._configuration = configuration
                self._evaluation.configure(configuration)
        return self._epoch

    def changed(self) -> None:
        """Have every proof asked again: trust, or keys, have changed."""
        self._epoch += 1

    def is_current(self, identity: Identity) -> bool:
        """Return whether an identity holds without asking its proof again."""
        return identity.epoch == self.epoch and (identity.until_s == FOR_EVER or self.wall_s() < identity.until_s)

    # Proofs

    async def identify(self, presented: Presented) -> Identity:
        """Return who makes a request. Raises `Refused`, `TooManyAttempts`, and `Overloaded` when too many ask."""
        if presented.certificate is not None:
            refuse_member(presented.certificate, self._cluster_id)
        if presented.repeated:
            raise Refused(Reason.MALFORMED)
        header = presented.authorization
        if header is None:
            der = presented.certificate
            return self._evaluate(NoProof() if der is None else CertificateProof(der)).at(presented.address)
        key = self.key_of(header)
        known = self.recall(key)
        if known is None:
            # Evaluated behind every wait: what changed meanwhile counts.
            known = await self._evaluate_newest(await self._prove(header, presented.network))
            known.key = key
            self._remember(key, known)
        return known.at(presented.address)

    async def log_in(self, given: Basic, network: str) -> Identity:
        """Return who has a user's password; raises as `identify`."""
        return self._evaluate(await self._prove_password(given, network))

    def renew(self, identity: Identity) -> Identity | None:
        """Return an identity with what holds now, None if its proof does not hold any more. Waits for nothing."""
        try:
            found = self._evaluate(identity.proof)
        except Refused:
            return None
        found.key = identity.key
        found = found.at(identity.caller.address)
        found.header = identity.header
        return found

    def tolerated(self, address: str) -> Identity:
        """Return the identity of a caller that is only let through because refusals are not enforced."""
        return self._evaluate(NoProof(tolerated=True)).at(address)

    def key_of(self, header: str) -> bytes:
        """Return the keyed digest of a header, by which what it showed is remembered."""
        return hashlib.blake2b(header.encode(errors="surrogateescape"), key=self._secret, digest_size=16).digest()

    def recall(self, key: bytes) -> Identity | None:
        """Return what a header showed before, as far as it holds now; None if it has to be checked."""
        found = self._remembered.get(key)
        if found is None or self.is_current(found):
            return found
        renewed = self.renew(found)
        if renewed is None:
            del self._remembered[key]
        else:
            self._remembered[key] = renewed
        return renewed

    def _remember(self, key: bytes, identity: Identity) -> None:
        if len(self._remembered) >= REMEMBERED_MAX and key not in self._remembered:
            self._remembered.popitem(last=False)
        self._remembered[key] = identity

    def _evaluate(self, proof: Proof) -> Identity:
        epoch = self.epoch  # first: it takes over a new configuration
        found = self._evaluation.evaluate(proof, self.wall_s())
        return Identity(found.caller, proof, epoch=epoch, until_s=found.until_s)

    async def _evaluate_newest(self, proof: Proof) -> Identity:
        """Evaluate a proof; a token that is not known here may be new, and this member behind."""
        try:
            return self._evaluate(proof)
        except Refused as refused:
            if not isinstance(proof, TokenProof) or refused.reason not in _MAY_BE_NEW:
                raise
        # One for all who wait: made-up tokens cost no more than one confirmation at a time. One that is under way may
        # have begun before the token was made: then the next one says that there is no such token.
        if self._catching_up is not None:
            await asyncio.shield(self._catching_up)
            try:
                return self._evaluate(proof)
            except Refused:
                pass  # asked again below
        if self._catching_up is None:
            self._catching_up = asyncio.get_running_loop().create_task(self._caught_up(), name="caught-up")
        await asyncio.shield(self._catching_up)
        return self._evaluate(proof)

    async def _caught_up(self) -> None:
        try:
            await self._catch_up()
        finally:
            self._catching_up = None

    async def _prove(self, header: str, network: str) -> Proof:
        given = parse_authorization(header)
        if isinstance(given, Basic):
            return await self._prove_password(given, network)
        token = given.token
        if token.startswith(TOKEN_PREFIX):
            shown = parse_token(token)
            if shown is None:
                raise Refused(Reason.UNKNOWN)
            return TokenProof(shown.id, shown.digest)
        if jwts.looks_like_jwt(token):
            return await self._prove_jwt(token)
        if not self._has_local:
            raise Refused(Reason.UNKNOWN)
        return LocalProof(header)

    async def _prove_jwt(self, token: str) -> JwtProof:
        unverified = jwts.read(token)
        _ = self.epoch  # a configuration that has just been applied
        source = self.keys.of_issuer(unverified.issuer)
        if source is None:
            await self.keys.wait_undiscovered()
            source = self.keys.of_issuer(unverified.issuer)
        if source is None:
            raise Refused(Reason.UNKNOWN)
        demands = self._evaluation.demands(source.name)
        if unverified.algorithm not in demands.algorithms:
            raise Refused(Reason.SIGNATURE)  # BEFORE keys are fetched for it
        if source.keys.find(unverified.key_id, unverified.algorithm) is None:
            await self.keys.look_again(source)
        if not source.keys.all:
            raise Refused(Reason.KEYS)
        return JwtProof(source.name, demands, jwts.verify(unverified, source.keys, demands, self.wall_s()))

    # Passwords

    async def _prove_password(self, given: Basic, network: str) -> PasswordProof:
        """Raises `Refused`, `TooManyAttempts` and `Overloaded`."""
        self._check_pace(given.user, network)
        key = self.key_of(f"{network} {len(given.user)} {given.user} {given.password}")
        checking = self._checking.get(key)
        if checking is None:
            # A pool of connections shows one password many times at once; many different ones are guesses.
            if self._guesses[given.user] >= GUESSES_MAX:
                raise TooManyAttempts(GUESS_S)
            checking = asyncio.get_running_loop().create_task(self._check(given, network, key), name="password")
            self._guesses[given.user] += 1
            self._checking[key] = checking
        proof = await asyncio.shield(checking)
        if proof is None:
            raise Refused(Reason.UNKNOWN)
        return proof

    def _check_pace(self, user: str, network: str) -> None:
        """Refuse an attempt that comes too early, before anything is checked. Raises `TooManyAttempts`."""
        if (user, network) in self._known:
            return
        wait_s = max(self._users.wait_s(user), self._addresses.wait_s(network) if network else 0.0)
        if wait_s > 0:
            raise TooManyAttempts(wait_s)

    async def _check(self, given: Basic, network: str, key: bytes) -> PasswordProof | None:
        user = given.user
        try:
            hashed = self.directory.password(user)
            if await self.passwords.verify(given.password, hashed) and hashed is not None:
                self._succeeded(user, network)
                return PasswordProof(user, hashed)
            self._failed(user, network)
            return None
        finally:
            del self._checking[key]
            self._guesses[user] -= 1
            if not self._guesses[user]:
                del self._guesses[user]

    def _succeeded(self, user: str, network: str) -> None:
        self._users.succeeded(user)
        if len(self._known) >= KNOWN_MAX:
            self._known.popitem(last=False)
        self._known[user, network] = None

    def _failed(self, user: str, network: str) -> None:
        # Those who knew it once are slowed, too, from the second failure on: their address may be shared.
        self._known.pop((user, network), None)
        self._users.failed(user)
        if network:
            self._addresses.failed(network)
