"""What a put costs where it is applied, and what checking costs of that; best of several rounds.

`python -m collectionstore_node.tests.statemachine.apply_cost`; an argument is the feature level, by default the last.

- apply      one entry through `Applier`: chain check, commands, digest, RocksDB's batch; divided by its puts
- chain      of that, the hash of the entry before it is applied
- digest     of that, the state digest of the entry; and the same with BLAKE2b in the place of SHA-256
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from collectionstore_node.metrics import DiskSeries, member_metrics
from collectionstore_node.raft.messages import GENESIS_CHAIN, Configuration, Entry, EntryKind, Index, Term, chain_hash
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Command, KeyRef, Outcome, Put, encode_batch
from collectionstore_node.statemachine.digest import update_digest
from collectionstore_node.statemachine.header import Header
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import Database
from collectionstore_node.tests.statemachine.memory_view import MemoryView

ROUNDS = 7
PUTS = 4096
"""Per round."""


def best_us(work: Callable[[int], None], puts: int) -> float:
    """Return the microseconds per put of the best round; `work` is told its number."""
    times = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - began)
    return min(times) / puts * 1e6


def history(count: int, puts: int, size: int, level: int) -> list[Entry]:
    """Return entries of `puts` puts of `size` bytes."""
    chain, entries, value = GENESIS_CHAIN, [], b"v" * size
    for index in range(1, count + 1):
        commands = [
            Command(Put(KeyRef("bucket", f"key-{(index * puts + one) % 10_000}"), value)) for one in range(puts)
        ]
        data = encode_batch(index, commands, level)
        chain = chain_hash(chain, Index(index), Term(1), EntryKind.COMMANDS, data)
        entries.append(Entry(Index(index), Term(1), EntryKind.COMMANDS, data, chain))
    return entries


def measure(directory: Path, puts: int, size: int, level: int) -> tuple[float, float, float, float]:
    """Return microseconds per put: all of it, the chain, the digest, the digest with BLAKE2b."""
    per_round = max(1, PUTS // puts)
    entries = history(per_round * ROUNDS, puts, size, level)
    database = Database.open(directory, cluster_id="cost", name="cost")
    applier = Applier(database.state, DiskSeries(member_metrics()))

    def apply(number: int) -> None:
        for entry in entries[number * per_round : (number + 1) * per_round]:
            applier.apply((entry,), _no_change)

    def chain(_number: int) -> None:
        for entry in entries[:per_round]:
            chain_hash(entry.chain, entry.index, entry.term, entry.kind, entry.data)

    journal, outcomes = _done(entries[0])

    def digest(_number: int) -> None:
        overlay = Overlay(MemoryView())
        for _ in range(per_round):
            overlay.journal.extend(journal)
            update_digest(overlay, Header(), entries[0].chain, outcomes)

    def blake2b(_number: int) -> None:
        for _ in range(per_round):
            hashlib.blake2b(
                msgspec.msgpack.encode((Header(), entries[0].chain, journal, outcomes)), digest_size=32
            ).digest()

    found = tuple(best_us(work, per_round * puts) for work in (apply, chain, digest, blake2b))
    database.close()
    return found[0], found[1], found[2], found[3]


def _done(entry: Entry) -> tuple[list[bytes | tuple[bytes, bytes] | None], list[Outcome]]:
    """Return the journal of an entry just before it is sealed, and its outcomes."""
    overlay = _Unsealed(MemoryView())
    outcomes = apply_batch(overlay, entry.data, entry.chain)
    return overlay.kept, outcomes


class _Unsealed(Overlay):
    """Keeps a copy of every write, as the journal is emptied when the entry is sealed."""

    __slots__ = ("kept",)

    def __init__(self, base: MemoryView) -> None:
        super().__init__(base)
        self.kept: list[bytes | tuple[bytes, bytes] | None] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.kept += (key, value)
        super().put(key, value)


def _no_change(_entry: Entry) -> Configuration:
    raise AssertionError("there is no membership change")


def main() -> None:
    """Print a table."""
    level = int(sys.argv[1]) if len(sys.argv) > 1 else HIGHEST
    sys.stdout.write(f"feature level {level}\n")
    sys.stdout.write("value bytes  puts/entry  apply us  chain us      %  digest us      %  BLAKE2b us\n")
    for size in (255, 1024, 8192):
        for puts in (1, 16, 64, 512):
            with tempfile.TemporaryDirectory() as directory:
                apply, chain, digest, blake2b = measure(Path(directory) / "data", puts, size, level)
            sys.stdout.write(
                f"{size:>11} {puts:>11} {apply:>9.2f} {chain:>9.2f} {chain / apply:>6.1%} {digest:>10.2f}"
                f" {digest / apply:>6.1%} {blake2b:>11.2f}\n"
            )


if __name__ == "__main__":
    main()
