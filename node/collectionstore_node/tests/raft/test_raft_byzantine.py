"""A member that lies. Most lies bounce off; those that a store for crash faults cannot rule out leave a trail.

The scenarios at the end are outside of the guarantees: each shows what goes wrong, where it is detected, and what
identifies the faulty member.
The table of kinds and verdicts is in node/README.md.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import MutableMapping
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Configuration,
    Entry,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    RequestVote,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    VoteReply,
)
from collectionstore_node.raft.ready import Role
from collectionstore_node.raft.term_gate import TERM_JUMP_MAX
from collectionstore_node.raft.validation import TERM_MAX
from collectionstore_node.replica.comparison.digests import compare
from collectionstore_node.replica.peers.attribution import attribute, vitals
from collectionstore_node.tests.raft.byzantine import FORGERIES, Forgery, Liar, Verdict
from collectionstore_node.tests.raft.chaos import Chaos
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters
from collectionstore_node.tests.raft.world import Action, World
from collectionstore_telemetry.metrics import Counter

ONE, TWO, LIAR = NodeId(1), NodeId(2), NodeId(3)
LOG = make_entries([1, 1, 2, 2])
SEEDS_PER_TEST = 25
LIES_WEIGHT = 12.0


class LyingChaos(Chaos):
    """A run with every fault there is, and one of the members lies all the time."""

    calm_in_the_end = False
    """A lie may have raised the term so far that a new member needs several messages, and time, to follow a leader."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        cluster = self.cluster
        self.liar = Liar(cluster, Random(seed).choice(sorted(cluster.servers)), self.world.random)
        self._actions.append(Action("lie", LIES_WEIGHT, self._lie))
        self._weights.append(LIES_WEIGHT)

    def _lie(self, _world: World) -> bool:
        return self.liar.lie()


@pytest.mark.parametrize("first", range(0, 200, SEEDS_PER_TEST))
def test_invariants_hold_beside_a_member_that_lies(first: int) -> None:
    """Under every other fault too: no lie that is to bounce off has an effect, and the cluster comes back."""
    for seed in range(first, first + SEEDS_PER_TEST):
        try:
            LyingChaos(seed).run()
        except AssertionError as error:
            raise AssertionError(f"LyingChaos({seed}).run(): {error}") from error


def calm(seed: int) -> tuple[Cluster, Liar]:
    """Return three members with a few entries, of whom 3 lies."""
    cluster = Cluster.of(1, 2, 3)
    liar = Liar(cluster, LIAR, Random(seed))
    cluster.elect(1)
    for _ in range(3):
        cluster.propose()
    return cluster, liar


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
@pytest.mark.parametrize("victim", [1, 2], ids=["leader", "follower"])
def test_forgery_ends_as_its_verdict_says(forgery: Forgery, victim: int) -> None:
    """Each kind alone; a disruptive one costs an election at most."""
    for seed in range(10):
        cluster, liar = calm(seed)
        sent = liar.send_forged(forgery, cluster[victim])
        assert sent or victim == 2 or forgery.verdict is Verdict.LATE, f"{forgery.name} cannot be sent"
        cluster.settle()
        cluster.tick(3 * cluster.settings.election_ticks)
        index = cluster.propose(b"after")
        assert cluster[1].core.applied >= index
        assert cluster[2].core.applied >= index


def test_every_kind_is_sent() -> None:
    """In a hundred runs, each of them several times: a kind that is never sent proves nothing.

    The rarest are told to a leader, and beside a liar that inflates terms a leader does not last.
    """
    sent: Tally[str] = Tally()
    for seed in range(300, 400):
        run = LyingChaos(seed)
        run.run()
        sent += run.liar.sent
    assert {name for name, count in sent.items() if count >= 5} == {one.name for one in FORGERIES}


# Stories from beyond the promise


def follower(log: tuple[Entry, ...] = LOG, *, node_id: int = 1, commit: int = 2) -> Solo:
    """A follower without a leader, in term 3, with four entries."""
    return Solo(node_id=node_id, log=log, term=3, commit=commit)


def rejection(solo: Solo, message: Message) -> str:
    """Return why a message is rejected."""
    with pytest.raises(MessageRejected) as caught:
        solo.node.step(message)
    return str(caught.value)


def append(
    sender: NodeId, to: NodeId, term: int, prev: Entry, entries: tuple[Entry, ...], commit: int
) -> AppendEntries:
    return AppendEntries(sender, to, Term(term), prev.index, prev.term, entries, Index(commit))


def written_down(solo: Solo, message: Message) -> list[MutableMapping[str, Any]]:
    """Step a message as the driver does, and return what it writes down of it."""
    jumps = Counter()
    with capture_logs() as lines:
        before = vitals(solo.node)
        solo.step(message)
        attribute(message.sender, message, before, vitals(solo.node), jumps)
    return lines


