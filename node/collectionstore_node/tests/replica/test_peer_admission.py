"""Who may connect to a member and what it may send: members, removed members, and nodes that are not known here."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import msgspec
import pytest

from collectionstore_node.errors import InvalidRequest, NotNow
from collectionstore_node.indexes.definition import Definition, IndexField
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    VoteReply,
)
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.peers import calls
from collectionstore_node.replica.peers.admission import REMOVED, stranger_may_send
from collectionstore_node.statemachine.commands import (
    Action,
    BuildIndex,
    Command,
    ConfigureCollection,
    CountUsage,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropIndex,
    Idempotency,
    KeyRef,
    Precondition,
    Put,
    Transaction,
    encode_command,
)
from collectionstore_node.statemachine.options import CollectionOptions
from collectionstore_node.tests.replica.group import PATIENCE_S, SETTINGS, Member, Wires, group

STRANGER = NodeId(0xDEAD)
WAIT = SETTINGS.strangers_wait_ticks


def vote(sender: NodeId, to: NodeId, term: int, *, transfer: bool = False) -> RequestVote:
    return RequestVote(sender, to, Term(term), Index(10**6), Term(term - 1), transfer=transfer)


def reaching(member: Member, sender: NodeId, message: Message) -> tuple[object, object, object]:
    """Hand over a message and return what it could change."""
    member.handler.on_messages(sender, (message,))
    raft = member.consensus.raft
    return raft.term, raft.leader, raft.vote


async def remove(leader: Member, gone: Member) -> None:
    change = MembersRequest((MemberChange("remove", gone.id),))
    await leader.replica.change_members(change, timeout_s=PATIENCE_S)


async def test_removed_member_is_refused_and_told(tmp_path: Path) -> None:
    """Its certificate is still valid: the membership alone shows that it left."""
    async with group(tmp_path, 3) as (_, (leader, second, third)):
        await remove(leader, third)
        await second.until(lambda: third.id in second.local.record.removed)
        for member in (leader, second):
            assert member.handler.refusal(third.id, third.name) == REMOVED
            before = member.consensus.raft.term, member.consensus.raft.leader, member.consensus.raft.vote
            term = member.consensus.raft.term + 1_000
            assert reaching(member, third.id, vote(third.id, member.id, term, transfer=True)) == before
            assert reaching(member, third.id, Heartbeat(third.id, member.id, Term(term), Index(0))) == before
            with pytest.raises(NotNow):
                await member.handler.on_request(third.id, propose(Put(KeyRef("test", "k"), b"v", content_type="a/b")))


async def test_its_old_certificate_with_a_new_node_id_is_refused(tmp_path: Path) -> None:
    """While there is a leader, who is not known here has no business here, whatever name its certificate has."""
    async with group(tmp_path, 3) as (_, (leader, second, third)):
        await remove(leader, third)
        for member in (leader, second):
            assert "not a member" in (member.handler.refusal(STRANGER, third.name) or "")
            assert "not a member" in (member.handler.refusal(STRANGER, second.name) or "")
            before = member.consensus.raft.term, member.consensus.raft.leader, member.consensus.raft.vote
            term = member.consensus.raft.term + 1_000
            assert reaching(member, STRANGER, vote(STRANGER, member.id, term, transfer=True)) == before
            assert reaching(member, STRANGER, Heartbeat(STRANGER, member.id, Term(term), Index(0))) == before
            with pytest.raises(NotNow):
                await member.handler.on_request(STRANGER, propose(CreateCollection("books")))


async def test_snapshot_without_its_file_is_dropped(tmp_path: Path) -> None:
    """The core would accept it, and the member would stop: there is nothing to install."""
    async with group(tmp_path, 3) as (_, (leader, second, _)):
        raft = second.consensus.raft
        metadata = SnapshotMetadata(Index(raft.last_index + 100), raft.term, bytes(32), raft.configuration)
        before = second.series("collectionstore_raft_rejected_messages_total")
        second.handler.on_messages(leader.id, (InstallSnapshot(leader.id, second.id, raft.term, metadata),))
        assert second.series("collectionstore_raft_rejected_messages_total") == before + 1
        await leader.put("k", b"v")
        assert await second.get("k") == b"v"


async def test_node_id_of_a_member_under_another_name_is_refused(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, (leader, second, third)):
        assert leader.handler.refusal(second.id, second.name) is None
        assert second.name in (leader.handler.refusal(second.id, third.name) or "")


async def test_member_that_knows_nobody_admits_whoever_contacts_it(tmp_path: Path) -> None:
    """It waits for a leader to add it, and cannot know which node that will be."""
    wires = Wires()
    empty = Member("n0", tmp_path / "n0", wires, 0)
    try:
        assert empty.handler.refusal(STRANGER, "n1") is None
        empty.handler.on_messages(STRANGER, (Heartbeat(STRANGER, empty.id, Term(3), Index(0)),))
        assert (empty.consensus.raft.term, empty.consensus.raft.leader) == (3, STRANGER)
        with pytest.raises(NotNow):
            await empty.handler.on_request(STRANGER, propose(CreateCollection("books")))
    finally:
        await empty.stop()


async def test_lagging_member_without_a_leader_votes_for_a_candidate_it_does_not_know(tmp_path: Path) -> None:
    """It may be the one that was away when the candidate was added: refused for ever, the cluster has no majority."""
    async with group(tmp_path, 3) as (wires, (_, _, lagging)):
        wires.isolate(lagging)
        term = lagging.consensus.raft.term + 1
        await lagging.until(lambda: not lagging.consensus.raft.leader)
        assert "not a member" in (lagging.handler.refusal(STRANGER, "n7") or ""), "an election takes less"
        before = lagging.consensus.raft.vote
        lagging.handler.on_messages(STRANGER, (vote(STRANGER, lagging.id, term),))
        assert lagging.consensus.raft.vote == before
        await lagging.until(lambda: lagging.consensus.leaderless_ticks >= WAIT)
        assert lagging.handler.refusal(STRANGER, "n7") is None
        lagging.handler.on_messages(STRANGER, (vote(STRANGER, lagging.id, term + 1),))
        assert lagging.consensus.raft.vote == STRANGER
        # And follows it; it stays admitted for as long as it leads.
        lagging.handler.on_messages(STRANGER, (Heartbeat(STRANGER, lagging.id, Term(term + 1), Index(0)),))
        assert lagging.consensus.raft.leader == STRANGER
        await lagging.until(lambda: lagging.consensus.leaderless_ticks == 0)
        assert lagging.handler.refusal(STRANGER, "n7") is None
        assert lagging.handler.refusal(NodeId(0xBEEF), "n8") is not None, "another one has to wait for the leader"


@pytest.mark.parametrize(
    ("message", "allowed"),
    [
        (AppendEntries(STRANGER, NodeId(1), Term(1), Index(0), Term(0), (), Index(0)), True),
        (Heartbeat(STRANGER, NodeId(1), Term(1), Index(0)), True),
        (InstallSnapshot(STRANGER, NodeId(1), Term(1), SnapshotMetadata()), True),
        (ReadIndexReply(STRANGER, NodeId(1), Term(1), 1, Index(1)), True),
        (vote(STRANGER, NodeId(1), 2), True),
        (vote(STRANGER, NodeId(1), 2, transfer=True), True),
        (VoteReply(STRANGER, NodeId(1), Term(1), granted=True), False),
        (AppendReply(STRANGER, NodeId(1), Term(1), Index(1)), False),
        (HeartbeatReply(STRANGER, NodeId(1), Term(1)), False),
        (TimeoutNow(STRANGER, NodeId(1), Term(1)), False),
        (ReadIndexRequest(STRANGER, NodeId(1), Term(1), 1), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_stranger_may_lead_and_ask_for_a_vote_and_nothing_else(message: Message, *, allowed: bool) -> None:
    assert stranger_may_send(message) is allowed


def propose(action: Action, idempotency: Idempotency | None = None, timeout_s: float = 1.0) -> bytes:
    command = encode_command(Command(action, idempotency))
    return calls.encode_call(calls.Propose((msgspec.Raw(command),), timeout_s))


def results(payload: bytes) -> list[Exception | None]:
    return [calls.error_of(one) for one in calls.decode_results(payload)]


FORBIDDEN: dict[str, Action] = {
    "value-of-20-MiB": Put(KeyRef("b", "k"), bytes(20 << 20), content_type="a/b"),
    "key-with-nul": Put(KeyRef("b", "a\0b"), b"", content_type="a/b"),
    "key-of-2-KiB": Delete(KeyRef("b", "k" * 2048)),
    "empty-key": Delete(KeyRef("b", "")),
    "dot-part": Delete(KeyRef("b", "a/../b")),
    "bucket-name": Delete(KeyRef("B", "k")),
    "collection-name": CreateCollection("books\r\n"),
    "long-collection-name": CreateCollection("x" * 64),
    "header-in-the-content-type": Put(KeyRef("b", "k"), b"", content_type="text/plain\r\nSet-Cookie: a=b"),
    "no-document": Put(DocumentRef("c", "d"), b'{"a":1},{"b":2}'),
    "document-list": Put(DocumentRef("c", "d"), b"[]"),
    "reserved-field": Put(DocumentRef("c", "d"), b'{"_id":1}'),
    "document-with-content-type": Put(DocumentRef("c", "d"), b"{}", content_type="a/b"),
    "many-revisions": Delete(KeyRef("b", "k"), Precondition(revisions=tuple(range(1, 1000)))),
    "revision-below-1": Delete(KeyRef("b", "k"), Precondition(revisions=(-1,))),
    "many-steps": Transaction(then=tuple(Delete(KeyRef("b", str(at))) for at in range(129))),
    "written-twice": Transaction(then=(Delete(KeyRef("b", "k")), Delete(KeyRef("b", "k")))),
    "step-with-nul": Transaction(otherwise=(Delete(KeyRef("b", "\0")),)),
    "index-without-fields": CreateIndex("c", Definition("one", ())),
    "index-with-a-damaged-filter": CreateIndex("c", Definition("one", (IndexField("a"),), filter=b"{")),
    "index-of-no-collection": CreateIndex("C", Definition("one", (IndexField("a"),))),
    "index-name": DropIndex("c", "One"),
    "build-behind-nul": BuildIndex("c", 1, "a\0b"),
    "count-behind-nul": CountUsage("c", 1, "a\0b"),
    "count-of-no-collection": CountUsage("C", 1),
    "quota-below-0": ConfigureCollection("c", CollectionOptions(max_documents=-1)),
}


async def test_command_of_a_member_is_checked_as_a_clients(tmp_path: Path) -> None:
    """What no front end lets through is refused by the leader too, and nothing of it reaches the log."""
    async with group(tmp_path, 3) as (_, (leader, second, _)):
        before = leader.consensus.raft.last_index
        for name, action in FORBIDDEN.items():
            (error,) = results(await leader.handler.on_request(second.id, propose(action)))
            assert isinstance(error, InvalidRequest), name
        good = Put(KeyRef("b", "k"), b"v", content_type="a/b")
        for key in (Idempotency("a b", bytes(32)), Idempotency("", bytes(32)), Idempotency("a", b"short")):
            (error,) = results(await leader.handler.on_request(second.id, propose(good, key)))
            assert isinstance(error, InvalidRequest)
        assert leader.consensus.raft.last_index == before
        assert results(await leader.handler.on_request(second.id, propose(good))) == [None]


async def test_valid_commands_beside_an_invalid_one_are_carried_out(tmp_path: Path) -> None:
    """They are of other clients of that member."""
    async with group(tmp_path, 3) as (_, (leader, second, _)):
        good = encode_command(Command(Put(KeyRef("b", "k"), b"v", content_type="a/b")))
        bad = encode_command(Command(FORBIDDEN["key-with-nul"]))
        noise = b"\xc1"
        call = calls.encode_call(calls.Propose(tuple(msgspec.Raw(one) for one in (good, bad, good)), 5.0))
        first, refused, last = results(await leader.handler.on_request(second.id, call))
        assert (first, last) == (None, None)
        assert isinstance(refused, InvalidRequest)
        with pytest.raises(NotNow):
            await leader.handler.on_request(second.id, noise)


@pytest.mark.parametrize("timeout_s", [math.nan, math.inf, -math.inf, 1e300, -1.0])
async def test_command_with_an_impossible_timeout_does_not_wait_for_ever(tmp_path: Path, timeout_s: float) -> None:
    async with group(tmp_path, 3) as (_, (leader, second, _)):
        good = Put(KeyRef("b", "k"), b"v", content_type="a/b")
        async with asyncio.timeout(PATIENCE_S):
            answer = await leader.handler.on_request(second.id, propose(good, timeout_s=timeout_s))
        assert len(results(answer)) == 1


async def test_member_cannot_ask_for_what_only_an_operator_may(tmp_path: Path) -> None:
    """Membership and leadership are changed by who connects to the leader with the operator's certificate."""
    async with group(tmp_path, 3) as (_, (leader, second, third)):
        demote = MembersRequest((MemberChange("demote", third.id),), epoch=2**63)
        before = leader.local.record
        for call in (calls.ChangeMembers(demote, 1.0), calls.Transfer(second.id, 1.0, 2**63)):
            (error,) = results(await leader.handler.on_request(second.id, calls.encode_call(call)))
            assert isinstance(error, InvalidRequest)
            assert error.code == "operator_required"
        assert leader.local.record == before
        assert leader.replica.is_leader
