"""The rotation of the authority's key: each phase by a table, and all of them under crashes, partitions and delays."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from collectionstore_operator.model.actions import (
    IssueCertificate,
    PrepareAuthority,
    PromoteAuthority,
    PublishAuthority,
    RetireAuthority,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Authority,
    AuthorityCertificate,
    Certificate,
    CertificateKind,
    NodeStatus,
    NodeTls,
    Observed,
    RotationPhase,
    ShownCertificate,
    Slot,
    Unknown,
)
from collectionstore_operator.model.plan import Proposal
from collectionstore_operator.planning import authority_rotation, certificates
from collectionstore_operator.reconcile import stored_authority
from collectionstore_operator.reconcile.stored_authority import StoredAuthority
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, draw, make_desired

HEALTHY = "0: leader\n1: voter\n2: voter"
DAY_S = 86_400
YEARS_S = 3_650 * DAY_S


def asked(value: str = "please") -> Desired:
    """Return a resource whose user asks for a new key."""
    return msgspec.structs.replace(make_desired(3), annotations={labels.ROTATE_AUTHORITY: value})


REQUEST = authority_rotation.requested(asked())


def authority(*keys: str, held: bool = False, **more: object) -> Authority:
    trusted = tuple(AuthorityCertificate(key=key, since=NOW, not_after=NOW + YEARS_S) for key in keys)
    return Authority(trusted=trusted, next_held=held, **more)  # type: ignore[arg-type]


def shown(key: str) -> ShownCertificate:
    return ShownCertificate(not_before=NOW, not_after=NOW + 90 * DAY_S, authority=key)


def tls(*trusted: str, leaf: str, clients: str | None = None) -> NodeTls:
    """Return what a member reports: whom it trusts, and who signed what it shows."""
    return NodeTls(peers=shown(leaf), clients=shown(clients or leaf), trusted=trusted)


def with_tls(slot: Slot, report: NodeTls | None) -> Slot:
    assert isinstance(slot.node, NodeStatus)
    return msgspec.structs.replace(slot, node=msgspec.structs.replace(slot.node, tls=report))


def seen(
    found: Authority | None, *reports: NodeTls | None, own: str = "old", published: bool = True, now: float = NOW
) -> Observed:
    """Return a healthy cluster of three whose members report this; the last report counts for all further ones."""
    picture = draw(HEALTHY, make_desired(3))
    by_ordinal = [reports[min(n, len(reports) - 1)] for n in range(3)]
    signs = found.trusted[0].key if found else "old"
    return msgspec.structs.replace(
        picture,
        now=now,
        cluster_id=CLUSTER_ID,
        slots=tuple(with_tls(slot, one) for slot, one in zip(picture.slots, by_ordinal, strict=True)),
        authority=found,
        authority_published=published,
        requests=(),
        certificates=(
            certificate(CertificateKind.AUTHORITY, "demo", signs, now),
            certificate(CertificateKind.OPERATOR, labels.ADMINISTRATOR, own, now),
        ),
    )


def certificate(kind: CertificateKind, name: str, key: str, now: float) -> Certificate:
    names = certificates.operator(make_desired(3), CLUSTER_ID).names if kind is CertificateKind.OPERATOR else ()
    return Certificate(kind=kind, name=name, not_before=now, not_after=now + YEARS_S, names=names, authority=key)


def only(desired: Desired, observed: Observed) -> Proposal | None:
    """Return the step of the rotation, None without one."""
    found = list(authority_rotation.rotate(assess(desired, observed)))
    assert len(found) <= 1
    return found[0] if found else None


OLD = tls("old", leaf="old")
BOTH = tls("old", "new", leaf="old")
NEW = tls("new", "old", leaf="new")


def test_young_authority_is_left_alone() -> None:
    assert only(make_desired(3), seen(authority("old"), OLD)) is None


def test_rotation_is_due_after_two_thirds_of_the_life_of_the_key() -> None:
    """Of the key: a certificate that was renewed under it says since when there is the key."""
    day = 2_434 * DAY_S
    step = only(make_desired(3), seen(authority("old"), OLD, now=NOW + day))
    assert step is not None
    reason = "two thirds of the lifetime of the authority's key have passed"
    assert step.actions == (PrepareAuthority(name="demo", key="old", lifetime_s=YEARS_S, reason=reason),)
    assert only(make_desired(3), seen(authority("old"), OLD, now=NOW + day - 2 * DAY_S)) is None


def test_rotation_is_due_when_the_annotation_has_a_new_value() -> None:
    step = only(asked(), seen(authority("old"), OLD))
    assert step is not None
    (action,) = step.actions
    assert isinstance(action, PrepareAuthority)
    assert action.request == REQUEST
    assert len(action.request) == 16
    assert only(asked(), seen(authority("old", request=REQUEST), OLD)) is None
    assert only(asked("again"), seen(authority("old", request=REQUEST), OLD)) is not None
    assert only(make_desired(3), seen(authority("old", request=REQUEST), OLD)) is None, "the annotation was removed"


def hidden(observed: Observed) -> Observed:
    silent = msgspec.structs.replace(observed.slots[2], node=Unknown("no answer"))
    return msgspec.structs.replace(observed, slots=(*observed.slots[:2], silent))


def without_pod(observed: Observed) -> Observed:
    gone = msgspec.structs.replace(observed.slots[2], pod=ABSENT, node=Unknown("its pod does not run"))
    return msgspec.structs.replace(observed, slots=(*observed.slots[:2], gone))


def of_another_cluster(observed: Observed) -> Observed:
    node = observed.slots[2].node
    assert isinstance(node, NodeStatus)
    foreign = msgspec.structs.replace(observed.slots[2], node=msgspec.structs.replace(node, cluster_id="beef"))
    return msgspec.structs.replace(observed, slots=(*observed.slots[:2], foreign))


def with_unknown_pod(observed: Observed) -> Observed:
    slot = msgspec.structs.replace(observed.slots[2], pod=Unknown("the API server does not answer"))
    return msgspec.structs.replace(observed, slots=(*observed.slots[:2], slot))


@pytest.mark.parametrize(
    ("change", "blocker"),
    [
        (hidden, "demo-2 does not respond"),
        (of_another_cluster, "demo-2 does not respond"),
        (with_unknown_pod, "demo-2 does not respond"),
        (without_pod, ""),
    ],
)
@pytest.mark.parametrize(
    ("found", "report", "own"),
    [
        (authority("old"), OLD, "old"),
        (authority("old", "new", held=True, requested=True), BOTH, "old"),
        (authority("new", "old"), NEW, "new"),
    ],
    ids=["prepare", "promote", "retire"],
)
def test_member_that_does_not_report_holds_the_rotation_where_it_is(
    change: Callable[[Observed], Observed], blocker: str, found: Authority, report: NodeTls, own: str
) -> None:
    """Other members may reach it: what it does not trust must not be used. One without a pod holds nothing."""
    found = msgspec.structs.replace(found, request="" if found.phase is RotationPhase.STEADY else REQUEST)
    step = only(asked(), change(seen(found, report, own=own)))
    assert step is not None
    assert step.step.blocked_by == blocker
    assert bool(step.actions) is not bool(blocker)


def test_member_of_an_older_version_holds_a_rotation() -> None:
    step = only(asked(), seen(authority("old"), OLD, None))
    assert step is not None
    assert not step.actions
    assert "demo-1 runs version" in step.step.blocked_by
    assert "does not report its certificates" in step.step.blocked_by


@pytest.mark.parametrize(
    ("reports", "published", "blocker"),
    [
        ((BOTH, BOTH, BOTH), True, ""),
        ((BOTH, OLD, BOTH), True, "demo-1 does not trust both yet"),
        ((BOTH, tls("new", leaf="old"), BOTH), True, "demo-1 does not trust both yet"),
        ((BOTH, BOTH, BOTH), False, "the trusted authorities are not published yet"),
    ],
)
def test_new_key_signs_when_every_member_trusts_both(
    reports: tuple[NodeTls, ...], blocker: str, *, published: bool
) -> None:
    found = authority("old", "new", held=True, request=REQUEST, requested=True)
    step = only(asked(), seen(found, *reports, published=published))
    assert step is not None
    assert step.step.blocked_by == blocker
    if not blocker:
        reason = "every member trusts the authority that is to sign next"
        assert step.actions == (PromoteAuthority(key="new", request=REQUEST, reason=reason),)


def test_rotation_by_age_leaves_clients_time_to_read_the_new_authority() -> None:
    """Thirty days by default, without a step that looks blocked; a user's request ends the wait."""
    found = authority("old", "new", held=True)
    assert only(make_desired(3), seen(found, BOTH, now=NOW + 30 * DAY_S - 1)) is None
    assert only(make_desired(3), seen(found, BOTH, now=NOW + 30 * DAY_S)) is not None
    step = only(asked(), seen(found, BOTH))
    assert step is not None
    assert step.actions


