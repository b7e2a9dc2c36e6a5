"""Which cluster this is, when its record is contradicted: what the members, the status and the volumes prove. Pure.

The record is one ConfigMap, which anybody with access to the namespace can edit. The status names the same ID and
cannot be edited to another one; every node reports the ID of its own data over mutual TLS; every volume is stamped with
it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from collectionstore_operator.model import quorum
from collectionstore_operator.model.observed import Configuration, NodeStatus


class Identity(NamedTuple):
    """The ID of the cluster, and why it is not certain; `conflict` is empty when it is."""

    cluster_id: str
    conflict: str = ""


def prove(recorded: str, published: str, nodes: Collection[NodeStatus], stamps: Collection[str]) -> Identity:
    """Return the proven ID of a cluster whose record names `recorded`: that one, unless something proves another.

    `published` is from the status, `stamps` from the volumes. Another ID is proven when nothing names the recorded one
    and a quorum of the members names the other, or, while no member responds, the status and every volume do.
    """
    if not recorded or published == recorded:
        return Identity(recorded)
    other = published or _named_by_quorum(nodes)
    if not other or other == recorded:
        return Identity(recorded)
    loyal = [*(node.name for node in nodes if node.cluster_id == recorded), *(one for one in stamps if one == recorded)]
    named = {one for one in stamps if one != other} | {node.cluster_id for node in nodes if node.cluster_id != other}
    by_volumes = bool(published) and bool(stamps) and not nodes
    if not loyal and not named and (_named_by_quorum(nodes) == other or by_volumes):
        return Identity(other)
    if not published:
        return Identity(recorded)  # a node or a volume of another cluster: reported where it is, and never used
    reason = "a member or a volume names it as well" if loyal else "too few members respond to prove which is right"
    return Identity(other, f"the record names the cluster {recorded}, the status {other}, and {reason}")


def _named_by_quorum(nodes: Collection[NodeStatus]) -> str:
    """Return the cluster ID that a quorum of its own newest configuration reports; empty without one."""
    for cluster_id in sorted({node.cluster_id for node in nodes}):
        mine = [node for node in nodes if node.cluster_id == cluster_id]
        newest = max((node.configuration for node in mine), key=lambda one: one.index, default=Configuration())
        if quorum.has_quorum(newest, {node.node_id for node in mine}):
            return cluster_id
    return ""
