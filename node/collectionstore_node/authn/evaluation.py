"""`Evaluation`: whether a proof holds now, and who has it. No secret and no cryptography but that of certificates.

It reads the replicated state, the keys of issuers, the trusted authorities and the time, and waits for nothing. So the
same question is asked at the first request and for every open stream, and gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from collectionstore_node.access.callers import ANONYMOUS_USER, Caller, Method
from collectionstore_node.access.configuration import AccessConfiguration, JwtIssuer, ServiceAccounts
from collectionstore_node.access.modes import Mode
from collectionstore_node.authn.certificates import Authorities, holder_of
from collectionstore_node.authn.directory import Directory
from collectionstore_node.authn.identities import (
    FOR_EVER,
    CertificateProof,
    JwtProof,
    LocalProof,
    NoProof,
    PasswordProof,
    Proof,
    TokenProof,
)
from collectionstore_node.authn.jwts import Demands
from collectionstore_node.authn.key_sources import KeySources, Place
from collectionstore_node.authn.mapping import bearer_of, service_account_of
from collectionstore_node.authn.refusals import Reason, Refused

TOKEN_S: Final = 1_800.0
"""How long a token of the store is not asked again, so that its use is noted."""
LOCAL_S: Final = 2.0
"""How long the file with the token of a local cluster is not read again."""
LOCAL_USER: Final = "local"
LOCAL_ROLES: Final = ("admin", "operator")
"""Who can read the file owns the cluster."""
SERVICE_ACCOUNTS: Final = "ServiceAccounts"
"""Name of the source of their keys, which is no name of an issuer."""


class Trust(Protocol):
    """The authorities of client certificates."""

    @property
    def authorities(self) -> Authorities:
        """Those trusted now."""


class Evaluated(NamedTuple):
    """A caller, and the time of day until which it holds without asking again."""

    caller: Caller
    until_s: float


class Evaluation:
    """Evaluates proofs. Belongs to one event loop."""

    def __init__(
        self,
        directory: Directory,
        keys: KeySources,
        *,
        cluster_id: str,
        trust: Trust | None = None,
        local: Callable[[str], bool] | None = None,
    ) -> None:
        """`trust` is None without client TLS; `local` says whether a header has the token of a local cluster."""
        self._directory = directory
        self._keys = keys
        self._cluster_id = cluster_id
        self._trust = trust
        self._local = local
        self._issuers: dict[str, JwtIssuer] = {}
        self._accounts: ServiceAccounts | None = None

    def configure(self, configuration: AccessConfiguration) -> None:
        """Take the access configuration of now."""
        self._issuers = {one.issuer: one for one in configuration.jwt}
        self._accounts = configuration.service_accounts
        places = {
            one.issuer: Place(one.issuer, one.jwks_url, one.jwks_file, one.ca, one.keys_max_age_s)
            for one in configuration.jwt
        }
        if (accounts := self._accounts) is not None:
            elsewhere = bool(accounts.jwks_url or accounts.jwks_file)
            places[SERVICE_ACCOUNTS] = Place(
                accounts.issuer, accounts.jwks_url, accounts.jwks_file, api_server=not elsewhere
            )
        self._keys.configure(places)

    def demands(self, source: str) -> Demands:
        """Return what tokens must be whose issuer has this source of keys. Raises `Refused`."""
        found = self._keys.get(source)
        if source == SERVICE_ACCOUNTS and self._accounts is not None and found is not None:
            return Demands(found.issuer, self._accounts.audiences, _ACCOUNT_ALGORITHMS, _ACCOUNT_LEEWAY_S)
        issuer = self._issuers.get(source)
        if issuer is None:
            raise Refused(Reason.UNKNOWN)
        return Demands(issuer.issuer, issuer.audiences, issuer.algorithms, issuer.leeway_s)

    def evaluate(self, proof: Proof, now_s: float) -> Evaluated:
        """Return who has a proof; its caller has no address. Raises `Refused` when it does not hold now."""
        match proof:
            case TokenProof():
                return self._token(proof, now_s)
            case PasswordProof():
                return self._password(proof)
            case JwtProof():
                return self._jwt(proof, now_s)
            case CertificateProof():
                return self._certificate(proof, now_s)
            case LocalProof():
                if self._local is None or not self._local(proof.authorization):
                    raise Refused(Reason.UNKNOWN)
                return Evaluated(Caller(LOCAL_USER, Method.LOCAL, LOCAL_ROLES), now_s + LOCAL_S)
            case NoProof():
                return self._nobody(proof)

    def _token(self, proof: TokenProof, now_s: float) -> Evaluated:
        record = self._directory.token(proof.id)
        if record is None:
            raise Refused(Reason.UNKNOWN)
        now_ms = int(now_s * 1000)
        until_ms = record.accepted_until(proof.digest, now_ms)
        if until_ms is None:
            raise Refused(Reason.EXPIRED if 0 < record.expires_ms <= now_ms else Reason.UNKNOWN)
        ends = until_ms / 1000 if until_ms else FOR_EVER
        self._user(record.user, needed=True)
        self._directory.note_use(proof.id, record)
        expires_s = None if ends == FOR_EVER else ends
        caller = Caller(record.user, Method.TOKEN, credential=proof.id, expires_s=expires_s)
        return Evaluated(caller, min(ends, now_s + TOKEN_S))

    def _password(self, proof: PasswordProof) -> Evaluated:
        if self._directory.password(proof.user) != proof.hashed:
            raise Refused(Reason.UNKNOWN)
        self._user(proof.user, needed=True)
        return Evaluated(Caller(proof.user, Method.PASSWORD), FOR_EVER)

    def _jwt(self, proof: JwtProof, now_s: float) -> Evaluated:
        verified = proof.verified
        source, demands = self._keys.get(proof.source), self.demands(proof.source)
        if source is None or demands != proof.demands:
            raise Refused(Reason.UNKNOWN)  # it is verified again by what is demanded now
        if verified.thumbprint not in source.keys.thumbprints:
            raise Refused(Reason.SIGNATURE if source.keys.all else Reason.KEYS)
        ends = verified.expires_s + demands.leeway_s
        if now_s >= ends:
            raise Refused(Reason.EXPIRED)
        if proof.source == SERVICE_ACCOUNTS and self._accounts is not None:
            bearer, method = service_account_of(verified.claims, self._accounts), Method.SERVICE_ACCOUNT
        else:
            bearer, method = bearer_of(verified.claims, self._issuers[proof.source]), Method.JWT
        self._user(bearer.user, needed=False)
        caller = Caller(bearer.user, method, bearer.roles, verified.credential, expires_s=verified.expires_s)
        return Evaluated(caller, ends)

    def _certificate(self, proof: CertificateProof, now_s: float) -> Evaluated:
        if self._trust is None:
            raise Refused(Reason.CERTIFICATE)
        now = datetime.fromtimestamp(now_s, UTC)
        holder = holder_of(proof.der, self._cluster_id, self._trust.authorities, now)
        if holder.serial in self._directory.configuration.revoked_certificates:
            raise Refused(Reason.CERTIFICATE)
        # The operator has no record: its rights are those of its role, and no record takes them away.
        if not holder.roles:
            self._user(holder.user, needed=True)
        caller = Caller(holder.user, Method.CERTIFICATE, holder.roles, holder.serial, expires_s=holder.expires_s)
        return Evaluated(caller, holder.expires_s)

    def _nobody(self, proof: NoProof) -> Evaluated:
        if proof.tolerated:
            if self._directory.policy().mode is Mode.ENFORCED:
                raise Refused(Reason.MISSING)
        elif not self._directory.configuration.anonymous_roles:
            raise Refused(Reason.MISSING)
        return Evaluated(Caller(ANONYMOUS_USER, Method.ANONYMOUS), FOR_EVER)

    def _user(self, name: str, *, needed: bool) -> None:
        """Refuse a user that is disabled, or has no record although it needs one."""
        found = self._directory.user(name)
        if (found is None and needed) or (found is not None and found.disabled):
            raise Refused(Reason.DISABLED)


_ACCOUNT_ALGORITHMS: Final = ("RS256", "ES256", "ES384", "ES512")
"""Those that the API server can sign with (kube-apiserver, `serviceaccount.JWTTokenGenerator`)."""
_ACCOUNT_LEEWAY_S: Final = 30
