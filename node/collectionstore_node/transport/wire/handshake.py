"""The handshake of a connection: the first frame each way, and the checks of both sides. Pure.

The dialer sends `Hello`, the receiver answers `Welcome` or closes with a `CloseCode`. Three things name a node and
must agree: the certificate (cluster and name, proven by TLS), the hello (cluster, name, node id, claimed), and what
this side expects (name and node ID, from the membership). A node ID is an incarnation: a member that lost its disk
returns under its old name with another node ID, and is then not the member that was dialed. Two processes with one
node ID, for instance on a copy of a volume, are told apart by the number that each process draws at its start.

Both frames are binary WebSocket messages. When hello and welcome agree on a stream, they are the last ones:
1. the dialer sends nothing after its hello until it has the welcome;
2. the receiver stops reading WebSocket messages BEFORE it sends the welcome, and sends nothing after it until it has
   the dialer's first frame on the stream, STREAM;
3. the dialer sends STREAM once it has stopped reading WebSocket messages.
So at the switch no byte is on its way in either direction, and none can be taken for the other protocol's.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.raft.messages import NO_NODE, NodeId
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import UNREADABLE

PROTOCOL_MIN: Final = 1
PROTOCOL_MAX: Final = 1
"""Protocol versions spoken, inclusive. A rolling upgrade needs two neighbouring releases to share one."""
STREAM_VERSION: Final = 1
"""Highest version of the stream spoken: frames one after the other on the TLS connection, in place of WebSocket
messages. 0 is none: older versions leave the field out, and stay with WebSocket messages."""
HANDSHAKE_BYTES_MAX: Final = 4 << 10
"""A hello or welcome; names have up to 63 characters, addresses up to 261."""
OPERATOR_NAME: Final = "operator"
"""Name in the certificate of the cluster's operator, which is no member."""

_ORDINAL_NAME: Final = re.compile(r"(?P<set>.+?)(?:-read)?-(?:0|[1-9][0-9]{0,4})")
"""Names that a controller gives to members: <cluster>-<ordinal>, and to read replicas <cluster>-read-<ordinal>."""
_ADDRESS: Final = re.compile(r"[A-Za-z0-9._:%\[\]-]{1,255}:[0-9]{1,5}")


class Purpose(enum.IntEnum):
    """The purpose of a connection. A snapshot has its own, so that bulk data never delays heartbeats."""

    MESSAGES = 0
    SNAPSHOT = 1


class PeerName(NamedTuple):
    """The identity that a certificate proves."""

    cluster_id: str
    name: str


class Proof(NamedTuple):
    """What a peer's certificate proves: its name, and which incarnation it was issued to."""

    peer: PeerName
    node_id: NodeId | None = None
    """None in certificates that name no node, from versions before this rule and of local clusters."""


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The dialer's first frame. New fields go at the end with a default; older nodes ignore them."""

    protocol_min: int
    protocol_max: int
    cluster_id: str
    node_id: NodeId
    name: str
    address: str
    """`host:port` under which the dialer itself can be reached."""
    expects: NodeId
    """The node ID dialed; NO_NODE accepts any incarnation with the name."""
    purpose: Purpose
    process: int = 0
    """A number that the dialing process has drawn at its start; 0 is unknown, from older versions."""
    stream: int = 0
    """Highest version of the stream that the dialer speaks, see STREAM_VERSION; 0 is none."""


class Welcome(msgspec.Struct, frozen=True, array_like=True):
    """The receiver's answer; `protocol` is the version both use from here on. Grows as `Hello` does."""

    protocol: int
    cluster_id: str
    node_id: NodeId
    name: str
    address: str
    stream: int = 0
    """Version of the stream that follows; 0: WebSocket messages follow."""


_encoder = msgspec.msgpack.Encoder()
_hello_decoder = msgspec.msgpack.Decoder(Hello)
_welcome_decoder = msgspec.msgpack.Decoder(Welcome)


def encode_handshake(greeting: Hello | Welcome) -> bytes:
    """Return the payload of a HELLO or WELCOME frame."""
    return _encoder.encode(greeting)


def decode_hello(payload: bytes | memoryview) -> Hello:
    """Decode the payload of a HELLO frame. Raises `Refused` on anything else."""
    try:
        _check_length(payload)
        return _hello_decoder.decode(payload)
    except UNREADABLE as error:
        raise Refused(CloseCode.PROTOCOL, f"no hello: {error}") from error


def decode_welcome(payload: bytes | memoryview) -> Welcome:
    """Decode the payload of a WELCOME frame. Raises `Refused` on anything else."""
    try:
        _check_length(payload)
        return _welcome_decoder.decode(payload)
    except UNREADABLE as error:
        raise Refused(CloseCode.PROTOCOL, f"no welcome: {error}") from error


