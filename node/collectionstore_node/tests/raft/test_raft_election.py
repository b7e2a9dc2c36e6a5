"""Elections, one core at a time (Raft 5.1, 5.2, 5.4.1; thesis 4.2.3, 9.6)."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_node.errors import NotLeader
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
    Index,
    InstallSnapshot,
    NodeId,
    RequestVote,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    VoteReply,
    encode,
)
from collectionstore_node.raft.ready import Role
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters

ONE = NodeId(1)
NO_PRE_VOTE = RaftSettings(pre_vote=False)


def vote_request(
    *,
    sender: int = 2,
    term: int = 1,
    index: int = 0,
    last_term: int = 0,
    pre_vote: bool = False,
    transfer: bool = False,
) -> RequestVote:
    return RequestVote(
        NodeId(sender), NodeId(1), Term(term), Index(index), Term(last_term), pre_vote=pre_vote, transfer=transfer
    )


def vote(sender: int, term: int, *, granted: bool = True, pre_vote: bool = False) -> VoteReply:
    return VoteReply(NodeId(sender), NodeId(1), Term(term), granted=granted, pre_vote=pre_vote)


# Raft 5.1: terms


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_higher_term_makes_every_role_a_follower(role: Role) -> None:
    """Raft 5.1."""
    solo = Solo(term=1, settings=NO_PRE_VOTE)
    if role is Role.CANDIDATE:
        solo.node.campaign()
        solo.take()
    elif role is Role.LEADER:
        solo.elect()
    assert solo.node.status().role is role
    solo.step(solo.append((), term=9))
    status = solo.node.status()
    assert (status.role, status.term, status.leader) == (Role.FOLLOWER, 9, 2)


def test_lower_term_is_ignored_or_answered_but_never_obeyed() -> None:
    """Raft 5.1."""
    solo = Solo(term=5)
    output = solo.step(solo.append(make_entries([1]), term=4))
    assert solo.node.last_index == 0
    (reply,) = output.of(AppendReply)
    assert (reply.term, reply.index, reply.rejected) == (5, 0, False)
    assert solo.step(vote(2, 4)).messages == []
    assert solo.step(AppendReply(NodeId(2), NodeId(1), Term(4), Index(0))).messages == []
    assert solo.node.leader == 0


# Raft 5.2: elections


def test_follower_campaigns_after_its_timeout_and_not_before() -> None:
    """Raft 5.2."""
    solo = Solo(term=1, settings=NO_PRE_VOTE, random_ticks=lambda lo, hi: hi - 1)
    solo.tick(18)
    assert solo.node.term == 1
    output = solo.tick()
    assert solo.node.status().role is Role.CANDIDATE
    assert solo.hard_state.vote == 1
    assert [(request.to, request.term) for request in output.of(RequestVote)] == [(2, 2), (3, 2)]


def test_timeout_is_drawn_anew_for_every_election() -> None:
    """Raft 5.2: split votes are resolved by new random timeouts."""
    drawn: list[tuple[int, int]] = []

    def draw(lo: int, hi: int) -> int:
        drawn.append((lo, hi))
        return lo

    solo = Solo(term=1, settings=NO_PRE_VOTE, random_ticks=draw)
    drawn.clear()
    solo.tick(10)
    solo.tick(10)
    assert solo.node.term == 3
    assert drawn == [(10, 20), (10, 20)]


def test_sign_of_life_restarts_the_timer() -> None:
    """Raft 5.2."""
    solo = Solo(term=1, settings=NO_PRE_VOTE)
    for _ in range(5):
        solo.tick(9)
        solo.step(solo.heartbeat())
    assert solo.node.term == 1


@pytest.mark.parametrize(
    ("size", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: True, 3: False, 4: False}, Role.CANDIDATE),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
    ],
)
def test_majority_decides_the_election(size: int, votes: dict[int, bool], role: Role) -> None:
    """Raft 5.2."""
    solo = Solo(term=1, configuration=voters(*range(1, size + 1)), settings=NO_PRE_VOTE)
    solo.node.campaign()
    solo.take()
    for voter, granted in votes.items():
        solo.step(vote(voter, 2, granted=granted))
    assert solo.node.status().role is role


def test_own_vote_counts_only_when_it_is_durable() -> None:
    """A node that led without it could crash, win the term again and write other entries under it."""
    solo = Solo(term=1, configuration=voters(1, 2), settings=NO_PRE_VOTE)
    solo.node.campaign()
    ready = solo.node.ready()
    assert ready.write
    assert ready.messages == ()
    solo.node.step(vote(2, 2))
    solo.node.advance(ready)
    assert not solo.node.is_leader
    assert [type(message) for message in solo.node.durable(ready.write)] == [RequestVote]
    assert solo.node.is_leader


def test_single_voter_campaigns_at_its_first_tick() -> None:
    """No other node could be the leader."""
    solo = Solo(term=1, configuration=voters(1))
    solo.tick()
    assert solo.node.is_leader


def test_new_leader_opens_its_term_with_an_empty_entry() -> None:
    """Raft 8, thesis 6.4."""
    solo = Solo(term=1, log=make_entries([1, 1]))
    output = solo.elect()
    assert [(entry.index, entry.term, entry.kind, entry.data) for entry in output.entries] == [
        (3, 2, EntryKind.NOOP, b"")
    ]
    assert {(append.to, append.prev_log_index) for append in output.of(AppendEntries)} == {(2, 2), (3, 2)}


def test_repeated_votes_of_one_voter_count_once() -> None:
    solo = Solo(term=1, configuration=voters(1, 2, 3, 4, 5), settings=NO_PRE_VOTE)
    solo.node.campaign()
    solo.take()
    for _ in range(3):
        solo.step(vote(2, 2))
    assert not solo.node.is_leader


def test_votes_of_strangers_and_learners_do_not_count() -> None:
    learner = Configuration(voters=(NodeId(1), NodeId(2), NodeId(3)), learners=(NodeId(4),))
    solo = Solo(term=1, configuration=learner, settings=NO_PRE_VOTE)
    solo.node.campaign()
    solo.take()
    solo.step(vote(4, 2), vote(9, 2))
    assert not solo.node.is_leader


@pytest.mark.parametrize("message_type", [AppendEntries, Heartbeat])
def test_candidate_yields_to_the_leader_of_its_term(message_type: type) -> None:
    """Raft 5.2."""
    solo = Solo(term=1, settings=NO_PRE_VOTE)
    solo.node.campaign()
    solo.take()
    solo.step(solo.append(()) if message_type is AppendEntries else solo.heartbeat())
    status = solo.node.status()
    assert (status.role, status.term, status.leader, status.vote) == (Role.FOLLOWER, 2, 2, 1)


def test_stepping_down_within_a_term_keeps_the_vote() -> None:
    """S3: cleared, it allowed two leaders in one term (CCF `pre_vote_double_leader`)."""
    solo = Solo(term=1, settings=NO_PRE_VOTE)
    solo.node.campaign()
    solo.take()
    solo.step(vote(2, 2, granted=False), vote(3, 2, granted=False))
    assert (solo.node.status().role, solo.node.status().vote) == (Role.FOLLOWER, 1)
    (reply,) = solo.step(vote_request(sender=3, term=2)).of(VoteReply)
    assert not reply.granted


def test_leader_without_a_quorum_keeps_its_vote_when_it_steps_down() -> None:
    """S3, by check-quorum (thesis 6.2)."""
    solo = Solo(term=1)
    solo.elect()
    solo.tick(20)
    assert solo.node.status().role is not Role.LEADER
    assert solo.hard_state.vote == 1


# Raft 5.2, 5.4.1: votes


@pytest.mark.parametrize(
    ("already", "candidate", "granted"), [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False)]
)
def test_one_vote_per_term(already: int, candidate: int, *, granted: bool) -> None:
    """Raft 5.2."""
    solo = Solo(term=1, vote=already)
    (reply,) = solo.step(vote_request(sender=candidate, term=1)).of(VoteReply)
    assert reply.granted is granted
    assert solo.hard_state.vote == (candidate if granted else already)


@pytest.mark.parametrize(
    ("terms", "last_term", "index", "granted"),
    [
        ([1], 1, 1, True),
        ([1], 1, 2, True),
        ([1, 1], 1, 1, False),
        ([1], 2, 1, True),
        ([1], 2, 2, True),
        ([1, 1], 2, 1, True),
        ([2], 1, 1, False),
        ([2], 1, 9, False),
        ([], 0, 0, True),
    ],
)
def test_vote_only_for_a_log_at_least_as_good(terms: list[int], last_term: int, index: int, *, granted: bool) -> None:
    """Raft 5.4.1."""
    solo = Solo(log=make_entries(terms), term=2)
    (reply,) = solo.step(vote_request(term=3, index=index, last_term=last_term)).of(VoteReply)
    assert (reply.granted, reply.term) == (granted, 3)


def test_vote_leaves_only_after_it_is_durable() -> None:
    """Thesis 3.8; S2: losing it lets a node vote twice (PySyncObj#84)."""
    solo = Solo(term=1)
    solo.node.step(vote_request(term=2))
    ready = solo.node.ready()
    assert ready.messages == ()
    assert ready.write
    assert ready.hard_state is not None
    assert (ready.hard_state.term, ready.hard_state.vote) == (2, 2)
    solo.node.advance(ready)
    assert not solo.node.has_ready()
    assert [type(message) for message in solo.node.durable(ready.write)] == [VoteReply]


@pytest.mark.parametrize("good_log", [True, False])
def test_granting_a_vote_restarts_the_timer_and_refusing_does_not(*, good_log: bool) -> None:
    """Raft 5.2."""
    solo = Solo(log=make_entries([1]), term=2, settings=NO_PRE_VOTE)
    solo.tick(9)
    position = (1, 1) if good_log else (0, 0)
    (reply,) = solo.step(vote_request(term=2, index=position[0], last_term=position[1])).of(VoteReply)
    assert reply.granted is good_log
    solo.tick(1)
    assert solo.node.term == (2 if good_log else 3)


def test_learner_votes_when_asked() -> None:
    """It may have been promoted without having received the change (etcd-io/raft `campaign_learner_must_vote`)."""
    solo = Solo(term=1, configuration=Configuration(voters=(NodeId(2), NodeId(3)), learners=(NodeId(1),)))
    (reply,) = solo.step(vote_request(term=2)).of(VoteReply)
    assert reply.granted


def test_node_outside_every_configuration_votes_when_asked() -> None:
    solo = Solo(configuration=Configuration())
    (reply,) = solo.step(vote_request(term=2)).of(VoteReply)
    assert reply.granted


@pytest.mark.parametrize(
    "configuration",
    [Configuration(), voters(2, 3), Configuration(voters=(NodeId(2),), learners=(NodeId(1),))],
    ids=["empty", "removed", "learner"],
)
def test_who_has_no_vote_never_campaigns(configuration: Configuration) -> None:
    """L4: a removed node must not unsettle the others (hashicorp/raft#524)."""
    solo = Solo(term=1, configuration=configuration)
    solo.node.campaign()
    output = solo.tick(100)
    solo.step(TimeoutNow(NodeId(2), NodeId(1), Term(1)))
    assert output.messages == []
    assert solo.node.term == 1
    assert solo.node.status().role in (Role.FOLLOWER, Role.LEARNER)


def test_learner_forgets_a_leader_it_does_not_hear() -> None:
    solo = Solo(term=1, configuration=Configuration(voters=(NodeId(2),), learners=(NodeId(1),)))
    solo.step(solo.heartbeat())
    assert solo.node.leader == 2
    solo.tick(20)
    assert solo.node.leader == 0


def test_outgoing_voter_of_a_joint_configuration_may_campaign_and_needs_both_majorities() -> None:
    """Thesis 4.3."""
    joint = Configuration(voters=(NodeId(4), NodeId(5)), outgoing=(NodeId(1), NodeId(2), NodeId(3)), auto_leave=True)
    solo = Solo(term=1, configuration=joint, settings=NO_PRE_VOTE)
    solo.node.campaign()
    assert {request.to for request in solo.take().of(RequestVote)} == {2, 3, 4, 5}
    for first, last in (((2, 4), 5), ((4, 5), 2)):
        solo.node.campaign()
        solo.take()
        term = solo.node.term
        solo.step(*[vote(voter, term) for voter in first])
        assert not solo.node.is_leader
        solo.step(vote(last, term))
        assert solo.node.is_leader
        solo.step(solo.heartbeat(term=term + 1))


# Thesis 9.6: pre-vote


def test_pre_vote_changes_neither_term_nor_vote_of_anybody() -> None:
    """Thesis 9.6."""
    solo = Solo(term=1)
    output = solo.tick(10)
    assert [(m.pre_vote, m.term) for m in output.of(RequestVote)] == [(True, 2), (True, 2)]
    assert (solo.node.term, solo.node.status().vote, output.hard_states) == (1, 0, [])
    output = solo.step(vote_request(sender=3, term=5, pre_vote=True))
    (reply,) = output.of(VoteReply)
    assert (reply.granted, reply.pre_vote, reply.term) == (True, True, 5)
    assert (solo.node.term, solo.node.status().vote, output.hard_states) == (1, 0, [])


def test_won_pre_vote_starts_the_election() -> None:
    solo = Solo(term=1)
    solo.tick(10)
    output = solo.step(vote(2, 2, pre_vote=True))
    assert solo.node.status().role is Role.CANDIDATE
    assert [(m.pre_vote, m.term) for m in output.of(RequestVote)] == [(False, 2), (False, 2)]


@pytest.mark.parametrize("pre_vote", [True, False])
def test_candidate_of_an_older_term_receives_the_current_one(*, pre_vote: bool) -> None:
    """Raft 5.1."""
    (reply,) = Solo(term=7).step(vote_request(term=5, pre_vote=pre_vote)).of(VoteReply)
    assert (reply.granted, reply.pre_vote, reply.term) == (False, pre_vote, 7)


def test_lost_pre_vote_returns_to_follower() -> None:
    solo = Solo(term=1)
    solo.tick(10)
    for voter in (2, 3):
        solo.step(vote(voter, 1, granted=False, pre_vote=True))
    assert (solo.node.status().role, solo.node.term) == (Role.FOLLOWER, 1)


def test_refused_pre_vote_carries_the_higher_term_and_is_adopted() -> None:
    """L1: else a node of a lower term is ignored forever (etcd-io/etcd#8243, #8501)."""
    voter = Solo(term=7)
    (reply,) = voter.step(vote_request(term=5, pre_vote=True)).of(VoteReply)
    assert (reply.granted, reply.pre_vote, reply.term) == (False, True, 7)
    solo = Solo(term=4)
    solo.tick(10)
    assert solo.node.status().role is Role.PRE_CANDIDATE
    solo.step(vote(2, 7, granted=False, pre_vote=True))
    assert (solo.node.status().role, solo.node.term) == (Role.FOLLOWER, 7)


def test_granted_pre_vote_of_another_campaign_does_not_count() -> None:
    solo = Solo(term=4)
    solo.tick(10)
    solo.step(vote(2, 9, pre_vote=True))
    assert (solo.node.status().role, solo.node.term) == (Role.PRE_CANDIDATE, 4)


def test_pre_vote_replies_are_no_votes() -> None:
    solo = Solo(term=1, settings=NO_PRE_VOTE)
    solo.node.campaign()
    solo.take()
    solo.step(vote(2, 2, pre_vote=True))
    assert not solo.node.is_leader


def test_two_pre_candidates_grant_each_other() -> None:
    """Else both wait forever for a third."""
    solo = Solo(term=1)
    solo.tick(10)
    (reply,) = solo.step(vote_request(sender=2, term=2, pre_vote=True)).of(VoteReply)
    assert reply.granted


def test_former_leader_gets_pre_votes_again() -> None:
    """L2 (hashicorp/raft#605): the leader that lost its quorum may be the best candidate."""
    solo = Solo(term=1)
    solo.elect()
    solo.tick(20)
    assert solo.node.status().role is Role.PRE_CANDIDATE
    solo.step(vote(2, 3, pre_vote=True))
    assert solo.node.status().role is Role.CANDIDATE


# Thesis 4.2.3: the leader's lease


@pytest.mark.parametrize("pre_vote", [False, True])
def test_vote_requests_are_ignored_while_a_leader_is_heard(*, pre_vote: bool) -> None:
    """Thesis 4.2.3: neither the vote nor the term."""
    solo = Solo(term=1)
    solo.step(solo.heartbeat())
    solo.tick(9)
    assert solo.step(vote_request(sender=3, term=8, pre_vote=pre_vote)).messages == []
    assert solo.node.term == 1
    solo.tick(1)
    (reply,) = solo.step(vote_request(sender=3, term=8, pre_vote=pre_vote)).of(VoteReply)
    assert reply.granted


def test_leader_ignores_vote_requests_while_it_has_a_quorum() -> None:
    solo = Solo(term=1, random_ticks=lambda lo, hi: hi - 1)
    solo.tick(19)
    solo.elect()
    for _ in range(5):
        solo.acknowledge(2, 3)
        solo.tick(4)
        assert solo.step(vote_request(sender=3, term=9)).messages == []
    assert solo.node.is_leader


def test_transfer_overrides_the_lease() -> None:
    """Thesis 3.10."""
    solo = Solo(term=1)
    solo.step(solo.heartbeat())
    (reply,) = solo.step(vote_request(sender=3, term=2, transfer=True)).of(VoteReply)
    assert reply.granted


@pytest.mark.parametrize("settings", [RaftSettings(), RaftSettings(pre_vote=False, check_quorum=False)])
@pytest.mark.parametrize("kind", [AppendEntries, Heartbeat, InstallSnapshot])
def test_stranded_node_answers_an_older_leader_with_its_term(kind: type, settings: RaftSettings) -> None:
    """Followers in a leader lease ignore its campaigns, so only the leader can adopt the term.

    A removed leader, which receives no other message, would lead forever (Raft 5.1).
    """
    solo = Solo(term=9, settings=settings)
    if kind is InstallSnapshot:
        metadata = SnapshotMetadata(Index(5), Term(2), b"c" * 32, voters(1, 2, 3))
        output = solo.step(InstallSnapshot(NodeId(2), NodeId(1), Term(2), metadata))
    else:
        output = solo.step(solo.append((), term=2) if kind is AppendEntries else solo.heartbeat(term=2))
    (reply,) = output.of(AppendReply)
    assert (reply.term, reply.index) == (9, 0)
    leader = Solo(term=1)
    leader.elect()
    leader.step(AppendReply(NodeId(2), NodeId(1), Term(9), Index(0)))
    assert (leader.node.status().role, leader.node.term) == (Role.FOLLOWER, 9)


def test_answer_to_an_older_term_does_not_end_a_probe() -> None:
    """It confirms nothing; taken for an acknowledgement it would send the whole log again."""
    solo = Solo(term=1, log=make_entries([1, 1, 1]))
    solo.elect()
    before = solo.node.status().progress
    solo.step(AppendReply(NodeId(2), NodeId(1), solo.node.term, Index(0)))
    after = solo.node.status().progress
    assert [(p.state, p.next_index) for p in after] == [(p.state, p.next_index) for p in before]


# Membership and elections


def change_entry(after: Entry | None = None, term: int = 1) -> tuple[Entry, ...]:
    """An (empty) membership change: an election looks only at its kind."""
    return make_entries([term], after=after, kind=EntryKind.CHANGE)


@pytest.mark.parametrize("how", ["campaign", "tick", "timeout_now"])
def test_nobody_campaigns_with_a_committed_change_unapplied(how: str) -> None:
    """S7 (etcd-io/etcd#7625, tikv/raft-rs#221)."""
    solo = Solo(term=1, log=(*make_entries([1]), *change_entry(make_entries([1])[0])), commit=2, applied=1)
    if how == "campaign":
        solo.node.campaign()
    elif how == "tick":
        for _ in range(30):
            solo.node.tick()
    else:
        solo.node.step(TimeoutNow(NodeId(2), NodeId(1), Term(1)))
    assert (solo.node.status().role, solo.node.term) == (Role.FOLLOWER, 1)


def test_uncommitted_change_does_not_stop_a_campaign() -> None:
    solo = Solo(term=1, log=(*make_entries([1]), *change_entry(make_entries([1])[0])), commit=1, applied=1)
    solo.node.campaign()
    assert solo.node.status().role is Role.PRE_CANDIDATE


def test_nobody_campaigns_while_a_snapshot_is_being_installed() -> None:
    solo = Solo(term=1)
    metadata = SnapshotMetadata(Index(5), Term(1), b"c" * 32, voters(1, 2, 3))
    solo.node.step(InstallSnapshot(NodeId(2), NodeId(1), Term(1), metadata))
    for _ in range(30):
        solo.node.tick()
    assert solo.node.status().role is Role.FOLLOWER


def test_candidate_learns_from_a_refusal_that_a_change_is_over() -> None:
    """Apply-time configurations: the last voters may hold the entry that ended a change without knowing its commit.

    They would ask for the votes of those who left and know better (tikv/raft-rs `maybe_commit_by_vote`).
    """
    entries = make_entries([1, 1])
    solo = Solo(term=1, log=(*entries, *change_entry(entries[-1])), commit=1)
    solo.tick(10)
    assert solo.node.status().role is Role.PRE_CANDIDATE
    refusal = VoteReply(
        NodeId(2), NodeId(1), Term(1), granted=False, pre_vote=True, commit_index=Index(3), commit_term=Term(1)
    )
    solo.node.step(refusal)
    status = solo.node.status()
    assert (status.commit_index, status.role) == (1, Role.PRE_CANDIDATE), "the others may still elect it"
    solo.node.step(VoteReply(NodeId(3), NodeId(1), Term(1), granted=False, pre_vote=True))
    status = solo.node.status()
    assert (status.commit_index, status.role) == (3, Role.FOLLOWER), "the change has to be applied before a campaign"


def test_granted_vote_that_tells_of_a_change_does_not_end_the_campaign() -> None:
    """N3: the voter knows that the change is committed; its vote, which the candidate needs to win, brings the news."""
    entries = make_entries([1, 1])
    solo = Solo(term=1, log=(*entries, *change_entry(entries[-1])), commit=1)
    solo.tick(10)
    for pre_vote in (True, False):
        reply = vote(2, 2, pre_vote=pre_vote)
        solo.step(msgspec.structs.replace(reply, commit_index=Index(3), commit_term=Term(1)))
    status = solo.node.status()
    assert (status.role, status.term) == (Role.LEADER, 2)


def test_campaign_that_nobody_wins_ends_with_what_it_has_learnt() -> None:
    """N3: what a vote told is committed at the timeout; the next campaign begins as soon as the change is applied."""
    entries = make_entries([1, 1])
    added = encode(ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(4)),)))
    entries += make_entries([1], after=entries[-1], kind=EntryKind.CHANGE, data=added)
    solo = Solo(term=1, log=entries, commit=1)
    solo.tick(10)
    solo.node.step(
        VoteReply(
            NodeId(2), NodeId(1), Term(1), granted=False, pre_vote=True, commit_index=Index(3), commit_term=Term(1)
        )
    )
    for _ in range(10):
        solo.node.tick()
    status = solo.node.status()
    assert (status.commit_index, status.role) == (3, Role.FOLLOWER)
    solo.take()
    assert solo.node.applied == 3
    solo.node.tick()
    assert solo.node.status().role is Role.PRE_CANDIDATE


