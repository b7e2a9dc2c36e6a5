"""A text notation for clusters, so that planner tests read as scenarios.

One line per ordinal: `1: voter lag=20 old`. The role of the member (one word, a voter if none is given):

    leader voter learner   a member; the incarnation is `old-<ordinal>`
    incoming outgoing      in one half of a joint configuration only
    fresh                  responds, and has never been part of a cluster
    stale                  responds with log entries on its volume, and is not a member
    renewed                responds as the new incarnation `new-<ordinal>`, while the old one is still a voter
    rejoined               the same, and the new incarnation is a learner already
    gone                   neither pod nor volume
    left                   no pod, a marked volume
    free                   no pod, an unmarked volume

And its state:

    lag=N                  entries behind
    down=S                 its process has not run for S seconds, and the leader has not heard from it
    unready=S              it runs, and has not been ready for S seconds
    failure=Disk           why it is down
    silent                 the leader has not heard from it recently
    hidden                 its pod is unknown
    mute                   its node does not respond
    old                    started at an earlier revision
    marked empty nodisk    of its volume
    doomed                 its claim is being deleted, and waits for its pod
    replace in-place stopping    of its pod
    gated                  of its pod: it waits at our scheduling gate
    stuck                  terminating on a lost Kubernetes node, and its volume is being deleted
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    Bootstrap,
    ChangeVoters,
    EnsureWorkload,
    MarkVolume,
    RemoveLearners,
    RestartPod,
    RetireVolume,
    ScaleWorkload,
    TransferLeadership,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    Configuration,
    Failure,
    Leader,
    Member,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired, FailedMember, Spec, Storage, Unsafe

CLUSTER_ID: Final = "c0ffee"
NOW: Final = 1_787_832_000.0
UNSEEN: Final = Unknown("no answer within 1 s")
ANY_SIZE: Final = Unsafe(allow_even_replicas=True, allow_single_replica=True)

_MEMBERS: Final = ("leader", "voter", "learner", "incoming", "outgoing")
_KINDS: Final = (*_MEMBERS, "fresh", "stale", "renewed", "rejoined", "gone", "left", "free")


def make_desired(replicas: int = 3, **spec: object) -> Desired:
    """Return a resource called demo."""
    return Desired(name="demo", spec=Spec(replicas=replicas, unsafe=ANY_SIZE, **spec))  # type: ignore[arg-type]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario of a file."""

    title: str
    desired: Desired
    picture: str
    actions: list[str]
    waits: list[str]


def read_stories(text: str) -> list[Story]:
    """Read a scenario file: `#` begins a comment, an empty line ends a story, its first line is the title."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [_story(part.splitlines()) for part in "\n".join(lines).split("\n\n") if part.strip()]


def _story(lines: list[str]) -> Story:
    title, *rest = (line.strip() for line in lines if line.strip())
    by_word: dict[str, list[str]] = {"want": [], "do": [], "wait": [], "": []}
    for line in rest:
        word, _, tail = line.partition(" ")
        by_word[word if word in by_word else ""].append(tail if word in by_word else line)
    return Story(
        title=title,
        desired=_desired(dict(word.split("=") for word in by_word["want"][0].split())),
        picture="\n".join(by_word[""]),
        actions=by_word["do"],
        waits=by_word["wait"],
    )


def _desired(words: dict[str, str]) -> Desired:
    failed_member = FailedMember(replacement=words.get("replacement", "Automatic"))  # type: ignore[arg-type]
    storage = Storage(retention=words.get("retention", "Retain"))  # type: ignore[arg-type]
    return make_desired(int(words["replicas"]), failed_member=failed_member, storage=storage)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a picture."""

    ordinal: int
    kind: str
    words: frozenset[str]
    numbers: Mapping[str, str]

    def number(self, word: str) -> int:
        """Return the number of `word=N`, 0 without it."""
        return int(self.numbers.get(word, 0))

    @property
    def name(self) -> str:
        return f"demo-{self.ordinal}"

    @property
    def has_pod(self) -> bool:
        return self.kind not in ("gone", "left", "free")

    @property
    def recently_active(self) -> bool:
        return "down" not in self.numbers and "silent" not in self.words

    @property
    def old_id(self) -> str:
        return f"old-{self.ordinal}"

    @property
    def node_id(self) -> str:
        return f"new-{self.ordinal}" if self.kind in ("renewed", "rejoined") else self.old_id


def draw(picture: str, desired: Desired, **facts: object) -> Observed:
    """Return the observed state of the pictured cluster; `facts` replace fields of `Observed`."""
    lines = [_line(text) for text in picture.strip().splitlines()]
    configuration = _configuration(lines)
    members = tuple(member for line in lines for member in _members(line, configuration))
    pods = [line.ordinal for line in lines if line.has_pod]
    seen = Observed(
        now=NOW,
        cluster_id=CLUSTER_ID,
        initialized=bool(configuration.voters),
        initialized_recorded=True,
        epoch=1,
        workload=Workload(replicas=max(pods, default=-1) + 1, revision=revision(desired)),
        slots=tuple(_slot(line, configuration, members, desired) for line in lines),
    )
    return msgspec.structs.replace(seen, **facts)


def _line(text: str) -> Line:
    ordinal, _, rest = text.partition(":")
    words = rest.split()
    kinds = [word for word in words if word in _KINDS]
    numbers = dict(word.split("=") for word in words if "=" in word)
    return Line(
        ordinal=int(ordinal), kind=kinds[0] if kinds else "voter", words=frozenset(words) - set(kinds), numbers=numbers
    )


