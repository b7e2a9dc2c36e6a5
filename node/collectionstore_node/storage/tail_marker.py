"""The durable-tail marker: a small file with the end of the log that was durable at its last update.

RocksDB does not record how much of its WAL was synced, so a log that lost its end looks like a log that never had it
(rocksdb#6288). The marker distinguishes them. Measured: 2,000 synced entries, one byte flipped in the middle of the
WAL, and RocksDB's default recovery opens without an error and with 1,000 entries.

Two slots on two pages are written alternately, each with a sequence number and a digest: a torn write destroys one.

Invariants:
- the marker advances AFTER the WAL is synced: BEFORE a term or a vote is sent, and soon after an acknowledgement of
  entries, concurrently with the following syncs;
- it is lowered, durably, BEFORE a write that removes entries;
- so after any crash it is at or behind the log. A log behind its marker has lost data.

Entries acknowledged since the last update, 20 ms and one disk write at most, are not covered: losing exactly those,
and nothing before them, goes undetected. Covering them would add a second sync to every write.

The file is named WITNESS, by the first versions; in Raft a witness is a voter without data, which this is not.
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
    """The last durable entry of the log, and the durable term and vote."""

    last_index: Index = Index(0)
    last_term: Term = Term(0)
    chain: bytes = GENESIS_CHAIN
    term: Term = Term(0)
    vote: NodeId = NO_NODE


class TailMarker:
    """The open marker file; `record` is its current content. Thread-safe."""

    def __init__(self, path: Path, node_id: NodeId, failstop: FailStop) -> None:
        """Open and read the file. Raises `Corrupted` if it is missing, corrupt, or belongs to another node."""
        self._failstop = failstop
        self._node_id = node_id
        self._lock = threading.Lock()
        self.epoch = 0
        """Number of times the marker was lowered; see `advance_to`."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Corrupted(f"{path} is missing, so it is unknown whether the log is complete.") from None
        try:
            self._sequence, self.record = self._read(path)
        except BaseException:
            os.close(self._file)
            raise

    @staticmethod
    def create(path: Path, node_id: NodeId) -> None:
        """Create the marker of an empty log, durably and at its full size."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # Both pages now, so that `fdatasync` never has to write a new file size along with the data.
            os.pwrite(file, bytes(_SLOTS * _SLOT_BYTES), 0)
            os.pwrite(file, _encode(0, node_id, TailRecord()), 0)
            os.fsync(file)
        finally:
            os.close(file)

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file

    def advance_to(self, record: TailRecord, epoch: int) -> bool:
        """Advance to `record` or beyond, durably, and return True; return False if it was lowered after `epoch`.

        Everything in `record` must be durable in the log already.
        """
        with self._lock:
            # A truncation came between: `record` may name an entry that is gone, and writing it would make an intact
            # directory look corrupt at the next start.
            if epoch != self.epoch:
                return False
            # Within an epoch the log only grows and a vote is only added. A record that covers less is from a slower
            # thread: writing it would take back what has been promised to other nodes meanwhile.
            if _position(record) > _position(self.record):
                self._write(record)
            return True

    def lower(self, last_index: Index, last_term: Term, chain: bytes) -> None:
        """Move the marker back to `last_index`, durably, BEFORE the log is truncated to there."""
        with self._lock:
            # Always, even if the marker is not beyond: a sync that is running may be about to advance it to an entry
            # that this truncation removes.
            self.epoch += 1
            if last_index < self.record.last_index:
                self._write(TailRecord(last_index, last_term, chain, self.record.term, self.record.vote))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, record: TailRecord) -> None:
        self._failstop.check()
        sequence = self._sequence + 1
        # The slot that does NOT hold the current record: a crash in the middle leaves that one readable.
        try:
            slot = _encode(sequence, self._node_id, record)
            if os.pwrite(self._file, slot, sequence % _SLOTS * _SLOT_BYTES) != len(slot):
                raise OSError("partial write")
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
                f"{path} is corrupt: neither of its slots is valid, so it is unknown whether the log is complete."
            )
        sequence, node_id, record = max(slots, key=lambda slot: slot[0])
        if node_id != self._node_id:
            raise Corrupted(f"{path} belongs to node {node_id:016x}, not {self._node_id:016x}.")
        return sequence, record


def _position(record: TailRecord) -> tuple[Term, bool, Index]:
    """Return the sort key of a record. Within an epoch no part decreases as another one grows."""
    return record.term, record.vote != NO_NODE, record.last_index


def _encode(sequence: int, node_id: NodeId, record: TailRecord) -> bytes:
    body = _BODY.pack(_MAGIC, sequence, node_id, *record)
    return body + hashlib.sha256(body).digest()


def _decode(page: bytes) -> tuple[int, NodeId, TailRecord] | None:
    """Return (sequence, node ID, record) of a slot; None if it was never written or its digest does not match."""
    body, digest = page[: _BODY.size], page[_BODY.size : _BODY.size + _DIGEST_BYTES]
    if len(body) < _BODY.size or hashlib.sha256(body).digest() != digest:
        return None
    magic, sequence, node_id, last_index, last_term, chain, term, vote = _BODY.unpack(body)
    if magic != _MAGIC:
        return None
    return sequence, NodeId(node_id), TailRecord(Index(last_index), Term(last_term), chain, Term(term), NodeId(vote))
