"""Elections: who may campaign, who gets a vote, and every change of role (Raft 5.2, 5.4.1; thesis 3.10, 4.2.3, 9.6).

Invariants:
- a node casts at most one vote per term, and the vote is sent only AFTER it is durable, the candidate's own included;
- no node campaigns with a committed, unapplied membership change or a pending snapshot, whatever triggers the campaign
  (etcd-io/etcd#7625, tikv/raft-rs#221); what a campaign learns about commits is known when it is over, so that a vote
  never ends the campaign that it is for;
- stepping down within a term keeps the vote; clearing it would allow two leaders in one term.
"""

from __future__ import annotations

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendReply,
    EntryKind,
    Index,
    NodeId,
    RequestVote,
    Term,
    TimeoutNow,
    VoteReply,
)
from collectionstore_node.raft.ready import Role
from collectionstore_node.raft.state import CampaignOrder, Leadership, RaftState
from collectionstore_node.raft.tracker.quorum import VoteResult, vote_result


def become_follower(state: RaftState, term: Term, leader: NodeId) -> None:
    """Become a follower of `leader`, NO_NODE if unknown, in `term`, which is the current term or a later one."""
    if term < state.term:
        raise InvariantViolated(f"the term would decrease from {state.term} to {term}")
    _drop_leadership(state)
    # The vote belongs to the term, not to the role: it is cleared when the term advances and never on a step-down
    # within it. CCF's `pre_vote_double_leader` scenario elects two leaders in one term the other way.
    if term > state.term:
        _enter_term(state, term, vote=NO_NODE)
    state.role = Role.FOLLOWER
    state.votes.clear()
    state.follow(leader)
    state.reset_election_timeout()
    _commit_learnt(state)


def _enter_term(state: RaftState, term: Term, vote: NodeId) -> None:
    state.follow(NO_NODE)
    state.term = term
    state.vote = vote
    state.leader_of_term = NO_NODE
    # Drop acknowledgements queued in the old term. They wait for a sync, and the new leader may replace the entries
    # that they acknowledge BEFORE that sync. No leader of the old term is left to use them anyway.
    state.messages_after_append = [m for m in state.messages_after_append if type(m) is not AppendReply]
    state.log.writes.forget_acknowledgements()


def _drop_leadership(state: RaftState) -> None:
    if state.leadership is not None:
        # Reads of other nodes are not failed here: they expire there, or fail as soon as the new leader is heard.
        state.failed_reads.extend(state.leadership.reads.own_requests())
        # Progress, transfer, uncommitted size and read rounds go as one object, so none can outlive the leadership: a
        # transfer that does blocks all writes of the next one (databendlabs/openraft#1747, hashicorp/raft#581).
        state.leadership = None


def may_campaign(state: RaftState) -> bool:
    """Whether this node is promotable: a voter, not the leader, with no pending snapshot or unapplied change."""
    log = state.log
    if state.role is Role.LEADER or not state.is_voter() or log.pending_snapshot is not None:
        return False
    # Configurations take effect when applied. With a committed change unapplied this node would count votes by a
    # configuration that the cluster has left: {1,2,3} and {1,..,5} have disjoint majorities, hence two leaders
    # (etcd-io/etcd#7625, etcd-io/etcd#11284).
    if state.unapplied_change <= log.applied:
        state.unapplied_change = log.find_change(Index(log.applied + 1), Index(log.commit + 1))
    return state.unapplied_change <= log.applied


def campaign(state: RaftState, *, transfer: bool = False) -> None:
    """Start an election if this node may campaign; with a pre-vote, unless the leader requested it (`transfer`)."""
    if not may_campaign(state):
        return
    if state.settings.pre_vote and not transfer:
        _become_pre_candidate(state)
    else:
        _become_candidate(state, transfer=transfer)


def _become_pre_candidate(state: RaftState) -> None:
    state.role = Role.PRE_CANDIDATE
    # No leader from here on, or this node would reject its own pre-vote round, and those of others, out of loyalty to
    # a leader that it just gave up on (hashicorp/raft#605).
    state.follow(NO_NODE)
    state.reset_election_timeout()
    # The term is NOT incremented: a partitioned node must not return with a term that deposes the leader.
    for voter in _other_voters(state):
        state.send(_vote_request(state, voter, Term(state.term + 1), pre_vote=True))
    # A pre-vote commits a node to nothing, so nothing has to be durable before its own counts.
    state.votes = {state.node_id: True}
    _count_votes(state)