def check_peer(certificate: PeerName, *, own: PeerName) -> None:
    """Check that a certificate is one of a member of this cluster's set of names. Raises `Refused`.

    The cluster is checked with the hello, so that a dialer of another cluster is told which one this is.
    """
    if certificate.name == OPERATOR_NAME:
        raise Refused(CloseCode.WRONG_NAME, "this is the certificate of an operator, which is no member")
    mine, other = set_of(own.name), set_of(certificate.name)
    # Members that were named by hand have no common form; those of a controller have, and so has this one then.
    if mine is not None and other != mine:
        raise Refused(
            CloseCode.WRONG_NAME,
            f"members are named {mine}-<ordinal> or {mine}-read-<ordinal>, not {certificate.name!r}",
        )


def set_of(name: str) -> str | None:
    """Return the <cluster> in a name that a controller gives; None for a name of another form."""
    found = _ORDINAL_NAME.fullmatch(name)
    return found["set"] if found is not None else None


def _check_length(payload: bytes | memoryview) -> None:
    if len(payload) > HANDSHAKE_BYTES_MAX:
        raise Refused(CloseCode.PROTOCOL, f"a handshake of {len(payload)} bytes; at most {HANDSHAKE_BYTES_MAX}")


def check_hello(hello: Hello, proof: Proof, *, own: PeerName, node_id: NodeId) -> int:
    """Return the protocol version to use with the dialer. Raises `Refused`.

    Versions are checked first: in the hello of a newer release only the version range is sure to keep its meaning.
    """
    protocol = min(hello.protocol_max, PROTOCOL_MAX)
    if protocol < max(hello.protocol_min, PROTOCOL_MIN):
        raise Refused(
            CloseCode.VERSION,
            f"spoken here: {PROTOCOL_MIN}-{PROTOCOL_MAX}, offered: {hello.protocol_min}-{hello.protocol_max}",
        )
    _check_names(hello.cluster_id, hello.name, proof.peer, own)
    check_peer(proof.peer, own=own)
    _check_node(hello.node_id, proof)
    if hello.node_id == NO_NODE or hello.node_id == node_id:
        raise Refused(CloseCode.WRONG_NODE, f"node id {hello.node_id:016x} cannot dial this node")
    if not _ADDRESS.fullmatch(hello.address):
        raise Refused(CloseCode.PROTOCOL, f"address {hello.address!r} is not host:port")
    if hello.expects not in (NO_NODE, node_id):
        raise Refused(CloseCode.WRONG_NODE, f"dialed {hello.expects:016x}, but this node is {node_id:016x}")
    return protocol


def choose_stream(hello: Hello, own: int) -> int:
    """Return the version of the stream to use with the dialer, of at most `own`; 0 is none."""
    return max(0, min(hello.stream, own))


def check_certificate(certificate: PeerName, *, own: PeerName, name: str) -> None:
    """Verify the certificate of the listener BEFORE sending it a hello. Raises `Refused`."""
    if certificate.cluster_id != own.cluster_id:
        raise Refused(CloseCode.WRONG_CLUSTER, f"its certificate is of cluster {certificate.cluster_id!r}")
    if certificate.name != name:
        raise Refused(CloseCode.WRONG_NAME, f"dialed {name!r}, its certificate says {certificate.name!r}")


def check_welcome(welcome: Welcome, proof: Proof, *, own: PeerName, expects: NodeId, stream: int) -> None:
    """Check the receiver's answer against its certificate, the node dialed, the stream offered. Raises `Refused`."""
    if not PROTOCOL_MIN <= welcome.protocol <= PROTOCOL_MAX:
        raise Refused(CloseCode.VERSION, f"chose {welcome.protocol}, offered {PROTOCOL_MIN}-{PROTOCOL_MAX}")
    _check_names(welcome.cluster_id, welcome.name, proof.peer, own)
    _check_node(welcome.node_id, proof)
    if welcome.node_id != expects:
        raise Refused(CloseCode.WRONG_NODE, f"dialed {expects:016x}, answered {welcome.node_id:016x}")
    if not 0 <= welcome.stream <= stream:
        raise Refused(CloseCode.VERSION, f"chose stream {welcome.stream}, offered {stream}")


def _check_node(claimed: NodeId, proof: Proof) -> None:
    """Check that a node is the one to which its certificate was issued.

    A removed member keeps a key and a certificate for its name. Without this it could speak for the member that has
    its name now.
    """
    if proof.node_id is not None and proof.node_id != claimed:
        raise Refused(
            CloseCode.WRONG_NODE, f"claimed node {claimed:016x}, its certificate is of node {proof.node_id:016x}"
        )


def _check_names(cluster_id: str, name: str, certificate: PeerName, own: PeerName) -> None:
    if cluster_id != own.cluster_id or certificate.cluster_id != own.cluster_id:
        raise Refused(
            CloseCode.WRONG_CLUSTER,
            f"this is cluster {own.cluster_id!r}; claimed {cluster_id!r}, certificate {certificate.cluster_id!r}",
        )
    if name != certificate.name:
        raise Refused(CloseCode.WRONG_NAME, f"claimed {name!r}, certificate {certificate.name!r}")
