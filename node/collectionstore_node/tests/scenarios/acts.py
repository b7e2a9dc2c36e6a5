"""What happens to nodes and disks: the cluster, time, requests, storage, crashes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from collectionstore_node.errors import Fatal, InvalidRequest, NotNow
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.scenarios import wording
from collectionstore_node.tests.scenarios.language import Command, Lines, config_change
from collectionstore_node.tests.scenarios.stage import Stage

# Cluster and time


def cluster(stage: Stage, command: Command) -> Lines:
    options = dict(command.options)
    learners = [int(word) for word in options.pop("learners", "").split(",") if word]
    settings = msgspec.convert(options, dict[str, int | bool], strict=False)
    stage.settings = RaftSettings(**settings)  # type: ignore[arg-type]
    stage.found(command.nodes(), learners)
    return []


def new(stage: Stage, command: Command) -> Lines:
    stage.add(command.node())
    return []


def tick(stage: Stage, command: Command) -> Lines:
    for node_id in command.nodes(1) or list(stage.servers):
        for _ in range(int(command.words[0])):
            if stage.servers[node_id].alive:
                with stage.stopping(node_id):
                    stage.servers[node_id].tick()
    return []


def pass_time(stage: Stage, command: Command) -> Lines:
    for _ in range(command.node()):
        tick(stage, Command("tick", ("1",), {}))
        stage.settle()
    return []


# Nodes


def campaign(stage: Stage, command: Command) -> Lines:
    stage.server(command.node()).core.campaign()
    return []


def elect(stage: Stage, command: Command) -> Lines:
    stage.elect(command.node())
    return []


def propose(stage: Stage, command: Command) -> Lines:
    data = command.words[1].encode()
    return _proposed(lambda: stage.server(command.node()).core.propose(data))


def propose_change(stage: Stage, command: Command) -> Lines:
    change = config_change(command.words[1:])
    return _proposed(lambda: stage.server(command.node()).core.propose_change(change))


def _proposed(action: Callable[[], tuple[int, int]]) -> Lines:
    try:
        index, term = action()
    except (NotNow, InvalidRequest) as error:
        return [f"refused: {error} ({type(error).__name__})"]
    return [f"{index}@{term}"]


def read(stage: Stage, command: Command) -> Lines:
    stage.server(command.node()).read(int(command.words[1]))
    return []


def transfer(stage: Stage, command: Command) -> Lines:
    try:
        stage.server(command.node()).core.transfer_leadership(command.node(1))
    except (NotNow, InvalidRequest) as error:
        return [f"refused: {error} ({type(error).__name__})"]
    return []


def unreachable(stage: Stage, command: Command) -> Lines:
    stage.server(command.node()).core.report_unreachable(command.node(1))
    return []


# Disk


def write(stage: Stage, command: Command) -> Lines:
    server = stage.server(command.node())
    known, held = len(stage.wire), set(server.core.held)
    with stage.stopping(server.node_id):
        server.begin_io()
    ready = server.writing
    if ready is None:
        return []
    lines = [f"sends {wording.message(message)}" for message in stage.wire[known:]]
    if ready.snapshot is not None:
        lines.append(f"installs the snapshot at {ready.snapshot.index}@{ready.snapshot.term}")
    if ready.entries:
        lines.append(f"writes {wording.entries(ready.entries)}")
    if ready.hard_state is not None:
        state = ready.hard_state
        lines.append(f"writes term {state.term}, voted {state.vote or 'none'}, commit {state.commit}")
    lines += [f"holds back {wording.message(message)}" for message in server.core.held if message not in held]
    if ready.committed:
        lines.append(f"has to apply {wording.entries(ready.committed)}")
    return lines


def sync(stage: Stage, command: Command) -> Lines:
    server = stage.server(command.node())
    if not server.syncing and not server.backlog and server.writing is None:
        raise ValueError(f"{server.node_id} has written nothing that waits for a sync")
    known = len(stage.wire)
    server.sync_io()
    return [f"sends {wording.message(message)}" for message in stage.wire[known:]]


def begin_sync(stage: Stage, command: Command) -> Lines:
    server = stage.server(command.node())
    if not server.begin_sync():
        raise ValueError(f"{server.node_id} has written nothing that waits for a sync, or syncs already")
    return []


def end_sync(stage: Stage, command: Command) -> Lines:
    server = stage.server(command.node())
    if not server.syncing:
        raise ValueError(f"{server.node_id} does not sync")
    known = len(stage.wire)
    server.end_sync()
    return [f"sends {wording.message(message)}" for message in stage.wire[known:]]


def apply(stage: Stage, command: Command) -> Lines:
    server = stage.server(command.node())
    if server.writing is None:
        raise ValueError(f"{server.node_id} has nothing to apply")
    with stage.stopping(server.node_id):
        server.advance_io()
    return []


def work(stage: Stage, command: Command) -> Lines:
    for node_id in command.nodes():
        with stage.stopping(node_id):
            stage.server(node_id).run_io()
    return []


def crash(stage: Stage, command: Command) -> Lines:
    keep = command.options.get("keep", "0")
    for node_id in command.nodes():
        server = stage.server(node_id)
        server.crash(server.disk.unsynced if keep == "all" else int(keep))
    return []


def restart(stage: Stage, command: Command) -> Lines:
    lines = []
    for node_id in command.nodes():
        server = stage.server(node_id)
        try:
            server.start()
        except Fatal as error:
            lines.append(f"{node_id}: refuses to start: {error}")
            continue
        lines.append(wording.server(server))
    return lines


def wipe(stage: Stage, command: Command) -> Lines:
    lost = stage.server(command.node())
    lost.crash()
    del stage.servers[lost.node_id]
    stage.watcher.excuse(lost.node_id)
    stage.news()
    stage.add(int(command.options.get("as", lost.node_id)))
    return []


def compact(stage: Stage, command: Command) -> Lines:
    server = stage.server(command.node())
    server.compact(int(command.options.get("keep", "0")))
    server.disk.sync()
    return [wording.log(server)]


def fail_reads(stage: Stage, command: Command) -> Lines:
    stage.server(command.node()).disk.unreadable = True
    return []