@pytest.mark.parametrize(
    ("reports", "own", "blocker"),
    [
        ((NEW, NEW, NEW), "new", ""),
        ((NEW, tls("new", "old", leaf="old"), NEW), "new", "demo-1 uses a certificate of the replaced authority"),
        ((NEW, tls("new", "old", leaf="new", clients="old"), NEW), "new", "demo-1 uses a certificate of the replaced"),
        ((NEW, NEW, NEW), "old", "the operator has no new certificate yet"),
    ],
)
def test_old_authority_is_dropped_when_nothing_that_it_signed_is_in_use(
    reports: tuple[NodeTls, ...], own: str, blocker: str
) -> None:
    step = only(asked(), seen(authority("new", "old", request=REQUEST), *reports, own=own))
    assert step is not None
    assert step.step.blocked_by.startswith(blocker)
    assert bool(step.actions) is not bool(blocker)


def test_expired_authority_is_dropped_without_waiting_for_members_that_are_away() -> None:
    found = authority("new", "old")
    ended = msgspec.structs.replace(found.trusted[1], not_after=NOW)
    found = msgspec.structs.replace(found, trusted=(found.trusted[0], ended))
    step = only(make_desired(3), hidden(seen(found, NEW, own="new")))
    assert step is not None
    assert step.actions == (RetireAuthority(key="old", reason="the authority that was replaced has expired"),)


