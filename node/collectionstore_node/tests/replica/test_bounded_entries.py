"""Members under commands that cost a lot: who answers with values, what is proposed again, and what ends a member."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from collectionstore_node.errors import InvariantViolated, OutOfMemory, StorageFailed
from collectionstore_node.replica.consensus import proposals
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.persistence import applier
from collectionstore_node.statemachine import apply
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    Get,
    Idempotency,
    KeyRef,
    Operation,
    Outcome,
    Put,
    Transaction,
)
from collectionstore_node.statemachine.costs import ENTRY_COST_MAX
from collectionstore_node.statemachine.history import kept_after
from collectionstore_node.statemachine.levels import FIRST, HIGHEST
from collectionstore_node.storage.formats import format_of
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires, group, programs_support
from collectionstore_node.tests.replica.test_state_comparer import end_of

MIB = 1 << 20
LARGE = KeyRef("test", "large")


async def raised(leader: Member, *others: Member) -> None:
    """Raise the level as the comparison does, and wait until all members have applied it, and all before it."""
    leader.local.raise_level(HIGHEST)
    await leader.until(lambda: leader.local.applier.level == HIGHEST)
    applied = leader.replica.applied_index
    for member in others:
        await member.until(lambda member=member: member.replica.applied_index >= applied)  # type: ignore[misc]


def reading(number: int, gets: int = 4) -> Command:
    """Return a transaction that reads the large value `gets` times and writes a key of its own."""
    then: tuple[Operation, ...] = (*[Get(LARGE)] * gets, Put(KeyRef("test", f"own-{number}"), b"1"))
    return Command(Transaction((), then), Idempotency(f"key-{number}", b"f" * 32))


async def test_only_the_member_that_answers_makes_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader, also for a client of a follower; the followers apply the same entry without one byte of an answer."""
    handed: dict[str, int] = {}
    real = apply.apply_batch

    def count(overlay: Any, data: bytes, chain: bytes, answers: dict[int, Outcome] | None) -> list[Outcome]:
        outcomes = real(overlay, data, chain, answers)
        handed["with" if answers else "without"] = handed.get("with" if answers else "without", 0) + 1
        return outcomes

    async with group(tmp_path, 3) as (_, (first, second, third)):
        await first.put("large", b"v" * MIB)
        await raised(first, second, third)
        monkeypatch.setattr(applier, "apply_batch", count)
        for member in (first, second):
            outcome = await member.replica.propose(reading(1), timeout_s=PATIENCE_S)
            assert outcome.code is Code.OK
            values = [item.value for item in outcome.items[:4]]
            # The second is a retry of the first, at another member.
            assert values == ([b"v" * MIB] * 4 if member is first else [None] * 4)
        forwarded = await third.replica.propose(reading(2), timeout_s=PATIENCE_S)
        assert [len(item.value or b"") for item in forwarded.items] == [MIB] * 4 + [0]
        for member in (first, second, third):
            await member.until(lambda: handed.get("with", 0) + handed.get("without", 0) == 9)
    assert handed == {"with": 2, "without": 7}


async def test_what_an_entry_has_no_room_for_is_proposed_again_until_it_is_done(tmp_path: Path) -> None:
    """A hundred transactions of 4 MiB each, at once: all are done, once, and no entry costs more than its bound."""
    async with group(tmp_path, 1) as (_, (member,)):
        await member.put("large", b"v" * MIB)
        await raised(member)
        outcomes = await asyncio.gather(
            *(member.replica.propose(reading(number), timeout_s=PATIENCE_S) for number in range(100))
        )
        assert {outcome.code for outcome in outcomes} == {Code.OK}
        assert not any(outcome.replayed for outcome in outcomes)
        assert len({outcome.revision for outcome in outcomes}) == 100
        assert member.series("collectionstore_raft_proposals_deferred_total") > 0
        for number in range(100):
            assert await member.get(f"own-{number}") == b"1"


