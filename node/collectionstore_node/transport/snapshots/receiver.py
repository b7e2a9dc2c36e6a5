"""Receives snapshots: one connection each, resumed by offset, passed to the replica when complete and verified.

Invariants:
- of one sender at most one connection feeds a part; a newer connection ends the older first;
- the replica gets a snapshot once per transfer, also when the connection is lost during installation: the sender gets
  the outcome when it reconnects;
- an installation is not cancelled with its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import ClientError

from collectionstore_node.lifecycle import end_without_memory
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.connection.connection import Connection
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.metrics_port import TransportMetrics
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.snapshots.frame_inbox import ConnectionGone, FrameInbox
from collectionstore_node.transport.snapshots.snapshot_frames import (
    CHUNK_BYTES_MAX,
    Ack,
    Begin,
    Chunk,
    Refusal,
    SnapshotRefusal,
    decode_begin,
    decode_chunk,
    encode_ack,
    encode_done,
    encode_refusal,
)
from collectionstore_node.transport.snapshots.spool import Part, PartRefused, Spool
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused

log = structlog.get_logger()

_Outcome = Refusal | None


@dataclass(slots=True)
class _Installation:
    """A snapshot being installed, or its outcome, kept for a sender that reconnects."""

    task: asyncio.Task[_Outcome]
    ended_at: float | None = None


class SnapshotReceiver:
    """Serves the snapshot connections that the listener admits."""

    def __init__(
        self,
        spool: Spool,
        handler: TransportHandler,
        settings: TransportSettings,
        metrics: TransportMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._handler = handler
        self._settings = settings
        self._metrics = metrics
        self._feeding: dict[NodeId, tuple[Connection, asyncio.Task[None]]] = {}
        self._installations: dict[tuple[NodeId, bytes], _Installation] = {}

    async def serve(self, connection: Connection) -> CloseReason:
        """Run a connection after its handshake to its end."""
        sender = connection.remote.node_id
        await self._end_older(sender)
        inbox = FrameInbox(self._settings.snapshot_window_bytes + CHUNK_BYTES_MAX)
        worker = asyncio.create_task(self._work(connection, inbox), name=f"snapshot-{connection.remote.name}")
        self._feeding[sender] = (connection, worker)
        try:
            ending = await connection.run(inbox.put)
            inbox.close(ending)
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            if self._feeding.get(sender) == (connection, worker):
                del self._feeding[sender]
        return ending

    def sweep(self, now: float) -> None:
        """Delete parts and outcomes whose sender did not reconnect."""
        self._spool.sweep(now)
        keep_s = self._settings.snapshot_resume_s
        for key, one in tuple(self._installations.items()):
            if one.ended_at is not None and now - one.ended_at > keep_s:
                del self._installations[key]

    async def close(self) -> None:
        """Cancel running installations; the connections were closed before."""
        tasks = [one.task for one in self._installations.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._spool.clear)

    async def _end_older(self, sender: NodeId) -> None:
        while sender in self._feeding:
            connection, worker = self._feeding[sender]
            connection.end(CloseCode.SUPERSEDED, "a newer connection carries the snapshot")
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            if self._feeding.get(sender) == (connection, worker):
                del self._feeding[sender]

    async def _work(self, connection: Connection, inbox: FrameInbox) -> None:
        try:
            begin = decode_begin(await inbox.get())
            outcome = await self._transfer(connection, inbox, begin)
            if outcome is not None:
                self._metrics.snapshot_failed()
            await connection.write(encode_done() if outcome is None else encode_refusal(outcome))
            connection.end(CloseCode.DONE, "")
        except Refused as error:
            connection.end(error.code, error.detail)
        except PartRefused as error:
            self._metrics.snapshot_failed()
            log.warning("snapshot.refused", peer=connection.remote.name, reason=error.refusal.code.name.lower())
            await connection.write(encode_refusal(error.refusal))
            connection.end(CloseCode.DONE, "")
        except (ConnectionGone, OSError, ClientError) as error:
            log.info("snapshot.interrupted", peer=connection.remote.name, reason=str(error))
        except MemoryError as error:
            end_without_memory("snapshot", error)
        except Exception:
            # A bug here must not leave the sender waiting on a connection that answers pings.
            log.exception("snapshot.failed", peer=connection.remote.name)
            connection.end(CloseCode.INTERNAL, "internal error")

    async def _transfer(self, connection: Connection, inbox: FrameInbox, begin: Begin) -> _Outcome:
        """Return the outcome of the transfer, also of one that is installing already."""
        key = (connection.remote.node_id, begin.transfer)
        installation = self._installations.get(key)
        if installation is None:
            part = await self._receive(connection, inbox, begin)
            installation = _Installation(asyncio.create_task(self._install(key, begin.envelope, part)))
            self._installations[key] = installation
        else:
            await connection.write(encode_ack(Ack(begin.size_bytes, self._settings.snapshot_window_bytes)))
        return await asyncio.shield(installation.task)

    async def _receive(self, connection: Connection, inbox: FrameInbox, begin: Begin) -> Part:
        part = self._spool.claim(connection.remote.node_id, begin)
        if part.began_at is None:
            part.began_at = self._clock()
        try:
            await self._fill(connection, inbox, part)
            part.verify()
        except PartRefused as error:
            if error.refusal.code is SnapshotRefusal.CHUNK_CORRUPT:
                self._spool.release(part, self._clock())
            else:
                self._spool.discard(part)
            raise
        except BaseException:
            # The connection is lost or superseded: the next one resumes at `stored`.
            self._metrics.snapshot_failed()
            self._spool.release(part, self._clock())
            raise
        self._metrics.snapshot_received(part.size_bytes, self._clock() - part.began_at)
        return part

    async def _fill(self, connection: Connection, inbox: FrameInbox, part: Part) -> None:
        window_bytes = self._settings.snapshot_window_bytes
        await connection.write(encode_ack(Ack(part.stored, window_bytes)))
        while part.stored < part.size_bytes:
            chunk = decode_chunk(await inbox.get())
            _check_place(chunk, part)
            end = part.accept(await asyncio.to_thread(part.store, chunk))
            await connection.write(encode_ack(Ack(end, window_bytes)))

    async def _install(self, key: tuple[NodeId, bytes], envelope: bytes, part: Part) -> _Outcome:
        sender = key[0]
        try:
            await self._handler.on_snapshot(sender, envelope, part.path)
        except MemoryError as error:
            end_without_memory("snapshot", error)
        except Exception as error:
            # Any failure: the sender must get a refusal, or it would wait for DONE as long as the connection is up.
            log.exception("snapshot.not_installed", node_id=f"{sender:016x}")
            return Refusal(SnapshotRefusal.NOT_INSTALLED, f"{type(error).__name__}: {error}")
        else:
            return None
        finally:
            self._spool.discard(part)
            self._installations[key].ended_at = self._clock()


def _check_place(chunk: Chunk, part: Part) -> None:
    if chunk.offset != part.stored or chunk.offset + len(chunk.data) > part.size_bytes:
        raise Refused(
            CloseCode.PROTOCOL,
            f"chunk [{chunk.offset}, {chunk.offset + len(chunk.data)}) of {part.size_bytes}; due: {part.stored}",
        )
