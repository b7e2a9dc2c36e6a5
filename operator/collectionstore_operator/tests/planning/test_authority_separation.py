"""An authority for peers alone: each step by a table, and all of them under crashes, partitions and delays."""

from __future__ import annotations

import random

import msgspec
import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    DenyRequest,
    EnsureWorkload,
    IssueCertificate,
    PrepareAuthority,
    PromoteAuthority,
    PublishAuthority,
    RetireAuthority,
    SignRequest,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Authority,
    Certificate,
    CertificateKind,
    NodeTls,
    Observed,
    Pod,
    Replicas,
    RequestPurpose,
    RotationPhase,
    SigningRequest,
    Unknown,
    Workload,
)
from collectionstore_operator.planning import authority_rotation, authority_separation, certificates, workload
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.reconcile import stored_authority
from collectionstore_operator.reconcile.stored_authority import StoredAuthority
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.network import Tls
from collectionstore_operator.status.safeguards import records_valid
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, make_desired
from collectionstore_operator.tests.planning.test_authority_rotation import (
    OLD,
    REQUEST,
    YEARS_S,
    asked,
    authority,
    seen,
    shown,
)

SEPARATE = make_desired(3, tls=Tls(authorities="Separate"))


def ports(
    peers: tuple[str, ...], clients: tuple[str, ...], *, leaf: str, server: str, tls_for_clients: bool = True
) -> NodeTls:
    """Return what a member reports: whom each port trusts, and who signed what it shows there."""
    both = tuple(one for one in peers if one in clients)
    server_shown = shown(server) if tls_for_clients else None
    return NodeTls(peers=shown(leaf), clients=server_shown, trusted=both, peer_trusted=peers, client_trusted=clients)


def with_peers(observed: Observed, found: Authority | None, **more: object) -> Observed:
    """Return the same cluster with an authority of peers, and with pods that would start with two."""
    kept = Workload(replicas=3, revision=revision(SEPARATE))
    return msgspec.structs.replace(observed, **({"peer_authority": found, "workload": kept} | more))


def begun(desired: Desired, observed: Observed) -> list[object]:
    return [action for one in authority_separation.begin(assess(desired, observed)) for action in one.actions]


def step_of(desired: Desired, observed: Observed, *, peers: bool) -> tuple[list[object], str]:
    """Return what the rotation of one authority does, and what it waits for."""
    found = list(authority_rotation.rotate(assess(desired, observed), peers=peers))
    assert len(found) <= 1
    return ([*found[0].actions], found[0].step.blocked_by) if found else ([], "")


def test_nothing_is_made_for_a_cluster_that_does_not_ask_for_it() -> None:
    assert begun(make_desired(3), seen(authority("old"), OLD)) == []


def test_new_cluster_begins_with_two_authorities() -> None:
    observed = Observed(now=NOW, cluster_id=CLUSTER_ID, certificates=(), requests=())
    issued = [
        action.kind
        for one in certificates.issue(assess(SEPARATE, observed))
        for action in one.actions
        if isinstance(action, IssueCertificate)
    ]
    assert issued == [CertificateKind.AUTHORITY, CertificateKind.PEER_AUTHORITY, CertificateKind.OPERATOR]


def test_running_cluster_begins_with_the_authority_that_its_members_trust() -> None:
    """Never with a new one alone: the members that know of it first would refuse the others."""
    (action,) = begun(SEPARATE, seen(authority("old"), OLD))
    assert isinstance(action, PrepareAuthority)
    assert (action.key, action.peers) == ("old", True)


@pytest.mark.parametrize(
    ("observed", "blocker"),
    [
        (seen(authority("new", "old"), OLD), "a rotation of the authority that peers trust now is under way"),
        (
            with_peers(seen(authority("old"), OLD), None, peer_authority_conflict="the Secret is missing"),
            "the Secret is missing",
        ),
    ],
    ids=["rotation", "lost"],
)
def test_nothing_is_made_before_it_is_safe_and_no_pod_starts_with_it(observed: Observed, blocker: str) -> None:
    (step,) = authority_separation.begin(assess(SEPARATE, observed))
    assert (step.actions, step.step.blocked_by) == ((), blocker)
    (waiting,) = workload.ensure(assess(SEPARATE, observed))
    assert waiting.actions == ()
    assert waiting.step.blocked_by


def test_lost_certificate_is_made_again_and_is_never_a_copy_of_the_other_one() -> None:
    """Its key is there, and the record says that it is that of peers."""
    observed = with_peers(seen(authority("old"), OLD), None, peer_authority_recorded=True)
    (action,) = begun(SEPARATE, observed)
    assert isinstance(action, IssueCertificate)
    assert action.kind is CertificateKind.PEER_AUTHORITY


