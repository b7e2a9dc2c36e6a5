"""Executes one `Ready`: the order of persisting, sending, applying and answering is decided here.

    messages -> snapshot -> append -> apply what is committed -> reads            one Ready after the other
                              sync -> what waited for it                          beside that, for all that was written

Invariants:
- a message that rests on unsynced state leaves only AFTER the sync, when `RaftNode.durable` hands it out (thesis 3.8);
- committed entries are applied and stored with `applied` in one batch, AFTER the log and in the same journal: a crash
  leaves a beginning of that, in which no state is ahead of its log;
- this happens BEFORE any client is answered;
- the core counts this node's copy of an entry only AFTER its sync (Raft 5.3).
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from collectionstore_node.raft.messages import (
    Configuration,
    Entry,
    HardState,
    InstallSnapshot,
    Message,
    SnapshotMetadata,
)
from collectionstore_node.raft.ready import Ready
from collectionstore_node.replica.driver.announcements import Announcements
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.persistence.log_compactor import LogCompactor
from collectionstore_node.replica.snapshots.installer import SnapshotInstaller
from collectionstore_node.replica.snapshots.sender import SnapshotSender
from collectionstore_node.replica.transport_port import PeerTransport


class ReadyExecutor:
    """Turns the effects of one member's core into disk and network I/O. Belongs to the event loop."""

    def __init__(
        self,
        member: LocalMember,
        transport: PeerTransport,
        snapshots: SnapshotSender,
        compactor: LogCompactor,
        announcements: Announcements,
    ) -> None:
        self._member = member
        self._transport = transport
        self._snapshots = snapshots
        self._compactor = compactor
        self._announcements = announcements
        self._consensus = member.consensus
        self._applier = member.applier
        self._state = member.storage.state
        self._log_writer = member.log_writer
        self._observer = member.observer
        self._loop = asyncio.get_running_loop()
        self._installer = SnapshotInstaller(
            member.storage, member.received, member.applier, member.file_executor, member.observer
        )

    async def execute(self, ready: Ready) -> None:
        """Do everything that `ready` says, in the order of its fields, and tell the core that it is done.

        Raises `Fatal` when the process must stop.
        """
        began = perf_counter()
        if ready.soft_state is not None:
            self._observer.leadership_changed(ready.soft_state)
            self._announcements.leadership_changed(ready.soft_state, self._consensus.raft, self._applier.record)
        # A leader's AppendEntries leave BEFORE its own sync: followers write while this disk does (thesis 10.2.1).
        self._send(ready.messages)
        if ready.snapshot is not None:
            await self._install(ready.snapshot, ready.hard_state)
        else:
            # Files whose messages were stepped before this `Ready`, and are not in it: the core rejected them.
            self._member.received.discard()
        if ready.write:
            self._log_writer.append(ready.entries, ready.hard_state, ready.write)
            self._observer.entries_appended(ready.entries, began)
        await self._apply(ready.committed)
        # Within this `Ready`: a follower answers heartbeats meanwhile, and a leader sends none, see `take_messages`.
        await self._let_disk_catch_up()
        # AFTER applying: a read is served from local state, which must include the index that was confirmed.
        with self._consensus.telling:
            self._consensus.serve_reads(ready, self._state.applied.index)
        self._consensus.raft.advance(ready)
        self._consensus.conditions.check()

    def acknowledge(self) -> None:
        """Tell the core what has become durable, and send what waited for that."""
        durable = self._log_writer.take_durable()
        if durable is None:
            return
        # The sync may have taken long: a leader that was stuck steps down BEFORE it acknowledges anything.
        self._member.self_check.check_pause()
        self._observer.entries_synced(durable.last_index, durable.began, durable.ended)
        # From here on the core counts this node's own copy. A vote or an acknowledgement that a crash could take back
        # would break Raft (5.2, thesis 3.8).
        self._send(self._consensus.raft.durable(durable.write))
        self._consensus.synced()

    def answer(self) -> None:
        """Send what may leave while the driver waits for the disk: a follower answers heartbeats at any time."""
        self._send(self._consensus.raft.take_messages())

    def _send(self, messages: tuple[Message, ...]) -> None:
        if not messages:
            return
        for message in messages:
            if isinstance(message, InstallSnapshot):
                # The envelope is sent with the file, on a separate connection.
                self._snapshots.start(message)
        self._transport.send([message for message in messages if not isinstance(message, InstallSnapshot)])

    async def _apply(self, committed: tuple[Entry, ...]) -> None:
        while committed:
            done = self._apply_some(committed)
            committed = committed[done:]
            if committed:
                # What was applied is answered, and clients and peers have their turn, before the next entries are read.
                await asyncio.sleep(0)
                await self._let_disk_catch_up()
                self.acknowledge()

    async def _let_disk_catch_up(self) -> None:
        if self._log_writer.behind:
            await self._log_writer.caught_up()

    def _apply_some(self, committed: tuple[Entry, ...]) -> int:
        """Apply and answer entries from the front of `committed`, and return how many."""
        record, began, started = self._applier.record, self._loop.time(), perf_counter()
        self._observer.entries_committed(committed)
        results = self._applier.apply(committed, self._consensus.raft.apply_change, self._consensus.waits)
        self._log_writer.wrote()
        committed = committed[: len(results)]
        self._member.self_check.applied_in(loop_s := self._loop.time() - began)
        self._observer.state_stored(
            committed, [result.outcomes for result in results], loop_s=loop_s, seconds=perf_counter() - started
        )
        # AFTER the state is stored: a client that reads after its acknowledgement must see its write.
        with self._consensus.telling:
            for result in results:
                entry = result.entry
                self._compactor.applied(len(result.outcomes), len(entry.data))
                self._consensus.applied(result)
                self._observer.entry_applied(entry.index, began)
            self._observer.entries_applied(committed)
            applied = self._state.applied
            if self._applier.record is not record:
                self._membership_changed(applied.configuration)
            self._compactor.compact(applied)
        self._tell_revision()
        return len(results)

    async def _install(self, metadata: SnapshotMetadata, hard_state: HardState | None) -> None:
        path = self._installer.take(metadata)
        # A sync of the log that is replaced must not end in the middle of it; and what waits for one leaves before the
        # installation, which may take long.
        await self._log_writer.caught_up()
        self.acknowledge()
        await self._installer.install(path, metadata, hard_state)
        self._consensus.skipped_to(metadata.index)
        self._compactor.reset()
        self._tell_revision()
        self._membership_changed(metadata.configuration)

    def _tell_revision(self) -> None:
        self._member.revisions.applied(self._applier.revision, self._applier.time_ms)

    def _membership_changed(self, configuration: Configuration) -> None:
        self._announcements.configuration_applied(self._applier.record, configuration)
