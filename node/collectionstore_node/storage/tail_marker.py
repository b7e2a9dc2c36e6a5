"""The tail marker: a small file that says up to where the log was durable when this node last said so to anybody.

RocksDB does not record how much of its WAL was synced, so a log that lost its end looks like one that was never
written (rocksdb#6288). The tail marker tells the two apart. Two slots on two pages are written in turn, each with a
sequence number and a digest, so that a torn write leaves the other slot.

Invariants:
- the tail marker is raised AFTER the WAL is synced: BEFORE a term or a vote is told to anybody, and soon after an
  acknowledgement of entries, beside the following syncs;
- it is lowered, durably, BEFORE a write that takes entries away;
- so in every crash it is at or behind the log. A log behind its tail marker has lost data.

Entries acknowledged since the newest write of the tail marker, 20 ms at most and one disk write, are not covered: the
loss of exactly those, and nothing before them, goes unnoticed. Waiting would put a second disk flush into every write.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from pathlib import Path
from typing import Final, NamedTuple

from collectionstore_node.raft.messages import GENESIS_CHAIN, NO_NODE, Index, NodeId, Term
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.failstop import FailStop

_MAGIC: Final = b"CSWITN01"
_SLOT_BYTES: Final = 4096
_SLOTS: Final = 2
_BODY = struct.Struct(">8sQQQQ32sQQ")
_DIGEST_BYTES: Final = 32


class TailRecord(NamedTuple):
    """The durable end of the log, and the durable term and vote."""

    last_index: Index = Index(0)
    last_term: Term = Term(0)
    chain: bytes = GENESIS_CHAIN
    term: Term = Term(0)
    vote: NodeId = NO_NODE


class TailMarker:
    """The open tail marker file. `record` is what it says. Safe to use from several threads."""

    def __init__(self, path: Path, node_id: NodeId, failstop: FailStop) -> None:
        """Open and read the file. Raises `Corrupted` when it is missing, damaged, or another node's."""
        self._failstop = failstop
        self._node_id = node_id
        self._lock = threading.Lock()
        self.epoch = 0
        """Counts how often the tail marker was lowered."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Corrupted(f"{path} is missing, so nobody can tell whether the log is whole.") from None
        try:
            self._sequence, self.record = self._read(path)
        except BaseException:
            os.close(self._file)
            raise

    @staticmethod
    def create(path: Path, node_id: NodeId) -> None:
        """Write, durably, a tail marker of an empty log at its full size, so that later syncs move no metadata."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, bytes(_SLOTS * _SLOT_BYTES), 0)
            os.pwrite(file, _encode(0, node_id, TailRecord()), 0)
            os.fsync(file)
        finally:
            os.close(file)

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file

    def raise_to(self, record: TailRecord, epoch: int) -> bool:
        """Advance to `record` or beyond, durably, and return True; return False if it was lowered after `epoch`.

        Everything in `record` must be durable in the log already. Between two lowerings the log only grows and a vote
        is only added, so a record that says less is late, not new: it must not take back what was promised meanwhile.
        """
        with self._lock:
            if epoch != self.epoch:
                return False
            if _reach(record) > _reach(self.record):
                self._write(record)
            return True

    def lower(self, last_index: Index, last_term: Term, chain: bytes) -> None:
        """Make the tail marker speak of no entry behind `last_index`, durably, before the log is cut back to there."""
        with self._lock:
            self.epoch += 1
            if last_index < self.record.last_index:
                self._write(TailRecord(last_index, last_term, chain, self.record.term, self.record.vote))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, record: TailRecord) -> None:
        self._failstop.check()
        sequence = self._sequence + 1
        try:
            slot = _encode(sequence, self._node_id, record)
            if os.pwrite(self._file, slot, sequence % _SLOTS * _SLOT_BYTES) != len(slot):
                raise OSError("written in part")
            os.fdatasync(self._file)
        except OSError as error:
            raise self._failstop.fail("write the tail marker", error) from error
        self._sequence, self.record = sequence, record

    def _read(self, path: Path) -> tuple[int, TailRecord]:
        try:
            pages = [os.pread(self._file, _SLOT_BYTES, slot * _SLOT_BYTES) for slot in range(_SLOTS)]
        except OSError as error:
            raise self._failstop.fail("read the tail marker", error) from error
        slots = [slot for page in pages if (slot := _decode(page)) is not None]
        if not slots:
            raise Corrupted(
                f"{path} is damaged: none of its slots can be read, so nobody can tell whether the log is whole."
            )
        sequence, node_id, record = max(slots, key=lambda slot: slot[0])
        if node_id != self._node_id:
            raise Corrupted(f"{path} belongs to node {node_id:016x}, not {self._node_id:016x}.")
        return sequence, record


def _reach(record: TailRecord) -> tuple[Term, bool, Index]:
    """Return how much a record says; of two records of one epoch neither says less in one part and more in another."""
    return record.term, record.vote != NO_NODE, record.last_index


def _encode(sequence: int, node_id: NodeId, record: TailRecord) -> bytes:
    body = _BODY.pack(_MAGIC, sequence, node_id, *record)
    return body + hashlib.sha256(body).digest()


def _decode(page: bytes) -> tuple[int, NodeId, TailRecord] | None:
    """Return (sequence, node id, record) of a slot, or None when it was never written or does not match its digest."""
    body, digest = page[: _BODY.size], page[_BODY.size : _BODY.size + _DIGEST_BYTES]
    if len(body) < _BODY.size or hashlib.sha256(body).digest() != digest:
        return None
    magic, sequence, node_id, last_index, last_term, chain, term, vote = _BODY.unpack(body)
    if magic != _MAGIC:
        return None
    return sequence, NodeId(node_id), TailRecord(Index(last_index), Term(last_term), chain, Term(term), NodeId(vote))