UNTOLD = ports(("old", "p"), ("old", "p"), leaf="old", server="old")
TOLD = ports(("old", "p"), ("old",), leaf="old", server="old")
DONE = ports(("p", "old"), ("old",), leaf="p", server="old")
LOOPBACK = ports(("old", "p"), (), leaf="old", server="", tls_for_clients=False)


@pytest.mark.parametrize(
    ("reports", "promoted"),
    [
        ((TOLD,), True),
        ((LOOPBACK,), True),
        ((TOLD, UNTOLD), False),
        ((TOLD, ports(("old",), ("old",), leaf="old", server="old")), False),
        ((TOLD, OLD), False),
        ((TOLD, None), False),
    ],
    ids=["all", "no-client-tls", "ports-not-told-apart", "not-read", "older-version", "silent"],
)
def test_peers_get_certificates_of_their_authority_when_all_trust_it(
    reports: tuple[NodeTls | None, ...], *, promoted: bool
) -> None:
    observed = with_peers(seen(authority("old"), *reports), authority("old", "p", held=True))
    actions, blocker = step_of(SEPARATE, observed, peers=True)
    assert any(isinstance(one, PromoteAuthority) and one.peers for one in actions) is promoted
    assert bool(blocker) is not promoted


@pytest.mark.parametrize("group", ["voters", "reads"])
def test_peers_trust_the_authority_of_clients_while_a_pod_could_start_with_the_former_settings(group: str) -> None:
    """A hibernated cluster has no pod that says what it trusts, and wakes with what its workload says."""
    former = Workload(replicas=0, revision="former")
    observed = with_peers(seen(authority("old"), TOLD), authority("old", "p", held=True))
    asleep = tuple(msgspec.structs.replace(slot, pod=ABSENT, node=Unknown("stopped")) for slot in observed.slots)
    observed = msgspec.structs.replace(observed, slots=asleep)
    assert step_of(SEPARATE, observed, peers=True)[0], "the workload has the settings, and nothing else is awaited"
    if group == "voters":
        observed = msgspec.structs.replace(observed, workload=former)
    else:
        observed = msgspec.structs.replace(observed, reads=Replicas(workload=former))
    actions, blocker = step_of(SEPARATE, observed, peers=True)
    assert actions == []
    assert "would start with the former settings" in blocker


@pytest.mark.parametrize(("reports", "retired"), [((DONE,), True), ((DONE, TOLD), False)], ids=["all", "one-is-behind"])
def test_peers_trust_the_authority_of_clients_until_nobody_shows_it(
    reports: tuple[NodeTls, ...], *, retired: bool
) -> None:
    observed = with_peers(seen(authority("old"), *reports), authority("p", "old"))
    actions, _ = step_of(SEPARATE, observed, peers=True)
    assert any(isinstance(one, RetireAuthority) and one.peers and one.key == "old" for one in actions) is retired


def test_authority_of_clients_is_not_rotated_before_peers_have_their_own() -> None:
    desired = msgspec.structs.replace(asked(), spec=SEPARATE.spec)
    observed = with_peers(seen(authority("old"), TOLD), authority("old", "p", held=True))
    actions, blocker = step_of(desired, observed, peers=False)
    assert (actions, blocker) == ([], "peers get an authority of their own first")
    separated = with_peers(seen(authority("old"), ports(("p",), ("old",), leaf="p", server="old")), authority("p"))
    actions, _ = step_of(desired, separated, peers=False)
    assert [type(one) for one in actions] == [PrepareAuthority]
    assert not any(one.peers for one in actions if isinstance(one, PrepareAuthority))


def test_each_authority_is_rotated_by_what_its_own_port_reports() -> None:
    """A port that trusts the next key of the other authority says nothing of this one."""
    report = ports(("p",), ("old", "next"), leaf="p", server="old")
    observed = with_peers(
        seen(authority("old", "next", held=True, requested=True), report), authority("p", "q", held=True)
    )
    clients, _ = step_of(SEPARATE, observed, peers=False)
    peers, blocker = step_of(SEPARATE, observed, peers=True)
    assert [type(one) for one in clients] == [PromoteAuthority]
    assert peers == []
    assert "does not trust both yet" in blocker


def test_resource_that_takes_it_back_changes_nothing_and_says_so() -> None:
    """Pods with the former settings would be strangers to the other members."""
    observed = with_peers(seen(authority("old"), DONE), authority("p"), peer_authority_recorded=True)
    assessment = assess(make_desired(3), observed)
    found = plan(assessment)
    assert not [one for one in found.actions if isinstance(one, EnsureWorkload | IssueCertificate | PublishAuthority)]
    condition = records_valid(assessment, found)
    assert (condition.status, condition.reason) == ("False", "AuthoritiesContradict")
    assert "spec.tls.authorities is not Separate" in condition.message