def test_voter_with_a_change_to_apply_stops_naming_a_leader_that_is_gone() -> None:
    """N4: it refused its vote to all others, and did so again after every timeout, while it was applying."""
    entries = make_entries([1, 1])
    solo = Solo(term=1, log=(*entries, *change_entry(entries[-1])), commit=1)
    solo.step(solo.heartbeat(leader=2))
    solo.node.step(solo.heartbeat(leader=2, commit=3))
    assert solo.node.leader == 2
    for _ in range(10):
        solo.node.tick()
    assert (solo.node.leader, solo.node.status().role) == (0, Role.FOLLOWER)
    for ticks in range(25):
        term = Term(2 + ticks)
        solo.node.step(RequestVote(NodeId(3), NodeId(1), term, Index(3), Term(1)))
        assert solo.node.vote == 3, f"it refuses its vote {ticks} ticks later"
        solo.node.tick()


@pytest.mark.parametrize("term", [1, 2, 9])
def test_commit_of_a_refusal_is_learnt_in_whatever_term_it_comes(term: int) -> None:
    """N1: the one that left may be in an older term than the last voter, which ignores its refusal as a vote."""
    solo = Solo(term=2, log=make_entries([1, 1]))
    solo.step(
        VoteReply(NodeId(2), ONE, Term(term), granted=False, pre_vote=True, commit_index=Index(2), commit_term=Term(1))
    )
    assert solo.node.commit_index == 2


def test_commit_of_a_vote_message_counts_only_for_an_entry_that_is_held() -> None:
    solo = Solo(term=2, log=make_entries([1, 1]))
    request = RequestVote(
        NodeId(2), NodeId(1), Term(3), Index(4), Term(2), pre_vote=True, commit_index=Index(2), commit_term=Term(2)
    )
    solo.step(request)
    assert solo.node.commit_index == 0


def test_not_leader_names_the_leader() -> None:
    solo = Solo(term=1)
    with pytest.raises(NotLeader) as refusal:
        solo.node.propose(b"x")
    assert refusal.value.leader == 0
    solo.step(solo.heartbeat())
    with pytest.raises(NotLeader) as refusal:
        solo.node.propose(b"x")
    assert refusal.value.leader == 2
