"""The state digest: a rolling hash over every change of the state, to compare replicas at low cost.

    digest = SHA-256(header with the previous digest | chain of the entry | writes, in order | outcomes)

- It covers the EFFECT of an entry, not only its content: every key written or deleted, every byte of every value, every
  dropped range, the outcomes returned to clients, and the configuration that a membership change leads to. Replicas
  that differ in any of it differ in every later digest, until one of them installs the other's snapshot.
- It is stored in the header, in the batch of the writes, so it is part of snapshots and survives a restart.
- It changes with every entry that the state machine applies, and not with no-ops; it does not depend on how entries
  were grouped when they were applied.
- It does not cover bytes that rot on disk and are not read by a command. RocksDB's checksums are for those; if
  corruption gets past them and into an outcome or a write, the digest differs.

SHA-256 is the fastest hash of the standard library on processors that have instructions for it, which the servers of
today have; `python -m collectionstore_node.tests.statemachine.apply_cost` measures it beside BLAKE2b.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from collectionstore_node.statemachine.header import Header, read_header, write_header
from collectionstore_node.statemachine.view import Overlay, View

_encode = msgspec.msgpack.Encoder().encode


def update_digest(overlay: Overlay, header: Header, chain: bytes, answer: object) -> None:
    """Complete an entry: add its changes to the digest, and store `header`.

    `chain` is the entry's; `answer` is its result, anything that msgspec encodes.
    """
    # BEFORE the assignment `header` contains the previous digest, which chains the digests to each other.
    header.digest = sha256(_encode((header.stored(), chain, overlay.journal, answer))).digest()
    write_header(overlay, header)
    # The header is already in the digest, by its fields. Its write must not be in the journal of the next entry: the
    # digest would then depend on how entries are grouped into overlays, which differs between replicas.
    overlay.journal.clear()


def read_digest(view: View) -> bytes:
    """Return the digest of the state in `view`. Raises `InvariantViolated` if the header is corrupt."""
    return read_header(view).digest
