"""What a driver may ask of a leader: to append commands, to change the membership, to transfer leadership."""

from __future__ import annotations

from collectionstore_node.errors import InvalidRequest, LeadershipTransferring, NotLeader, Overloaded
from collectionstore_node.raft import leader, membership_change
from collectionstore_node.raft.messages import ConfigChange, Entry, EntryKind, NodeId
from collectionstore_node.raft.state import Leadership, RaftState


def propose(state: RaftState, data: bytes) -> Entry:
    """Append a COMMANDS entry. Raises `NotLeader`, `LeadershipTransferring` or `Overloaded`."""
    leadership = _accepting(state)
    uncommitted = leadership.uncommitted
    # Without a limit the log of a leader that cannot commit grows until memory ends. One entry always passes, or an
    # entry above the limit could never be proposed; empty entries always pass (etcd-io/raft a370b6f).
    if data and uncommitted.total and uncommitted.total + len(data) > state.settings.uncommitted_bytes_max:
        raise Overloaded(
            f"{uncommitted.total} bytes are uncommitted; the limit is {state.settings.uncommitted_bytes_max}"
        )
    entry = state.log.append_own(state.term, EntryKind.COMMANDS, data)
    uncommitted.add(entry.index, len(data))
    leadership.replication_pending = True
    return entry


def propose_change(state: RaftState, change: ConfigChange) -> Entry:
    """Append a membership change. Raises as `propose`, and `ChangePending` or `InvalidRequest`."""
    return membership_change.propose(state, _accepting(state), change)


def transfer_leadership(state: RaftState, to: NodeId) -> None:
    """Start a leadership transfer to the voter `to`; see `RaftNode.transfer_leadership`."""
    leadership = _leadership(state)
    if to not in state.configuration.voters:
        raise InvalidRequest("not_a_voter", f"{to:016x} is not a voter; leadership can be transferred to voters only")
    if to != state.node_id:
        leader.transfer(state, leadership, to)


def _accepting(state: RaftState) -> Leadership:
    """Return the leadership if it accepts proposals."""
    leadership = _leadership(state)
    if leadership.transferee:
        # A proposal would move the end of the log away from the transferee, which has to reach it.
        raise LeadershipTransferring(f"leadership is being transferred to {leadership.transferee:016x}")
    return leadership


def _leadership(state: RaftState) -> Leadership:
    leadership = state.leadership
    if leadership is None:
        raise NotLeader(state.leader)
    if leadership.step_down_index is not None:
        # An entry after the step-down index would be left to the next leader, with its outcome unknown.
        raise LeadershipTransferring("this leader was removed from the voters and is stepping down")
    return leadership
