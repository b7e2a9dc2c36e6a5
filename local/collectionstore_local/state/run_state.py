"""The desired run state of a cluster: `csctl local up` sets Running, `csctl local down` sets Stopped."""

from __future__ import annotations

import enum

from collectionstore_local.state.directory import ClusterDirectory, read_json, write_json


class RunState(enum.Enum):
    """What the supervisor has to do with the nodes. The values are those in intent.json."""

    RUNNING = "Running"
    STOPPED = "Stopped"
    """Stop every node, keep its data, and exit."""


def read_run_state(directory: ClusterDirectory) -> RunState:
    """Return the desired run state; Running until `down` sets another one."""
    content = read_json(directory.run_state)
    return RunState(content["run"]) if content else RunState.RUNNING


def write_run_state(directory: ClusterDirectory, state: RunState) -> None:
    """Set the desired run state, durably."""
    write_json(directory.run_state, {"run": state.value})