def _become_candidate(state: RaftState, *, transfer: bool) -> None:
    _enter_term(state, Term(state.term + 1), vote=state.node_id)
    state.role = Role.CANDIDATE
    state.follow(NO_NODE)
    state.reset_election_timeout()
    # Empty: the own vote counts once it is durable, see `count_own_vote`.
    state.votes = {}
    for voter in _other_voters(state):
        # AFTER the own vote is durable (thesis 3.8). A candidate that won without it could crash, restart in the old
        # term, win the same term again, and append different entries under the same index and term.
        state.send_after_append(_vote_request(state, voter, state.term, transfer=transfer))


def _vote_request(
    state: RaftState, to: NodeId, term: Term, *, pre_vote: bool = False, transfer: bool = False
) -> RequestVote:
    log = state.log
    return RequestVote(
        sender=state.node_id,
        to=to,
        term=term,
        last_log_index=log.last_index,
        last_log_term=log.last_term,
        pre_vote=pre_vote,
        transfer=transfer,
        commit_index=log.commit,
        commit_term=log.term(log.commit),
    )


def _other_voters(state: RaftState) -> list[NodeId]:
    voters = {*state.configuration.voters, *state.configuration.outgoing}
    return sorted(voters - {state.node_id})


def count_own_vote(state: RaftState) -> None:
    """Count the candidate's vote for itself, AFTER it is durable."""
    if state.role is Role.CANDIDATE and state.durable.term == state.term and state.durable.vote == state.node_id:
        state.votes[state.node_id] = True
        _count_votes(state)


def _count_votes(state: RaftState) -> None:
    result = vote_result(state.votes, state.configuration.voters, state.configuration.outgoing)
    if result is VoteResult.LOST:
        become_follower(state, state.term, NO_NODE)
    elif result is VoteResult.WON and state.role is Role.PRE_CANDIDATE:
        _become_candidate(state, transfer=False)
    elif result is VoteResult.WON and state.votes.get(state.node_id):
        # A majority of others is not enough: the own vote must be durable before this node acts as leader.
        _become_leader(state)


def _become_leader(state: RaftState) -> None:
    """Become the leader of the term, with no knowledge of the followers, and append the term's no-op entry."""
    state.elected_by = frozenset(voter for voter, granted in state.votes.items() if granted)
    log = state.log
    if log.count_changes(Index(log.commit + 1), Index(log.last_index + 1), at_most=2) > 1:
        raise InvariantViolated("two membership changes are uncommitted in one log")
    others = sorted(state.configuration.members() - {state.node_id})
    progress = {member: state.new_progress(recent_active=False) for member in others}
    # Entries of earlier terms commit only through an entry of this term (Raft 5.4.2), and reads wait for one (Raft 8).
    # Without the no-op a leader that receives no writes would serve no reads (etcd-io/etcd#7331).
    no_op = log.append_own(state.term, EntryKind.NOOP, b"")
    state.role = Role.LEADER
    state.votes.clear()
    # Not needed: this leader commits it with its no-op, under the configuration that elected it.
    state.learnt_commit = Index(0)
    state.reset_election_timeout()
    # `pending_change` starts at the no-op: no membership change before an entry of this term is applied. It rules out
    # Ongaro's single-server bug and covers a change that an earlier leader left in the log, without a scan.
    state.leadership = Leadership(term_start=no_op.index, pending_change=no_op.index, progress=progress)
    state.follow(state.node_id)


def on_request_vote(state: RaftState, message: RequestVote) -> None:
    """Grant the vote if it is free in this term and the candidate's log is at least as up to date (Raft 5.4.1).

    Learners and removed nodes vote too: this node may have been promoted by a change that it has not received, and a
    cluster of which only such voters are left could never elect a leader. Whose vote counts is decided by the
    candidate's configuration (etcd-io/raft `raft.Step`).
    """
    may_vote = (
        # Repeating a vote is safe and needed: the first reply may be lost.
        state.vote == message.sender
        or (state.vote == NO_NODE and state.leader == NO_NODE)
        # A pre-vote for a later term conflicts with no vote of this one.
        or (message.pre_vote and message.term > state.term)
    )
    granted = may_vote and state.log.is_up_to_date(message.last_log_index, message.last_log_term)
    if granted and not message.pre_vote:
        # Only a real vote is recorded and resets the timer: pre-votes could otherwise keep every follower quiet.
        state.vote = message.sender
        state.election_ticks = 0
    reply_vote(state, message, granted=granted)


