"""Mutual TLS 1.3 from three files, reloadable while running.

The identity is a URI in the certificate, `collectionstore://<cluster_id>/<name>`, as SPIFFE does it; host names and
addresses are not compared, so a member may move or be reached through a forwarder, and a certificate for the right
host but of another member is worth nothing.

Facts this rests on (checked on CPython 3.11 and OpenSSL 3, see the tests):
- a context cannot forget a CA, so a reload builds new contexts;
- the listening context cannot be exchanged, but its `sni_callback` can hand every handshake to another context, also
  one without a server name; the new trust then applies as well as the new certificate.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from collectionstore_node.errors import NodeError
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.security.certificate import CertificateFacts, key_identifiers, read_facts
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.handshake import PeerName, Proof

URI_SCHEME: Final = "collectionstore"
NODE_SCHEME: Final = "collectionstore-node"
"""Scheme of the second URI of a member's certificate, `collectionstore-node:<node ID>`: which incarnation it is for."""

_NODE: Final = re.compile(rf"{NODE_SCHEME}:(?P<node_id>[0-9a-f]{{16}})")
_IDENTITY: Final = re.compile(rf"{URI_SCHEME}://(?P<cluster_id>[a-z0-9-]+)/(?P<name>[a-z0-9-]+)")


class TlsFilesRefused(NodeError):
    """The files cannot be used; at start the settings are wrong, on a reload the old ones stay in use."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CAs trusted for peers, this node's certificate chain, and its key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Loaded:
    fingerprint: bytes
    server: ssl.SSLContext
    client: ssl.SSLContext
    certificate: CertificateFacts
    authority: CertificateFacts
    trusted: tuple[str, ...]


class TlsContexts:
    """The contexts in use; `listening` is used as long as the server runs and always has the newest files."""

    def __init__(self, files: TlsFiles, own: PeerName) -> None:
        """Load the files. Raises `TlsFilesRefused`."""
        self._files = files
        self._own = own
        self._loaded = _load(files, own)
        self.listening = _context(ssl.PROTOCOL_TLS_SERVER, files)
        self.listening.sni_callback = self._use_newest

    @property
    def client(self) -> ssl.SSLContext:
        """The context for the next dial."""
        return self._loaded.client

    @property
    def certificate(self) -> CertificateFacts:
        """This node's certificate, as new handshakes show it."""
        return self._loaded.certificate

    @property
    def authority(self) -> CertificateFacts:
        """The certificate of the authority that signs: the first of those trusted."""
        return self._loaded.authority

    @property
    def trusted(self) -> tuple[str, ...]:
        """Key identifiers of the authorities that new handshakes trust."""
        return self._loaded.trusted

    def reload(self) -> bool:
        """Load the files if their content changed and return whether it did.

        Raises `TlsFilesRefused`; what was loaded before then stays in use.
        """
        if _fingerprint(self._files) == self._loaded.fingerprint:
            return False
        self._loaded = _load(self._files, self._own)
        return True

    def _use_newest(self, handshake: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _listening: object) -> None:
        # The listening context cannot be exchanged; this one applies the newest certificate and CAs to each handshake.
        handshake.context = self._loaded.server


def peer_name(certificate: Mapping[str, Any] | None) -> PeerName:
    """Return the identity in a verified certificate, in the form of `ssl.SSLObject.getpeercert`. Raises `Refused`."""
    return _only_identity(_uris(certificate))


def peer_proof(certificate: Mapping[str, Any] | None) -> Proof:
    """Return what a verified certificate proves, in the form of `ssl.SSLObject.getpeercert`. Raises `Refused`."""
    uris = _uris(certificate)
    return Proof(_only_identity(uris), _only_node(uris))


def check_role(certificate: bytes | None) -> None:
    """Check that a verified certificate, in DER, is a member's: members serve, so it is for servers too.

    Certificates of clients, the operator's among them, are for clients alone (RFC 5280, 4.2.1.12). Raises `Refused`.
    """
    try:
        usage = x509.load_der_x509_certificate(certificate or b"").extensions.get_extension_for_class(
            x509.ExtendedKeyUsage
        )
        serves = ExtendedKeyUsageOID.SERVER_AUTH in usage.value
    except (ValueError, x509.ExtensionNotFound):
        serves = False
    if not serves:
        raise Refused(CloseCode.WRONG_NAME, "the certificate is not one of a member: it is not for servers")


def identity_uri(name: PeerName) -> str:
    """Return how an identity is written in a certificate."""
    return f"{URI_SCHEME}://{name.cluster_id}/{name.name}"


def node_uri(node_id: NodeId) -> str:
    """Return how the incarnation of a member is written in its certificate."""
    return f"{NODE_SCHEME}:{node_id:016x}"


def _uris(certificate: Mapping[str, Any] | None) -> list[str]:
    return [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"]


def _only_node(uris: list[str]) -> NodeId | None:
    ours = [uri for uri in uris if uri.startswith(f"{NODE_SCHEME}:")]
    if not ours:
        return None
    match = _NODE.fullmatch(ours[0]) if len(ours) == 1 else None
    if match is None:
        raise Refused(CloseCode.WRONG_NAME, f"the certificate must have at most one URI name {NODE_SCHEME}:<node ID>")
    return NodeId(int(match["node_id"], 16))


def _only_identity(uris: list[str]) -> PeerName:
    ours = [uri for uri in uris if uri.startswith(f"{URI_SCHEME}:")]
    match = _IDENTITY.fullmatch(ours[0]) if len(ours) == 1 else None
    if match is None:
        raise Refused(
            CloseCode.WRONG_NAME,
            f"the certificate must have exactly one URI name {URI_SCHEME}://<cluster>/<name>, it has {ours}",
        )
    return PeerName(match["cluster_id"], match["name"])


def _load(files: TlsFiles, own: PeerName) -> _Loaded:
    fingerprint = _fingerprint(files)
    try:
        loaded = _Loaded(
            fingerprint,
            _context(ssl.PROTOCOL_TLS_SERVER, files),
            _context(ssl.PROTOCOL_TLS_CLIENT, files),
            _check_own(files.certificate, own),
            read_facts(files.ca.read_bytes()),
            key_identifiers(files.ca.read_bytes()),
        )
    except (OSError, ValueError, Refused) as error:
        raise TlsFilesRefused(f"{files.certificate.parent}: {error}") from error
    # The kubelet and cert-manager exchange the files under a running process: key and certificate could be of two
    # generations, or the CA older than both.
    if _fingerprint(files) != fingerprint:
        raise TlsFilesRefused(f"{files.certificate.parent}: the files changed while they were read; reload again")
    return loaded


def _fingerprint(files: TlsFiles) -> bytes:
    digest = hashlib.sha256()
    for path in (files.ca, files.certificate, files.key):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise TlsFilesRefused(f"{path}: {error.strerror}") from error
    return digest.digest()


def _check_own(path: Path, own: PeerName) -> CertificateFacts:
    """Return this node's certificate, which must carry its own name: others refuse any other."""
    pem = path.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    found = _only_identity(uris)
    if found != own:
        raise ValueError(f"the certificate is for {identity_uri(found)}, this node is {identity_uri(own)}")
    return read_facts(pem)


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # The name in the URI is compared instead, see the module's docstring.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A resumed session would carry the trust of an earlier moment past a reload.
    context.options |= ssl.OP_NO_TICKET
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    context.load_verify_locations(cafile=str(files.ca))
    context.load_cert_chain(str(files.certificate), str(files.key))
    return context
