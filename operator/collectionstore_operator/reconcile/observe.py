"""What both runtimes observe alike: the status that nodes report, and the facts that are latched from it.

Pods, volumes and certificates are observed by each runtime itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from collectionstore_operator.model.observed import NodeStatus, Unknown
from collectionstore_operator.reconcile.node_client import NodeClient

Key = TypeVar("Key", bound=Hashable)


async def ask_nodes(client: NodeClient, metrics_urls: Mapping[Key, str]) -> dict[Key, NodeStatus | Unknown]:
    """Request the status of every node concurrently; keys are ordinals or names."""
    answers = await asyncio.gather(*(client.status(url) for url in metrics_urls.values()))
    return dict(zip(metrics_urls, answers, strict=True))


def has_data(nodes: Iterable[NodeStatus | Unknown], *, recorded: bool) -> bool:
    """Return whether the cluster has ever had data: once recorded, true for good."""
    return recorded or any(isinstance(node, NodeStatus) and node.has_history for node in nodes)
