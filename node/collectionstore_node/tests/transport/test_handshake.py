"""The identity checks of the greeting."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_node.raft.messages import NO_NODE, NodeId
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.handshake import (
    PROTOCOL_MAX,
    Hello,
    PeerName,
    Proof,
    Purpose,
    Welcome,
    check_certificate,
    check_hello,
    check_welcome,
    decode_hello,
    decode_welcome,
    encode_handshake,
)

DIALER, RECEIVER = NodeId(1), NodeId(2)
OWN = PeerName("demo", "n2")
HELLO = Hello(1, 1, "demo", DIALER, "n1", "127.0.0.1:7401", RECEIVER, Purpose.MESSAGES)
WELCOME = Welcome(1, "demo", RECEIVER, "n2", "127.0.0.1:7402")


def replaced(hello: Hello, **changes: object) -> Hello:
    """Return `hello` with other fields."""
    return msgspec.structs.replace(hello, **changes)


def test_matching_hello_is_let_in_with_the_highest_common_version() -> None:
    """A dialer that speaks more than this node is answered in what both speak."""
    hello = replaced(HELLO, protocol_max=PROTOCOL_MAX + 7)
    assert check_hello(hello, Proof(PeerName("demo", "n1")), own=OWN, node_id=RECEIVER) == PROTOCOL_MAX


@pytest.mark.parametrize(
    ("hello", "certificate", "code"),
    [
        (replaced(HELLO, protocol_min=2, protocol_max=3), PeerName("demo", "n1"), CloseCode.VERSION),
        (replaced(HELLO, protocol_min=0, protocol_max=0), PeerName("demo", "n1"), CloseCode.VERSION),
        (replaced(HELLO, cluster_id="other"), PeerName("demo", "n1"), CloseCode.WRONG_CLUSTER),
        (HELLO, PeerName("other", "n1"), CloseCode.WRONG_CLUSTER),
        (HELLO, PeerName("demo", "n3"), CloseCode.WRONG_NAME),
        (replaced(HELLO, expects=NodeId(9)), PeerName("demo", "n1"), CloseCode.WRONG_NODE),
        (replaced(HELLO, node_id=RECEIVER), PeerName("demo", "n1"), CloseCode.WRONG_NODE),
        (replaced(HELLO, address="example.org/x:1"), PeerName("demo", "n1"), CloseCode.PROTOCOL),
        (replaced(HELLO, address="n1"), PeerName("demo", "n1"), CloseCode.PROTOCOL),
        (replaced(HELLO, node_id=NO_NODE), PeerName("demo", "n1"), CloseCode.WRONG_NODE),
    ],
)
def test_hello_that_disagrees_is_refused(hello: Hello, certificate: PeerName, code: CloseCode) -> None:
    """Version, cluster, name and incarnation each have their own code."""
    with pytest.raises(Refused) as caught:
        check_hello(hello, Proof(certificate), own=OWN, node_id=RECEIVER)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("certificate", "code"),
    [(PeerName("other", "n2"), CloseCode.WRONG_CLUSTER), (PeerName("demo", "n3"), CloseCode.WRONG_NAME)],
)
def test_certificate_of_another_member_is_refused_before_the_hello(certificate: PeerName, code: CloseCode) -> None:
    """The dialer says nothing to a node that is not the one it dialed."""
    with pytest.raises(Refused) as caught:
        check_certificate(certificate, own=PeerName("demo", "n1"), name="n2")
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("welcome", "code"),
    [
        (msgspec.structs.replace(WELCOME, protocol=2), CloseCode.VERSION),
        (msgspec.structs.replace(WELCOME, cluster_id="other"), CloseCode.WRONG_CLUSTER),
        (msgspec.structs.replace(WELCOME, name="n3"), CloseCode.WRONG_NAME),
        (msgspec.structs.replace(WELCOME, node_id=NodeId(3)), CloseCode.WRONG_NODE),
        (msgspec.structs.replace(WELCOME, stream=2), CloseCode.VERSION),
        (msgspec.structs.replace(WELCOME, stream=-1), CloseCode.VERSION),
    ],
)
def test_welcome_that_disagrees_is_refused(welcome: Welcome, code: CloseCode) -> None:
    """The dialer checks as strictly as the receiver."""
    with pytest.raises(Refused) as caught:
        check_welcome(welcome, Proof(PeerName("demo", "n2")), own=PeerName("demo", "n1"), expects=RECEIVER, stream=1)
    assert caught.value.code is code


def test_certificate_of_a_removed_incarnation_cannot_claim_the_present_one() -> None:
    """The key of a removed member is worth nothing to the member that has its name now."""
    stolen = Proof(PeerName("demo", "n1"), NodeId(7))
    with pytest.raises(Refused, match="its certificate is of node 0000000000000007") as caught:
        check_hello(HELLO, stolen, own=OWN, node_id=RECEIVER)
    assert caught.value.code is CloseCode.WRONG_NODE
    stolen = Proof(PeerName("demo", "n2"), NodeId(7))
    with pytest.raises(Refused) as caught:
        check_welcome(WELCOME, stolen, own=PeerName("demo", "n1"), expects=RECEIVER, stream=0)
    assert caught.value.code is CloseCode.WRONG_NODE


def test_certificate_of_the_present_incarnation_is_admitted() -> None:
    """Both sides accept a certificate that names the node which claims it."""
    assert check_hello(HELLO, Proof(PeerName("demo", "n1"), DIALER), own=OWN, node_id=RECEIVER) == PROTOCOL_MAX
    proof = Proof(PeerName("demo", "n2"), RECEIVER)
    check_welcome(WELCOME, proof, own=PeerName("demo", "n1"), expects=RECEIVER, stream=0)


def test_greetings_round_trip() -> None:
    """Both greetings survive the wire."""
    assert decode_hello(encode_handshake(HELLO)) == HELLO
    assert decode_welcome(encode_handshake(WELCOME)) == WELCOME


def test_hello_of_a_newer_release_is_understood() -> None:
    """Fields added at the end are ignored, so that the version check can decide."""
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode_handshake(HELLO)), "a new field"])
    assert decode_hello(longer) == HELLO


@pytest.mark.parametrize("payload", [b"", b"\xc0", b"garbage", encode_handshake(WELCOME)])
def test_other_bytes_are_no_hello(payload: bytes) -> None:
    """Anything else is a protocol error, not a crash."""
    with pytest.raises(Refused) as caught:
        decode_hello(payload)
    assert caught.value.code is CloseCode.PROTOCOL
