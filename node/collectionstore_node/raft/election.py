"""Elections: who may campaign, who gets a vote, and every change of role (Raft 5.2, 5.4.1; thesis 3.10, 4.2.3, 9.6).

Invariants:
- at most one vote per term, and it leaves only AFTER it is durable, the candidate's own included;
- nobody campaigns while a committed membership change is unapplied or a snapshot is being installed, whatever asks
  for the campaign (etcd-io/etcd#7625, tikv/raft-rs#221);
- stepping down within a term keeps the vote: clearing it would allow two leaders in one term.
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
from collectionstore_node.raft.state import Leadership, RaftState
from collectionstore_node.raft.tracker.quorum import VoteResult, vote_result


def become_follower(state: RaftState, term: Term, leader: NodeId) -> None:
    """Follow `leader` (or nobody, NO_NODE) in `term`, which is the present term or a later one."""
    if term < state.term:
        raise InvariantViolated(f"the term would fall from {state.term} to {term}")
    _drop_leadership(state)
    if term > state.term:
        _enter_term(state, term, vote=NO_NODE)
    state.role = Role.FOLLOWER
    state.votes.clear()
    state.follow(leader)
    state.reset_election_timeout()


def _enter_term(state: RaftState, term: Term, vote: NodeId) -> None:
    state.follow(NO_NODE)
    state.term = term
    state.vote = vote
    state.leader_of_term = NO_NODE
    # Nobody waits for acknowledgements of an earlier term, and the entries they speak of may be replaced before they
    # are ever stored.
    state.messages_after_append = [m for m in state.messages_after_append if type(m) is not AppendReply]


def _drop_leadership(state: RaftState) -> None:
    if state.leadership is not None:
        state.failed_reads.extend(state.leadership.reads.own_requests())
        state.leadership = None


def may_campaign(state: RaftState) -> bool:
    """Whether this node could lead, as far as it knows."""
    log = state.log
    if state.role is Role.LEADER or not state.is_voter() or log.pending_snapshot is not None:
        return False
    # The changes may take the vote away from this node, or from those that it would ask.
    return not log.has_change(Index(log.applied + 1), Index(log.commit + 1))


def campaign(state: RaftState, *, transfer: bool = False) -> None:
    """Stand for election, if this node may: first ask whether it could win, unless the leader ordered it to run."""
    if not may_campaign(state):
        return
    if state.settings.pre_vote and not transfer:
        _become_pre_candidate(state)
    else:
        _become_candidate(state, transfer=transfer)


def _become_pre_candidate(state: RaftState) -> None:
    state.role = Role.PRE_CANDIDATE
    state.follow(NO_NODE)
    state.reset_election_timeout()
    for voter in _other_voters(state):
        state.send(_vote_request(state, voter, Term(state.term + 1), pre_vote=True))
    # A pre-vote binds nobody, so one's own counts at once.
    state.votes = {state.node_id: True}
    _count_votes(state)


def _become_candidate(state: RaftState, *, transfer: bool) -> None:
    _enter_term(state, Term(state.term + 1), vote=state.node_id)
    state.role = Role.CANDIDATE
    state.follow(NO_NODE)
    state.reset_election_timeout()
    state.votes = {}
    for voter in _other_voters(state):
        # AFTER the own vote is durable: a node that won without it could crash, win the same term again from the
        # same voters, and write other entries under the same term.
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
    """Count the candidate's vote for itself once it is durable."""
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
        _become_leader(state)


def _become_leader(state: RaftState) -> None:
    """Lead the term: know nothing of the followers, and open the term with a no-op (Raft 8, thesis 6.4)."""
    state.elected_by = frozenset(voter for voter, granted in state.votes.items() if granted)
    log = state.log
    if log.count_changes(Index(log.commit + 1), Index(log.last_index + 1), at_most=2) > 1:
        raise InvariantViolated("two membership changes are uncommitted in one log")
    others = sorted(state.configuration.members() - {state.node_id})
    progress = {member: state.new_progress(recent_active=False) for member in others}
    no_op = log.append_own(state.term, EntryKind.NOOP, b"")
    state.role = Role.LEADER
    state.votes.clear()
    state.reset_election_timeout()
    state.leadership = Leadership(term_start=no_op.index, pending_change=no_op.index, progress=progress)
    state.follow(state.node_id)