def _configuration(lines: list[Line]) -> Configuration:
    both = [line.old_id for line in lines if line.kind in ("leader", "voter", "renewed", "rejoined")]
    incoming = [line.old_id for line in lines if line.kind == "incoming"]
    outgoing = [line.old_id for line in lines if line.kind == "outgoing"]
    joint = bool(incoming or outgoing)
    learners = [line.old_id for line in lines if line.kind == "learner"]
    learners += [line.node_id for line in lines if line.kind == "rejoined"]
    return Configuration(
        index=12 if both else 0,
        voters=tuple(sorted(both + incoming)),
        outgoing=tuple(sorted(both + outgoing)) if joint else (),
        learners=tuple(sorted(learners)),
        joint=joint,
    )


def _members(line: Line, configuration: Configuration) -> list[Member]:
    members = []
    for node_id in dict.fromkeys((line.old_id, line.node_id)):
        if node_id in configuration.members():
            replaced = node_id != line.node_id
            active = line.recently_active and not replaced
            lag = line.number("lag")
            members.append(
                Member(
                    node_id=node_id,
                    name=line.name,
                    match_index=20_000 - lag,
                    lag=lag,
                    active=active,
                    silent_ms=80.0 if active else 60_000.0,
                )
            )
    return members


def _slot(line: Line, configuration: Configuration, members: tuple[Member, ...], desired: Desired) -> Slot:
    answers = line.has_pod and "down" not in line.numbers and not line.words & {"mute"}
    return Slot(
        ordinal=line.ordinal,
        pod=_pod(line, desired),
        node=_node(line, configuration, members) if answers else UNSEEN,
        volume=Unknown("it is being deleted") if "stuck" in line.words else _volume(line),
    )


def _pod(line: Line, desired: Desired) -> Pod | Absent | Unknown:
    if "hidden" in line.words:
        return UNSEEN
    if not line.has_pod:
        return ABSENT
    down = "down" in line.numbers
    joining = line.kind in ("fresh", "stale", "renewed", "rejoined")
    unready_s = line.number("down") or line.number("unready") or (60 if joining else 0)
    return Pod(
        uid=f"uid-{line.ordinal}",
        running=not down,
        ready=not unready_s and not down,
        terminating=bool(line.words & {"stopping", "stuck"}),
        stuck_terminating="stuck" in line.words,
        revision="earlier" if "old" in line.words else revision(desired),
        unready_s=float(unready_s),
        failure=Failure(line.numbers.get("failure", "None")),
        replace_requested="replace" in line.words,
        replace_in_place="in-place" in line.words,
        gated="gated" in line.words,
        peer_address=f"127.0.0.1:{7401 + 10 * line.ordinal}",
        http_address=f"http://127.0.0.1:{7400 + 10 * line.ordinal}",
    )


def _volume(line: Line) -> Volume | Absent:
    if line.kind == "gone" or "nodisk" in line.words:
        return ABSENT
    node_id: str | Absent = ABSENT if "empty" in line.words else line.node_id
    removed = line.kind == "left" or "marked" in line.words
    return Volume(name=f"data-{line.name}", node_id=node_id, removed=removed, terminating="doomed" in line.words)


def _node(line: Line, configuration: Configuration, members: tuple[Member, ...]) -> NodeStatus:
    leads = line.kind == "leader"
    known = line.node_id in configuration.members()
    history = known or line.kind == "stale"
    return NodeStatus(
        cluster_id=CLUSTER_ID,
        node_id=line.node_id,
        name=line.name,
        version="0.1.0",
        state="Member" if known else "Joining" if history else "Uninitialized",
        role="Leader" if leads else "Follower",
        term=7 if history else 0,
        commit_index=20_000 if history else 0,
        last_index=20_000 if history else 0,
        epoch=1 if history else 0,
        configuration=configuration if known else Configuration(),
        leader=Leader("old-0") if known else None,
        members=members if leads else (),
        uptime_s=3_600.0,
    )


def planned(desired: Desired, observed: Observed) -> Plan:
    """Return the plan for what an observer has seen."""
    return plan(assess(desired, observed))


def actions_of(made: Plan) -> list[str]:
    """Return the actions, one per line."""
    return [_action_text(action) for action in made.actions]


def blocked_steps(made: Plan) -> list[str]:
    """Return the blocked steps, as `Step subject: blocker`."""
    return [f"{step.name} {step.subject}".strip() + f": {step.blocked_by}" for step in made.steps if step.blocked_by]


def _action_text(action: Action) -> str:
    match action:
        case EnsureWorkload() | ScaleWorkload():
            return f"{type(action).__name__} {action.replicas}"
        case AddLearners() | RemoveLearners():
            return f"{type(action).__name__} {' '.join(member.name for member in action.members)}"
        case ChangeVoters():
            added = [f"+{member.node_id}" for member in action.add]
            return " ".join(["ChangeVoters", *added, *(f"-{member.node_id}" for member in action.remove)])
        case TransferLeadership():
            return f"TransferLeadership {action.leader.name} to {action.to.name}"
        case RestartPod():
            return f"RestartPod {action.name}{' force' if action.force else ''}"
        case RetireVolume():
            return f"RetireVolume {action.name} {'keep' if action.keep else 'delete'}"
        case MarkVolume():
            return f"MarkVolume {action.name}"
        case Bootstrap():
            return f"Bootstrap demo-{action.ordinal}"
        case _:
            return type(action).__name__
