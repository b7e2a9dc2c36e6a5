"""What a certificate says of itself: validity, serial number, and the keys of authorities.

An authority is identified by the key identifier of its public key (RFC 5280, 4.2.1.2): its certificate may be renewed
under the same key, and what the key signed stays valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate in use. Times in UTC, `serial` and `authority` in hexadecimal."""

    not_before: datetime
    not_after: datetime
    serial: str
    authority: str
    """Key identifier of the authority that signed it; empty if the certificate does not say."""


def read_facts(pem: bytes) -> CertificateFacts:
    """Return the facts of the first certificate in `pem`. Raises `ValueError`."""
    certificate = x509.load_pem_x509_certificate(pem)
    return CertificateFacts(
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        f"{certificate.serial_number:x}",
        issuer_identifier(certificate),
    )


def issuer_identifier(certificate: x509.Certificate) -> str:
    """Return the key identifier of the signer, hexadecimal; empty if the certificate does not name it."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    return (found or b"").hex()


def key_identifiers(pem: bytes) -> tuple[str, ...]:
    """Return the key identifier of each certificate in `pem`, in order, hexadecimal. Raises `ValueError`."""
    return tuple(key_identifier(one) for one in x509.load_pem_x509_certificates(pem))


def key_identifier(certificate: x509.Certificate) -> str:
    """Return the identifier of a certificate's own key, hexadecimal: what it says, or else the digest of the key."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest.hex()


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether the key of `authority` has signed a certificate that names it as its issuer."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False  # signed by another authority: the caller tries them all
    return True
