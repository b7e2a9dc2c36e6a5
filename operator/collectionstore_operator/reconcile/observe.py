"""What every runtime sees in the same way: the nodes' own answers, and the facts that are latched from them.

Pods, volumes and certificates are the runtime's to look at; what a node says of itself is asked here, of all nodes at
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from collectionstore_operator.model.observed import NodeStatus, Unknown
from collectionstore_operator.reconcile.node_client import NodeClient


async def ask_nodes(client: NodeClient, metrics_urls: Mapping[int, str]) -> dict[int, NodeStatus | Unknown]:
    """Ask every node for its status, all at the same time; keys are ordinals."""
    answers = await asyncio.gather(*(client.status(url) for url in metrics_urls.values()))
    return dict(zip(metrics_urls, answers, strict=True))


def has_data(nodes: Iterable[NodeStatus | Unknown], *, recorded: bool) -> bool:
    """Return whether the cluster has ever had data: recorded once, true for ever."""
    return recorded or any(isinstance(node, NodeStatus) and node.has_history for node in nodes)