def test_double_vote_makes_two_leaders_who_name_each_other_and_share_one_voter() -> None:
    """Outside: two leaders in term 4. Noticed by both at the first message; their voters have the liar in common."""
    leaders = [follower(node_id=1), follower(node_id=2)]
    for solo in leaders:
        solo.node.campaign()
        solo.take()
        solo.step(VoteReply(LIAR, solo.node_id, Term(4), granted=True, pre_vote=True))
        solo.step(VoteReply(LIAR, solo.node_id, Term(4), granted=True))
    one, two = (solo.node.status() for solo in leaders)
    assert (one.role, one.term, two.role, two.term) == (Role.LEADER, 4, Role.LEADER, 4)
    why = rejection(leaders[0], Heartbeat(TWO, ONE, Term(4), Index(0)))
    assert why == f"two leaders in term 4: {ONE:016x} and {TWO:016x}"
    assert one.elected_by & two.elected_by == {LIAR}


def test_acknowledgement_of_what_is_not_held_shows_when_the_next_leader_contradicts() -> None:
    """Outside: entry 6 was committed by 1 and the liar's word, and 2 is elected without it by the liar's vote.

    1 refuses to give up what it called committed. Of those who elected 2, one had acknowledged the entry.
    """
    first, second = follower(node_id=1), follower(node_id=2)
    first.elect()
    first.acknowledge(2, 3)
    index, _ = first.node.propose(b"promised")
    first.take()
    first.acknowledge(LIAR)
    assert first.node.commit_index == index == 6
    second.step(append(ONE, TWO, 4, LOG[-1], first.log.entries(Index(5), Index(6), 1000), 5))
    second.tick(30)
    second.step(VoteReply(LIAR, TWO, Term(5), granted=True, pre_vote=True))
    second.step(VoteReply(LIAR, TWO, Term(5), granted=True))
    assert second.node.is_leader
    (no_op,) = second.log.entries(Index(6), Index(7), 1000)
    (fifth,) = second.log.entries(Index(5), Index(6), 1000)
    assert rejection(first, append(TWO, ONE, 5, fifth, (no_op,), 6)) == "it conflicts with entry 6, which is committed"
    assert second.node.status().elected_by - {TWO} == {LIAR}


def test_candidate_with_a_longer_log_than_it_has_is_named_when_it_overwrites() -> None:
    """Outside: the vote is given on its word. As soon as it acts on it, the refusal names it."""
    solo = follower(commit=4)
    (vote,) = solo.step(RequestVote(LIAR, ONE, Term(4), Index(9), Term(3))).of(VoteReply)
    assert vote.granted
    other = make_entries([4], after=LOG[1])
    message = append(LIAR, ONE, 4, LOG[1], other, 3)
    assert rejection(solo, message) == "it conflicts with entry 3, which is committed"
    assert message.sender == LIAR


def test_leader_that_tells_two_stories_is_caught_by_the_chain_or_by_the_digests() -> None:
    """Outside: two followers apply different entries 5 of term 4, whose leader both know to be the liar."""
    followers = [follower(node_id=1), follower(node_id=2)]
    stories = [make_entries([4], after=LOG[-1], data=data) for data in (b"for one", b"for two")]
    for solo, story in zip(followers, stories, strict=True):
        solo.step(append(LIAR, solo.node_id, 4, LOG[-1], story, 5))
        assert solo.node.applied == 5
        assert solo.node.leader == LIAR
    # One history continues: a member with the other one detects it.
    more = make_entries([4], after=stories[0][0])
    why = rejection(followers[1], append(LIAR, TWO, 4, stories[0][0], more, 6))
    assert why.startswith("the chain breaks at entry 6")
    # Both go on: the states differ. The liar cannot agree with both, and if it is silent a person sees both.
    one, two = ({Index(5): story[0].chain} for story in stories)
    configuration = voters(1, 2, 3)
    assert set(compare(ONE, {ONE: one, TWO: two}, configuration).disputed) == {ONE, TWO}
    assert set(compare(ONE, {ONE: one, TWO: two, LIAR: one}, configuration).diverged) == {TWO}


def test_commit_of_what_no_majority_holds_shows_when_the_next_leader_contradicts() -> None:
    """Outside: entry 5 was applied on its leader's word, and a majority never had it."""
    solo = follower()
    (mine,) = make_entries([4], after=LOG[-1], data=b"only here")
    solo.step(append(LIAR, ONE, 4, LOG[-1], (mine,), 5))
    assert solo.node.applied == 5
    other = make_entries([5], after=LOG[-1])
    assert rejection(solo, append(TWO, ONE, 5, LOG[-1], other, 5)) == "it conflicts with entry 5, which is committed"


def test_commit_learnt_from_a_voter_is_written_down_with_its_name() -> None:
    """Outside: a voter is believed when it calls something committed; the log line says whose word it was."""
    solo = follower()
    lie = VoteReply(LIAR, ONE, Term(3), granted=False, commit_index=Index(4), commit_term=Term(2))
    (line,) = written_down(solo, lie)
    assert (line["event"], line["sender"], line["index"]) == ("commit.learnt", f"{LIAR:016x}", 4)
    other = make_entries([4], after=LOG[1])
    assert rejection(solo, append(TWO, ONE, 4, LOG[1], other, 3)) == "it conflicts with entry 3, which is committed"


