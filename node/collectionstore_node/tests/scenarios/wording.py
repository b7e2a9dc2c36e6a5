"""Messages, logs and nodes in words: what a story shows.

An entry is `index@term` with what it holds: `3@2"a"`, a change `5@2{+4 -1}` (`~` makes a learner, `leave` ends a joint
configuration), a leader's no-op `4@3`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    ChangeKind,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    TimeoutNow,
    VoteReply,
    decode_change,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import Role
from collectionstore_node.tests.raft.cluster import Image, Server

SIGNS: Final = {ChangeKind.ADD_VOTER: "+", ChangeKind.ADD_LEARNER: "~", ChangeKind.REMOVE: "-"}


def nodes(ids: Iterable[NodeId]) -> str:
    return " ".join(map(str, ids))


def change(value: ConfigChange) -> str:
    return " ".join(f"{SIGNS[step.kind]}{step.node_id}" for step in value.changes) or "leave"


def entry(value: Entry) -> str:
    at = f"{value.index}@{value.term}"
    if value.kind is EntryKind.CHANGE:
        return f"{at}{{{change(decode_change(value.data))}}}"
    return f'{at}"{value.data.decode()}"' if value.kind is EntryKind.COMMANDS else at


def entries(values: Iterable[Entry]) -> str:
    return " ".join(map(entry, values)) or "nothing"


def configuration(value: Configuration) -> str:
    """Return the voters; in a joint configuration the old voters follow `and`."""
    parts = [f"voters {nodes(value.voters)}" if value.voters else "no voters"]
    if value.joint:
        parts[0] += f" and {nodes(value.outgoing)}"
    if value.learners:
        parts.append(f"learners {nodes(value.learners)}")
    if value.learners_next:
        parts.append(f"next learners {nodes(value.learners_next)}")
    return ", ".join(parts)


def message(value: Message) -> str:
    """Return a message as `sender>receiver Type term N: what it says`."""
    return f"{value.sender}>{value.to} {type_of(value)} term {value.term}{_SAID[type(value)](value)}"


def type_of(value: Message) -> str:
    """Return the name that stories use for a message's type."""
    if isinstance(value, RequestVote | VoteReply) and value.pre_vote:
        return "PreVote" if isinstance(value, RequestVote) else "PreVoteReply"
    return type(value).__name__


def _append_reply(value: AppendReply) -> str:
    if value.rejected:
        return f": rejects after {value.index}, hint {value.hint_index}@{value.hint_term}"
    return f": match {value.index}"


_SAID: Final[dict[type, Callable[[Any], str]]] = {
    RequestVote: lambda it: f": log ends {it.last_log_index}@{it.last_log_term}{', transfer' if it.transfer else ''}",
    VoteReply: lambda it: f": {'granted' if it.granted else 'rejected'}",
    AppendEntries: lambda it: (
        f": after {it.prev_log_index}@{it.prev_log_term} {entries(it.entries)}, commit {it.leader_commit}"
        f"{', silent' if it.silent else ''}"
    ),
    AppendReply: _append_reply,
    Heartbeat: lambda it: f": commit {it.leader_commit}{_round(it)}",
    HeartbeatReply: lambda it: _round(it).replace(",", ":"),
    InstallSnapshot: lambda it: (
        f": at {it.metadata.index}@{it.metadata.term}, {configuration(it.metadata.configuration)}"
    ),
    TimeoutNow: lambda it: "",
    ReadIndexRequest: lambda it: f": read {it.request_id}",
    ReadIndexReply: lambda it: f": read {it.request_id} at {it.index}",
}


def _round(value: Heartbeat | HeartbeatReply) -> str:
    return f", round {value.read_sequence}" if value.read_sequence else ""


def role(node: RaftNode) -> str:
    """Return the role that a node reports."""
    status = node.status()
    if status.role is Role.LEADER:
        return f"leads term {status.term}"
    if status.role in (Role.CANDIDATE, Role.PRE_CANDIDATE):
        return f"{status.role.value} in term {status.term}"
    verb = "learns from" if status.role is Role.LEARNER else "follows"
    return f"{verb} {status.leader or 'no leader'} in term {status.term}"


def server(value: Server) -> str:
    """Return a line about a node: role, vote, indexes, configuration."""
    if not value.alive:
        return f"{value.node_id}: down"
    status = value.core.status()
    parts = [
        role(value.core),
        f"voted {status.vote or 'none'}",
        f"commit {status.commit_index}",
        f"applied {value.applied.index}",
        configuration(status.configuration),
    ]
    if status.transferring_to:
        parts.append(f"transferring to {status.transferring_to}")
    return f"{value.node_id}: {', '.join(parts)}"


def log(value: Server) -> str:
    """Return a node's log as it is written, and how much of it is synced, committed or still only in memory."""
    image = value.disk.current
    parts = [f"after {image.snapshot.index}@{image.snapshot.term} {entries(image.entries)}"]
    if not image.snapshot.index:
        parts = [entries(image.entries)]
    last = last_index(image)
    synced = last_index(value.disk.durable)
    if synced != last or value.disk.durable.entries[-1:] != image.entries[-1:]:
        parts.append(f"synced to {synced}")
    if value.alive:
        if value.core.last_index != last:
            parts.append(f"in memory to {value.core.last_index}")
        parts.append(f"commit {value.core.commit_index}")
    return f"{value.node_id}: {', '.join(parts)}"


def last_index(image: Image) -> int:
    return image.entries[-1].index if image.entries else image.snapshot.index


def disk(value: Server) -> str:
    """Return what would survive a crash now."""
    image = value.disk.durable
    state = image.hard_state
    return (
        f"{value.node_id}: term {state.term}, voted {state.vote or 'none'}, commit {state.commit}, "
        f"log to {last_index(image)}, applied {image.applied.index}; {value.disk.unsynced} writes unsynced"
    )


def progress(value: Server) -> list[str]:
    """Return a line per follower as the leader sees it."""
    lines = []
    for status in value.core.status().progress:
        if status.node_id == value.node_id:
            continue
        line = f"{status.node_id}: {status.state.value} match {status.match_index} next {status.next_index}"
        if status.inflight:
            line += f" inflight {status.inflight}"
        if status.pending_snapshot:
            line += f" snapshot {status.pending_snapshot}"
        lines.append(line + ("" if status.recent_active else " inactive"))
    return lines
