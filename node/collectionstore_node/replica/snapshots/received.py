"""Snapshot files that were received completely and wait for the core to install or reject them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from collectionstore_node.errors import InvariantViolated, MessageRejected
from collectionstore_node.raft.messages import (
    Index,
    InstallSnapshot,
    NodeId,
    SnapshotMetadata,
    Term,
    decode_messages,
)
from collectionstore_node.sealed_files import OpenFile, open_plain
from collectionstore_node.storage import verify_snapshot


def snapshot_message(sender: NodeId, envelope: bytes) -> InstallSnapshot:
    """Return the message in a snapshot's envelope. Raises `MessageRejected` unless it is one, and of `sender`.

    The transport compares the sender of ordinary messages with the connection's member, but does not open envelopes.
    """
    try:
        messages = decode_messages(envelope)
    except msgspec.DecodeError as error:
        raise MessageRejected(f"a snapshot's envelope cannot be read: {error}") from error
    if len(messages) != 1 or not isinstance(messages[0], InstallSnapshot):
        raise MessageRejected("a snapshot's envelope holds something else")
    if messages[0].sender != sender:
        raise MessageRejected(f"a snapshot in the name of {messages[0].sender:016x}")
    return messages[0]


def check_snapshot(path: Path, metadata: SnapshotMetadata, open_file: OpenFile = open_plain) -> None:
    """Raise `MessageRejected` unless the file is whole and holds the snapshot of `metadata`. Blocks; reads all of it.

    Its header names the entry, the chain and the configuration, its records the digest of the state, and hashes cover
    both. The transport has only seen that the bytes are those that the sender had.
    """
    try:
        found = verify_snapshot(path, open_file).metadata
    except InvariantViolated as error:
        raise MessageRejected(str(error)) from error
    if found != metadata:
        raise MessageRejected(f"the snapshot holds {found}, but was announced as {metadata}")


class ReceivedSnapshots:
    """Files by index and term. The core decides which is installed; the others are deleted."""

    def __init__(self) -> None:
        self._paths: dict[tuple[Index, Term], Path] = {}

    def keep(self, metadata: SnapshotMetadata, path: Path) -> None:
        """Take ownership of a file by renaming it: the transport deletes its own when its handler returns."""
        own = path.with_name(f"received-{metadata.index}-{metadata.term}")
        path.rename(own)
        self._paths[metadata.index, metadata.term] = own

    def take(self, metadata: SnapshotMetadata) -> Path:
        """Return the file of `metadata`, which the caller owns from now on, and delete the others."""
        path = self._paths.pop((metadata.index, metadata.term), None)
        self.discard()
        if path is None:
            raise InvariantViolated(f"the core requests a snapshot at {metadata.index} that was not received")
        return path

    def discard(self) -> None:
        """Delete every file: its message was stepped before this Ready was taken, so the core rejected it."""
        for path in self._paths.values():
            path.unlink(missing_ok=True)
        self._paths.clear()
