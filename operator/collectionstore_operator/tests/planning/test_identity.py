"""Which cluster a resource is: decided from record, status and volumes alone, and refused where they contradict."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import EstablishIdentity
from collectionstore_operator.model.observed import (
    Certificate,
    CertificateKind,
    Observed,
    PublishedIdentity,
)
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, actions_of, make_desired, planned

DESIRED = make_desired(3)
NEW = Observed(now=NOW, certificates=(), finalizer=True)
PUBLISHED = PublishedIdentity(cluster_id="feed", initialized=True, bootstrap_node="n1")
AUTHORITY = Certificate(kind=CertificateKind.AUTHORITY, name="demo", not_before=0, not_after=2 * NOW, authority="key")


@pytest.mark.parametrize(
    ("published", "on_volumes", "chosen", "reason"),
    [
        (PublishedIdentity(), (), "", "stamp volumes and certificates with the cluster ID"),
        (PublishedIdentity(), ("feed",), "feed", "adopt the cluster feed, whose volumes exist"),
        (PUBLISHED, (), "feed", "the record is missing, and the status names the cluster feed"),
        (PUBLISHED, ("feed",), "feed", "the record is missing, and the status names the cluster feed"),
    ],
)
def test_identity_is_drawn_only_when_nothing_names_one(
    published: PublishedIdentity, on_volumes: tuple[str, ...], chosen: str, reason: str
) -> None:
    """An empty ID is the executor's to draw: the plan itself has no randomness."""
    made = planned(DESIRED, msgspec.structs.replace(NEW, published=published, volume_cluster_ids=on_volumes))
    (action,) = made.actions
    assert isinstance(action, EstablishIdentity)
    assert (action.cluster_id, action.reason) == (chosen, reason)
    assert (action.initialized, action.bootstrap_node) == (published.initialized, published.bootstrap_node)


@pytest.mark.parametrize(
    ("published", "on_volumes", "blocked_by"),
    [
        (PublishedIdentity(), ("beef", "feed"), "the existing volumes belong to several clusters: beef, feed"),
        (PUBLISHED, ("beef", "feed"), "the existing volumes belong to several clusters: beef, feed"),
        (PUBLISHED, ("beef",), "the existing volumes belong to the cluster beef, the resource to feed"),
    ],
)
def test_identity_is_refused_where_facts_contradict(
    published: PublishedIdentity, on_volumes: tuple[str, ...], blocked_by: str
) -> None:
    """To guess would attach members to the data of another cluster; nothing else is done either."""
    observed = msgspec.structs.replace(
        NEW, published=published, volume_cluster_ids=on_volumes, certificates=(AUTHORITY,), authority_published=False
    )
    made = planned(DESIRED, observed)
    assert not made.actions
    (step,) = made.steps
    assert (step.name, step.subject, step.blocked_by) == ("EstablishIdentity", "demo", blocked_by)


def test_identity_that_is_recorded_is_not_chosen_again() -> None:
    observed = msgspec.structs.replace(NEW, cluster_id=CLUSTER_ID, published=PUBLISHED, volume_cluster_ids=("beef",))
    assert "EstablishIdentity" not in actions_of(planned(DESIRED, observed))


def test_authority_that_outlived_the_record_is_published_with_the_identity() -> None:
    """Both in this order, so that running pods find their trust anchor again."""
    observed = msgspec.structs.replace(NEW, published=PUBLISHED, certificates=(AUTHORITY,), authority_published=False)
    assert actions_of(planned(DESIRED, observed)) == ["EstablishIdentity", "PublishAuthority"]


@pytest.mark.parametrize(
    ("certificates", "is_published", "expected"),
    [
        ((), False, ["IssueCertificate", "PublishAuthority", "IssueCertificate"]),
        ((AUTHORITY,), False, ["PublishAuthority", "IssueCertificate"]),
        ((AUTHORITY,), True, ["IssueCertificate"]),
        ((AUTHORITY,), None, ["IssueCertificate"]),
    ],
)
def test_authority_is_published_after_it_exists_and_before_pods_start(
    certificates: tuple[Certificate, ...], expected: list[str], *, is_published: bool | None
) -> None:
    """Decided from what is observed: an operator may end between the Secret and the record."""
    observed = msgspec.structs.replace(
        NEW, cluster_id=CLUSTER_ID, certificates=certificates, authority_published=is_published, requests=()
    )
    assert actions_of(planned(DESIRED, observed)) == [*expected, "EnsureWorkload 3"]


def test_renewed_authority_is_published_again() -> None:
    """What pods mount is the certificate before."""
    old = msgspec.structs.replace(AUTHORITY, not_before=NOW - 300, not_after=NOW + 60)
    observed = msgspec.structs.replace(
        NEW, cluster_id=CLUSTER_ID, certificates=(old,), authority_published=True, requests=()
    )
    assert actions_of(planned(DESIRED, observed))[:2] == ["IssueCertificate", "PublishAuthority"]
