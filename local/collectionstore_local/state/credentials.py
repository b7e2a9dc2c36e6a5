"""Keys and certificates of a local cluster as files: reads, issues and renews them.

    ca/{ca.crt,ca.key}                  the certificate authorities, see `authority_files`
    operator/{ca.crt,tls.crt,tls.key}   of the operator
    nodes/<name>/tls/{...}              of each member, with the same file names

A pair exists only if certificate and key match, so that one left incomplete by a crash between two writes is issued
again. Keys have mode 0600 from their first byte.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from collectionstore_local.state.authority_files import AUTHORITY_CERTIFICATE, AuthorityFiles
from collectionstore_local.state.directory import DIRECTORY_MODE, ClusterDirectory, write_atomically
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.actions import (
    IssueCertificate,
    PrepareAuthority,
    PromoteAuthority,
    RetireAuthority,
)
from collectionstore_operator.model.observed import Authority, Certificate, CertificateKind
from collectionstore_operator.reconcile import pki, stored_authority
from collectionstore_operator.resource import labels

CERTIFICATE, KEY = "tls.crt", "tls.key"


@dataclass(frozen=True, slots=True)
class _Cached:
    """A cached pair with the fingerprint of its files: parsing keys is slow, and they seldom change."""

    fingerprint: tuple[int, ...]
    certificate: Certificate | None


class Credentials:
    """The certificate files of one cluster."""

    def __init__(self, directory: ClusterDirectory, authority: AuthorityFiles | None = None) -> None:
        self._directory = directory
        self._files = authority or AuthorityFiles(directory.authority)
        self._cache: dict[Path, _Cached] = {}

    def look(self) -> tuple[Certificate, ...]:
        """Return every certificate that is complete and matches its key."""
        directory = self._directory
        found = [self._look_at(directory.credentials, CertificateKind.OPERATOR, labels.ADMINISTRATOR)]
        for name in directory.node_names():
            found.append(self._look_at(directory.node(name).tls, CertificateKind.MEMBER, name))
        leaves = tuple(certificate for certificate in found if certificate is not None)
        if self.authority() is None:
            return leaves
        pem = (directory.authority / AUTHORITY_CERTIFICATE).read_bytes()
        return (pki.read_certificate(pem, CertificateKind.AUTHORITY, directory.name), *leaves)

    def authority(self) -> Authority | None:
        """Return the stored authority and the phase of its rotation; None if there is none that can sign."""
        return self._files.look()

    def published(self) -> bool:
        """Return whether every member, and the operator, has the trusted authorities beside its certificate."""
        stored = self._files.read()
        return stored is None or all(_content(path) == stored.bundle_pem for path in self._copies())

    def publish(self) -> None:
        """Write the trusted authorities beside every certificate. Raises ActionRefused without any."""
        stored = self._stored()
        for path in self._copies():
            if _content(path) != stored.bundle_pem:
                write_atomically(path, stored.bundle_pem)

    def rotate(
        self, action: PrepareAuthority | PromoteAuthority | RetireAuthority, *, cluster_id: str, now: float
    ) -> None:
        """Take one step of a rotation of the authority's key. Raises ActionRefused."""
        stored = self._stored()
        match action:
            case PrepareAuthority():
                made = stored_authority.prepared(
                    stored,
                    action.name,
                    cluster_id,
                    key=action.key,
                    lifetime_s=action.lifetime_s,
                    request=action.request,
                    now=now,
                )
                self._files.prepare(made)
            case PromoteAuthority():
                if not self.published():
                    raise ActionRefused(f"the authority {action.key[:16]} is not published, so no member trusts it")
                self._files.promote(stored_authority.promoted(stored, key=action.key, request=action.request))
            case RetireAuthority():
                self._files.write(stored_authority.retired(stored, key=action.key))

    def issue(self, action: IssueCertificate, *, cluster_id: str, now: float) -> None:
        """Issue or renew a certificate. Raises ActionRefused if the authority is missing."""
        if action.kind is CertificateKind.AUTHORITY:
            self._issue_authority(action, cluster_id, now)
        else:
            self._issue_leaf(action, now)

    def client_written(self) -> tuple[int, ...]:
        """Return a fingerprint of the files of `client_context`; empty until the operator's certificate exists."""
        return _fingerprint((self._authority_file(), self._directory.credentials / CERTIFICATE)) or ()

    def client_context(self) -> ssl.SSLContext:
        """Return the TLS context for requests to nodes: trusts the authority, presents the operator's certificate."""
        folder = self._directory.credentials
        context = ssl.create_default_context(cafile=str(self._authority_file()))
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
        return context

    def _authority_file(self) -> Path:
        return self._directory.authority / AUTHORITY_CERTIFICATE

    def _issue_authority(self, action: IssueCertificate, cluster_id: str, now: float) -> None:
        made = stored_authority.renewed(
            self._files.read(), action.name, cluster_id, lifetime_s=action.lifetime_s, now=now
        )
        self._files.write(made)

    def _issue_leaf(self, action: IssueCertificate, now: float) -> None:
        stored = self._stored()
        signing = pki.KeyPair(stored_authority.split(stored.bundle_pem)[0], stored.key_pem)
        pair = pki.make_leaf(
            signing, kind=action.kind, name=action.name, names=action.names, lifetime_s=action.lifetime_s, now=now
        )
        folder = self._folder(action)
        folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        # The certificate last: until it matches the key, the pair does not exist and is issued again after a crash.
        write_atomically(folder / KEY, pair.key_pem)
        write_atomically(folder / AUTHORITY_CERTIFICATE, stored.bundle_pem)
        write_atomically(folder / CERTIFICATE, pair.certificate_pem)

    def _folder(self, action: IssueCertificate) -> Path:
        if action.kind is CertificateKind.OPERATOR:
            return self._directory.credentials
        return self._directory.node(action.name).tls

    def _stored(self) -> stored_authority.StoredAuthority:
        stored = self._files.read()
        if stored is None or stored_authority.signing_pair(stored) is None:
            folder = self._directory.authority
            raise ActionRefused(f"the certificate authority in {folder} is missing or damaged")
        return stored

    def _copies(self) -> list[Path]:
        """Return where the trusted authorities are read: beside every certificate that there is."""
        members = (self._directory.node(name).tls for name in self._directory.node_names())
        folders = (self._directory.credentials, *members)
        return [folder / AUTHORITY_CERTIFICATE for folder in folders if (folder / CERTIFICATE).exists()]

    def _look_at(self, folder: Path, kind: CertificateKind, name: str) -> Certificate | None:
        files = (folder / CERTIFICATE, folder / KEY)
        fingerprint = _fingerprint(files)
        if fingerprint is None:
            return None
        cached = self._cache.get(folder)
        if cached is None or cached.fingerprint != fingerprint:
            cached = _Cached(fingerprint, _read_pair(files, kind, name))
            self._cache[folder] = cached
        return cached.certificate


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _fingerprint(files: tuple[Path, ...]) -> tuple[int, ...] | None:
    """Return a value that changes if one of the files is replaced, None if one is missing."""
    try:
        return tuple(number for file in files for number in (file.stat().st_ino, file.stat().st_mtime_ns))
    except FileNotFoundError:
        return None


def _read_pair(files: tuple[Path, ...], kind: CertificateKind, name: str) -> Certificate | None:
    certificate, key = (file.read_bytes() for file in files)
    try:
        fits = _public_key(certificate) == _public_half(key)
        return pki.read_certificate(certificate, kind, name) if fits else None
    except ValueError:
        return None  # corrupt: counts as missing, so that it is issued again


def _public_key(certificate: bytes) -> bytes:
    loaded = x509.load_pem_x509_certificate(certificate).public_key()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_half(key: bytes) -> bytes:
    loaded = load_pem_private_key(key, password=None).public_key()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
