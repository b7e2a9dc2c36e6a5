"""Whether a cluster is meant to run: what `up` and `down` said last, kept until the other is said."""

from __future__ import annotations

import enum

from collectionstore_local.state.directory import ClusterDirectory, read_json, write_json


class Intent(enum.Enum):
    """What the supervisor is to do with the nodes."""

    RUNNING = "Running"
    STOPPED = "Stopped"
    """Stop every node, keep its data, and end."""


def read_intent(directory: ClusterDirectory) -> Intent:
    """Return what was said last; a cluster of which nothing was said is meant to run."""
    content = read_json(directory.intent)
    return Intent(content["run"]) if content else Intent.RUNNING


def write_intent(directory: ClusterDirectory, intent: Intent) -> None:
    """Say what is meant, durably."""
    write_json(directory.intent, {"run": intent.value})
