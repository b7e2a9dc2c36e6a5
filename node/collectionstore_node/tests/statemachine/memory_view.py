"""The double of RocksDB for tests of everything that stands on the state machine."""

from __future__ import annotations

from collectionstore_node.ephemeral.view import MemoryView as MemoryView
