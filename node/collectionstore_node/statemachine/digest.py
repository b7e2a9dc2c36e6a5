"""The state digest: one rolling hash of all that was ever done to the state, to compare replicas at little cost.

    digest = SHA-256(header, the previous digest in it | chain of the entry | writes, in order | answers)

- It covers what an entry *did*, not only what it said: every key written or removed, every byte of every value, every
  range dropped, the outcomes that clients heard, and for a membership change the configuration that came of it. Two
  replicas that differ in any of it differ in every later digest too, until one of them takes over the other's state.
- It is stored in the header in the batch of the writes, so it is in snapshots, and a restart goes on where it was.
- It moves with every entry that means something to the state, and not with the empty ones that leaders write; how
  entries were grouped when they were applied does not show.
- It says nothing of bytes that decayed on disk and were not touched by a command since. RocksDB's checksums are for
  those; when damage gets past them and into a result, it is in the digest.

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
    """End an entry: take what it did to `overlay` since the last one into the digest, and store `header`.

    `chain` is the entry's; `answer` is what came of it, anything that msgspec encodes.
    """
    header.digest = sha256(_encode((header, chain, overlay.journal, answer))).digest()
    write_header(overlay, header)
    # The header is in the digest by its fields; were its write left here, it would show where batches begin.
    overlay.journal.clear()


def read_digest(view: View) -> bytes:
    """Return the digest of the state in `view`. Raises `InvariantViolated` when the header is damaged."""
    return read_header(view).digest
