"""What the members of one cluster answer. Pure: requests in, answers out.

Source: docs/reference/api.md, GET /status and the operations on members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Answer: TypeAlias = tuple[int, dict[str, Any]]
"""Status code and JSON."""


@dataclass(slots=True)
class Member:
    """One pod with its volume."""

    name: str
    node_id: str
    address: str = ""
    http_address: str = ""


@dataclass(slots=True)
class Group:
    """The members of one cluster, as far as the operator sees them."""

    cluster_id: str
    version: str
    present: dict[str, Member] = field(default_factory=dict)
    """By name of the pod: those that run."""
    voters: list[str] = field(default_factory=list)
    learners: list[str] = field(default_factory=list)
    known: dict[str, Member] = field(default_factory=dict)
    """By node ID: all that were ever members."""
    leader: str = ""
    term: int = 0
    index: int = 0
    epoch: int = 0

    def status(self, name: str) -> Answer:
        """Answer GET /status for a pod."""
        member = self.present[name]
        self._elect()
        leads, joined = member.node_id == self.leader, member.node_id in (*self.voters, *self.learners)
        leader = self.known.get(self.leader)
        role = "Leader" if leads else "Learner" if member.node_id in self.learners else "Follower"
        return 200, {
            "cluster_id": self.cluster_id,
            "node_id": member.node_id,
            "name": name,
            "version": self.version,
            "state": "Member" if joined else "Uninitialized",
            "role": role,
            "term": self.term if joined else 0,
            "commit_index": self.index if joined else 0,
            "applied_index": self.index if joined else 0,
            "last_index": self.index if joined else 0,
            "epoch": self.epoch if joined else 0,
            "configuration": self._configuration() if joined else {},
            "leader": {"node_id": leader.node_id, "name": leader.name, "http_address": leader.http_address}
            if leader is not None and joined
            else None,
            "members": [self._shown(one) for one in (*self.voters, *self.learners)] if leads else [],
            "uptime_s": 3600.0,
        }

    def bootstrap(self, name: str, request: dict[str, Any]) -> Answer:
        """Answer a bootstrap."""
        if self.voters:
            return _refusal("already_bootstrapped")
        member = self.present[name]
        self.known[member.node_id] = member
        self.voters, self.leader, self.term = [member.node_id], member.node_id, 1
        return self._done(request)

    def change(self, request: dict[str, Any]) -> Answer:
        """Answer a membership change: done at once, without a joint configuration in between."""
        if request["epoch"] < self.epoch:
            return _refusal("stale_epoch")
        if request["expected_index"] != self.index:
            return _refusal("configuration_changed")
        for change in request["changes"]:
            node_id = change["node_id"]
            match change["action"]:
                case "add":
                    self.known[node_id] = Member(change["name"], node_id, change["address"], change["http_address"])
                    self.learners.append(node_id)
                case "promote":
                    self.learners.remove(node_id)
                    self.voters.append(node_id)
                case "remove":
                    self.voters = [one for one in self.voters if one != node_id]
                    self.learners = [one for one in self.learners if one != node_id]
        return self._done(request)

    def transfer(self, request: dict[str, Any]) -> Answer:
        """Answer a transfer of leadership."""
        self.leader, self.term = request["node_id"] or self.voters[0], self.term + 1
        self.epoch = max(self.epoch, request["epoch"])
        return 200, {}

    def _done(self, request: dict[str, Any]) -> Answer:
        self.epoch, self.index = max(self.epoch, request["epoch"]), self.index + 1
        return 200, {}

    def _elect(self) -> None:
        running = {one.node_id for one in self.present.values()}
        if self.leader not in running:
            self.leader = next((one for one in self.voters if one in running), "")
            self.term += bool(self.leader)

    def _configuration(self) -> dict[str, Any]:
        return {"index": self.index, "voters": self.voters, "learners": self.learners}

    def _shown(self, node_id: str) -> dict[str, Any]:
        one = self.known[node_id]
        running = any(other.node_id == node_id for other in self.present.values())
        return {
            "node_id": node_id,
            "name": one.name,
            "address": one.address,
            "http_address": one.http_address,
            "role": "Learner" if node_id in self.learners else "Voter",
            "match_index": self.index,
            "lag": 0,
            "active": running,
            "silent_ms": 0.0 if running else 60_000.0,
        }


def _refusal(code: str) -> Answer:
    return 409, {"title": code, "code": code, "outcome": "not_applied", "retryable": False}
