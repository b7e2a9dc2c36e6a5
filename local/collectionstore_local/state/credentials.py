"""The keys and certificates of a local cluster, as files: which exist, and how one is made or renewed.

    ca/{ca.crt,ca.key}                  the authority; its key never leaves this folder
    operator/{ca.crt,tls.crt,tls.key}   the operator's own
    nodes/<name>/tls/{...}              each member's; the same three names

A pair counts as existing only when certificate, key and trusted authority fit each other, so that whatever a crash
between two writes left behind is made again. Keys are 0600 from their first byte.
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
class _Read:
    """A pair that was read, with what its files looked like then: reading keys costs, and they seldom change."""

    fingerprint: tuple[int, ...]
    certificate: Certificate | None


class Credentials:
    """The certificate files of one cluster."""

    def __init__(self, directory: ClusterDirectory) -> None:
        self._directory = directory
        self._read: dict[Path, _Read] = {}

    def look(self) -> tuple[Certificate, ...]:
        """Return every certificate that is complete and usable."""
        directory = self._directory
        found = [
            self._look_at(directory.authority, CertificateKind.AUTHORITY, directory.name),
            self._look_at(directory.credentials, CertificateKind.OPERATOR, labels.ADMINISTRATOR),
        ]
        for name in directory.node_names():
            found.append(self._look_at(directory.node(name).tls, CertificateKind.MEMBER, name))
        return tuple(certificate for certificate in found if certificate is not None)

    def issue(self, action: IssueCertificate, *, cluster_id: str, now: float) -> None:
        """Make what the action asks for, or renew it. Raises ActionRefused when the authority is not there to sign."""
        if action.kind is CertificateKind.AUTHORITY:
            self._issue_authority(action, cluster_id, now)
        else:
            self._issue_leaf(action, now)

    def issued_at(self, name: str) -> float:
        """Return when a member's certificate was written, in Unix seconds; 0 when there is none."""
        try:
            return (self._directory.node(name).tls / CERTIFICATE).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def client_written(self) -> tuple[int, ...]:
        """Return what changes whenever `client_context` would; empty before the operator's certificate exists."""
        return _fingerprint((self._authority_file(), self._directory.credentials / CERTIFICATE)) or ()

    def client_context(self) -> ssl.SSLContext:
        """Return how the operator calls nodes: it verifies them by the authority and shows its own certificate."""
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
        write_atomically(key_file, pair.key_pem)
        write_atomically(folder / AUTHORITY_CERTIFICATE, pair.certificate_pem)
        # Signed by the same key, so the leaves stay valid: only what they trust is replaced.
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
            raise ActionRefused(f"the authority is incomplete: {error.filename} is missing") from error

    def _look_at(self, folder: Path, kind: CertificateKind, name: str) -> Certificate | None:
        authority = kind is CertificateKind.AUTHORITY
        certificate = folder / (AUTHORITY_CERTIFICATE if authority else CERTIFICATE)
        key = folder / (AUTHORITY_KEY if authority else KEY)
        files = (certificate, key, folder / AUTHORITY_CERTIFICATE, self._authority_file())
        fingerprint = _fingerprint(files)
        if fingerprint is None:
            return None
        known = self._read.get(folder)
        if known is None or known.fingerprint != fingerprint:
            known = _Read(fingerprint, _read_pair(files, kind, name))
            self._read[folder] = known
        return known.certificate


def _fingerprint(files: tuple[Path, ...]) -> tuple[int, ...] | None:
    """Return what changes when one of the files is replaced, None when one is missing."""
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
        return None  # damaged: it is made again


def _public_key(certificate: bytes) -> bytes:
    loaded = x509.load_pem_x509_certificate(certificate).public_key()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_half(key: bytes) -> bytes:
    loaded = load_pem_private_key(key, password=None).public_key()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
