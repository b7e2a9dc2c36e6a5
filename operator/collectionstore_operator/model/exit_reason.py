"""Why a storage node ended, from the end of its log. Pure."""

from __future__ import annotations

import json
import re
from typing import Final

LENGTH_MAX: Final = 300
REFUSED: Final = 65
"""Exit code of a node that refuses its data directory."""
TOO_NEW: Final = 76
"""Exit code of a node whose data another version reads."""
_OLD_REFUSAL: Final = re.compile(r"has data format [0-9]+; this version reads formats [0-9]+ to [0-9]+")


def is_too_new(code: int, reason: str) -> bool:
    """Return whether a node ended because its data is of a newer level than its program: exit code 76.

    Versions before that code end with 65, as for data that is damaged, and say what they found: a downgrade is to one.
    """
    return code == TOO_NEW or (code == REFUSED and _OLD_REFUSAL.search(reason) is not None)


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
