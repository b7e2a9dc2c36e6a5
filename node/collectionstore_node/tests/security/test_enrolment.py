"""A node obtains its certificate through signing requests: what it uses, what it refuses, what it waits for."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from collectionstore_node.security import ApiServer, Enrolment, KeyPairFiles
from collectionstore_node.security.enrolment import RECHECK_S
from collectionstore_node.security.key_pair import Holder, Unusable, make_key
from collectionstore_node.tests.security.signer import BEGIN, DAY_S, Authority, FakeApiServer

IDENTITY = "collectionstore://c1/demo-0"
NODE = "collectionstore-node:00000000000000aa"
HOLDER = Holder(IDENTITY, NODE)
NAMED = Holder(IDENTITY, NODE, frozenset({"DNS:store.example.org"}))
NOW = BEGIN.timestamp() + DAY_S


class Clock:
    """Wall time that passes only during sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []
        self.wake: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.wake()
        await asyncio.sleep(0)


class Pod:
    """A node's folder, its clock, and the enrolment under test."""

    def __init__(self, server: ApiServer, folder: Path, holder: Holder = HOLDER) -> None:
        self.server = server
        self.folder = folder / "tls"
        self.trust = folder / "trust.crt"
        self.files = KeyPairFiles(self.folder, holder)
        self.clock = Clock()
        self.enrolment = Enrolment(
            server,
            self.files,
            self.trust,
            name="default-demo-0",
            node=NODE,
            now=self.clock.time,
            sleep=self.clock.sleep,
        )


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


@pytest.fixture
async def pod(server: FakeApiServer, tmp_path: Path) -> Pod:
    return Pod(await server.start(tmp_path), tmp_path)


def sign_all(server: FakeApiServer, authority: Authority, identity: str = IDENTITY) -> Callable[[], None]:
    """Return an operator that signs whatever is open."""

    def sign() -> None:
        for name, found in server.objects.items():
            if "status" not in found:
                server.issue(name, authority.sign(server.request_pem(name), identity))

    return sign


