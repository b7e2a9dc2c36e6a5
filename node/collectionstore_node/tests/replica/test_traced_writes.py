"""The spans of writes in a group of members: whatever becomes of a write, its spans end and what was noted goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from collectionstore_node.errors import OutcomeUnknown, Overloaded
from collectionstore_node.raft.messages import Entry, EntryKind, Index
from collectionstore_node.replica.observation.command_spans import begin_propose
from collectionstore_node.statemachine.commands import (
    Command,
    CreateCollection,
    KeyRef,
    Put,
    encode_command,
    join_batch,
    span_contexts,
)
from collectionstore_node.statemachine.levels import FIRST
from collectionstore_node.tests.replica.group import SETTINGS, Member, Wires, group, programs_support
from collectionstore_node.tests.tracing.recorded import CLIENT, CLIENT_TRACE, Recorded, sampled
from collectionstore_node.tracing.spans import Tracing
from collectionstore_telemetry.tracing.active import active

STAGES = ["append", "fsync", "quorum", "apply"]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    one = Recorded()
    yield one
    one.close()


@pytest.fixture
def client() -> Iterator[None]:
    """A request of a sampled client is being served."""
    token = active.set(sampled())
    yield
    active.reset(token)


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def entries(member: Member) -> Sequence[Entry]:
    """Return what the member's log holds of commands."""
    log = member.database.log
    found = log.entries(log.first_index(), Index(log.last_index() + 1), 1 << 30)
    return [entry for entry in found if entry.kind is EntryKind.COMMANDS]


async def applied_everywhere(members: Sequence[Member]) -> None:
    async def applied(member: Member) -> None:
        last = members[0].consensus.raft.last_index
        await member.until(lambda: member.consensus.raft.applied == last == member.consensus.raft.durable_index)

    await asyncio.gather(*map(applied, members))


@pytest.mark.usefixtures("client")
async def test_followers_link_to_what_the_leader_proposed(tmp_path: Path, recorded: Recorded) -> None:
    async with group(tmp_path, 3, recorded.tracing) as (_, members):
        await members[1].put("key", b"value")
        await applied_everywhere(members)
        led = {span.name: span for span in recorded.spans("n0")}
        assert sorted(led) == sorted(["propose put", "queue", *STAGES])
        propose = led["propose put"]
        for stage in ("queue", *STAGES):
            parent = led[stage].parent
            assert parent is not None
            assert propose.context is not None
            assert parent.span_id == propose.context.span_id
        assert [one for one in recorded.names("n1") if one == "forward put"] == ["forward put"]
        for name in ("n1", "n2"):
            (replicate,) = (span for span in recorded.spans(name) if span.name == "replicate")
            assert replicate.parent is None
            assert [link.context.trace_id for link in replicate.links] == [CLIENT_TRACE]
            assert attributes(replicate)["collectionstore.raft.index"] == entries(members[0])[-1].index
            assert [event.name for event in replicate.events] == ["append", "fsync", "apply"]


