"""Which stage of a request a stack of the node belongs to. Pure.

The stage is that of the innermost frame whose room is in RULES, so that a library counts for the room that called it.
Rooms in TRANSPARENT serve several stages and count for their callers. Stacks without a frame of the node belong to the
event loop or to a library that it calls directly (FOREIGN); what is left is `other`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """The stages in the order of a request; the values are what tables show."""

    PARSE = "parse"
    ROUTE = "route"
    COMMAND = "command"
    PROPOSE = "propose"
    ENCODE = "encode"
    APPEND = "append"
    SYNC = "sync"
    FRAME = "frame"
    RECEIVE = "receive"
    VALIDATE = "validate"
    COMMIT = "commit"
    CONFIRM = "confirm"
    READ = "read"
    APPLY = "apply"
    ANSWER = "answer"
    OBSERVE = "observe"
    LOOP = "loop"
    BACKGROUND = "background"
    OTHER = "other"


MEANINGS: Final = {
    Stage.PARSE: "reads the HTTP request and its JSON",
    Stage.ROUTE: "route, budgets, admission, the HTTP library around the handler",
    Stage.COMMAND: "handler and service: names, preconditions, limits, the command",
    Stage.PROPOSE: "queues the command, joins the waiting ones, forwards",
    Stage.ENCODE: "commands and entries to bytes, their checksums",
    Stage.APPEND: "writes entries to the log",
    Stage.SYNC: "hands over to the sync threads, and their processor time; not the wait for the disk",
    Stage.FRAME: "messages to frames, encryption, writing to peers",
    Stage.RECEIVE: "reads, decrypts and decodes what peers sent",
    Stage.VALIDATE: "checks messages and entries against the log",
    Stage.COMMIT: "replies, commit index, the driver's turn",
    Stage.CONFIRM: "read index: confirms the leadership for reads",
    Stage.READ: "reads the record",
    Stage.APPLY: "applies commands, reads the replaced record, writes the state",
    Stage.ANSWER: "renders the answer and writes it to the client",
    Stage.OBSERVE: "metrics, traces, logs, self-checks",
    Stage.LOOP: "event loop: sockets, tasks, futures, timers",
    Stage.BACKGROUND: "threads of RocksDB: flush and compaction",
    Stage.OTHER: "rooms that belong to no stage",
}

NODE: Final = "collectionstore_node"
TELEMETRY: Final = "collectionstore_telemetry"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function of a stack; `module` is dotted for modules of ours, otherwise the path of a file or library."""

    function: str
    module: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Functions of `room`, and of the modules below it, belong to `stage`; with `words` only those named like one."""

    room: str
    stage: Stage
    words: tuple[str, ...] = ()

    def matches(self, frame: Frame) -> bool:
        inside = frame.module == self.room or frame.module.startswith(f"{self.room}.")
        return inside and (not self.words or any(word in frame.function.lower() for word in self.words))


READING: Final = ("read", "receive", "decode", "feed", "buffer_updated", "on_message")


def _rule(room: str, stage: Stage, *words: str) -> Rule:
    return Rule(f"{NODE}.{room}", stage, words)


RULES: Final = (
    _rule("api.connections", Stage.ROUTE, "start", "handle_request"),
    _rule("api.connections", Stage.ANSWER, "write", "reply", "answered", "drain"),
    _rule("api.connections", Stage.PARSE),
    _rule("api.hot.heads", Stage.PARSE),
    _rule("api.hot.pipeline", Stage.ANSWER, "write", "put", "answer", "sent", "ended", "proceed"),
    _rule("api.hot", Stage.ROUTE),
    _rule("api.stream.codec", Stage.PARSE),
    _rule("api.stream.websocket", Stage.PARSE),
    _rule("api.stream.rendering", Stage.ANSWER),
    _rule("api.stream", Stage.COMMAND),
    _rule("api.http.bodies", Stage.PARSE),
    _rule("api.http.json_bodies", Stage.PARSE),
    _rule("api.http.json_windows", Stage.PARSE),
    _rule("api.http.answers", Stage.ANSWER),
    _rule("api.http.problems", Stage.ANSWER),
    _rule("api.http.instruments", Stage.OBSERVE),
    _rule("api.http", Stage.ROUTE),
    _rule("api.budgets", Stage.ROUTE),
    _rule("api.handlers.write_answers", Stage.ANSWER),
    _rule("api.handlers.read_answers", Stage.ANSWER),
    _rule("api.handlers", Stage.COMMAND),
    _rule("ports", Stage.ROUTE),
    _rule("service", Stage.COMMAND),
    _rule("statemachine.commands", Stage.ENCODE, "encode"),
    _rule("statemachine.codec", Stage.ENCODE, "encode"),
    _rule("statemachine.commands", Stage.COMMAND),
    _rule("statemachine.admissible", Stage.COMMAND),
    _rule("statemachine.costs", Stage.COMMAND),
    _rule("statemachine.reads", Stage.READ),
    _rule("statemachine", Stage.APPLY),
    _rule("replica.consensus.reads", Stage.CONFIRM),
    _rule("replica.consensus", Stage.CONFIRM, "read"),
    _rule("replica.consensus", Stage.PROPOSE),
    _rule("replica.replica", Stage.CONFIRM, "read"),
    _rule("replica.replica", Stage.PROPOSE),
    _rule("replica.peers.forwarding", Stage.PROPOSE),
    _rule("replica.peers.calls", Stage.PROPOSE),
    _rule("replica.peers", Stage.RECEIVE),
    _rule("replica.driver", Stage.COMMIT),
    _rule("replica.persistence.log_writer", Stage.SYNC, "sync"),
    _rule("replica.persistence.log_writer", Stage.APPEND),
    _rule("replica.persistence", Stage.APPLY),
    _rule("replica.observation", Stage.OBSERVE),
    _rule("replica.health", Stage.OBSERVE),
    _rule("replica.reporting", Stage.OBSERVE),
    _rule("replica.comparison", Stage.OBSERVE),
    _rule("raft.tracker.read_index", Stage.CONFIRM),
    _rule("raft.messages", Stage.RECEIVE, "decode"),
    _rule("raft.messages", Stage.ENCODE),
    _rule("raft.replication", Stage.FRAME),
    _rule("raft.validation", Stage.VALIDATE),
    _rule("raft.term_gate", Stage.VALIDATE),
    _rule("raft.follower", Stage.VALIDATE),
    _rule("raft", Stage.COMMIT),
    _rule("storage.stored_entries", Stage.ENCODE, "encode"),
    _rule("storage.log_store", Stage.APPEND),
    _rule("storage.log_cache", Stage.APPEND),
    _rule("storage.tail_marker", Stage.SYNC),
    _rule("transport.listener", Stage.RECEIVE),
    _rule("transport", Stage.RECEIVE, *READING),
    _rule("transport", Stage.FRAME),
    _rule("logs", Stage.OBSERVE),
    _rule("metrics", Stage.OBSERVE),
    _rule("tracing", Stage.OBSERVE),
    _rule("observability", Stage.OBSERVE),
    Rule(TELEMETRY, Stage.OBSERVE),
)
"""The first rule that matches counts: rooms inside a room come before it, rules with words before those without."""

TRANSPARENT: Final = tuple(
    f"{NODE}.{room}"
    for room in (
        *("storage.rocksdb", "storage.database", "storage.failstop", "storage.state_store"),
        *("statemachine.catalog", "statemachine.codec", "statemachine.keys", "statemachine.stored"),
    )
)
ROOTS: Final = (f"{NODE}.__main__", f"{NODE}.app")
"""Below every stack; they say nothing about it."""

FOREIGN: Final = (
    ("http_parser", Stage.PARSE),
    ("_websocket/", Stage.RECEIVE),
    ("WebSocketReader", Stage.RECEIVE),
    ("client_proto.py", Stage.RECEIVE),
    ("SSLProtocol", Stage.RECEIVE),
    ("web_response.py", Stage.ANSWER),
    ("http_writer", Stage.ANSWER),
    ("web_protocol.py", Stage.ROUTE),
    ("/uvloop/", Stage.LOOP),
    ("libuv", Stage.LOOP),
    ("/asyncio/", Stage.LOOP),
    ("_asynciomodule", Stage.LOOP),
    ("concurrent/futures", Stage.SYNC),
)
"""Parts of the file or function of a library, for stacks without a frame of the node that belongs to a stage."""

WAITS: Final = ("epoll_", "pthread_cond_", "futex", "fdatasync", "fsync", "sync_file_range", "sem_", "poll")
"""Functions of the C library in which a thread waits and uses no processor."""
LOCKS: Final = ("PyThread_acquire_lock", "take_gil", "_queue_SimpleQueue_get")
C_LIBRARY: Final = ("libc.so", "libc-", "libpthread")


def stage_of(stack: Sequence[Frame]) -> Stage:
    """Return the stage of a stack, outermost frame first."""
    own = [frame for frame in stack if frame.module not in ROOTS and _is_ours(frame)]
    for frame in reversed(own):
        stage = _stage_by_rule(frame)
        if stage is not None:
            return stage
    if own:
        return Stage.OTHER
    for frame in reversed(stack):
        for part, stage in FOREIGN:
            if part in frame.module or part in frame.function:
                return stage
    return Stage.OTHER


def room_of(stack: Sequence[Frame]) -> str:
    """Return what `other` consists of: the innermost module of ours, otherwise the innermost function."""
    own = [frame.module for frame in stack if _is_ours(frame) and frame.module not in ROOTS]
    return own[-1] if own else f"{stack[-1].function} ({stack[-1].module.rpartition('/')[2]})"


def waits(stack: Sequence[Frame]) -> bool:
    """Return whether a thread waits in this stack, for the kernel, a lock or the interpreter."""
    for frame in reversed(stack):
        if any(word in frame.function for word in LOCKS):
            return True
        if not any(library in frame.module for library in C_LIBRARY):
            return False
        if any(frame.function.startswith(word) for word in WAITS):
            return True
    return False


def _is_ours(frame: Frame) -> bool:
    return frame.module.startswith((f"{NODE}.", f"{TELEMETRY}."))


def _stage_by_rule(frame: Frame) -> Stage | None:
    rule = next((rule for rule in RULES if rule.matches(frame)), None)
    if rule is None or (not rule.words and _is_transparent(frame)):
        return None
    return rule.stage


def _is_transparent(frame: Frame) -> bool:
    return any(frame.module == room or frame.module.startswith(f"{room}.") for room in TRANSPARENT)
