"""What clients have received, and what is pending: acknowledged proposals, completed reads.

A proposal is acknowledged when the server that took it applies it, in the same life; lost when another entry is applied
at its index; and unknown when the process stops, leads no more, or jumps over the index by a snapshot. Unknown ones may
take effect or not, but an acknowledged one must never be missing.
"""

from __future__ import annotations

from collectionstore_node.raft.messages import Entry, Index, NodeId, Term

ReadKey = tuple[NodeId, int, int]
"""Server, its life, and the request's id."""


class Promises:
    """The clients of all servers. A broken promise is an AssertionError."""

    def __init__(self) -> None:
        self.acknowledged: dict[Index, tuple[Term, bytes]] = {}
        """Acknowledged writes: (term, chain) by index."""
        self.asked = 0
        """Proposals and reads so far."""
        self.answered_reads = 0
        self._proposals: dict[NodeId, dict[Index, Term]] = {}
        self._reads: dict[ReadKey, Index] = {}

    def proposed(self, node_id: NodeId, index: Index, term: Term) -> None:
        self.asked += 1
        self._proposals.setdefault(node_id, {})[index] = term

    def applied(self, node_id: NodeId, entry: Entry) -> None:
        """A server applied an entry: its own proposal's outcome is known."""
        waiting = self._proposals.get(node_id)
        if waiting and waiting.pop(entry.index, None) == entry.term:
            self.acknowledged[entry.index] = (entry.term, entry.chain)

    def skipped_to(self, node_id: NodeId, index: Index) -> None:
        """A server installed a snapshot: it never applies the entries that the snapshot covers."""
        waiting = self._proposals.get(node_id, {})
        for covered in [one for one in waiting if one <= index]:
            del waiting[covered]

    def stopped(self, node_id: NodeId) -> None:
        """A process ended: its pending requests have an unknown outcome."""
        self._proposals.pop(node_id, None)
        for key in [key for key in self._reads if key[0] == node_id]:
            del self._reads[key]

    def read_asked(self, key: ReadKey, floor: Index) -> None:
        """Note a read that must not miss what is committed up to `floor`."""
        self.asked += 1
        self._reads[key] = floor

    def read_answered(self, key: ReadKey, index: Index) -> None:
        floor = self._reads.pop(key)
        assert index >= floor, f"stale read: index {index}, but {floor} was committed when it was asked"
        self.answered_reads += 1

    def read_failed(self, key: ReadKey) -> None:
        del self._reads[key]

    def waiting_reads(self) -> list[ReadKey]:
        """Return the reads that neither completed nor failed."""
        return list(self._reads)

    def waiting_proposals(self, node_id: NodeId, term: Term) -> list[Index]:
        """Return the indexes that clients of the leader of `term` still wait for."""
        return [index for index, proposed in self._proposals.get(node_id, {}).items() if proposed == term]
