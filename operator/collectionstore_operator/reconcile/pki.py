"""Generates keys and X.509 certificates, and reads certificates. An adapter: it draws random numbers.

ECDSA P-256 throughout. An authority can sign leaves and nothing below them; a leaf cannot sign. Validity starts a
little early, so that a machine whose clock is behind accepts a new certificate. `now` is in Unix seconds.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collectionstore_operator.errors import ActionRefused, InvariantViolated
from collectionstore_operator.model.observed import Certificate, CertificateKind

SKEW_S: Final = 300
"""How much earlier validity starts; for short lives a tenth of them, or two thirds would have passed at the start."""
ORGANIZATION: Final = "Collection Store"
_NODE: Final = re.compile(r"collectionstore-node:(?P<node_id>[0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key (PKCS#8, not encrypted), both PEM. The key never goes into a log."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "KeyPair(...)"


def make_authority(
    name: str,
    cluster_id: str,
    *,
    lifetime_s: int,
    now: float,
    key_pem: bytes | None = None,
    since: float | None = None,
) -> KeyPair:
    """Create a cluster's CA; with `key_pem` renew it under the same key, so that its leaf certificates stay valid.

    `since` is when the key was made, in Unix seconds: a renewed certificate says so in the extension
    PrivateKeyUsagePeriod (X.509, 9.2.2.5; not critical), so that its own validity shows how long it lives, and no more.
    All authorities of a cluster have one subject, and are told apart by their key identifiers (RFC 5280, 4.2.1.1).
    """
    key = _load_key(key_pem) if key_pem is not None else ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"{name} {cluster_id} authority")
    builder = (
        _begin(subject, subject, key.public_key(), lifetime_s=lifetime_s, now=now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )
    if since is not None:
        begin = datetime.fromtimestamp(int(since), UTC).replace(tzinfo=None)
        builder = builder.add_extension(x509.PrivateKeyUsagePeriod(not_before=begin, not_after=None), critical=False)
    return _finish(builder, key, key)


def make_leaf(
    authority: KeyPair, *, kind: CertificateKind, name: str, names: tuple[str, ...], lifetime_s: int, now: float
) -> KeyPair:
    """Generate a key and a certificate for a member or the operator, signed by `authority`.

    `names` are `URI:...`, `DNS:...` or `IP:...`. A leaf never outlives its authority.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(authority, key.public_key(), kind=kind, name=name, names=names, lifetime_s=lifetime_s, now=now)
    return _finish(builder, key, _load_key(authority.key_pem))


def sign_request(
    authority: KeyPair,
    request_pem: bytes,
    *,
    name: str,
    names: tuple[str, ...],
    lifetime_s: int,
    now: float,
    kind: CertificateKind = CertificateKind.MEMBER,
) -> bytes:
    """Sign the key in a member's PKCS#10 request; return the certificate, PEM.

    `kind` is MEMBER or SERVER. Only the public key is taken from the request: subject and names are the caller's, or a
    pod could name itself. Raises ActionRefused for a malformed request, and for a key that is not ECDSA P-256.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem)
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ActionRefused(f"the request of {name} cannot be read: {error}") from error
    if not valid or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ActionRefused(f"the request of {name} is not signed by its own ECDSA P-256 key")
    builder = _leaf(authority, key, kind=kind, name=name, names=names, lifetime_s=lifetime_s, now=now)
    return builder.sign(_load_key(authority.key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_node(request_pem: bytes) -> str:
    """Return the node ID, 16 hexadecimal digits, that a PKCS#10 request names; empty if it names none, or no single
    one, or cannot be read."""
    try:
        request = x509.load_pem_x509_csr(request_pem)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ""
    match = _NODE.fullmatch(uris[0]) if len(uris) == 1 else None
    return match["node_id"] if match is not None else ""


def read_certificate(pem: bytes, kind: CertificateKind, name: str) -> Certificate:
    """Return a certificate as the planner sees it. Raises ValueError when it cannot be parsed."""
    certificate = x509.load_pem_x509_certificate(pem)
    return Certificate(
        kind=kind,
        name=name,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        names=_read_names(certificate),
        authority=_signer(certificate).hex(),
    )


def is_pair(pair: KeyPair) -> bool:
    """Return whether a certificate and a private key can be read and belong together."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
        identifier = _key_identifier(certificate).hex()
    except (ValueError, x509.ExtensionNotFound):
        return False
    return bool(identifier) and identifier == identifier_of_key(pair.key_pem)


