"""Sends a snapshot file over a separate connection, and resumes where it stopped after a loss."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

import structlog
from aiohttp import ClientError

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.sealed_files import OpenFile, open_plain
from collectionstore_node.transport.addresses import PeerAddress
from collectionstore_node.transport.backoff import Backoff
from collectionstore_node.transport.connection.close_reason import close_reason_of
from collectionstore_node.transport.connection.connection import Connection
from collectionstore_node.transport.connection.dialer import Dialer, DialFailed
from collectionstore_node.transport.failures import SnapshotFailed
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.snapshots.frame_inbox import ConnectionGone, FrameInbox
from collectionstore_node.transport.snapshots.snapshot_frames import (
    Ack,
    Begin,
    Refusal,
    SnapshotRefusal,
    decode_answer,
    encode_begin,
    encode_chunk,
)
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.handshake import Purpose

log = structlog.get_logger()

_ANSWER_BYTES_MAX = 1 << 20
"""Answers that may wait unread; they are a few bytes each."""
_READ_BYTES = 1 << 20
"""Of a file that is hashed, at a time."""


class _Interrupted(Exception):
    """This attempt was interrupted; the next one resumes."""


class _Transfer:
    """The transfer of one snapshot to one node, over as many connections as it takes."""

    def __init__(self, begin: Begin, path: Path, settings: TransportSettings, open_file: OpenFile) -> None:
        self.begin = begin
        self._open_file = open_file
        self.acknowledged = 0
        """Highest acknowledged offset; only to detect progress, each attempt starts at the receiver's offset."""
        self._path = path
        self._settings = settings

    async def attempt(self, connection: Connection, inbox: FrameInbox) -> None:
        """Send what is missing and return when it is installed. Raises `_Interrupted` or `SnapshotFailed`."""
        try:
            await connection.write(encode_begin(self.begin))
            ack = await self._next_ack(inbox)
            sent = ack.offset
            while ack.offset < self.begin.size_bytes:
                sent = await self._fill_window(connection, ack, sent)
                ack = await self._next_ack(inbox)
                if ack.offset > sent:
                    raise SnapshotFailed(f"offset {ack.offset} was acknowledged, {sent} bytes were sent")
            # No timeout: installing may take long, and pings detect a receiver that died.
            await self._done(inbox)
        except TimeoutError as error:
            raise _Interrupted(f"nothing acknowledged within {self._settings.snapshot_stall_s:g} s") from error
        except (ConnectionGone, Refused, OSError, ClientError) as error:
            raise _Interrupted(str(error)) from error

    async def _fill_window(self, connection: Connection, ack: Ack, sent: int) -> int:
        window_bytes = min(ack.window_bytes, self._settings.snapshot_window_bytes)
        while sent < self.begin.size_bytes:
            length = min(self._settings.snapshot_chunk_bytes, self.begin.size_bytes - sent)
            # One chunk is always allowed, or a window smaller than a chunk would block the transfer forever.
            if sent > ack.offset and sent + length - ack.offset > window_bytes:
                break
            await connection.write(await asyncio.to_thread(_read_chunk, self._open_file, self._path, sent, length))
            sent += length
        return sent

    async def _next_ack(self, inbox: FrameInbox) -> Ack:
        async with asyncio.timeout(self._settings.snapshot_stall_s):
            answer = decode_answer(await inbox.get())
        if not isinstance(answer, Ack) or not 0 <= answer.offset <= self.begin.size_bytes:
            _raise_refusal(answer)
            raise SnapshotFailed("it was called done before it was sent")
        self.acknowledged = max(self.acknowledged, answer.offset)
        return answer

    async def _done(self, inbox: FrameInbox) -> None:
        answer = decode_answer(await inbox.get())
        _raise_refusal(answer)


class SnapshotSender:
    """Sends snapshots, one at a time to each node."""

    def __init__(
        self,
        dialer: Dialer,
        settings: TransportSettings,
        random: Callable[[], float],
        address_of: Callable[[NodeId], PeerAddress | None],
        open_file: OpenFile = open_plain,
    ) -> None:
        self._open_file = open_file
        self._dialer = dialer
        self._settings = settings
        self._random = random
        self._address_of = address_of
        self._sending: set[NodeId] = set()

    async def send(self, to: NodeId, envelope: bytes, path: Path) -> None:
        """Return when `to` has verified and installed the file. Raises `SnapshotFailed`."""
        if to in self._sending:
            raise SnapshotFailed(f"a snapshot is already being sent to {to:016x}")
        self._sending.add(to)
        try:
            begin = await asyncio.to_thread(_announce, self._open_file, path, envelope)
            await self._send(to, _Transfer(begin, path, self._settings, self._open_file))
        except OSError as error:
            raise SnapshotFailed(f"{path}: {error.strerror}") from error
        finally:
            self._sending.discard(to)

    async def _send(self, to: NodeId, transfer: _Transfer) -> None:
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s, self._random)
        failures = 0
        while True:
            before = transfer.acknowledged
            try:
                await self._attempt(to, transfer)
            except (_Interrupted, DialFailed) as error:
                if transfer.acknowledged > before:
                    failures = 0
                    backoff.reset()
                failures += 1
                if failures >= self._settings.snapshot_attempts:
                    raise SnapshotFailed(f"{failures} attempts without progress, the last: {error}") from error
                log.info("snapshot.paused", node_id=f"{to:016x}", offset=transfer.acknowledged, reason=str(error))
                await asyncio.sleep(backoff.next_delay_s())
            else:
                return

    async def _attempt(self, to: NodeId, transfer: _Transfer) -> None:
        address = self._address_of(to)
        if address is None:
            raise SnapshotFailed(f"no address of {to:016x} is known")
        connection = await self._dialer.dial(address, Purpose.SNAPSHOT)
        inbox = FrameInbox(_ANSWER_BYTES_MAX)
        running = asyncio.create_task(connection.run(inbox.put), name=f"snapshot-{address.name}")
        running.add_done_callback(lambda task: inbox.close(close_reason_of(task)))
        try:
            await transfer.attempt(connection, inbox)
        finally:
            connection.end(CloseCode.DONE, "")
            await running


def _raise_refusal(answer: Ack | Refusal | None) -> None:
    if isinstance(answer, Refusal):
        if answer.code is SnapshotRefusal.CHUNK_CORRUPT:
            raise _Interrupted(f"{answer.code.name.lower()}: {answer.detail}")
        raise SnapshotFailed(f"{answer.code.name.lower()}: {answer.detail}")
    if isinstance(answer, Ack):
        raise SnapshotFailed(f"unexpected acknowledgement of offset {answer.offset}")


def _announce(open_file: OpenFile, path: Path, envelope: bytes) -> Begin:
    whole, size = hashlib.sha256(), 0
    with open_file(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            whole.update(data)
            size += len(data)
    return Begin(secrets.token_bytes(16), envelope, size, whole.digest())


def _read_chunk(open_file: OpenFile, path: Path, offset: int, length: int) -> bytes:
    """Return the chunk's frame: reading, hashing and checksum all belong into the thread."""
    try:
        with open_file(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise SnapshotFailed(f"{path}: {error.strerror}") from error
    if len(data) != length:
        raise SnapshotFailed(f"{path} has become shorter while it was sent")
    return encode_chunk(offset, data)
