"""A store in memory: the state machine, the API and the loops of a node, without Raft, disk and other members.

For tests of programs that use the store: `collectionstore.testing`. What it acknowledges is gone with its process.
"""

from collectionstore_node.ephemeral.serving import EphemeralStore, serve_ephemeral

__all__ = ["EphemeralStore", "serve_ephemeral"]