def key_since(certificate: x509.Certificate) -> float:
    """Return when the key of an authority was made, in Unix seconds: when its first certificate begins."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value.not_before
    except x509.ExtensionNotFound:
        found = None
    return (found.replace(tzinfo=UTC) if found is not None else certificate.not_valid_before_utc).timestamp()


def identifier_of_key(pem: bytes) -> str:
    """Return the key identifier of a private key, hexadecimal; empty when it cannot be read."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return ""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return ""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()


def key_identifier(pem: bytes) -> str:
    """Return the key identifier of a certificate, hexadecimal; empty when it cannot be read."""
    try:
        return _key_identifier(x509.load_pem_x509_certificate(pem)).hex()
    except (ValueError, x509.ExtensionNotFound):
        return ""


def issuer_identifier(pem: bytes) -> str:
    """Return the key identifier of the authority that signed a certificate, hexadecimal; empty when unreadable."""
    try:
        return _signer(x509.load_pem_x509_certificate(pem)).hex()
    except (ValueError, x509.ExtensionNotFound):
        return ""


def serial_and_end(pem: bytes) -> tuple[str, float]:
    """Return the serial number of a certificate, hexadecimal, and when it expires, in Unix seconds."""
    certificate = x509.load_pem_x509_certificate(pem)
    return f"{certificate.serial_number:x}", certificate.not_valid_after_utc.timestamp()


def _leaf(
    authority: KeyPair,
    key: ec.EllipticCurvePublicKey,
    *,
    kind: CertificateKind,
    name: str,
    names: tuple[str, ...],
    lifetime_s: int,
    now: float,
) -> x509.CertificateBuilder:
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem)
    remaining_s = int(issuer.not_valid_after_utc.timestamp() - now)
    usages = [
        *((ExtendedKeyUsageOID.SERVER_AUTH,) if kind in (CertificateKind.MEMBER, CertificateKind.SERVER) else ()),
        *(() if kind is CertificateKind.SERVER else (ExtendedKeyUsageOID.CLIENT_AUTH,)),
    ]
    return (
        _begin(_subject(name), issuer.subject, key, lifetime_s=min(lifetime_s, remaining_s), now=now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(one) for one in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier(
                _key_identifier(issuer), authority_cert_issuer=None, authority_cert_serial_number=None
            ),
            critical=False,
        )
    )


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    lifetime_s: int,
    now: float,
) -> x509.CertificateBuilder:
    moment = datetime.fromtimestamp(int(now), UTC)
    begin = moment - timedelta(seconds=min(SKEW_S, lifetime_s // 10))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(moment + timedelta(seconds=lifetime_s))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _finish(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> KeyPair:
    certificate = builder.sign(signer, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    return KeyPair(
        certificate_pem=certificate.public_bytes(encoding),
        key_pem=key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvariantViolated("the key of the CA is not an elliptic curve key: it was not generated by the operator")
    return key


def _subject(common_name: str) -> x509.Name:
    # X.520 allows 64 characters. For people only: members verify the subject alternative names.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    kind, _, value = name.partition(":")
    match kind:
        case "URI":
            return x509.UniformResourceIdentifier(value)
        case "DNS":
            return x509.DNSName(value)
        case "IP":
            return x509.IPAddress(ipaddress.ip_address(value))
        case _:
            raise InvariantViolated(f"{name!r} is not a URI, DNS or IP name")


def _read_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        sorted(
            [f"URI:{one}" for one in names.get_values_for_type(x509.UniformResourceIdentifier)]
            + [f"DNS:{one}" for one in names.get_values_for_type(x509.DNSName)]
            + [f"IP:{one}" for one in names.get_values_for_type(x509.IPAddress)]
        )
    )


def _key_identifier(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _signer(certificate: x509.Certificate) -> bytes:
    """Return the key identifier of the authority; an authority's own for itself."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return _key_identifier(certificate)
    return found or b""
