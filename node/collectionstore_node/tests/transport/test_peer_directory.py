"""Which address of a member is used, and for how long a learned one is."""

from __future__ import annotations

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport import PeerAddress
from collectionstore_node.transport.peers.directory import LEARNED_KEPT_S, LEARNED_MAX, PeerDirectory

OWN = NodeId(1)


def address(node_id: int, host: str = "10.0.0.1") -> PeerAddress:
    return PeerAddress(NodeId(node_id), f"n{node_id}", f"{host}:7401")


def test_membership_is_replaced_without_the_node_itself() -> None:
    directory = PeerDirectory(OWN)
    assert directory.replace([address(1), address(2), address(3)]) == frozenset()
    assert [one.node_id for one in directory.members()] == [2, 3]
    assert directory.replace([address(3)]) == {2}
    assert directory.find(NodeId(2)) is None


def test_address_of_the_membership_is_preferred_to_a_learned_one() -> None:
    directory = PeerDirectory(OWN)
    directory.learn(address(2, "learned"), 0.0)
    assert directory.find(NodeId(2)) == address(2, "learned")
    directory.replace([address(2)])
    assert directory.find(NodeId(2)) == address(2)


def test_learned_address_is_forgotten_a_while_after_its_member_was_connected() -> None:
    directory = PeerDirectory(OWN)
    directory.learn(address(2), 0.0)
    directory.expire({NodeId(2)}, 100.0)
    directory.expire(set(), 100.0 + LEARNED_KEPT_S)
    assert directory.learned(NodeId(2)) is not None
    directory.expire(set(), 100.1 + LEARNED_KEPT_S)
    assert directory.learned(NodeId(2)) is None


def test_learned_addresses_are_bounded_and_the_oldest_goes() -> None:
    directory = PeerDirectory(OWN)
    for number in range(LEARNED_MAX + 1):
        directory.learn(address(2 + number), float(number))
    assert directory.learned(NodeId(2)) is None
    assert sum(directory.learned(NodeId(2 + number)) is not None for number in range(LEARNED_MAX + 1)) == LEARNED_MAX