def test_invented_snapshot_is_written_down_and_its_victim_is_refused_by_the_leader() -> None:
    """Outside: a member that claims a later term may replace everything. The leader counts no replies of the victim."""
    victim, leader = follower(), follower(node_id=2)
    invented = SnapshotMetadata(Index(100), Term(4), b"i" * 32, voters(1, 2, 3))
    (line,) = written_down(victim, InstallSnapshot(LIAR, ONE, Term(4), invented))
    assert (line["event"], line["sender"], line["message"]) == ("term.adopted", f"{LIAR:016x}", "InstallSnapshot")
    leader.step(Heartbeat(LIAR, TWO, Term(4), Index(0)))
    leader.tick(30)
    leader.elect()
    (reply,) = victim.step(append(TWO, ONE, leader.node.term, LOG[-1], (), 4)).of(AppendReply)
    assert rejection(leader, reply) == "it acknowledges entry 100, but the last index is 5"


def test_inflated_term_is_bounded_and_written_down() -> None:
    """Outside: it costs an election. It cannot use the numbers up; the line says who, how far, and whom it deposed."""
    solo = follower()
    solo.elect()
    (line,) = written_down(solo, HeartbeatReply(LIAR, ONE, Term(TERM_MAX)))
    assert (line["event"], line["sender"], line["was"]) == ("term.jumped", f"{LIAR:016x}", 4)
    assert (line["term"], line["deposed"]) == (4 + TERM_JUMP_MAX, True)
    assert "out of range" in rejection(solo, HeartbeatReply(LIAR, ONE, Term(TERM_MAX + 1)))


def test_member_that_was_led_far_ahead_is_not_out_of_reach_for_the_others() -> None:
    """If higher terms were rejected, a liar could separate honest members forever, by raising some terms."""
    ahead, behind = follower(node_id=2), follower()
    for times in (1, 2, 3):
        ahead.step(HeartbeatReply(LIAR, TWO, Term(3 + times * TERM_JUMP_MAX)))
    assert ahead.node.term == 3 + 3 * TERM_JUMP_MAX
    heartbeat = Heartbeat(TWO, ONE, ahead.node.term, Index(0))
    for _ in range(2):
        behind.step(heartbeat)
        assert behind.node.leader == 0
    behind.step(heartbeat)
    assert (behind.node.term, behind.node.leader) == (ahead.node.term, TWO)


def test_order_to_campaign_counts_only_from_the_leader_followed() -> None:
    """A transfer bypasses every leader lease: only the leader may start one, in this term or in a later one."""
    solo = follower()
    solo.step(Heartbeat(TWO, ONE, Term(3), Index(0)))
    assert "two leaders" in rejection(solo, TimeoutNow(LIAR, ONE, Term(3)))
    solo.step(TimeoutNow(LIAR, ONE, Term(4)))
    assert (solo.node.role, solo.node.term, solo.node.vote) == (Role.FOLLOWER, 4, 0)
    assert not solo.take().messages


def test_voter_that_confirms_a_deposed_leader_is_not_noticed_here() -> None:
    """The empty cell: its answer is true in form, so an old leader serves a stale read, and no member can tell.

    The clients' history shows it (`collectionstore_testkit.histories`); the read is stale only while the two leaders
    cannot communicate.
    """
    solo = follower()
    solo.elect()
    solo.acknowledge(LIAR)
    solo.node.read_index(7)
    (heartbeat,) = [one for one in solo.take().of(Heartbeat) if one.to == LIAR]
    output = solo.step(HeartbeatReply(LIAR, ONE, solo.node.term, heartbeat.read_sequence))
    assert [state.request_id for state in output.read_states] == [7]


def test_votes_of_strangers_elect_nobody() -> None:
    """An id outside the configuration may say what it likes, with as many voices as it has."""
    solo = follower()
    solo.node.campaign()
    solo.take()
    for stranger in range(10, 20):
        solo.step(VoteReply(NodeId(stranger), ONE, Term(4), granted=True, pre_vote=True))
        solo.step(VoteReply(NodeId(stranger), ONE, Term(4), granted=True))
    assert not solo.node.is_leader
    solo.elect()
    before = solo.node.commit_index
    for stranger in range(10, 20):
        solo.step(AppendReply(NodeId(stranger), ONE, solo.node.term, solo.node.last_index))
        solo.step(HeartbeatReply(NodeId(stranger), ONE, solo.node.term))
    assert solo.node.commit_index == before


def test_leader_that_installs_itself_as_only_voter_is_refused_as_second_leader() -> None:
    solo = follower()
    solo.step(Heartbeat(TWO, ONE, Term(3), Index(0)))
    metadata = SnapshotMetadata(Index(9), Term(3), b"i" * 32, Configuration(voters=(LIAR,)))
    assert "two leaders" in rejection(solo, InstallSnapshot(LIAR, ONE, Term(3), metadata))