async def test_first_certificate_is_requested_and_stored(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    pod.clock.wake = sign_all(server, authority)
    validity = await pod.enrolment.ensure()
    assert validity.not_after == (BEGIN + timedelta(days=90)).timestamp()
    assert validity.renew_at == (BEGIN + timedelta(days=60)).timestamp()
    ((name, request),) = server.objects.items()
    assert name.startswith("collectionstore-default-demo-0-")
    assert request["spec"]["signerName"] == "collectionstore.io/node"
    assert request["spec"]["usages"] == ["digital signature", "server auth", "client auth"]
    assert request["spec"]["expirationSeconds"] == 365 * 86_400
    assert (pod.folder / "ca.crt").read_bytes() == authority.pem
    assert stat.S_IMODE((pod.folder / "tls.key").stat().st_mode) == 0o600


async def test_key_never_leaves_the_pod(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    bodies: list[bytes] = []

    async def listen(request: web.Request) -> None:
        bodies.append(await request.read())

    server.behave = listen
    pod.clock.wake = sign_all(server, authority)
    with structlog.testing.capture_logs() as logs:
        await pod.enrolment.ensure()
    key_pem = (pod.folder / "tls.key").read_bytes()
    secret = serialization.load_pem_private_key(key_pem, None)
    number = secret.private_numbers().private_value  # type: ignore[union-attr]
    everything = b"".join(bodies) + repr(logs).encode()
    assert b"PRIVATE" not in everything
    assert f"{number:x}".encode() not in everything
    assert str(number).encode() not in everything


async def test_valid_pair_is_used_without_a_request(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    key = make_key("demo-0", NODE)
    pod.files.store(key, authority.sign(key.request_pem, IDENTITY), authority.pem, NOW)
    await server.stop()
    await pod.enrolment.ensure()
    assert (pod.folder / "tls.key").read_bytes() == key.key_pem
    assert not pod.clock.slept


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param("other incarnation", "is for collectionstore-node:00000000000000bb", id="of-another-incarnation"),
        pytest.param("other identity", "is for collectionstore://c1/demo-1, this node is", id="of-another-member"),
        pytest.param("other authority", "no trusted authority", id="of-another-authority"),
        pytest.param("expired", "has expired", id="expired"),
        pytest.param("early", "not valid yet", id="not-valid-yet"),
        pytest.param("other key", "belongs to another key", id="of-another-key"),
        pytest.param("garbage", "not the PEM it should be", id="garbage"),
    ],
)
def test_pair_that_does_not_verify_is_refused_and_nothing_changes(tmp_path: Path, damage: str, reason: str) -> None:
    authority, key = Authority(), make_key("demo-0", NODE)
    files = KeyPairFiles(tmp_path, HOLDER)
    good = authority.sign(key.request_pem, IDENTITY)
    files.store(key, good, authority.pem, NOW)
    other = make_key("demo-0", NODE)
    bad = {
        "other incarnation": authority.sign(other.request_pem, IDENTITY, "collectionstore-node:00000000000000bb"),
        "other identity": authority.sign(other.request_pem, "collectionstore://c1/demo-1"),
        "other authority": Authority().sign(other.request_pem, IDENTITY),
        "expired": authority.sign(other.request_pem, IDENTITY, begin=BEGIN - timedelta(days=100)),
        "early": authority.sign(other.request_pem, IDENTITY, begin=BEGIN + timedelta(days=2)),
        "other key": good,
        "garbage": b"no certificate",
    }[damage]
    with pytest.raises(Unusable, match=reason):
        files.store(other, bad, authority.pem, NOW)
    assert (tmp_path / "tls.crt").read_bytes() == good
    assert (tmp_path / "tls.key").read_bytes() == key.key_pem


async def test_key_without_its_certificate_after_a_crash_is_replaced(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    key = make_key("demo-0", NODE)
    pod.files.store(key, authority.sign(key.request_pem, IDENTITY), authority.pem, NOW)
    (pod.folder / "tls.key").write_bytes(make_key("demo-0", NODE).key_pem)
    pod.clock.wake = sign_all(server, authority)
    await pod.enrolment.ensure()
    assert len(server.objects) == 1
    pod.files.check(authority.pem, NOW)


async def test_trusted_authorities_are_waited_for(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()

    def publish() -> None:
        if len(pod.clock.slept) == 3:
            pod.trust.write_bytes(authority.pem)
        sign_all(server, authority)()

    pod.clock.wake = publish
    await pod.enrolment.ensure()
    assert pod.clock.slept[:3] == [0.25, 0.5, 1.0]


async def test_denied_request_is_reported_and_repeated_with_another_key(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)

    def decide() -> None:
        names = list(server.objects)
        if len(names) == 1:
            server.deny(names[0], "Denied", "the pod demo-0 has another uid")
        else:
            sign_all(server, authority)()

    pod.clock.wake = decide
    with structlog.testing.capture_logs() as logs:
        await pod.enrolment.ensure()
    assert len(server.objects) == 2
    refused = [line for line in logs if line["event"] == "certificate.refused"]
    assert [line["reason"] for line in refused] == ["NotAMember: the pod demo-0 has another uid"]


async def test_certificate_of_another_identity_is_not_stored(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)

    def decide() -> None:
        identity = "collectionstore://c1/demo-9" if len(server.objects) == 1 else IDENTITY
        sign_all(server, authority, identity)()

    pod.clock.wake = decide
    await pod.enrolment.ensure()
    assert len(server.objects) == 2
    pod.files.check(authority.pem, NOW)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_errors_of_the_api_server_are_retried_and_reported(server: FakeApiServer, pod: Pod, status: int) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    answers = iter([status] * 4)

    async def fail(_request: web.Request) -> web.Response | None:
        code = next(answers, None)
        return None if code is None else web.json_response({"message": "not now"}, status=code)

    server.behave = fail
    pod.clock.wake = sign_all(server, authority)
    with structlog.testing.capture_logs() as logs:
        await pod.enrolment.ensure()
    reasons = [line["reason"] for line in logs if line["event"] == "certificate.waiting"]
    assert len(reasons) == 4
    assert all(f"{status} not now" in reason for reason in reasons)
    assert all(("service account" in reason) == (status in (401, 403)) for reason in reasons)
    assert not any("first" in reason for reason in reasons), "the token is in the log"


async def test_request_whose_creation_was_not_acknowledged_is_used(server: FakeApiServer, pod: Pod) -> None:
    """The first response is lost after the object was created: the second try finds its own request."""
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    lost = iter([True])

    async def lose(request: web.Request) -> web.Response | None:
        if request.method == "POST" and next(lost, False):
            body = await request.json()
            server.objects[body["metadata"]["name"]] = body
            return web.Response(status=502, text="<html>bad gateway</html>")
        return None

    server.behave = lose
    pod.clock.wake = sign_all(server, authority)
    await pod.enrolment.ensure()
    assert len(server.objects) == 1


async def test_request_that_was_deleted_is_created_again(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    removed: list[str] = []

    def remove_first() -> None:
        if not removed:
            removed.extend(server.objects)
            server.objects.clear()
        else:
            sign_all(server, authority)()

    pod.clock.wake = remove_first
    await pod.enrolment.ensure()
    assert len(removed) == 1
    assert removed[0] not in server.objects


async def test_token_is_read_for_every_call(server: FakeApiServer, pod: Pod, tmp_path: Path) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)

    def rotate() -> None:
        (tmp_path / "token").write_text("second")
        sign_all(server, authority)()

    pod.clock.wake = rotate
    await pod.enrolment.ensure()
    assert server.tokens[0] == "Bearer first"
    assert server.tokens[-1] == "Bearer second"


async def test_pair_is_renewed_after_two_thirds_of_its_lifetime(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    key = make_key("demo-0", NODE)
    pod.files.store(key, authority.sign(key.request_pem, IDENTITY), authority.pem, NOW)
    pod.clock.now = (BEGIN + timedelta(days=60)).timestamp() - 90
    renewed = asyncio.Event()

    def sign() -> None:
        for name, found in server.objects.items():
            if "status" not in found:
                server.issue(name, authority.sign(server.request_pem(name), IDENTITY, begin=BEGIN + timedelta(days=60)))
        if (pod.folder / "tls.key").read_bytes() != key.key_pem:
            renewed.set()

    pod.clock.wake = sign
    keeping = asyncio.create_task(pod.enrolment.keep())
    await asyncio.wait_for(renewed.wait(), 10)
    keeping.cancel()
    assert pod.clock.slept[0] == RECHECK_S
    assert len(server.objects) == 1
    assert pod.files.check(authority.pem, pod.clock.now).not_after == (BEGIN + timedelta(days=150)).timestamp()


async def test_new_authorities_reach_the_transport_without_a_new_certificate(server: FakeApiServer, pod: Pod) -> None:
    """An authority is renewed by publishing old and new side by side."""
    old, new = Authority("old"), Authority("new")
    pod.trust.write_bytes(old.pem)
    key = make_key("demo-0", NODE)
    pod.files.store(key, old.sign(key.request_pem, IDENTITY), old.pem, NOW)
    pod.trust.write_bytes(old.pem + new.pem)
    await pod.enrolment.ensure()
    assert (pod.folder / "ca.crt").read_bytes() == old.pem + new.pem
    assert not server.objects


async def test_request_names_the_incarnation_of_the_node(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    pod.clock.wake = sign_all(server, authority)
    await pod.enrolment.ensure()
    (name,) = server.objects
    request = x509.load_pem_x509_csr(server.request_pem(name))
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [NODE]


def test_pair_may_name_the_incarnation_or_not(tmp_path: Path) -> None:
    """Operators of older versions sign without it."""
    authority, key = Authority(), make_key("demo-0", NODE)
    files = KeyPairFiles(tmp_path, NAMED)
    for uris in ((IDENTITY,), (IDENTITY, NODE)):
        validity = files.store(key, authority.sign(key.request_pem, *uris), authority.pem, NOW)
        assert validity.lacks == {"DNS:store.example.org"}
    named = authority.sign(key.request_pem, IDENTITY, NODE, names=("store.example.org",))
    assert not files.store(key, named, authority.pem, NOW).lacks


async def test_names_that_a_pair_lacks_are_asked_for_once(server: FakeApiServer, pod: Pod) -> None:
    """An operator that knows nothing of them signs without them: asking again would flood the API server."""
    authority = Authority()
    key = make_key("demo-0", NODE)
    pod = Pod(pod.server, pod.folder.parent, NAMED)
    pod.files.store(key, authority.sign(key.request_pem, IDENTITY), authority.pem, NOW)
    pod.trust.write_bytes(authority.pem)
    rounds = 0
    enough = asyncio.Event()

    def wake() -> None:
        nonlocal rounds
        rounds += 1
        sign_all(server, authority)()
        if rounds == 10:
            enough.set()

    pod.clock.wake = wake
    keeping = asyncio.create_task(pod.enrolment.keep())
    await asyncio.wait_for(enough.wait(), 10)
    keeping.cancel()
    assert len(server.objects) == 1
    assert (pod.folder / "tls.key").read_bytes() != key.key_pem


async def test_pair_is_renewed_when_another_authority_signs(server: FakeApiServer, pod: Pod) -> None:
    """The first authority signs: its key was rotated, and the leaf of the one before is replaced long before it ends.

    Until then the pair in use stays as it is: both authorities are trusted.
    """
    old, new = Authority("old"), Authority("new")
    key = make_key("demo-0", NODE)
    pod.files.store(key, old.sign(key.request_pem, IDENTITY), old.pem, NOW)
    pod.trust.write_bytes(old.pem + new.pem)
    assert (await pod.enrolment.ensure()).by_first
    pod.trust.write_bytes(new.pem + old.pem)
    waited = 0
    renewed = asyncio.Event()

    def wake() -> None:
        nonlocal waited
        waited += len(server.objects)
        if waited == 3:
            assert (pod.folder / "tls.key").read_bytes() == key.key_pem
            assert (pod.folder / "ca.crt").read_bytes() == new.pem + old.pem
            sign_all(server, new)()
        if waited > 3 and (pod.folder / "tls.key").read_bytes() != key.key_pem:
            renewed.set()

    pod.clock.wake = wake
    keeping = asyncio.create_task(pod.enrolment.keep())
    await asyncio.wait_for(renewed.wait(), 10)
    keeping.cancel()
    assert len(server.objects) == 1
    assert pod.files.check(new.pem, pod.clock.now).by_first
    with pytest.raises(Unusable, match="no trusted authority"):
        pod.files.check(old.pem, pod.clock.now)


async def test_node_that_waits_for_its_renewal_follows_the_authorities(server: FakeApiServer, pod: Pod) -> None:
    """No operator signs, for days; the other members' new authority is trusted all the same."""
    old, new = Authority("old"), Authority("new")
    pod.trust.write_bytes(old.pem)
    key = make_key("demo-0", NODE)
    pod.files.store(key, old.sign(key.request_pem, IDENTITY), old.pem, NOW)
    pod.clock.now = (BEGIN + timedelta(days=61)).timestamp()
    followed = asyncio.Event()

    def wake() -> None:
        if server.objects:
            pod.trust.write_bytes(old.pem + new.pem)
        if (pod.folder / "ca.crt").read_bytes() == old.pem + new.pem:
            followed.set()

    pod.clock.wake = wake
    keeping = asyncio.create_task(pod.enrolment.keep())
    await asyncio.wait_for(followed.wait(), 10)
    keeping.cancel()
    assert (pod.folder / "tls.key").read_bytes() == key.key_pem


async def test_expired_pair_is_replaced_while_the_node_runs(server: FakeApiServer, pod: Pod) -> None:
    """The operator was down for longer than a leaf's life: the pod's token proves the node, not its old certificate."""
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    key = make_key("demo-0", NODE)
    pod.files.store(key, authority.sign(key.request_pem, IDENTITY), authority.pem, NOW)
    pod.clock.now = (BEGIN + timedelta(days=200)).timestamp()
    renewed = asyncio.Event()

    def wake() -> None:
        for name, found in server.objects.items():
            if "status" not in found:
                begin = BEGIN + timedelta(days=200)
                server.issue(name, authority.sign(server.request_pem(name), IDENTITY, begin=begin))
        if (pod.folder / "tls.key").read_bytes() != key.key_pem:
            renewed.set()

    pod.clock.wake = wake
    keeping = asyncio.create_task(pod.enrolment.keep())
    await asyncio.wait_for(renewed.wait(), 10)
    keeping.cancel()
    assert pod.files.check(authority.pem, pod.clock.now).not_after == (BEGIN + timedelta(days=290)).timestamp()


async def test_volume_that_cannot_be_written_does_not_stop_a_running_node(server: FakeApiServer, pod: Pod) -> None:
    authority = Authority()
    pod.trust.write_bytes(authority.pem)
    pod.folder.write_text("a file where the folder should be")
    pod.clock.wake = sign_all(server, authority)
    tried = asyncio.Event()
    sign = pod.clock.wake

    def wake() -> None:
        sign()
        if pod.clock.slept.count(RECHECK_S) == 3:
            tried.set()

    pod.clock.wake = wake
    keeping = asyncio.create_task(pod.enrolment.keep())
    await asyncio.wait_for(tried.wait(), 10)
    assert not keeping.done()
    keeping.cancel()
