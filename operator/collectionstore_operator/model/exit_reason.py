"""Why a storage node ended, from the end of its log. Pure."""

from __future__ import annotations

import json
from typing import Final

LENGTH_MAX: Final = 300


def exit_reason(log: str) -> str:
    """Return the `reason` of the last line of a node's log that is JSON and has one; empty if none does.

    A node logs why it ends as its last line (`node.refused`, `disk.failed`, `node.failed`). In Kubernetes `log` is the
    termination message (FallbackToLogsOnError), whose first line may be cut off.
    """
    for line in reversed(log.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut off, or not from the node's logger
        reason = entry.get("reason") if isinstance(entry, dict) else None
        if isinstance(reason, str) and reason:
            return " ".join(reason.split())[:LENGTH_MAX]
    return ""