def on_request_vote(state: RaftState, message: RequestVote) -> None:
    """Vote for a candidate whose log is at least as good, once per term.

    Learners and strangers vote too: they may have been promoted without having learnt it, and only the candidate's
    configuration says whose vote counts.
    """
    may_vote = (
        state.vote == message.sender
        or (state.vote == NO_NODE and state.leader == NO_NODE)
        or (message.pre_vote and message.term > state.term)
    )
    granted = may_vote and state.log.is_up_to_date(message.last_log_index, message.last_log_term)
    if granted and not message.pre_vote:
        state.vote = message.sender
        state.election_ticks = 0
    # A grant carries the candidate's term: ours may be lower, and lower terms are ignored. A refusal carries ours.
    reply_vote(state, message, granted=granted)


def maybe_commit_by_vote(state: RaftState, message: RequestVote | VoteReply) -> None:
    """Commit what a peer knows to be committed and this log holds too.

    A configuration is active when applied, so the last voters of a change may hold the entry that ended it without
    knowing that it is committed, and would ask for votes of those who left. Those know, and say so, whatever the terms
    are: what is committed is so in every term. A campaign in the old configuration is over then.
    """
    log = state.log
    if state.leadership is not None or not log.match_term(message.commit_index, message.commit_term):
        return
    if log.commit_to(message.commit_index) and state.role is not Role.FOLLOWER and not may_campaign(state):
        become_follower(state, state.term, NO_NODE)


def reply_vote(state: RaftState, message: RequestVote, *, granted: bool) -> None:
    """Queue the answer to a vote request."""
    state.send_after_append(
        VoteReply(
            sender=state.node_id,
            to=message.sender,
            term=message.term if granted else state.term,
            granted=granted,
            pre_vote=message.pre_vote,
            commit_index=state.log.commit,
            commit_term=state.log.term(state.log.commit),
        )
    )


def on_vote_reply(state: RaftState, message: VoteReply) -> None:
    """Count a vote, if it answers the present campaign."""
    wanted = Role.PRE_CANDIDATE if message.pre_vote else Role.CANDIDATE
    if state.role is not wanted:
        return
    if message.pre_vote and message.granted and message.term != state.term + 1:
        return
    # The first answer counts: a repeated or reordered one must not turn it.
    state.votes.setdefault(message.sender, message.granted)
    _count_votes(state)


def on_timeout_now(state: RaftState, message: TimeoutNow) -> None:
    """Campaign at once because the leader asks for it (thesis 3.10), and nobody else: it overrides the leases."""
    if state.role is Role.FOLLOWER and message.sender == state.leader:
        campaign(state, transfer=True)


def tick(state: RaftState) -> None:
    """Let time pass for a node that does not lead."""
    state.election_ticks += 1
    if state.forwarded:
        state.failed_reads.extend(state.forwarded.expired(state.tick - state.settings.election_ticks))
    if state.election_ticks < state.election_timeout and not _may_campaign_at_once(state):
        return
    if may_campaign(state):
        campaign(state)
        return
    state.reset_election_timeout()
    if not state.is_voter():
        # Cannot campaign, but should not go on naming a leader that is gone.
        state.follow(NO_NODE)


def _may_campaign_at_once(state: RaftState) -> bool:
    """Whether there is nobody to wait for: the only voter, unless it led this term and stepped down from it."""
    alone = state.configuration.voters == (state.node_id,) and not state.configuration.joint
    return alone and state.role is Role.FOLLOWER and state.leader_of_term != state.node_id
