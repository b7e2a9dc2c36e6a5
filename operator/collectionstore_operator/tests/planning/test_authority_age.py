"""The authority's certificate is renewed once for each of its lives, however old its key is."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec
import pytest
from cryptography import x509

from collectionstore_operator.model.actions import IssueCertificate, PrepareAuthority
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.certificate_lifetimes import overdue, renew_authority_at
from collectionstore_operator.model.observed import Certificate, CertificateKind, Observed
from collectionstore_operator.planning import certificates
from collectionstore_operator.reconcile import pki, stored_authority
from collectionstore_operator.reconcile.stored_authority import StoredAuthority
from collectionstore_operator.resource.network import Tls
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, make_desired
from collectionstore_operator.tests.planning.test_authority_rotation import hidden, seen, tls

pytestmark = pytest.mark.xdist_group("certificates")

LIFE_S: Final = 7_200
DESIRED: Final = make_desired(3, tls=Tls(certificate_lifetime_seconds=120, authority_lifetime_seconds=LIFE_S))


def renew(stored: StoredAuthority | None, now: float) -> StoredAuthority:
    return stored_authority.renewed(stored, "demo", CLUSTER_ID, lifetime_s=LIFE_S, now=now)


def certificate_of(stored: StoredAuthority) -> Certificate:
    return pki.read_certificate(stored.bundle_pem, CertificateKind.AUTHORITY, "demo")


def observe(stored: StoredAuthority, now: float, *, responds: bool) -> Observed:
    """Return a healthy cluster with this authority, whose third member responds or not."""
    found = stored_authority.describe(stored)
    assert found is not None
    key = found.trusted[0].key
    observed = seen(found, tls(key, leaf=key), own=key, now=now)
    own = tuple(one for one in observed.certificates or () if one.kind is not CertificateKind.AUTHORITY)
    observed = msgspec.structs.replace(observed, certificates=(certificate_of(stored), *own))
    return observed if responds else hidden(observed)


def actions_on(stored: StoredAuthority, now: float, *, responds: bool) -> list[object]:
    proposals = certificates.issue(assess(DESIRED, observe(stored, now, responds=responds)))
    return [action for one in proposals for action in one.actions]


@pytest.mark.parametrize("lives", [1, 3, 5, 10])
def test_renewed_certificate_is_neither_due_nor_overdue_however_old_its_key_is(lives: int) -> None:
    """The operator was down so long: it renews once, and rotates the key as soon as all members respond."""
    born = renew(None, NOW - lives * LIFE_S)
    first, *_ = actions_on(born, NOW, responds=False)
    assert isinstance(first, IssueCertificate)
    assert first.kind is CertificateKind.AUTHORITY
    stored = renew(born, NOW)
    found = certificate_of(stored)
    assert found.not_after - found.not_before <= LIFE_S + pki.SKEW_S, "its validity says how long it lives"
    assert overdue([found], NOW) == ()
    assert renew_authority_at(found) > NOW + LIFE_S / 2
    assert actions_on(stored, NOW + 1, responds=False) == []
    (prepare, _publish) = actions_on(stored, NOW + 1, responds=True)
    assert isinstance(prepare, PrepareAuthority)
    assert prepare.reason == "two thirds of the lifetime of the authority's key have passed"


def test_key_that_is_never_rotated_gets_a_certificate_at_three_quarters_of_each_life() -> None:
    """A member does not respond for ten lives: the distance between two renewals does not shrink."""
    stored, renewed = renew(None, NOW), list[float]()
    for now in range(int(NOW), int(NOW) + 10 * LIFE_S, LIFE_S // 48):
        if any(isinstance(one, IssueCertificate) for one in actions_on(stored, now, responds=False)):
            assert certificate_of(stored).not_after > now
            stored = renew(stored, now)
            renewed.append(now)
    assert 12 <= len(renewed) <= 14
    assert min(later - before for before, later in pairwise(renewed)) >= LIFE_S * 0.7


def test_age_of_the_key_survives_every_renewal() -> None:
    stored = renew(None, NOW)
    born = stored_authority.describe(stored)
    for lives in (1, 2, 3):
        stored = renew(stored, NOW + lives * LIFE_S)
    found = stored_authority.describe(stored)
    assert born is not None
    assert found is not None
    assert found.trusted[0].since == born.trusted[0].since
    assert found.trusted[0].key == born.trusted[0].key


def test_extension_with_the_age_of_the_key_need_not_be_understood() -> None:
    """RFC 5280, 4.2: a critical extension that a peer does not know is a reason to refuse the certificate."""
    (certificate,) = x509.load_pem_x509_certificates(renew(renew(None, NOW), NOW + LIFE_S).bundle_pem)
    assert not certificate.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).critical
