"""This node's connection to one member: dialed, redialed, renewed, and fed from one bounded queue.

States: dialing (messages queue up), backing off after a failed dial (messages are dropped at once: when the peer is
back, Raft sends what it needs then, not what it needed before), connected.

Invariants:
- messages of one connection arrive in the order of `send`; nothing is sent twice;
- every possible loss is reported through `on_unreachable`, so that Raft falls back to probing;
- a connection is renewed by opening the next one first: requests that wait on the old one are still answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from collectionstore_node.lifecycle import end_without_memory
from collectionstore_node.raft.messages import Message
from collectionstore_node.transport.addresses import PeerAddress, PeerStatus
from collectionstore_node.transport.backoff import Backoff
from collectionstore_node.transport.connection.close_reason import close_reason_of
from collectionstore_node.transport.connection.connection import Connection, ConnectionContext
from collectionstore_node.transport.connection.dialer import Dialer, DialFailed
from collectionstore_node.transport.failures import PeerUnavailable
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.peers.link import Link
from collectionstore_node.transport.peers.peer_log import PeerLog
from collectionstore_node.transport.settings import OVERAGE
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import FrameKind
from collectionstore_node.transport.wire.handshake import Purpose
from collectionstore_node.transport.wire.send_queue import SendQueue

_encode = msgspec.msgpack.Encoder().encode


class Peer:
    """One member to which this node sends."""

    def __init__(
        self,
        address: PeerAddress,
        dialer: Dialer,
        handler: TransportHandler,
        context: ConnectionContext,
        random: Callable[[], float],
    ) -> None:
        """Start dialing; `close` ends it. `random` is in [0, 1) and spreads retries and renewals."""
        settings = context.settings
        self.address = address
        self.traffic = traffic = context.traffic_of(address.name)
        self._dialer = dialer
        self._handler = handler
        self._settings = settings
        self._random = random
        self._clock = context.clock
        self._queue = SendQueue(FrameKind.MESSAGES, settings.queue_messages_max, settings.queue_bytes_max)
        self._backoff = Backoff(settings.backoff_min_s, settings.backoff_max_s, random)
        self._link: Link | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._accepting = True
        self._closed = False
        self._problem: str | None = None
        self._log = PeerLog()
        self._reporting = False
        self._rotate_at = float("inf")
        self._dial_due = asyncio.Event()
        traffic.metrics.connected(0)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._keep_connected(), name=f"peer-{address.name}")

    def send(self, message: Message) -> None:
        """Queue a message until `flush`, or drop and count it; never blocks."""
        if not self._accepting or not self._queue.put(_encode(message)):
            self._dropped(1)

    def flush(self) -> None:
        """Send what is queued, in one frame, as far as the peer takes it; the rest leaves when it takes more."""
        if self._link is not None:
            self._link.connection.flush()

    async def request(self, payload: bytes, timeout_s: float) -> bytes:
        """Send a request and return the reply. Raises `PeerUnavailable` or `RequestLost`."""
        if self._link is None:
            raise PeerUnavailable(f"{self.address.name} is not connected: {self._problem or 'dialing'}")
        return await self._link.requests.call(payload, timeout_s)

    def move(self, address: PeerAddress) -> None:
        """Renew the connection at another address or for another name."""
        if address != self.address:
            self.address = address
            self._dial_due.set()

    def dial_now(self) -> None:
        """Dial now instead of after the backoff: the peer has just connected to this node."""
        self._dial_due.set()

    def rotate(self, within_s: float) -> None:
        """Renew the connection at a random moment within `within_s`, for instance after a reload of certificates."""
        self._rotate_at = min(self._rotate_at, self._clock() + self._random() * within_s)
        self._dial_due.set()

    async def close(self, code: CloseCode) -> None:
        """Flush the queue, for at most `close_timeout_s`, and close with `code`."""
        self._closed = True
        self._accepting = False
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        link, self._link = self._link, None
        if link is not None:
            await link.close(code)
            # Only with a connection: without one the series is 0 already, and a member that replaced this one under
            # its name may be connected by now.
            self.traffic.metrics.connected(0)
        await asyncio.gather(*self._retired)
        self._dropped(self._queue.clear())

    def status(self, now: float) -> PeerStatus:
        """Return what is known at monotonic time `now`."""
        traffic, link = self.traffic, self._link
        return PeerStatus(
            node_id=self.address.node_id,
            name=self.address.name,
            address=self.address.address,
            connected=link is not None,
            round_trip_s=traffic.round_trip_s,
            round_trip_p50_s=traffic.round_trip_p50_s,
            handshake_s=traffic.handshake_s,
            queued_messages=len(self._queue),
            queued_bytes=self._queue.size_bytes,
            outstanding_requests=len(link.requests) if link is not None else 0,
            sent_bytes=traffic.sent_bytes,
            received_bytes=traffic.received_bytes,
            sent_messages=traffic.sent_messages,
            received_messages=traffic.received_messages,
            dropped_messages=traffic.dropped_messages,
            last_heard_age_s=None if traffic.heard_at is None else now - traffic.heard_at,
            problem=None if link is not None else self._problem,
        )

    async def _keep_connected(self) -> None:
        while True:
            self._dial_due.clear()
            address = self.address
            # Reset BEFORE dialing: certificates reloaded during the dial are not the ones it uses, and must renew it.
            self._rotate_at = float("inf")
            try:
                connection = await self._dialer.dial(address, Purpose.MESSAGES)
            except DialFailed as error:
                self._failed(error)
                await self._pause(self._settings.refused_backoff_max_s if error.refused else None)
                continue
            except MemoryError as error:
                end_without_memory("dialing", error)
            except Exception:
                # An unexpected failure must not end this task: nothing would restart dialing.
                self._log.dialing_failed(address)
                await self._pause(None)
                continue
            self._connected(connection, address)
            await self._until_renewal()
            if self._link is None and not self._settled(connection):
                # It closes right after the handshake: back off, or this would be a tight loop.
                self._dial_due.clear()
                await self._pause(None)

    def _failed(self, error: DialFailed) -> None:
        self.traffic.metrics.send_failed()
        if self._link is None:
            self._problem = str(error)
            self._log.dial_failed(self.address, self._problem, refused=error.refused)
            self._dropped(self._queue.clear())
            return
        self._log.not_renewed(self.address, str(error))
        age_s = self._clock() - self._link.connection.opened_at
        if age_s > self._settings.connection_age_max_s * OVERAGE:
            self._link.connection.end(CloseCode.ROTATED, "could not be renewed")

    async def _pause(self, hi_s: float | None) -> None:
        """Back off, or until `dial_now`; messages are dropped meanwhile unless a connection is up."""
        self._accepting = self._link is not None
        try:
            async with asyncio.timeout(self._backoff.next_delay_s(hi_s)):
                await self._dial_due.wait()
        except TimeoutError:
            pass  # the pause is over
        self._accepting = True

    def _connected(self, connection: Connection, address: PeerAddress) -> None:
        """Use a new connection and retire the previous one, if it is still up."""
        previous = self._link
        if previous is not None:
            self._backoff.reset()
            self._retire(previous)
        self._link = link = Link(connection, address, self._queue, self._settings, self._renew)
        link.task.add_done_callback(lambda _: self._ended(link))
        self._problem = None
        age_s = self._settings.connection_age_max_s * (0.9 + 0.1 * self._random())
        self._rotate_at = min(self._rotate_at, connection.opened_at + age_s)
        if previous is None:
            self.traffic.metrics.connected(1)
            self._log.connected(self.address)

    async def _until_renewal(self) -> None:
        """Return when the connection is lost or due to be renewed: age, reload, another address."""
        while (link := self._link) is not None and link.address == self.address:
            left_s = self._rotate_at - self._clock()
            if left_s <= 0:
                return
            self._dial_due.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._dial_due.wait()
            except TimeoutError:
                return

    def _ended(self, link: Link) -> None:
        link.requests.lost()
        if self._link is not link:
            # It was retired: its successor carries the queue.
            return
        self._link = None
        reason = close_reason_of(link.task)
        self.traffic.metrics.connected(0)
        if not reason.graceful:
            self.traffic.metrics.send_failed()
        if self._settled(link.connection):
            self._backoff.reset()
            self._log.reset()
        self._problem = str(reason)
        self._log.disconnected(self.address, self._problem, graceful=reason.graceful)
        self._dropped(self._queue.clear())
        self._report_unreachable()
        self._dial_due.set()

    def _settled(self, connection: Connection) -> bool:
        """Return whether a connection has lasted long enough to count as a success."""
        return self._clock() - connection.opened_at > self._settings.backoff_max_s

    def _renew(self) -> None:
        """Renew on request of the other side, unless the connection is new: a faulty peer must not cause a loop."""
        if self._link is not None and self._settled(self._link.connection):
            self.rotate(self._settings.rotation_s)

    def _retire(self, link: Link) -> None:
        link.detach()
        task = self._loop.create_task(link.retire(), name=f"retire-{link.address.name}")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    def _dropped(self, count: int) -> None:
        if count:
            self.traffic.dropped(count)
            self._report_unreachable()

    def _report_unreachable(self) -> None:
        """Call `on_unreachable` once per turn of the loop, and never from inside the replica's own call of `send`."""
        if not self._reporting and not self._closed:
            self._reporting = True
            self._loop.call_soon(self._unreachable_now)

    def _unreachable_now(self) -> None:
        self._reporting = False
        self._handler.on_unreachable(self.address.node_id)
