"""The language of the stories: a verb, what it is about, and `name=value` options.

Cluster     cluster 1 2 3 [learners=4,5] [setting=value ...]    nodes whose log begins with this configuration
            new 4                                                a node with an empty disk
Time        tick N [node ...]          N ticks for these nodes (default: all), nothing else moves
            pass N                     N ticks for all, everything comes to rest after each
Nodes       campaign 1 | elect 1       stand for election; `elect` by order of the leader, which overrides leases
            propose 1 "data"           print where the entry is, or why it was refused
            propose-change 1 +4 ~5 -3  add a voter, add a learner (or demote), remove; `leave` ends a joint phase
            read 1 7                   ask for a linearizable read under the id 7
            transfer 1 2               1 hands leadership to 2
            unreachable 1 2            report to 1 that messages to 2 were lost
Disk        write 1                    take what the core wants done: send, write without a sync, and stop there
            sync 1                     make it durable, and send what waited for that
            apply 1                    apply what is committed, and tell the core that all is done
            work 1 [...]               all three until nothing is left
            crash 1 [keep=N|all]       stop without warning; of the unsynced writes the first N survive (default: none)
            restart 1 [...]            start from what is on the disk
            wipe 1 [as=6]              the disk is lost; `as` is the incarnation drawn for the empty one
            compact 1 [keep=N]         drop the log up to what is applied
            fail-reads 1               from now on reading the stored log fails
Network     deliver [which]            hand over what is on the wire now
            drop [which]               lose it
            repeat [which]             put it on the wire once more
            hold [which] | release [which]   take it aside, and put it back
            stabilize [node ...] [except=Type,Type]   work and deliver among these nodes (default: all) until
                                       nothing moves; messages of the types excepted stay on the wire
            cut 1 2 | cut 1>2          nothing gets through, both ways or one way
            isolate 1 2 | heal         cut these off from all others; mend everything
            inject Type 1>2 field=n    send what no node of ours has sent; an append without entries, a snapshot of what
                                       the sender has compacted
Looking     wire [which] | log [node ...] | disk [node ...] | status [node ...] | progress 1 | snapshot 1

`which`: any number of message types and of links (`1>2`, `1>*`, `*>2`), and `count=N` for the first N only.
Every command prints its own result and then what changed: alarms, roles, configurations, commits, reads.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from collectionstore_node.raft.messages import Change, ChangeKind, ConfigChange, Message, NodeId
from collectionstore_node.tests.scenarios import wording

Lines: TypeAlias = list[str]
"""What a command prints."""

MESSAGE_TYPES: Final = frozenset(
    {
        "RequestVote",
        "PreVote",
        "VoteReply",
        "PreVoteReply",
        "AppendEntries",
        "AppendReply",
        "Heartbeat",
        "HeartbeatReply",
        "InstallSnapshot",
        "TimeoutNow",
        "ReadIndexRequest",
        "ReadIndexReply",
    }
)
_OPTIONS: Final = frozenset({"as", "count", "except", "keep"})
_FREE_OPTIONS: Final = frozenset({"cluster", "inject"})
"""Verbs whose options are settings or fields of a message."""
_KINDS: Final = {sign: kind for kind, sign in wording.SIGNS.items()}


@dataclass(frozen=True, slots=True)
class Command:
    """A command taken apart."""

    verb: str
    words: tuple[str, ...]
    options: dict[str, str]

    def node(self, position: int = 0) -> NodeId:
        return NodeId(int(self.words[position]))

    def nodes(self, start: int = 0) -> list[NodeId]:
        return [NodeId(int(word)) for word in self.words[start:]]


def parse(line: str) -> Command:
    """Take a command line apart. Raises `ValueError` for an option that no command has."""
    verb, *rest = shlex.split(line)
    if verb == "propose":
        return Command(verb, tuple(rest), {})
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    if verb not in _FREE_OPTIONS and options.keys() - _OPTIONS:
        raise ValueError(f"no such option: {sorted(options.keys() - _OPTIONS)}")
    return Command(verb, tuple(word for word in rest if "=" not in word), options)


def chosen(command: Command) -> Callable[[Message], bool]:
    """Return which messages a command speaks of. Raises `ValueError` for what is neither a type nor a link."""
    types = {word for word in command.words if ">" not in word}
    links = {word for word in command.words if ">" in word}
    check_types(types)
    left = int(command.options.get("count", 1 << 30))

    def is_chosen(message: Message) -> bool:
        nonlocal left
        sender, to = message.sender, message.to
        known = not types or wording.type_of(message) in types
        known = known and (not links or bool(links & {f"{sender}>{to}", f"{sender}>*", f"*>{to}"}))
        left -= known
        return known and left >= 0

    return is_chosen


def check_types(names: Collection[str]) -> None:
    """Raise `ValueError` for a name that is no message type."""
    for name in names:
        if name not in MESSAGE_TYPES:
            raise ValueError(f"{name} is no message type")


def config_change(words: tuple[str, ...]) -> ConfigChange:
    """Return the change of membership that words like `+4` or `leave` ask for."""
    if words == ("leave",):
        return ConfigChange()
    return ConfigChange(tuple(Change(_kind(word), NodeId(int(word[1:]))) for word in words))


def _kind(word: str) -> ChangeKind:
    return _KINDS[word[0]]
