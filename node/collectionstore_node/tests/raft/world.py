"""What a simulated run consists of: a cluster, one source of chance, a fault budget, a hash of all that happened."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.raft.messages import Index, InstallSnapshot, Message, NodeId
from collectionstore_node.raft.ready import Role
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.storage.identity import new_identity
from collectionstore_node.tests.raft.budget import Budget
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.invariants import Vitals
from collectionstore_node.tests.raft.server import Server

SNAPSHOTS_KEPT: Final = 20
_VITALS = struct.Struct("<QQQQQQB")
_ROLES: Final = {role: number for number, role in enumerate(Role)}


class World:
    """One run. Everything random is drawn from `random`, so that a seed decides all of it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._hash = hashlib.blake2b(b"%d" % seed, digest_size=16)
        self.step = 0
        self.elapsed_ticks = 0.0
        """How long the cluster lived, in ticks of a server that is neither fast nor slow."""
        self.faults: Counter[str] = Counter()
        self.late: list[Message] = []
        """Messages put aside, for so long that they belong to another time."""
        self.old_snapshots: list[InstallSnapshot] = []
        self.speeds: dict[NodeId, float] = {}
        """Ticks of a server per tick of the others, where that is not 1."""
        self.hung_until: dict[NodeId, int] = {}
        """Syncs of these servers do not end before this step."""
        self.applying_until: dict[NodeId, int] = {}
        """These servers apply nothing before this step."""
        self.installing_until: dict[NodeId, int] = {}
        """A snapshot that these servers install is not there before this step."""
        self.stalled_ticks: Counter[NodeId] = Counter()
        """Ticks that a server's running sync has lasted."""
        self.watchdog = self.random.random() < 0.5
        """Whether a leader whose sync lasts an election timeout steps down."""
        self.fine = self.random.choice((0.0, 0.3, 0.8))
        """How often a server's I/O stops between two of its steps."""
        self.sync_pace = self.random.choice((0.05, 0.3, 1.0))
        """How often a sync goes on when its server could also do something else, or nothing."""
        self.backlog_max = self.random.choice((0, 1, 5, 1000))
        """How many writes that are not durable a driver may have when it takes another Ready."""
        self.cluster = Cluster.of(
            *range(1, self.random.choice((1, 2, 3, 3, 3, 4, 5, 5)) + 1),
            settings=self._draw_settings(),
            random_ticks=self.random.randrange,
        )
        self.cluster.storage_failed = self._stop
        self.cluster.carried = self._carried
        self.cluster.observer.noted = self._noted
        self.budget = Budget(self.cluster)
        self.ever: set[NodeId] = set(self.cluster.servers)
        """Every id that was given to a server."""
        if self.random.random() < 0.8:
            self.cluster.elect(1)
        self._last_request = 0
        self._numbers: dict[int, NodeId] = {}
        """A small number for every identity, in the order in which they were drawn: no run depends on their values."""
        self.names: dict[NodeId, str] = {}
        """What a member is called: a new disk gets a new id, the name stays."""
        self.successors: dict[NodeId, NodeId] = {}
        """Who started on an empty disk in the place of a lost one, and waits to become a member."""
        for _ in self.cluster.servers:
            self.new_member()

    def _draw_settings(self) -> RaftSettings:
        draw = self.random
        return RaftSettings(
            election_ticks=draw.choice((4, 10)),
            heartbeat_ticks=draw.choice((1, 3)),
            message_bytes_max=draw.choice((1, 40, 1 << 20)),
            inflight_messages_max=draw.choice((1, 2, 256)),
            inflight_bytes_max=draw.choice((20, 1 << 20)),
            uncommitted_bytes_max=draw.choice((100, 1 << 20)),
            apply_bytes_max=draw.choice((1, 30, 1 << 20)),
            defer_commit=draw.random() < 0.7,
            pre_vote=draw.random() < 0.7,
            check_quorum=draw.random() < 0.7,
        )

    # Who is there

    def awake(self) -> list[Server]:
        """Return the servers that run and do not stand still."""
        return [one for one in self.cluster.servers.values() if one.node is not None and not one.paused]

    def any_awake(self) -> Server | None:
        awake = self.awake()
        return self.random.choice(awake) if awake else None

    def leaders(self) -> list[Server]:
        return [server for server in self.awake() if server.core.is_leader]

    def new_member(self) -> NodeId:
        """Return the id of a member that is not there yet, under a name of its own."""
        return self.new_incarnation(f"member-{len(self._numbers) + 1}")

    def new_incarnation(self, name: str) -> NodeId:
        """Return the id that an empty data directory of a member draws, as nodes draw it (S11)."""
        drawn = new_identity("simulated", name).node_id
        number = self._numbers.setdefault(drawn, NodeId(len(self._numbers) + 1))
        self.names[number] = name
        return number

    def new_request(self) -> int:
        self._last_request += 1
        return self._last_request

    def add(self, node_id: NodeId) -> None:
        """Start a server with an empty disk."""
        self.ever.add(node_id)
        self.cluster.add(node_id)

    # What happens to them

    def attempt(self, server: Server, action: Callable[[], object]) -> None:
        """Do something that a failing disk may end; the process stops then."""
        try:
            action()
        except StorageFailed as error:
            self._stop(server, error)

    def _stop(self, server: Server, error: StorageFailed) -> None:
        # Retrying would prove nothing: pages of a failed sync may be marked clean (ATC'20, Rebello et al.).
        self.note(f"{server.node_id} stops: {error}")
        self.crash(server, self.random.randrange(server.disk.unsynced + 1))

    def crash(self, server: Server, kept: int) -> None:
        """Stop a process; the first `kept` of its unsynced writes survive."""
        server.crash(kept)
        self.hung_until.pop(server.node_id, None)
        self.applying_until.pop(server.node_id, None)
        self.installing_until.pop(server.node_id, None)
        self.stalled_ticks.pop(server.node_id, None)

    def start(self, server: Server) -> None:
        """Start a process. One whose disk is rejected never starts again: a new incarnation has to replace it."""
        self.note(f"{server.node_id} starts")
        try:
            server.start()
        except DataDirectoryRefused as error:
            self.note(f"{server.node_id} is refused: {error}")
            self.budget.refused(server.node_id)
        else:
            self.budget.healthy(server.node_id)

    def tick(self, server: Server) -> None:
        """Let a server's clock advance by one tick, and its watchdog look at the sync that runs."""
        self.attempt(server, server.tick)
        if server.node_id in self.hung_until and server.alive:
            self._watch(server)

    def _watch(self, server: Server) -> None:
        if not server.backlog:
            self.stalled_ticks.pop(server.node_id, None)
            return
        self.stalled_ticks[server.node_id] += 1
        if self.watchdog and self.stalled_ticks[server.node_id] >= self.cluster.settings.election_ticks:
            server.core.step_down()
            server.observe()

    def hangs(self, server: Server) -> bool:
        """Whether a sync of this server cannot end yet."""
        return self._lasts(self.hung_until, server)

    def applies_slowly(self, server: Server) -> bool:
        """Whether this server cannot apply anything yet."""
        return self._lasts(self.applying_until, server)

    def installs_slowly(self, server: Server) -> bool:
        """Whether the snapshot that this server installs, large or small, is not there yet."""
        if server.node_id not in self.installing_until:
            self.installing_until[server.node_id] = self.step + self.random.choice((0, 0, 20, 200, 600))
        return self._lasts(self.installing_until, server)

    def _lasts(self, until: dict[NodeId, int], server: Server) -> bool:
        end = until.get(server.node_id)
        if end is None or end > self.step:
            return end is not None
        del until[server.node_id]
        return False

    # What is remembered of it

    @property
    def trace(self) -> str:
        """Hash, in hex, of everything that happened so far: equal for equal seeds, in every process."""
        return self._hash.hexdigest()

    def note(self, text: str) -> None:
        """Add an event to the trace."""
        self._hash.update(text.encode())

    def _carried(self, message: Message, data: bytes) -> None:
        self._hash.update(data)
        if type(message) is InstallSnapshot:
            self.old_snapshots.append(message)
            del self.old_snapshots[:-SNAPSHOTS_KEPT]

    def _noted(self, node_id: NodeId, vitals: Vitals) -> None:
        term, vote, commit, applied, last, role = vitals
        self._hash.update(_VITALS.pack(node_id, term, vote, commit, applied, last, _ROLES[role]))

    @property
    def commit(self) -> Index:
        return self.cluster.observer.commit


@dataclass(frozen=True, slots=True)
class Action:
    """Something that may happen. `act` returns whether it did; then it counts, if it is a fault."""

    name: str
    weight: float
    act: Callable[[World], bool]