def test_preview_that_knows_no_certificates_waits_for_none() -> None:
    """Its assumption is that certificates are valid: what it shows is what a change would do to the members."""
    observed = msgspec.structs.replace(seen(authority("old"), OLD), certificates=None, authority=None)
    assert begun(SEPARATE, observed) == []
    steps = workload.ensure(assess(SEPARATE, observed))
    assert [type(action) for one in steps for action in one.actions] == [EnsureWorkload]


def request(purpose: RequestPurpose, observed: Observed) -> SigningRequest:
    pod = observed.slot(1).pod
    assert isinstance(pod, Pod)
    return SigningRequest(name="r", member="demo-1", pod_uid=pod.uid, purpose=purpose)


@pytest.mark.parametrize(
    ("purpose", "kind", "peers"),
    [
        (RequestPurpose.PEERS, CertificateKind.MEMBER, True),
        (RequestPurpose.CLIENTS, CertificateKind.SERVER, False),
        (RequestPurpose.MEMBER, CertificateKind.SERVER, False),
    ],
)
def test_request_is_signed_by_the_authority_of_its_port(
    purpose: RequestPurpose, kind: CertificateKind, *, peers: bool
) -> None:
    observed = with_peers(seen(authority("old"), DONE), authority("p"))
    observed = msgspec.structs.replace(observed, requests=(request(purpose, observed),))
    (answer,) = certificates.to_answer(SEPARATE, observed, range(3))
    assert isinstance(answer, SignRequest)
    assert (answer.kind, answer.peers) == (kind, peers)


def test_member_that_is_not_restarted_yet_gets_a_certificate_for_both_ports() -> None:
    observed = with_peers(seen(authority("old"), TOLD), authority("old", "p", held=True))
    observed = msgspec.structs.replace(observed, requests=(request(RequestPurpose.MEMBER, observed),))
    (answer,) = certificates.to_answer(SEPARATE, observed, range(3))
    assert isinstance(answer, SignRequest)
    assert (answer.kind, answer.peers) == (CertificateKind.MEMBER, False)


def test_request_for_peers_is_denied_where_they_have_no_authority_and_waits_where_they_are_to_have_one() -> None:
    observed = seen(authority("old"), OLD)
    observed = msgspec.structs.replace(observed, requests=(request(RequestPurpose.PEERS, observed),))
    (answer,) = certificates.to_answer(make_desired(3), observed, range(3))
    assert isinstance(answer, DenyRequest)
    assert "spec.tls.authorities of demo is not Separate" in answer.reason
    assert certificates.to_answer(SEPARATE, observed, range(3)) == ()


class Member:
    """A member as far as certificates go. Before its restart it does not tell its ports apart."""

    def __init__(self, key: str) -> None:
        self.peer_trusted: tuple[str, ...] = (key,)
        self.client_trusted: tuple[str, ...] = (key,)
        self.leaf = self.server = key
        self.restarted = False
        self.reachable = True

    def report(self) -> NodeTls:
        return ports(self.peer_trusted, self.client_trusted, leaf=self.leaf, server=self.server)


