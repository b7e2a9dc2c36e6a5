"""The authority of a cluster as a value that a runtime stores, and the steps of its life, each from value to value.

    bundle_pem     the certificates that members trust; the first signs
    key_pem        the key of the first
    next_key_pem   the key of the second, while it is to sign next

The phase of a rotation is nothing else than what is stored, so it cannot contradict the keys. An operator of a version
without rotation reads the first certificate and its key as the whole authority, and both stay right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.observed import Authority, AuthorityCertificate, RotationPhase
from collectionstore_operator.reconcile import pki
from collectionstore_operator.reconcile.pki import KeyPair


@dataclass(frozen=True, slots=True)
class StoredAuthority:
    """What is stored; PEM that may be damaged, `next_key_pem` empty unless a rotation is prepared."""

    bundle_pem: bytes
    key_pem: bytes
    next_key_pem: bytes = b""
    request: str = ""
    """Digest of the user's request for a rotation that was carried out last."""
    requested: bool = False
    """A user has asked for the rotation that is under way."""

    def __repr__(self) -> str:
        return "StoredAuthority(...)"


def signing_pair(stored: StoredAuthority) -> KeyPair | None:
    """Return the certificate and key that sign; None when they cannot be read or do not belong together."""
    certificates = split(stored.bundle_pem)
    pair = KeyPair(certificates[0] if certificates else b"", stored.key_pem)
    return pair if pki.is_pair(pair) else None


def describe(stored: StoredAuthority) -> Authority | None:
    """Return the authority as the planner sees it; None when it cannot sign."""
    if signing_pair(stored) is None:
        return None
    trusted = tuple(_certificate(one) for one in x509.load_pem_x509_certificates(stored.bundle_pem))
    following = pki.identifier_of_key(stored.next_key_pem) if stored.next_key_pem else ""
    return Authority(
        trusted=trusted,
        next_held=len(trusted) > 1 and following == trusted[1].key,
        request=stored.request,
        requested=stored.requested,
    )


def renewed(
    stored: StoredAuthority | None, name: str, cluster_id: str, *, lifetime_s: int, now: float
) -> StoredAuthority:
    """Return a new authority, or the stored one with the certificate of its own key made again; all else stays."""
    if stored is None or not pki.identifier_of_key(stored.key_pem):
        made = pki.make_authority(name, cluster_id, lifetime_s=lifetime_s, now=now)
        return StoredAuthority(made.certificate_pem, made.key_pem)
    certificates = split(stored.bundle_pem)
    intact = signing_pair(stored) is not None
    since = pki.key_since(x509.load_pem_x509_certificate(certificates[0])) if intact else None
    made = pki.make_authority(name, cluster_id, lifetime_s=lifetime_s, now=now, key_pem=stored.key_pem, since=since)
    others = [one for one in certificates if pki.key_identifier(one) != pki.key_identifier(made.certificate_pem)]
    return replace(stored, bundle_pem=b"".join([made.certificate_pem, *others]))


def signing_alone(stored: StoredAuthority) -> StoredAuthority:
    """Return the certificate that signs and its key: what another authority begins with, to be rotated away from."""
    return replace(stored, bundle_pem=split(stored.bundle_pem)[0], next_key_pem=b"", requested=False)


def prepared(
    stored: StoredAuthority, name: str, cluster_id: str, *, key: str, lifetime_s: int, request: str, now: float
) -> StoredAuthority:
    """Return the authority with a second one that is to sign next. Raises ActionRefused unless `key` signs alone."""
    found = _require(stored, key)
    if found.phase is RotationPhase.TRUSTING:
        return stored  # by an attempt whose outcome was lost
    if found.phase is RotationPhase.REISSUING:
        raise ActionRefused("the authority that was replaced is trusted still: a rotation is under way")
    following = pki.make_authority(name, cluster_id, lifetime_s=lifetime_s, now=now)
    return replace(
        stored,
        bundle_pem=split(stored.bundle_pem)[0] + following.certificate_pem,
        next_key_pem=following.key_pem,
        request=request or stored.request,
        requested=bool(request),
    )


def promoted(stored: StoredAuthority, *, key: str, request: str) -> StoredAuthority:
    """Return the authority with the prepared one first, and the key before it forgotten. Raises ActionRefused."""
    found = describe(stored)
    if found is not None and found.phase is RotationPhase.REISSUING and found.trusted[0].key == key:
        return stored  # by an attempt whose outcome was lost
    if found is None or found.phase is not RotationPhase.TRUSTING or found.trusted[1].key != key:
        raise ActionRefused(f"the authority {key[:16]} is not prepared any more")
    old, following, *_ = split(stored.bundle_pem)
    return replace(
        stored,
        bundle_pem=following + old,
        key_pem=stored.next_key_pem,
        next_key_pem=b"",
        request=request or stored.request,
    )


def retired(stored: StoredAuthority, *, key: str) -> StoredAuthority:
    """Return the authority without the one that it replaced. Raises ActionRefused."""
    found = describe(stored)
    if found is None or (found.phase is not RotationPhase.STEADY and key != found.trusted[1].key):
        raise ActionRefused(f"the authority {key[:16]} is not the one that was replaced")
    if found.phase is RotationPhase.TRUSTING:
        raise ActionRefused(f"the authority {key[:16]} is to sign next")
    return replace(stored, bundle_pem=split(stored.bundle_pem)[0], requested=False)


def split(bundle_pem: bytes) -> list[bytes]:
    """Return each certificate of a bundle as PEM; none when it cannot be read."""
    try:
        return [one.public_bytes(Encoding.PEM) for one in x509.load_pem_x509_certificates(bundle_pem)]
    except ValueError:
        return []


def identifiers(bundle_pem: bytes) -> tuple[str, ...]:
    """Return the key identifier of each certificate of a bundle, hexadecimal; none when it cannot be read."""
    return tuple(one for pem in split(bundle_pem) if (one := pki.key_identifier(pem)))


def _require(stored: StoredAuthority, key: str) -> Authority:
    found = describe(stored)
    if found is None or found.trusted[0].key != key:
        raise ActionRefused(f"the authority {key[:16]} does not sign any more")
    return found


def _certificate(certificate: x509.Certificate) -> AuthorityCertificate:
    return AuthorityCertificate(
        key=pki.key_identifier(certificate.public_bytes(Encoding.PEM)),
        since=pki.key_since(certificate),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )
