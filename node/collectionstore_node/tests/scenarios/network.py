"""What happens to messages, and looking at what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collectionstore_node.raft import messages
from collectionstore_node.raft.messages import Message
from collectionstore_node.tests.raft.cluster import Server
from collectionstore_node.tests.scenarios import wording
from collectionstore_node.tests.scenarios.language import Command, Lines, check_types, chosen
from collectionstore_node.tests.scenarios.stage import Stage, parted

# Network


def deliver(stage: Stage, command: Command) -> Lines:
    return _handed_over(stage, command, lost=False)


def drop(stage: Stage, command: Command) -> Lines:
    return _handed_over(stage, command, lost=True)


def _handed_over(stage: Stage, command: Command, *, lost: bool) -> Lines:
    due, stage.wire = parted(stage.wire, chosen(command))
    for message in due:
        stage.deliver(message, lost=lost)
    return [wording.message(message) for message in due]


def repeat(stage: Stage, command: Command) -> Lines:
    again, _ = parted(stage.wire, chosen(command))
    stage.wire += again
    return [wording.message(message) for message in again]


def hold(stage: Stage, command: Command) -> Lines:
    held, stage.wire = parted(stage.wire, chosen(command))
    stage.aside += held
    return [wording.message(message) for message in held]


def release(stage: Stage, command: Command) -> Lines:
    released, stage.aside = parted(stage.aside, chosen(command))
    stage.wire += released
    return [wording.message(message) for message in released]


def stabilize(stage: Stage, command: Command) -> Lines:
    kept = [kind for kind in command.options.get("except", "").split(",") if kind]
    check_types(kept)
    stage.stabilize(set(command.nodes()) or set(stage.servers), kept=kept)
    return []


def cut(stage: Stage, command: Command) -> Lines:
    if ">" in command.words[0]:
        one, other = command.words[0].split(">")
        stage.block(int(one), int(other), both=False)
    else:
        stage.block(command.node(), command.node(1))
    return []


def isolate(stage: Stage, command: Command) -> Lines:
    stage.isolate(*command.nodes())
    return []


def heal(stage: Stage, command: Command) -> Lines:
    stage.heal()
    return []


def inject(stage: Stage, command: Command) -> Lines:
    sender, to = command.words[1].split(">")
    check_types(command.words[:1])
    kind = getattr(messages, command.words[0])
    fields: dict[str, Any] = {name: value == "yes" or int(value) for name, value in command.options.items()}
    if kind is messages.AppendEntries:
        fields["entries"] = ()
    elif kind is messages.InstallSnapshot:
        fields["metadata"] = stage.server(int(sender)).log.snapshot()
    message: Message = kind(sender=int(sender), to=int(to), **fields)
    stage.transmit(message)
    return [wording.message(message)]


# Looking


def wire(stage: Stage, command: Command) -> Lines:
    return [wording.message(message) for message in parted(stage.wire, chosen(command))[0]]


def each(show: Callable[[Server], str]) -> Callable[[Stage, Command], Lines]:
    def look(stage: Stage, command: Command) -> Lines:
        return [show(stage.server(node_id)) for node_id in command.nodes() or sorted(stage.servers)]

    return look


def progress(stage: Stage, command: Command) -> Lines:
    return wording.progress(stage.server(command.node()))


def snapshot(stage: Stage, command: Command) -> Lines:
    metadata = stage.server(command.node()).log.snapshot()
    return [f"at {metadata.index}@{metadata.term}, {wording.configuration(metadata.configuration)}"]