class Separating:
    """A cluster that gets a second authority, and whose user asks for new keys meanwhile."""

    def __init__(self, seed: int, *, local: bool) -> None:
        self.random = random.Random(seed)
        self.local = local
        self.clients = stored_authority.renewed(None, "demo", CLUSTER_ID, lifetime_s=YEARS_S, now=NOW)
        self.peers: StoredAuthority | None = None
        self.first = self.keys(self.clients)[0]
        self.template = False
        self.published: tuple[str, ...] = (self.first,)
        self.peers_published: tuple[str, ...] = ()
        self.own = self.first
        self.members = [Member(self.first) for _ in range(3)]
        self.desired = msgspec.structs.replace(asked(), spec=SEPARATE.spec)

    @staticmethod
    def keys(stored: StoredAuthority | None) -> tuple[str, ...]:
        return () if stored is None else stored_authority.identifiers(stored.bundle_pem)

    def observe(self) -> Observed:
        published = self.published == self.keys(self.clients) and self.peers_published == self.keys(self.peers)
        reports = [one.report() for one in self.members]
        observed = seen(stored_authority.describe(self.clients), *reports, own=self.own, published=published)
        slots = tuple(
            slot if member.reachable else msgspec.structs.replace(slot, node=Unknown("cut off"))
            for slot, member in zip(observed.slots, self.members, strict=True)
        )
        found = stored_authority.describe(self.peers) if self.peers else None
        held = observed.certificates or ()
        if self.peers:
            key = self.keys(self.peers)[0]
            kind, name = CertificateKind.PEER_AUTHORITY, labels.peer_authority("demo")
            held = (*held, Certificate(kind=kind, name=name, not_before=NOW, not_after=NOW + YEARS_S, authority=key))
        return msgspec.structs.replace(
            observed,
            slots=slots,
            peer_authority=found,
            peer_authority_recorded=bool(self.peers_published),
            certificates=held,
            workload=Workload(replicas=3, revision=revision(self.desired) if self.template else "former"),
        )

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
                stored = self.clients
                if action.peers:
                    stored = self.peers or stored_authority.signing_alone(self.clients)
                made = stored_authority.prepared(
                    stored,
                    "demo",
                    CLUSTER_ID,
                    key=action.key,
                    lifetime_s=action.lifetime_s,
                    request=action.request,
                    now=NOW,
                )
                self.store(made, peers=action.peers)
            case PromoteAuthority():
                made = stored_authority.promoted(self.stored(action), key=action.key, request=action.request)
                self.store(made, peers=action.peers)
            case RetireAuthority():
                self.store(stored_authority.retired(self.stored(action), key=action.key), peers=action.peers)
            case PublishAuthority():
                self.published, self.peers_published = self.keys(self.clients), self.keys(self.peers)
            case IssueCertificate(kind=CertificateKind.OPERATOR):
                self.own = self.keys(self.clients)[0]
            case _:
                raise AssertionError(f"unexpected: {action}")

    def stored(self, action: PromoteAuthority | RetireAuthority) -> StoredAuthority:
        found = self.peers if action.peers else self.clients
        assert found is not None
        return found

    def store(self, made: StoredAuthority, *, peers: bool) -> None:
        if peers:
            self.peers = made
        else:
            self.clients = made

    def member_acts(self, member: Member) -> None:
        """It reads what is published, restarts with the new settings, or asks for what another authority signs now."""
        chance = self.random.random()
        if chance < 0.2 and not member.restarted and self.peers_published:
            if not authority_separation.workload_waits(assess(self.desired, self.observe())):
                self.template = member.restarted = True
                self.read(member)
                member.server = self.signed(self.clients, member.client_trusted, member.server)
        elif chance < 0.6:
            self.read(member)
        else:
            before_restart = self.peers if self.local and self.peers_published else self.clients
            peers = self.peers if member.restarted else before_restart
            member.leaf = self.signed(peers, member.peer_trusted, member.leaf)
            server = self.signed(self.clients, member.client_trusted, member.server)
            member.server = server if member.restarted else member.leaf

    def read(self, member: Member) -> None:
        member.client_trusted = self.published
        member.peer_trusted = self.peers_published if member.restarted else self.published
        if self.local and not member.restarted and self.peers_published:
            # The supervisor writes one file for both of its ports.
            member.peer_trusted = member.client_trusted = self.peers_published

    def signed(self, stored: StoredAuthority | None, trusted: tuple[str, ...], leaf: str) -> str:
        """Return who signs a renewed certificate; the former one if the member would not take it."""
        signs = self.keys(stored)[0]
        return signs if leaf != trusted[0] and signs in trusted else leaf

    def check(self) -> None:
        """Members reach each other, the operator and clients reach them, in whatever order they have read."""
        for one in self.members:
            for other in self.members:
                assert one.leaf in other.peer_trusted, "two members cannot connect"
            assert self.own in one.client_trusted, "the operator cannot connect"
            assert one.server in self.keys(self.clients), "the operator does not trust a member"
            assert one.server in self.published, "clients do not trust a member"

    def settled(self) -> bool:
        clients, peers = self.keys(self.clients), self.keys(self.peers)
        return (
            len(clients) == len(peers) == 1
            and not set(clients) & set(peers)
            and self.clients.request == REQUEST
            and self.published == clients == (self.own,)
            and self.peers_published == peers
            and all(
                (one.client_trusted, one.peer_trusted, (one.server,), (one.leaf,)) == (clients, peers, clients, peers)
                for one in self.members
            )
        )


@pytest.mark.parametrize("local", [False, True], ids=["kubernetes", "local"])
@pytest.mark.parametrize("seed", range(30))
def test_all_can_connect_while_peers_get_their_authority_and_it_ends(seed: int, *, local: bool) -> None:
    world = Separating(seed, local=local)
    for _ in range(200):
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
    for _ in range(800):
        world.round(crashes=False)
        world.member_acts(world.random.choice(world.members))
        world.check()
        if world.settled():
            break
    assert world.settled(), f"seed {seed}: {world.observe().authority} {world.observe().peer_authority}"
    found = world.observe().peer_authority
    assert found is not None
    assert found.phase is RotationPhase.STEADY
    before = world.clients, world.peers
    world.round(crashes=False)
    assert (world.clients, world.peers) == before
