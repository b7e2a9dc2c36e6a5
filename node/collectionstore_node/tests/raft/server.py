"""A core with its driver and disk. The driver's work is cut into steps, so that anything may happen in between.

```
take ── write ── apply ── advance      one Ready after the other; `begin_io` is take and write
          begin sync ── end sync       beside that, at any time: for all that was written when the sync began
```
`finish_io` is all that is left of a Ready, its sync included, and `run_io` all that is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from collectionstore_node.raft.messages import (
    AppendReply,
    EntryKind,
    HardState,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    SnapshotMetadata,
    Term,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import Ready
from collectionstore_node.tests.raft.disk import Disk, Image, StoredLog, SyncMark
from collectionstore_node.tests.raft.memory_log import MemoryLog

if TYPE_CHECKING:
    from collectionstore_node.tests.raft.cluster import Cluster


class Server:
    """One process and its disk. Whatever its disk refuses is raised, as `StorageFailed`; the process must stop then."""

    def __init__(self, node_id: NodeId, disk: Disk, cluster: Cluster) -> None:
        self.node_id = node_id
        self.disk = disk
        self._cluster = cluster
        self.log = MemoryLog()
        self.node: RaftNode | None = None
        self.writing: Ready | None = None
        """The Ready that is being worked on, and how far that is:"""
        self.written = self.has_applied = False
        self._written_to = self._durable_to = 0
        """Numbers of the last write that was written, and of the last that the core knows to be durable."""
        self._syncing: tuple[int, SyncMark] | None = None
        """The sync that runs: the last write that it covers, and where it began."""
        self.applied = SnapshotMetadata()
        self.life = 0
        self.paused = False
        """The process stands still: it neither ticks nor handles anything. What arrives waits in `inbox`."""
        self.inbox: list[Message] = []
        self._quiet = False
        """The core had no work, and was not called since."""

    @property
    def alive(self) -> bool:
        return self.node is not None

    @property
    def core(self) -> RaftNode:
        assert self.node is not None, f"server {self.node_id} is down"
        self._quiet = False
        return self.node

    # Life

    def start(self) -> None:
        """Start the process from what the disk shows. Raises `DataDirectoryRefused` when that is not whole."""
        assert self.node is None
        image = self.disk.open()
        self.log = MemoryLog(image.entries, image.snapshot)
        self._stored = StoredLog(self.log, self.disk)
        self.applied = image.applied
        self.life += 1
        self.node = RaftNode(
            self.node_id,
            self._cluster.settings,
            self._stored,
            hard_state=image.hard_state,
            configuration=image.applied.configuration,
            applied=image.applied.index,
            random_ticks=self._cluster.random_ticks or self._own_ticks,
        )
        self._quiet = False
        self._cluster.observer.started(self.node)

    def _own_ticks(self, lo: int, hi: int) -> int:
        return lo + (2 * self.node_id - 1) % (hi - lo)

    def crash(self, kept: int = 0) -> None:
        """Stop without warning; of the unsynced writes only the first `kept` survive."""
        self.node = None
        self.writing = self._syncing = None
        self._written_to = self._durable_to = 0
        self.paused = False
        self.inbox.clear()
        self.disk.crash(min(kept, self.disk.unsynced))
        self._cluster.observer.stopped(self.node_id)

    # What happens to the core

    def step(self, message: Message) -> None:
        """Hand a message to the core. No correct peer's message may be rejected."""
        node = self.core
        node.step(message)
        if type(message) is AppendReply:
            self._cluster.observer.counted(node, message.sender, self._cluster)
        self.observe()

    def tick(self) -> None:
        self.core.tick()
        # As the driver does: what rests on no unsynced state leaves while the disk is busy.
        self._send(self.core.take_messages())
        self.observe()

    def tell_commit(self) -> bool:
        """Tell followers the commit index that no entry carries, as the driver does after a while."""
        told = self.core.untold_commit > 0
        self.core.tell_commit()
        self.observe()
        return told

    def propose(self, data: bytes) -> tuple[Index, Term]:
        """Propose as a client does, who remembers what was promised. Raises as `RaftNode.propose`."""
        index, term = self.core.propose(data)
        self._cluster.observer.proposed(self.node_id, index, term)
        self.observe()
        return index, term

    def read(self, request_id: int) -> None:
        """Ask for a linearizable read; the observer knows what it must not miss."""
        self._cluster.observer.read_asked((self.node_id, self.life, request_id))
        self.core.read_index(request_id)
        self.observe()

    # What the driver does

    def has_work(self) -> bool:
        """Whether the core has a Ready; it is asked again only after something was done to it."""
        if not self._quiet:
            self._quiet = not self.core.has_ready()
        return not self._quiet

    def take_io(self) -> bool:
        """Take a Ready and send what may leave at once. Return whether there was one."""
        if self.writing is not None or self._quiet:
            return False
        node = self.core
        if not node.has_ready():
            self._quiet = True
            return False
        ready = node.ready()
        self.writing = ready
        self.written = self.has_applied = False
        self._cluster.observer.ready(node, ready)
        self._send(ready.messages)
        self.observe()
        return True

    def write_io(self) -> None:
        """Install the snapshot if there is one, and write the rest without a sync."""
        ready = self.writing
        assert ready is not None
        assert not self.written
        if ready.snapshot is not None:
            self._install(ready.snapshot, ready.hard_state)
        if ready.entries:
            first = ready.entries[0].index
            if first <= self.log.last_index():
                last = Index(first - 1)
                self.disk.lower_marker(last, self.log.term(last))
            self.log.append(ready.entries)
        if ready.entries or ready.hard_state is not None:
            self._write(ready.hard_state)
        self.written = True
        self._written_to = ready.write or self._written_to
        node = self.core
        if node.is_leader:
            self._cluster.observer.leading(node, self.log)
        self.observe()

    def begin_io(self) -> bool:
        """Take a Ready, send what may leave at once and write, without a sync. Return whether there was one."""
        if not self.take_io():
            return False
        self.write_io()
        return True

    @property
    def syncing(self) -> bool:
        """Whether a sync runs."""
        return self._syncing is not None

    @property
    def backlog(self) -> int:
        """How many writes were written and are not known to be durable."""
        return self._written_to - self._durable_to

    def begin_sync(self) -> bool:
        """Begin to sync what was written until now; return whether there is anything that no sync has covered."""
        if self._syncing is not None or not self.backlog:
            return False
        self._syncing = (self._written_to, self.disk.begin_sync())
        return True

    def end_sync(self) -> None:
        """End the sync that runs, tell the core, and send what waited for that."""
        assert self._syncing is not None
        (number, mark), self._syncing = self._syncing, None
        self.disk.sync(mark)
        self._durable_to = number
        self._send(self.core.durable(number))
        self.observe()

    def sync_io(self) -> None:
        """Sync all that was written, and send what waited for that."""
        while self.syncing or self.begin_sync():
            self.end_sync()

    def apply_io(self) -> None:
        """Apply what is committed: AFTER the write, as the disk keeps that order, and before or after its sync."""
        ready = self.writing
        assert ready is not None
        assert self.written
        assert not self.has_applied
        observer = self._cluster.observer
        for entry in ready.committed:
            configuration = self.applied.configuration
            if entry.kind is EntryKind.CHANGE:
                configuration = self.core.apply_change(entry)
                observer.configured(entry.index, configuration)
            self.applied = SnapshotMetadata(entry.index, entry.term, entry.chain, configuration)
            observer.applied(self.node_id, entry)
        if ready.committed:
            self._write(None)
        self.has_applied = True

    def advance_io(self) -> None:
        """Write and apply what is left of the Ready, and tell the core; its sync may come later."""
        if not self.written:
            self.write_io()
        if not self.has_applied:
            self.apply_io()
        ready = self.writing
        assert ready is not None
        self.writing = None
        self.core.advance(ready)
        for state in ready.read_states:
            self._cluster.observer.read_answered((self.node_id, self.life, state.request_id), state.index)
        for request_id in ready.failed_reads:
            self._cluster.observer.read_failed((self.node_id, self.life, request_id))
        self.observe()

    def finish_io(self) -> None:
        """Do what is left of the Ready, and sync it."""
        if not self.written:
            self.write_io()
        self.sync_io()
        self.advance_io()

    def run_io(self) -> bool:
        """Do all the driver's work there is; return whether there was any."""
        worked = self.writing is not None or self.backlog > 0
        if self.writing is not None:
            self.finish_io()
        self.sync_io()
        while self.begin_io():
            self.finish_io()
            worked = True
        return worked

    def run_io_until_snapshot(self) -> None:
        """Do all the driver's work there is, but stop before the installation of a snapshot."""
        while self.take_io():
            assert self.writing is not None
            if self.writing.snapshot is not None:
                return
            self.finish_io()

    def compact(self, keep: int = 0) -> None:
        """Drop the log up to what the core calls applied, but for the last `keep` entries.

        AFTER the applied state is durable. The cut itself is a write like any other.
        """
        index = Index(self.core.applied - keep)
        if index <= self.log.snapshot().index:
            return
        if self.disk.durable.applied.index < index:
            self.disk.sync()
        configuration = self._cluster.observer.configuration_at(index)
        self.log.compact(SnapshotMetadata(index, self.log.term(index), self.log.chain(index), configuration))
        self._write(None)

    def observe(self) -> None:
        """Check the invariants after an event."""
        assert not self._stored.failed, f"{self.node_id} goes on after its log could not be read"
        assert self.node is not None
        self._cluster.observer.durable(self.node, self.disk.durable)
        self._cluster.observer.changed(self.node, self._cluster.durable_images)

    def _install(self, metadata: SnapshotMetadata, hard_state: HardState | None) -> None:
        old = self.log.snapshot()
        self.disk.lower_marker(old.index, old.term)
        self.log.install(metadata)
        self.applied = metadata
        promised = hard_state or self.disk.current.hard_state
        self._write(HardState(promised.term, promised.vote, metadata.index))
        self.disk.sync()
        self._cluster.observer.installed(self.core, metadata)

    def _write(self, hard_state: HardState | None) -> None:
        hard_state = hard_state or self.disk.current.hard_state
        self.disk.write(Image(self.log.snapshot(), self.log.kept(), hard_state, self.applied))

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._cluster.observer.sent(self.core, self.disk.durable, message)
            if isinstance(message, InstallSnapshot):
                # The driver sends the state as it is now, which is at least what the log starts from.
                message = InstallSnapshot(message.sender, message.to, message.term, self.applied)
            self._cluster.transmit(message)