@pytest.mark.parametrize(("pending", "issued"), [(tls("new", "old", leaf="old"), False), (NEW, True)])
def test_operator_gets_its_new_certificate_after_the_members(pending: NodeTls, *, issued: bool) -> None:
    """An operator of a version without phases, that takes over, sees by it that it must not sign."""
    observed = seen(authority("new", "old"), NEW, pending, own="old")
    actions = [action for one in certificates.issue(assess(make_desired(3), observed)) for action in one.actions]
    assert any(isinstance(one, IssueCertificate) and one.name == labels.ADMINISTRATOR for one in actions) is issued


def test_nothing_is_rotated_without_an_authority_that_may_be_used() -> None:
    assert only(asked(), seen(None, OLD)) is None
    conflict = msgspec.structs.replace(seen(authority("old"), OLD), authority_conflict="the Secret is missing")
    assert not [one for one in certificates.issue(assess(asked(), conflict)) if one.actions]


class Member:
    """A member as far as certificates go: it reads what is published, and asks for a certificate, whenever it likes."""

    def __init__(self, key: str) -> None:
        self.trusted: tuple[str, ...] = (key,)
        self.leaf = key
        self.reachable = True

    def report(self) -> NodeTls:
        return tls(*self.trusted, leaf=self.leaf)


