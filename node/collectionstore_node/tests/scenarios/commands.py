"""The verbs of `language`. A command returns what it prints; what changed is added by `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.tests.scenarios import acts, network, wording
from collectionstore_node.tests.scenarios.language import Command, Lines
from collectionstore_node.tests.scenarios.stage import Stage

COMMANDS: Final[dict[str, Callable[[Stage, Command], Lines]]] = {
    "cluster": acts.cluster,
    "new": acts.new,
    "tick": acts.tick,
    "pass": acts.pass_time,
    "campaign": acts.campaign,
    "elect": acts.elect,
    "propose": acts.propose,
    "propose-change": acts.propose_change,
    "read": acts.read,
    "transfer": acts.transfer,
    "unreachable": acts.unreachable,
    "write": acts.write,
    "sync": acts.sync,
    "begin_sync": acts.begin_sync,
    "end_sync": acts.end_sync,
    "apply": acts.apply,
    "work": acts.work,
    "crash": acts.crash,
    "restart": acts.restart,
    "wipe": acts.wipe,
    "compact": acts.compact,
    "fail-reads": acts.fail_reads,
    "deliver": network.deliver,
    "drop": network.drop,
    "repeat": network.repeat,
    "hold": network.hold,
    "release": network.release,
    "stabilize": network.stabilize,
    "cut": network.cut,
    "isolate": network.isolate,
    "heal": network.heal,
    "inject": network.inject,
    "wire": network.wire,
    "log": network.each(wording.log),
    "disk": network.each(wording.disk),
    "status": network.each(wording.server),
    "progress": network.progress,
    "snapshot": network.snapshot,
}