async def test_nothing_that_is_not_sampled_leaves_a_byte_in_the_log(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing is on, the client is not sampled: the entry is, byte for byte, the one of a node without tracing."""
    # Nothing raises the level, which would be an entry of its own.
    programs_support(FIRST, monkeypatch)
    async with group(tmp_path, 3, recorded.tracing) as (_, members):
        await members[0].put("key", b"value")
        await members[1].put("key", b"value")
        await applied_everywhere(members)
        data = [entry.data for entry in entries(members[0])]
        assert len(data) == 2
        command = encode_command(Command(Put(KeyRef("test", "key"), b"value")))
        assert data == [join_batch(1_700_000_000_000, [command])] * 2
        assert all(recorded.names(member.name) == [] for member in members)


@pytest.mark.usefixtures("client")
async def test_members_with_and_without_tracing_hold_the_same(tmp_path: Path, recorded: Recorded) -> None:
    """A context in the log changes neither state nor digest, on whoever knows it and on whoever does not."""

    def only_the_first(name: str) -> Tracing | None:
        return recorded.tracing(name) if name == "n0" else None

    async with group(tmp_path, 3, only_the_first) as (_, members):
        for number in range(5):
            await members[0].put(f"key-{number}", b"value")
        await applied_everywhere(members)
        assert span_contexts(entries(members[2])[-1].data)
        heads = {member.local.checkpoints()[-1] for member in members}
        assert len(heads) == 1


@pytest.mark.usefixtures("client")
async def test_a_fate_that_stays_unknown_ends_the_span_and_what_was_noted_goes(
    tmp_path: Path, recorded: Recorded
) -> None:
    """A leader that is cut off proposes, its client gives up, and others replace the entry: nothing stays behind."""
    async with group(tmp_path, 3, recorded.tracing, raised=True) as (wires, members):
        old = members[0]
        wires.isolate(old)
        with pytest.raises(OutcomeUnknown):
            await old.put("lost", b"value", timeout_s=0.05)
        (propose,) = (span for span in recorded.spans("n0") if span.name == "propose put")
        assert attributes(propose)["error.type"] == "OutcomeUnknown"
        assert attributes(propose)["collectionstore.outcome"] == "unknown"
        assert old.spans is not None
        assert old.spans.tracked == 1
        new = await _another_leader(members[1:])
        await new.put("key", b"value")
        _heal(wires)
        await applied_everywhere([new, *members])
        assert [member.spans.tracked for member in members if member.spans is not None] == [0, 0, 0]


@pytest.mark.usefixtures("client")
async def test_a_command_that_does_not_fit_the_queue_ends_its_span(tmp_path: Path, recorded: Recorded) -> None:
    async with group(tmp_path, 1, recorded.tracing) as (_, (member,)):
        consensus = member.consensus
        span = begin_propose(recorded.tracing(member.name), Command(CreateCollection("people")), CLIENT)
        waiting = [consensus.submit(b"", 0.0) for _ in range(SETTINGS.waiting_max)]
        with pytest.raises(Overloaded):
            consensus.submit(b"", 0.0, span)
        for one in waiting:
            one.cancel()
        (ended,) = recorded.spans("n0")
        assert ended.name == "propose create_collection"
        assert attributes(ended)["error.type"] == "Overloaded"
        assert attributes(ended)["db.collection.name"] == "people"


@pytest.mark.usefixtures("client")
async def test_a_caller_that_goes_away_ends_its_span(tmp_path: Path, recorded: Recorded) -> None:
    async with group(tmp_path, 1, recorded.tracing) as (_, (member,)):
        member.log.open.clear()  # the disk hangs
        writing = asyncio.create_task(member.put("key", b"value"))
        await member.until(lambda: member.spans is not None and member.spans.tracked == 1)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        member.log.open.set()
        await member.until(lambda: member.spans is not None and member.spans.tracked == 0)
        spans = {span.name: span for span in recorded.spans("n0")}
        assert attributes(spans["propose put"])["error.type"] == "cancelled"
        assert "apply" in spans


@pytest.mark.usefixtures("client")
async def test_a_linearizable_read_shows_its_round(tmp_path: Path, recorded: Recorded) -> None:
    async with group(tmp_path, 3, recorded.tracing) as (_, members):
        assert await members[2].get("key") is None
        assert recorded.names("n2") == ["read index"]


async def _another_leader(members: Sequence[Member]) -> Member:
    await members[0].until(lambda: any(member.consensus.raft.is_leader for member in members))
    return next(member for member in members if member.consensus.raft.is_leader)


def _heal(wires: Wires) -> None:
    """Let everything through again; what was held is lost, as on a connection that broke."""
    wires.held.clear()
    wires.waiting.clear()


@pytest.mark.usefixtures("client")
async def test_the_time_of_a_sampled_write_shows_its_trace(tmp_path: Path, recorded: Recorded) -> None:
    """As an exemplar of the histogram, on the leader."""
    async with group(tmp_path, 1, recorded.tracing) as (_, (member,)):
        await member.put("key", b"value")
        examples = member.metrics.histogram("raft_proposal_duration_seconds").exemplars
        assert [one.trace_id for one in examples.values()] == [f"{CLIENT_TRACE:032x}"]
