"""Keys and certificates of a local cluster as files: reads, issues and renews them.

    ca/{ca.crt,ca.key}                  the certificate authorities, see `authority_files`
    ca-peers/{...}                      those of peers, where they have their own
    operator/{ca.crt,tls.crt,tls.key}   of the operator
    nodes/<name>/tls/{...}              of each member, with the same file names
    nodes/<name>/tls-clients/{...}      of its client port, where peers have authorities of their own

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
from collectionstore_operator.model.actions import IssueCertificate, PrepareAuthority, PromoteAuthority, RetireAuthority
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
        self._peers = AuthorityFiles(directory.peer_authority)
        self._cache: dict[Path, _Cached] = {}

    def look(self) -> tuple[Certificate, ...]:
        """Return every certificate that is complete and matches its key."""
        directory = self._directory
        found = [self._look_at(directory.credentials, CertificateKind.OPERATOR, labels.ADMINISTRATOR)]
        for name in directory.node_names():
            found.append(self._look_at(directory.node(name).tls, CertificateKind.MEMBER, name))
            found.append(self._look_at(directory.node(name).client_tls, CertificateKind.SERVER, name))
        leaves = tuple(certificate for certificate in found if certificate is not None)
        authorities = (
            (self._files, CertificateKind.AUTHORITY, directory.name),
            (self._peers, CertificateKind.PEER_AUTHORITY, labels.peer_authority(directory.name)),
        )
        stored = ((files.read(), kind, name) for files, kind, name in authorities if files.look() is not None)
        return (*(pki.read_certificate(one.bundle_pem, kind, name) for one, kind, name in stored if one), *leaves)

    def authority(self) -> Authority | None:
        """Return the stored authority and the phase of its rotation; None if there is none that can sign."""
        return self._files.look()

    def peer_authority(self) -> Authority | None:
        """Return the same of the authority of peers; None if it is no other one."""
        return self._peers.look()

    @property
    def peers_recorded(self) -> bool:
        """Whether there is, or was, an authority of peers: readable or not."""
        return self._peers.read() is not None

    def published(self) -> bool:
        """Return whether every member, and the operator, has the trusted authorities beside its certificate."""
        return all(_content(path) == bundle for path, bundle in self._copies())

    def publish(self) -> None:
        """Write the trusted authorities beside every certificate. Raises ActionRefused without any."""
        self._stored()
        for path, bundle in self._copies():
            if _content(path) != bundle:
                write_atomically(path, bundle)

    def rotate(
        self, action: PrepareAuthority | PromoteAuthority | RetireAuthority, *, cluster_id: str, now: float
    ) -> None:
        """Take one step of a rotation of the authority's key. Raises ActionRefused."""
        files = self._peers if action.peers else self._files
        first = action.peers and isinstance(action, PrepareAuthority) and not self.peers_recorded
        stored = stored_authority.signing_alone(self._stored()) if first else self._stored(peers=action.peers)
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
                files.prepare(made)
            case PromoteAuthority():
                if not self.published():
                    raise ActionRefused(f"the authority {action.key[:16]} is not published, so no member trusts it")
                files.promote(stored_authority.promoted(stored, key=action.key, request=action.request))
            case RetireAuthority():
                files.write(stored_authority.retired(stored, key=action.key))

    def issue(self, action: IssueCertificate, *, cluster_id: str, now: float) -> None:
        """Issue or renew a certificate. Raises ActionRefused if the authority is missing."""
        if action.kind in (CertificateKind.AUTHORITY, CertificateKind.PEER_AUTHORITY):
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
        files = self._peers if action.kind is CertificateKind.PEER_AUTHORITY else self._files
        # One subject for all authorities of a cluster: that of peers begins as a copy of the other one.
        name = self._directory.name
        files.write(stored_authority.renewed(files.read(), name, cluster_id, lifetime_s=action.lifetime_s, now=now))

    def _issue_leaf(self, action: IssueCertificate, now: float) -> None:
        stored = self._stored(peers=action.kind is CertificateKind.MEMBER and self.peers_recorded)
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
        node = self._directory.node(action.name)
        return node.client_tls if action.kind is CertificateKind.SERVER else node.tls

    def _stored(self, *, peers: bool = False) -> stored_authority.StoredAuthority:
        stored = (self._peers if peers else self._files).read()
        if stored is None or stored_authority.signing_pair(stored) is None:
            folder = self._directory.peer_authority if peers else self._directory.authority
            raise ActionRefused(f"the certificate authority in {folder} is missing or damaged")
        return stored

    def _copies(self) -> list[tuple[Path, bytes]]:
        """Return where trusted authorities are read, and which: beside every certificate that there is."""
        shared = self._files.read()
        if shared is None:
            return []
        # One that cannot be read is made again first: until then members keep what they trust.
        own = self._peers.read() if self._peers.look() is not None else None
        nodes = [self._directory.node(name) for name in self._directory.node_names()]
        wanted = [(folder, shared) for folder in (self._directory.credentials, *(node.client_tls for node in nodes))]
        if own is not None or not self.peers_recorded:
            wanted += [(node.tls, own or shared) for node in nodes]
        return [
            (folder / AUTHORITY_CERTIFICATE, stored.bundle_pem)
            for folder, stored in wanted
            if (folder / CERTIFICATE).exists()
        ]

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
