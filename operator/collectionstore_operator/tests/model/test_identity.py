"""Which cluster it is when the record is contradicted: only what is proven replaces what is recorded."""

from __future__ import annotations

import pytest

from collectionstore_operator.model.identity import Identity, prove
from collectionstore_operator.model.observed import Configuration, NodeStatus

VOTERS = Configuration(index=9, voters=("n0", "n1", "n2"))


def node(ordinal: int, cluster_id: str = "feed", configuration: Configuration = VOTERS) -> NodeStatus:
    return NodeStatus(cluster_id=cluster_id, node_id=f"n{ordinal}", name=f"demo-{ordinal}", configuration=configuration)


QUORUM = (node(0), node(2))


@pytest.mark.parametrize(
    ("recorded", "published", "nodes", "stamps", "proven"),
    [
        # Nothing contradicts it, or nothing is recorded yet.
        ("feed", "feed", QUORUM, ("feed",), "feed"),
        ("", "feed", QUORUM, ("feed",), ""),
        ("feed", "", (), (), "feed"),
        # Status and record agree: nodes and volumes of another cluster are strangers.
        ("feed", "feed", (node(0, "beef"), node(1, "beef")), ("beef",), "feed"),
        # The record was overwritten: a quorum of the members says it, or without them the status and all volumes.
        ("beef", "feed", QUORUM, ("feed", "feed"), "feed"),
        ("beef", "feed", QUORUM, (), "feed"),
        ("beef", "feed", (), ("feed",), "feed"),
        # Without the status a quorum is enough.
        ("beef", "", QUORUM, ("feed",), "feed"),
        ("beef", "", (node(0),), ("feed",), "beef"),
    ],
)
def test_identity_is_the_proven_one(
    recorded: str, published: str, nodes: tuple[NodeStatus, ...], stamps: tuple[str, ...], proven: str
) -> None:
    assert prove(recorded, published, nodes, stamps) == Identity(proven)


@pytest.mark.parametrize(
    ("nodes", "stamps", "because"),
    [
        ((node(0),), ("feed",), "too few members respond"),
        ((), (), "too few members respond"),
        (QUORUM, ("feed", "beef"), "a member or a volume names it as well"),
        ((*QUORUM, node(1, "beef")), (), "a member or a volume names it as well"),
        (QUORUM, ("cafe",), "too few members respond"),
    ],
)
def test_what_is_not_proven_is_a_conflict(nodes: tuple[NodeStatus, ...], stamps: tuple[str, ...], because: str) -> None:
    """The published ID is kept meanwhile: the API server refuses a status with another one."""
    identity = prove("beef", "feed", nodes, stamps)
    assert identity.cluster_id == "feed"
    assert identity.conflict.startswith("the record names the cluster beef, the status feed")
    assert because in identity.conflict


def test_quorum_is_of_the_newest_configuration_that_a_member_reports() -> None:
    """Two that were left behind as the whole cluster of one do not speak for five."""
    old = Configuration(index=1, voters=("n0",))
    five = Configuration(index=30, voters=("n0", "n1", "n2", "n3", "n4"))
    assert prove("beef", "feed", (node(0, configuration=old), node(1, configuration=five)), ()).conflict
    assert not prove("beef", "feed", (node(0, configuration=old), node(1, configuration=five), node(2)), ()).conflict