async def test_entries_that_cost_much_are_applied_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of many small entries would be held together otherwise: a log of 256 KiB may read gigabytes."""
    costs: list[int] = []
    real = applier.Applier.apply

    def measure(self: Any, committed: Any, *given: Any) -> Any:
        results = real(self, committed, *given)
        answered = [len(item.value or b"") for one in results for each in one.answers.values() for item in each.items]
        costs.append(sum(answered))
        return results

    async with group(tmp_path, 3) as (wires, (first, second, third)):
        await first.put("large", b"v" * MIB)
        await raised(first, second, third)
        monkeypatch.setattr(applier.Applier, "apply", measure)
        # Each command has an entry of its own, however many are under way.
        monkeypatch.setattr(proposals, "ENOUGH_BYTES", 0)
        wires.hold(first, second, third)
        tasks = []
        for number in range(30):
            tasks.append(asyncio.create_task(first.replica.propose(reading(number), timeout_s=PATIENCE_S)))
            await first.until(lambda number=number: first.consensus.proposals.pending == number + 1)  # type: ignore[misc]
        # All of them commit at once.
        wires.held.clear()
        waiting, wires.waiting = wires.waiting, []
        for message in waiting:
            wires.carry(message)
        assert {outcome.code for outcome in await asyncio.gather(*tasks)} == {Code.OK}
    assert sum(costs) == 30 * 4 * MIB
    assert max(costs) <= 2 * ENTRY_COST_MAX


FAILURES: list[tuple[Callable[[], Exception], type[Exception]]] = [
    (MemoryError, OutOfMemory),
    (lambda: StorageFailed("read from state: IO error"), StorageFailed),
    (lambda: InvariantViolated("stored record of unknown format"), InvariantViolated),
    (lambda: KeyError("secret"), InvariantViolated),
]


@pytest.mark.parametrize(("make", "expected"), FAILURES, ids=["memory", "disk", "damage", "bug"])
async def test_member_says_which_entry_and_command_it_cannot_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Exception], expected: type[Exception]
) -> None:
    """In its log and in the error that ends it; a number and a kind, and nothing of what the command holds."""
    real = apply._put

    def fail(overlay: Any, catalog: Any, key: Any, put: Put, revision: int) -> Outcome:
        if put.ref == KeyRef("test", "secret"):
            raise make()
        return real(overlay, catalog, key, put, revision)

    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("fine", b"1")
        monkeypatch.setattr(apply, "_put", fail)
        index = member.local.raft_status().last_index + 1
        with capture_logs() as logs:
            writes = [member.put(key, b"secret") for key in ("one", "two", "secret")]
            results = await asyncio.gather(*writes, return_exceptions=True)
            error = await end_of(member)
        assert all(isinstance(one, Exception) for one in results)
        assert type(error) is expected
        assert f"entry {index} of term 2 (COMMANDS" in str(error)
        assert "command 2, a Put" in str(error)
        assert "secret" not in str(error)
        assert member.replica.status().failure == str(error)
        [line] = [one for one in logs if one["event"] == "entry.not_applied"]
        assert (line["index"], line["command"], line["action"]) == (index, 2, "Put")
        assert "secret" not in repr(line)


async def test_level_is_in_status_metrics_and_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised while it runs, it is marked in the directory, where an older program finds it before anything else."""
    programs_support(FIRST, monkeypatch)
    async with group(tmp_path, 1) as (_, (member,)):
        before = member.replica.status()
        monkeypatch.undo()
        await raised(member)
        assert (before.feature_level, member.replica.status().feature_level) == (1, HIGHEST)
        assert member.series("collectionstore_feature_level") == HIGHEST
        identity = msgspec.json.decode((member.database.path / "IDENTITY").read_bytes())
        assert identity["format"] == format_of(HIGHEST)


async def test_new_cluster_has_the_highest_level_before_anything_else(tmp_path: Path) -> None:
    """Its first writes and its other members may come as soon as it has a leader; all of its history is kept."""
    wires = Wires()
    members = [Member(name, tmp_path / name, wires, seed, None) for seed, name in enumerate(("n0", "n1"))]
    first, second = members
    try:
        await first.replica.bootstrap()
        changes = MembersRequest((MemberChange("add", second.id, second.name, "n1:7401", "http://n1"),))
        await asyncio.gather(first.put("a", b"1"), first.replica.change_members(changes, timeout_s=PATIENCE_S))
        for member in members:
            await member.until(lambda member=member: member.local.applier.level == HIGHEST)  # type: ignore[misc]
            assert kept_after(member.database.state) == 0
    finally:
        for member in members:
            await member.stop()


async def test_leader_raises_the_level_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all members have answered a comparison, which asks them once a second."""
    programs_support(FIRST, monkeypatch)
    async with group(tmp_path, 3) as (_, members):
        assert {member.local.applier.level for member in members} == {FIRST}
        monkeypatch.undo()
        for member in members:
            await member.until(lambda member=member: member.local.applier.level == HIGHEST)  # type: ignore[misc]


async def test_level_is_not_raised_while_a_member_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of an older version: nobody knows."""
    programs_support(FIRST, monkeypatch)  # a cluster of an older version
    async with group(tmp_path, 3) as (wires, (first, _, third)):
        wires.isolate(third)
        monkeypatch.undo()
        ticks = first.ticks
        await first.until(lambda: first.ticks > ticks + 250)
        assert first.local.applier.level == FIRST