def learn_commit(state: RaftState, message: RequestVote | VoteReply) -> None:
    """Commit up to an entry that a peer knows to be committed, if this log contains it (tikv/raft-rs does the same).

    Configurations take effect when applied. The remaining voters of a change may hold the entry that completed it
    without knowing that it is committed; they then need votes of nodes that have left. Those nodes know, and say so
    here. A committed entry is committed in every term, so this runs whatever the message's term is.
    """
    log = state.log
    if state.leadership is not None or not log.match_term(message.commit_index, message.commit_term):
        return
    # During a campaign only AFTER its end. The commit may reveal a change, which has to be applied before this node
    # campaigns; giving up for that would waste the votes that bring the news, and leave the term without a leader. The
    # campaign may go on: nothing is appended meanwhile, and a candidate that never heard the news may win just as well.
    state.learnt_commit = max(state.learnt_commit, message.commit_index)
    if state.role is Role.FOLLOWER:
        _commit_learnt(state)


def _commit_learnt(state: RaftState) -> None:
    if state.learnt_commit:
        state.log.commit_to(state.learnt_commit)
        state.learnt_commit = Index(0)


def reply_vote(state: RaftState, message: RequestVote, *, granted: bool) -> None:
    """Queue the reply to a vote request; sent AFTER term and vote are durable, rejections too (thesis 3.8)."""
    state.send_after_append(
        VoteReply(
            sender=state.node_id,
            to=message.sender,
            # A granted pre-vote carries the candidate's future term: with ours it would be ignored as stale. A
            # rejection carries ours, so that the candidate can adopt a higher term (databendlabs/openraft#1796).
            term=message.term if granted else state.term,
            granted=granted,
            pre_vote=message.pre_vote,
            commit_index=state.log.commit,
            commit_term=state.log.term(state.log.commit),
        )
    )


def on_vote_reply(state: RaftState, message: VoteReply) -> None:
    """Count a vote if it answers the current campaign."""
    expected = Role.PRE_CANDIDATE if message.pre_vote else Role.CANDIDATE
    if state.role is not expected:
        return
    # A pre-vote granted for an earlier campaign says nothing about this one.
    if message.pre_vote and message.granted and message.term != state.term + 1:
        return
    # The first reply counts: a duplicate or a reordered one must not change it.
    state.votes.setdefault(message.sender, message.granted)
    _count_votes(state)


def on_timeout_now(state: RaftState, message: TimeoutNow) -> None:
    """Campaign immediately at the leader's request (thesis 3.10).

    Accepted from the current leader only: the resulting vote requests bypass the voters' leader lease.
    """
    if state.role is Role.FOLLOWER and message.sender == state.leader:
        # It may have to wait: the append before it tells of a commit, and that change is applied with the next Ready.
        state.order = CampaignOrder(message.term, message.sender, state.log.last_index, state.tick)
        obey_order(state)


def obey_order(state: RaftState) -> None:
    """Campaign as the leader requested, once nothing prevents it; drop a request that is no longer current."""
    order = state.order
    if order is None:
        return
    current = (
        state.role is Role.FOLLOWER
        and (state.term, state.leader, state.log.last_index) == (order.term, order.leader, order.last_index)
        and state.tick - order.tick < state.settings.election_ticks
    )
    if current and not may_campaign(state):
        return
    state.order = None
    if current:
        campaign(state, transfer=True)


def tick(state: RaftState) -> None:
    """Advance the clock of a follower or candidate by one tick."""
    state.election_ticks += 1
    if state.forwarded:
        state.failed_reads.extend(state.forwarded.expired(state.tick - state.settings.election_ticks))
    if state.election_ticks < state.election_timeout and not _may_campaign_at_once(state):
        return
    if state.role is not Role.FOLLOWER:
        # This campaign is over, won by nobody.
        _commit_learnt(state)
    if may_campaign(state):
        campaign(state)
        return
    if state.role is not Role.FOLLOWER:
        become_follower(state, state.term, NO_NODE)
        state.election_ticks = state.election_timeout
    # The leader is gone. A node that may not campaign, be it a learner or a voter with a change to apply, must not name
    # it any longer: it would refuse its vote to the others. It stays due, and campaigns at the first tick that it may.
    state.follow(NO_NODE)


def _may_campaign_at_once(state: RaftState) -> bool:
    """Whether to skip the election timeout: the only voter waits for no other node.

    Not after it led this term: it stepped down because its disk or event loop is stuck, and would do so again.
    """
    alone = state.configuration.voters == (state.node_id,) and not state.configuration.joint
    return alone and state.role is Role.FOLLOWER and state.leader_of_term != state.node_id