class Rotating:
    """A cluster whose operator may end between any two writes, and whose members are slow or cut off from it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stored = stored_authority.renewed(None, "demo", CLUSTER_ID, lifetime_s=YEARS_S, now=NOW)
        self.first = self.keys()[0]
        self.published = self.keys()
        self.own = self.first
        self.members = [Member(self.first) for _ in range(3)]
        self.desired = make_desired(3)

    def keys(self) -> tuple[str, ...]:
        return stored_authority.identifiers(self.stored.bundle_pem)

    def observe(self) -> Observed:
        found = stored_authority.describe(self.stored)
        reports = [one.report() for one in self.members]
        observed = seen(found, *reports, own=self.own, published=self.published == self.keys())
        slots = tuple(
            slot if member.reachable else msgspec.structs.replace(slot, node=Unknown("cut off"))
            for slot, member in zip(observed.slots, self.members, strict=True)
        )
        return msgspec.structs.replace(observed, slots=slots)

    def round(self, *, crashes: bool) -> None:
        """Perform the actions of one round, or only the first of them."""
        proposals = certificates.issue(assess(self.desired, self.observe()))
        actions = [action for one in proposals for action in one.actions]
        for action in actions[: self.random.randint(0, len(actions)) if crashes else None]:
            self.execute(action)
            self.check()

    def execute(self, action: object) -> None:
        match action:
            case PrepareAuthority():
                self.stored = stored_authority.prepared(
                    self.stored,
                    "demo",
                    CLUSTER_ID,
                    key=action.key,
                    lifetime_s=action.lifetime_s,
                    request=action.request,
                    now=NOW,
                )
            case PromoteAuthority():
                self.stored = stored_authority.promoted(self.stored, key=action.key, request=action.request)
            case RetireAuthority():
                self.stored = stored_authority.retired(self.stored, key=action.key)
            case PublishAuthority():
                self.published = self.keys()
            case IssueCertificate(kind=CertificateKind.OPERATOR):
                self.own = self.keys()[0]
            case _:
                raise AssertionError(f"unexpected: {action}")

    def member_acts(self, member: Member) -> None:
        """It mounts what is published, or renews its certificate because another authority is first."""
        if self.random.random() < 0.5:
            member.trusted = self.published
        elif member.leaf != member.trusted[0] and self.keys()[0] in member.trusted:
            member.leaf = self.keys()[0]

    def check(self) -> None:
        """Every member, and the operator, can connect to every other one, in whatever order they have read."""
        for one in self.members:
            for other in self.members:
                assert one.leaf in other.trusted, "two members cannot connect"
            assert self.own in one.trusted, "the operator cannot connect"
            assert one.leaf in self.keys(), "the operator does not trust a member"
        assert stored_authority.signing_pair(self.stored) is not None

    def settled(self) -> bool:
        keys = self.keys()
        return (
            keys != (self.first,)
            and self.published == keys == (self.own,)
            and all(one.trusted == keys and one.leaf == keys[0] for one in self.members)
        )


@pytest.mark.parametrize("seed", range(60))
def test_all_can_connect_at_every_point_of_a_rotation_and_it_ends(seed: int) -> None:
    world = Rotating(seed)
    world.desired = asked()
    for _ in range(150):
        chance = world.random.random()
        member = world.random.choice(world.members)
        if chance < 0.1:
            member.reachable = not member.reachable
        elif chance < 0.55:
            world.member_acts(member)
        else:
            world.round(crashes=True)
        world.check()
    for member in world.members:
        member.reachable = True
    for _ in range(400):
        world.round(crashes=False)
        world.member_acts(world.random.choice(world.members))
        world.check()
        if world.settled():
            break
    assert world.settled(), f"seed {seed}: {world.observe().authority}"
    assert world.stored.request == REQUEST
    before = world.stored
    world.round(crashes=False)
    assert world.stored == before, "a rotation that was asked for once is done once"


def test_stored_authority_shows_no_key() -> None:
    made = stored_authority.renewed(None, "demo", CLUSTER_ID, lifetime_s=YEARS_S, now=NOW)
    assert isinstance(made, StoredAuthority)
    assert "PRIVATE" not in repr(made)
