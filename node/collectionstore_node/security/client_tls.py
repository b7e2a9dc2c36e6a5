"""TLS of the client port: a certificate that is reloaded while the node runs, and which client is the operator.

Clients need no certificate. Requests that change the cluster need one that the cluster's authority signed for its
operator. It is verified in the handshake, and again for each request: a connection may outlive the certificate that
opened it, and the trust in its authority.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509

from collectionstore_node.authn.certificates import Authorities
from collectionstore_node.security.given_certificate import GivenCertificate, covers, dns_names
from collectionstore_node.transport import (
    CertificateFacts,
    PeerName,
    Refused,
    key_identifier,
    peer_name,
    read_facts,
    signed_by,
)

OPERATOR_NAME = "operator"
"""Name in the operator's certificate: `collectionstore://<cluster>/operator`."""

log = structlog.get_logger()


class ClientTls:
    """The context of the client port. New handshakes get the newest files; open connections keep theirs."""

    def __init__(self, folder: Path, *, name: str = "", given: Path | None = None, users: Path | None = None) -> None:
        """Load ca.crt, tls.crt and tls.key. Raises `OSError`, of which `ssl.SSLError` is a part, or `ValueError`.

        `users` is a CA bundle of the user's own: certificates that it signs are accepted, and prove no operator.

        `given` is a folder with another certificate for clients. `name` is the member's: who asks for a server by that
        name alone, as the operator does, gets the certificate of the cluster's authority always.
        """
        self._name = name
        self._users = users
        self._files = tuple(folder / name for name in ("ca.crt", "tls.crt", "tls.key"))
        self._loaded = self._content()
        self._current = self._load()
        self.certificate, self._authority, self._authorities = self._facts()
        self._user_authorities = self._load_users()
        """The certificate of the cluster's authority that new handshakes get."""
        self._names = dns_names(self._loaded[1])
        self._given = GivenCertificate(given, self._context) if given is not None else None
        self.listening = self._load()
        # The context of a listening socket cannot be replaced, but its SNI callback can give each handshake another.
        self.listening.sni_callback = self._use_current

    @property
    def given(self) -> CertificateFacts | None:
        """The certificate that the user gives for clients, if there is one in use."""
        current = self._given.current if self._given is not None else None
        return current.facts if current is not None else None

    def reload(self) -> None:
        """Load the files if they changed. Files that do not match are logged once, and the old ones stay in use."""
        trusted = self.authorities
        self._reload_own()
        if self._given is not None:
            self._given.reload(trust_changed=self.authorities != trusted)

    def _reload_own(self) -> None:
        try:
            content = self._content()
            if content == self._loaded:
                return
            # BEFORE they are tried: a pair that is only half written is tried again when its other half changes.
            self._loaded = content
            current, facts, users = self._load(), self._facts(), self._load_users()
            if self._content() != content:
                raise ValueError("the files changed while they were read")
            self._current, (self.certificate, self._authority, self._authorities) = current, facts
            self._user_authorities = users
            self._names = dns_names(content[1])
        except (OSError, ValueError) as error:
            log.error("certificate.refused", purpose="clients", reason=str(error))
            return
        log.info("certificate.reloaded", purpose="clients")

    @property
    def trusted(self) -> tuple[str, ...]:
        """Key identifiers of the authorities whose client certificates are accepted."""
        return tuple(key_identifier(one) for one in self._authorities)

    @property
    def authorities(self) -> Authorities:
        """The authorities of client certificates that are trusted now."""
        return Authorities(self._authorities, self._user_authorities)

    @property
    def authority(self) -> CertificateFacts:
        """The certificate of the authority that signs for clients: the first of those trusted."""
        return self._authority

    def still_trusts(self, certificate: bytes | None, now: datetime | None = None) -> bool:
        """Return whether a client's certificate, in DER, is valid now and signed by an authority trusted now."""
        if not certificate:
            return False
        found = x509.load_der_x509_certificate(certificate)
        moment = now or datetime.now(UTC)
        if not found.not_valid_before_utc <= moment < found.not_valid_after_utc:
            return False
        return any(signed_by(found, authority) for authority in self._authorities)

    def _use_current(self, handshake: ssl.SSLSocket | ssl.SSLObject, name: str | None, _listening: object) -> None:
        handshake.context = self._choose(name or "")

    def _choose(self, name: str) -> ssl.SSLContext:
        """Return the context for a client that asks for a server by this name; empty if it gives none."""
        given = self._given.current if self._given is not None else None
        if given is None or (name and name == self._name):
            return self._current
        return self._current if covers(self._names, name) and not covers(given.names, name) else given.context

    def _content(self) -> tuple[bytes, ...]:
        users = () if self._users is None else (self._users.read_bytes(),)
        return (*(path.read_bytes() for path in self._files), *users)

    def _load_users(self) -> list[x509.Certificate]:
        return [] if self._users is None else x509.load_pem_x509_certificates(self._users.read_bytes())

    def _facts(self) -> tuple[CertificateFacts, CertificateFacts, list[x509.Certificate]]:
        authorities, certificate = self._loaded[:2]
        return read_facts(certificate), read_facts(authorities), x509.load_pem_x509_certificates(authorities)

    def _load(self) -> ssl.SSLContext:
        _, certificate, key = self._files
        return self._context(certificate, key)

    def _context(self, certificate: Path, key: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key, password=_no_password)
        context.load_verify_locations(self._files[0])
        if self._users is not None:
            context.load_verify_locations(self._users)
        # Optional: a certificate that is sent must verify, and `is_operator` looks at it per request.
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def _no_password() -> str:
    """Refuse an encrypted key: OpenSSL would ask for its password on the terminal, and wait."""
    raise ValueError("the key is encrypted; it must not be")


def is_operator(cluster_id: str, certificate: Mapping[str, Any] | None) -> bool:
    """Return whether a verified client certificate, as returned by `getpeercert`, is that of the cluster's operator."""
    if not certificate:
        return False
    try:
        return peer_name(certificate) == PeerName(cluster_id, OPERATOR_NAME)
    except Refused:
        return False
