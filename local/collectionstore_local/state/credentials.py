"""Keys and certificates of a local cluster as files: reads, issues and renews them.

    ca/{ca.crt,ca.key}                  the certificate authority; its key never leaves this directory
    operator/{ca.crt,tls.crt,tls.key}   of the operator
    nodes/<name>/tls/{...}              of each member, with the same file names

A pair exists only if certificate, key and trusted authority match, so that one left incomplete by a crash between two
writes is issued again. Keys have mode 0600 from their first byte.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from collectionstore_local.state.directory import DIRECTORY_MODE, ClusterDirectory, write_atomically
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.actions import IssueCertificate
from collectionstore_operator.model.observed import Certificate, CertificateKind
from collectionstore_operator.reconcile import pki
from collectionstore_operator.resource import labels

AUTHORITY_CERTIFICATE, AUTHORITY_KEY = "ca.crt", "ca.key"
CERTIFICATE, KEY = "tls.crt", "tls.key"


@dataclass(frozen=True, slots=True)
class _Cached:
    """A cached pair with the fingerprint of its files: parsing keys is slow, and they seldom change."""

    fingerprint: tuple[int, ...]
    certificate: Certificate | None


class Credentials:
    """The certificate files of one cluster."""

    def __init__(self, directory: ClusterDirectory) -> None:
        self._directory = directory
        self._cache: dict[Path, _Cached] = {}

    def look(self) -> tuple[Certificate, ...]:
        """Return every certificate that is complete and matches its key and authority."""
        directory = self._directory
        found = [
            self._look_at(directory.authority, CertificateKind.AUTHORITY, directory.name),
            self._look_at(directory.credentials, CertificateKind.OPERATOR, labels.ADMINISTRATOR),
        ]
        for name in directory.node_names():
            found.append(self._look_at(directory.node(name).tls, CertificateKind.MEMBER, name))
        return tuple(certificate for certificate in found if certificate is not None)

    def issue(self, action: IssueCertificate, *, cluster_id: str, now: float) -> None:
        """Issue or renew a certificate. Raises ActionRefused if the authority is missing."""
        if action.kind is CertificateKind.AUTHORITY:
            self._issue_authority(action, cluster_id, now)
        else:
            self._issue_leaf(action, now)

    def issued_at(self, name: str) -> float:
        """Return when a member's certificate was written, in Unix seconds; 0 if there is none."""
        try:
            return (self._directory.node(name).tls / CERTIFICATE).stat().st_mtime
        except FileNotFoundError:
            return 0.0

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
        folder = self._directory.authority
        folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        key_file = folder / AUTHORITY_KEY
        old_key = key_file.read_bytes() if key_file.exists() else None
        pair = pki.make_authority(action.name, cluster_id, lifetime_s=action.lifetime_s, now=now, key_pem=old_key)
        # The key first: a certificate whose key was lost in a crash could never be renewed with the same key.
        write_atomically(key_file, pair.key_pem)
        write_atomically(folder / AUTHORITY_CERTIFICATE, pair.certificate_pem)
        # The key is the same, so existing certificates stay valid: only the copies of ca.crt are replaced.
        members = (self._directory.node(name).tls for name in self._directory.node_names())
        for leaf_folder in (self._directory.credentials, *members):
            trusted = leaf_folder / AUTHORITY_CERTIFICATE
            if trusted.exists():
                write_atomically(trusted, pair.certificate_pem)

    def _issue_leaf(self, action: IssueCertificate, now: float) -> None:
        authority = self._authority()
        pair = pki.make_leaf(
            authority, kind=action.kind, name=action.name, names=action.names, lifetime_s=action.lifetime_s, now=now
        )
        folder = self._folder(action)
        folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        # The certificate last: until it matches the key, the pair does not exist and is issued again after a crash.
        write_atomically(folder / KEY, pair.key_pem)
        write_atomically(folder / AUTHORITY_CERTIFICATE, authority.certificate_pem)
        write_atomically(folder / CERTIFICATE, pair.certificate_pem)

    def _folder(self, action: IssueCertificate) -> Path:
        if action.kind is CertificateKind.OPERATOR:
            return self._directory.credentials
        return self._directory.node(action.name).tls

    def _authority(self) -> pki.KeyPair:
        folder = self._directory.authority
        try:
            return pki.KeyPair((folder / AUTHORITY_CERTIFICATE).read_bytes(), (folder / AUTHORITY_KEY).read_bytes())
        except FileNotFoundError as error:
            raise ActionRefused(f"the certificate authority is incomplete: {error.filename} is missing") from error

    def _look_at(self, folder: Path, kind: CertificateKind, name: str) -> Certificate | None:
        authority = kind is CertificateKind.AUTHORITY
        certificate = folder / (AUTHORITY_CERTIFICATE if authority else CERTIFICATE)
        key = folder / (AUTHORITY_KEY if authority else KEY)
        files = (certificate, key, folder / AUTHORITY_CERTIFICATE, self._authority_file())
        fingerprint = _fingerprint(files)
        if fingerprint is None:
            return None
        cached = self._cache.get(folder)
        if cached is None or cached.fingerprint != fingerprint:
            cached = _Cached(fingerprint, _read_pair(files, kind, name))
            self._cache[folder] = cached
        return cached.certificate


def _fingerprint(files: tuple[Path, ...]) -> tuple[int, ...] | None:
    """Return a value that changes if one of the files is replaced, None if one is missing."""
    try:
        return tuple(number for file in files for number in (file.stat().st_ino, file.stat().st_mtime_ns))
    except FileNotFoundError:
        return None


def _read_pair(files: tuple[Path, ...], kind: CertificateKind, name: str) -> Certificate | None:
    certificate, key, trusted, authority = (file.read_bytes() for file in files)
    try:
        fits = trusted == authority and _public_key(certificate) == _public_half(key)
        return pki.read_certificate(certificate, kind, name) if fits else None
    except ValueError:
        return None  # corrupt: counts as missing, so that it is issued again


def _public_key(certificate: bytes) -> bytes:
    loaded = x509.load_pem_x509_certificate(certificate).public_key()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_half(key: bytes) -> bytes:
    loaded = load_pem_private_key(key, password=None).public_key()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
