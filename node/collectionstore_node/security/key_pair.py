"""The key and certificate on the volume: whether they are usable, until when; and requests for new ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collectionstore_node.storage.durable_file import write_file
from collectionstore_node.transport import signed_by

RENEWED_AFTER: Final = 2 / 3
"""Share of its lifetime after which a certificate is renewed."""


class Unusable(Exception):
    """The pair cannot be used; the text says why and contains nothing of the key."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate must be for."""

    identity: str
    """The URI `collectionstore://<cluster>/<name>`."""
    node: str
    """The URI `collectionstore-node:<node ID>` of this incarnation. Operators of older versions leave it out."""
    further: frozenset[str] = frozenset()
    """Names that clients use, beside those that every member has: `DNS:<name>` and `IP:<address>`."""


@dataclass(frozen=True, slots=True)
class Validity:
    """When a usable certificate expires and when it is due for renewal; Unix seconds."""

    not_after: float
    renew_at: float
    lacks: frozenset[str] = frozenset()
    """Names of the holder that are not in it: clients that use them refuse it."""
    by_first: bool = True
    """The first authority that is trusted has signed it. During a rotation of the authority's key the first is the one
    that signs, and the others are trusted until nothing signed by them is in use."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key without a certificate yet. It is never logged and never leaves the node."""

    key_pem: bytes
    request_pem: bytes
    """A PKCS#10 request for its certificate."""
    fingerprint: str
    """Hex SHA-256 of the public key."""

    def __repr__(self) -> str:
        return f"NewKey({self.fingerprint})"


class KeyPairFiles:
    """`tls.key`, `tls.crt` and `ca.crt` in a folder of the node's own volume, readable by the node alone."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        self._folder = folder
        self._holder = holder

    def check(self, trust_pem: bytes, now: float) -> Validity:
        """Check the stored pair against the authorities in `trust_pem`. Raises `Unusable`."""
        try:
            certificate_pem = (self._folder / "tls.crt").read_bytes()
            key_pem = (self._folder / "tls.key").read_bytes()
        except FileNotFoundError as error:
            raise Unusable(f"there is no {error.filename} yet") from error
        return self._check(certificate_pem, key_pem, trust_pem, now)

    def store(self, key: NewKey, certificate_pem: bytes, trust_pem: bytes, now: float) -> Validity:
        """Verify a signed certificate and replace the old pair. Raises `Unusable`; nothing was changed then."""
        validity = self._check(certificate_pem, key.key_pem, trust_pem, now)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Two files cannot be replaced at once. After a crash in between, key and certificate do not match: `check`
        # finds that, and the node requests a new pair.
        write_file(self._folder / "tls.key", key.key_pem)
        write_file(self._folder / "tls.crt", certificate_pem)
        self.trust(trust_pem)
        return validity

    def trust(self, trust_pem: bytes) -> None:
        """Store the authorities where the transport reads them, if they changed."""
        path = self._folder / "ca.crt"
        if not path.exists() or path.read_bytes() != trust_pem:
            write_file(path, trust_pem)

    def trust_if_in_use(self, trust_pem: bytes) -> None:
        """As `trust`, for a node that runs with a pair; before there is one, nothing reads the authorities."""
        if (self._folder / "ca.crt").exists():
            self.trust(trust_pem)

    def _check(self, certificate_pem: bytes, key_pem: bytes, trust_pem: bytes, now: float) -> Validity:
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
            authorities = x509.load_pem_x509_certificates(trust_pem)
        except (ValueError, TypeError) as error:
            raise Unusable(f"a file is not the PEM it should be: {error}") from error
        if key.public_key() != certificate.public_key():
            raise Unusable("the certificate belongs to another key")
        signers = [position for position, one in enumerate(authorities) if signed_by(certificate, one)]
        if not signers:
            raise Unusable("no trusted authority has signed the certificate")
        names = _names(certificate)
        uris = {one.removeprefix("URI:") for one in names if one.startswith("URI:")}
        if not {self._holder.identity} <= uris <= {self._holder.identity, self._holder.node}:
            expected = f"{self._holder.identity}, {self._holder.node}"
            raise Unusable(f"the certificate is for {', '.join(sorted(uris)) or 'no URI'}, this node is {expected}")
        begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        if now >= end:
            raise Unusable("the certificate has expired")
        if now < begin:
            raise Unusable("the certificate is not valid yet; is this machine's clock behind?")
        renew_at = begin + (end - begin) * RENEWED_AFTER
        lacks = self._holder.further - names
        return Validity(not_after=end, renew_at=renew_at, by_first=signers[0] == 0, lacks=lacks)


def make_key(name: str, node: str) -> NewKey:
    """Generate an ECDSA P-256 key and a request for it.

    `name` is informative: the signer decides the names, of which it takes `node` from the request, the URI of this
    incarnation, unless another member has it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(node)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    request = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    digest = hashes.Hash(hashes.SHA256())
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    digest.update(key.public_key().public_bytes(serialization.Encoding.DER, public))
    return NewKey(
        key_pem=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        request_pem=request.public_bytes(pem),
        fingerprint=digest.finalize().hex(),
    )


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """Return the subject alternative names: `URI:...`, `DNS:...` and `IP:...`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(
        [f"URI:{one}" for one in names.get_values_for_type(x509.UniformResourceIdentifier)]
        + [f"DNS:{one}" for one in names.get_values_for_type(x509.DNSName)]
        + [f"IP:{one}" for one in names.get_values_for_type(x509.IPAddress)]
    )
