"""Hostile, corrupt and confused messages: rejected before anything changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
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
    encode,
)
from collectionstore_node.raft.ready import RaftStatus
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
LOG = make_entries([1, 1, 2, 2])
CHANGE_DATA = encode(ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(9)),)))


def follower() -> Solo:
    """Follows 2 in term 3 with four entries, two of them committed."""
    solo = Solo(log=LOG, term=3, commit=2)
    solo.step(solo.heartbeat())
    return solo


def leader() -> Solo:
    """Leads term 4 with five entries, all acknowledged."""
    solo = Solo(log=LOG, term=3, commit=2)
    solo.elect()
    solo.acknowledge(2, 3)
    return solo


def append(
    entries: tuple[Entry, ...], prev: tuple[int, int] = (4, 2), *, term: int = 3, commit: int = 0
) -> AppendEntries:
    return AppendEntries(TWO, ONE, Term(term), Index(prev[0]), Term(prev[1]), entries, Index(commit))


def entry(index: int, term: int, *, chain: bytes = b"x" * 32) -> Entry:
    return Entry(Index(index), Term(term), EntryKind.COMMANDS, b"", chain)


def snapshot(
    index: int = 9, term: int = 3, configuration: Configuration | None = None, chain: bytes = b"c" * 32
) -> InstallSnapshot:
    config = voters(1, 2, 3) if configuration is None else configuration
    return InstallSnapshot(TWO, ONE, Term(3), SnapshotMetadata(Index(index), Term(term), chain, config))


def state_of(solo: Solo) -> tuple[RaftStatus, bool, int]:
    return solo.node.status(), solo.node.has_ready(), solo.node.last_index


def assert_rejected(solo: Solo, message: Message, why: str) -> None:
    solo.take()
    before = state_of(solo)
    with pytest.raises(MessageRejected, match=why):
        solo.node.step(message)
    assert state_of(solo) == before


GOOD = make_entries([3, 3], after=LOG[-1])
OTHER_HISTORY = make_entries([1, 1, 2, 2, 3], data=b"other")

FOLLOWER_CASES: list[tuple[str, Message, str]] = [
    ("misrouted", Heartbeat(TWO, NodeId(7), Term(3), Index(0)), "addressed"),
    ("from itself", Heartbeat(ONE, ONE, Term(3), Index(0)), "not the ID of a peer"),
    ("from nobody", Heartbeat(NodeId(0), ONE, Term(3), Index(0)), "not the ID of a peer"),
    ("term 0", Heartbeat(TWO, ONE, Term(0), Index(0)), "out of range"),
    ("term beyond all", Heartbeat(TWO, ONE, Term(2**62 + 1), Index(0)), "out of range"),
    ("second leader appends", AppendEntries(THREE, ONE, Term(3), Index(0), Term(0), (), Index(0)), "two leaders"),
    ("second leader beats", Heartbeat(THREE, ONE, Term(3), Index(0)), "two leaders"),
    (
        "second leader installs",
        InstallSnapshot(THREE, ONE, Term(3), SnapshotMetadata(Index(9), Term(3), b"c" * 32, voters(1))),
        "two leaders",
    ),
    ("second leader hands over", TimeoutNow(THREE, ONE, Term(3)), "two leaders"),
    ("second leader answers a read", ReadIndexReply(THREE, ONE, Term(3), 1, Index(4)), "two leaders"),
    ("gap after prev", append((entry(6, 3),)), "does not follow"),
    ("gap inside", append((GOOD[0], entry(7, 3))), "does not follow"),
    ("repeated index", append((GOOD[0], GOOD[0])), "does not follow"),
    ("falling term", append((GOOD[0], entry(6, 2))), "term decreases"),
    ("term below prev", append((entry(5, 1),)), "term decreases"),
    ("entry of term 0", append((entry(1, 0),), (0, 0)), "term decreases"),
    ("entry of a later term", append((entry(5, 4),)), "in a message of term"),
    ("prev of a later term", append((), (4, 9)), "in a message of term"),
    ("prev index without term", append((), (4, 0)), "no log can have"),
    ("prev term without index", append((), (0, 2)), "no log can have"),
    ("negative prev", append((), (-1, 1)), "no log can have"),
    ("negative commit", append((), commit=-1), "negative"),
    (
        "damaged entry",
        append((Entry(GOOD[0].index, GOOD[0].term, GOOD[0].kind, b"bit flip", GOOD[0].chain),)),
        "chain breaks",
    ),
    ("damaged second entry", append((GOOD[0], entry(6, 3))), "chain breaks"),
    ("another history before it", append(OTHER_HISTORY[4:]), "chain breaks"),
    ("same term, other entry", append(OTHER_HISTORY[2:4], (2, 1)), "another chain"),
    ("contradicts what is committed", append(make_entries([2, 2, 3]), (0, 0)), "is committed"),
    ("heartbeat beyond the log", Heartbeat(TWO, ONE, Term(3), Index(5)), "beyond the last index"),
    ("heartbeat with negative commit", Heartbeat(TWO, ONE, Term(3), Index(-1)), "negative"),
    (
        "unreadable change",
        append(make_entries([3], after=LOG[-1], kind=EntryKind.CHANGE, data=b"\xff")),
        "not a membership change",
    ),
    (
        "two uncommitted changes",
        append(make_entries([3, 3], after=LOG[-1], kind=EntryKind.CHANGE, data=CHANGE_DATA)),
        "two membership",
    ),
    ("snapshot at 0", snapshot(0, 0), "of the snapshot is invalid"),
    ("snapshot without term", snapshot(9, 0), "no log can have"),
    ("snapshot of a later term", snapshot(9, 4), "of the snapshot is invalid"),
    ("snapshot with a short chain", snapshot(chain=b"c"), "of the snapshot is invalid"),
    ("snapshot without voters", snapshot(configuration=Configuration()), "configuration of the snapshot is invalid"),
    (
        "snapshot with a broken configuration",
        snapshot(configuration=Configuration(voters=(TWO, ONE))),
        "configuration of the snapshot is invalid",
    ),
    ("snapshot of another committed entry", snapshot(2, 2), "is committed"),
    ("snapshot of another history", snapshot(4, 2), "another chain"),
    ("candidate's log in its future", RequestVote(THREE, ONE, Term(5), Index(9), Term(5)), "not below its term"),
    ("candidate with half a position", RequestVote(THREE, ONE, Term(5), Index(9), Term(0)), "no log can have"),
    (
        "candidate that committed more than it has",
        RequestVote(THREE, ONE, Term(5), Index(3), Term(2), commit_index=Index(4), commit_term=Term(2)),
        "beyond its last log index",
    ),
    (
        "voter that committed another history",
        VoteReply(THREE, ONE, Term(3), granted=False, commit_index=Index(2), commit_term=Term(3)),
        "conflicts with",
    ),
    (
        "voter that committed in the future",
        VoteReply(THREE, ONE, Term(3), granted=False, commit_index=Index(3), commit_term=Term(9)),
        "above the message's term",
    ),
    ("read reply with negative index", ReadIndexReply(TWO, ONE, Term(3), 1, Index(-1)), "negative"),
]


@pytest.mark.parametrize(("message", "why"), [pytest.param(m, why, id=name) for name, m, why in FOLLOWER_CASES])
def test_follower_rejects(message: Message, why: str) -> None:
    assert_rejected(follower(), message, why)


LEADER_CASES: list[tuple[str, Message, str]] = [
    ("another leader of the term", Heartbeat(TWO, ONE, Term(4), Index(0)), "two leaders"),
    ("append of another leader", AppendEntries(TWO, ONE, Term(4), Index(0), Term(0), (), Index(0)), "two leaders"),
    ("acknowledgement beyond the log", AppendReply(TWO, ONE, Term(4), Index(6)), "last index is 5"),
    ("rejection beyond the log", AppendReply(TWO, ONE, Term(4), Index(6), rejected=True), "last index is 5"),
    ("negative acknowledgement", AppendReply(TWO, ONE, Term(4), Index(-1)), "negative"),
    ("hint beyond the rejection", AppendReply(TWO, ONE, Term(4), Index(3), rejected=True, hint_index=Index(4)), "hint"),
    (
        "hint of a later term",
        AppendReply(TWO, ONE, Term(4), Index(3), rejected=True, hint_index=Index(3), hint_term=Term(5)),
        "hint",
    ),
    ("read sequence never issued", HeartbeatReply(TWO, ONE, Term(4), 1), "never issued"),
    ("negative read sequence", HeartbeatReply(TWO, ONE, Term(4), -1), "never issued"),
]


@pytest.mark.parametrize(("message", "why"), [pytest.param(m, why, id=name) for name, m, why in LEADER_CASES])
def test_leader_rejects(message: Message, why: str) -> None:
    assert_rejected(leader(), message, why)


def test_second_leader_is_noticed_even_after_the_first_was_given_up() -> None:
    """The alarm belongs to the term, not to whom this node follows at the moment."""
    solo = follower()
    solo.tick(20)
    assert solo.node.leader == 0
    assert_rejected(solo, Heartbeat(THREE, ONE, Term(3), Index(0)), "two leaders")


def test_second_change_counts_those_already_in_the_log() -> None:
    """Rule 3 of `changes`."""
    first = make_entries([3], after=LOG[-1], kind=EntryKind.CHANGE, data=CHANGE_DATA)
    second = make_entries([3], after=first[-1], kind=EntryKind.CHANGE, data=CHANGE_DATA)
    solo = follower()
    solo.step(append(first))
    assert_rejected(solo, append(second, (5, 3)), "two membership")
    solo.node.step(append(second, (5, 3), commit=5))
    assert solo.node.last_index == 6


def test_good_messages_pass() -> None:
    solo = follower()
    solo.step(append(GOOD, commit=3))
    assert (solo.node.last_index, solo.node.commit_index) == (6, 3)
    solo.step(append(GOOD, commit=3))
    assert solo.node.last_index == 6


def test_append_that_does_not_connect_is_refused_not_rejected() -> None:
    """A normal probe of a leader that does not know this log yet."""
    (reply,) = follower().step(append((entry(9, 3),), (8, 3))).of(AppendReply)
    assert reply.rejected


def test_delayed_heartbeat_of_a_lost_leadership_is_no_alarm() -> None:
    """L13 (databendlabs/openraft#1500): the log it speaks of was replaced by a later leader's shorter one."""
    solo = Solo(log=make_entries([1, 1, 1]), term=1)
    solo.step(solo.append(make_entries([2]), leader=3, term=2))
    assert solo.node.last_index == 1
    solo.step(solo.heartbeat(term=1, commit=3))
    assert solo.node.commit_index == 0


small = st.integers(-1, 7)
nodes = st.integers(0, 4).map(NodeId)
terms = st.integers(0, 6).map(Term)
indexes = small.map(Index)
entry_lists = st.lists(
    st.builds(Entry, indexes, terms, st.sampled_from(EntryKind), st.binary(max_size=3), st.just(b"x" * 32)), max_size=3
).map(tuple)
good_entry_lists = st.integers(0, 4).map(lambda n: make_entries([1, 1, 2, 2, 3, 4][: n + 1]))
configurations = st.sampled_from([voters(1, 2, 3), voters(2), Configuration(), Configuration(voters=(TWO, ONE))])
metadatas = st.builds(SnapshotMetadata, indexes, terms, st.just(b"x" * 32), configurations)
messages = st.one_of(
    st.builds(RequestVote, nodes, st.just(ONE), terms, indexes, terms, st.booleans(), st.booleans(), indexes, terms),
    st.builds(VoteReply, nodes, st.just(ONE), terms, st.booleans(), st.booleans(), indexes, terms),
    st.builds(AppendEntries, nodes, st.just(ONE), terms, indexes, terms, entry_lists | good_entry_lists, indexes),
    st.builds(AppendReply, nodes, st.just(ONE), terms, indexes, st.booleans(), indexes, terms),
    st.builds(Heartbeat, nodes, st.just(ONE), terms, indexes, small),
    st.builds(HeartbeatReply, nodes, st.just(ONE), terms, small),
    st.builds(InstallSnapshot, nodes, st.just(ONE), terms, metadatas),
    st.builds(TimeoutNow, nodes, st.just(ONE), terms),
    st.builds(ReadIndexRequest, nodes, st.just(ONE), terms, small),
    st.builds(ReadIndexReply, nodes, st.just(ONE), terms, small, indexes),
)


@settings(max_examples=300)
@given(as_leader=st.booleans(), sequence=st.lists(messages, max_size=8))
def test_no_message_crashes_the_core_or_touches_what_is_committed(*, as_leader: bool, sequence: list[Message]) -> None:
    """Whatever arrives: either rejected without a trace, or handled; term and commit never fall."""
    solo = leader() if as_leader else follower()
    solo.take()
    committed = solo.log.entries(Index(1), Index(3), 1000)
    for message in sequence:
        before = state_of(solo)
        try:
            solo.node.step(message)
        except MessageRejected:
            assert state_of(solo) == before
        assert solo.node.term >= before[0].term
        assert solo.node.commit_index >= before[0].commit_index
        solo.take()
    if solo.log.first_index() == 1:
        assert solo.log.entries(Index(1), Index(3), 1000) == committed
