"""What may be missing, each with the reason. A run fails on an entry that is no longer needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNSEEN: Final[Mapping[str, str]] = {
    "python_info": "which Python runs is asked for once, by people who look at a bug report, where it is too",
    "process_virtual_memory_bytes": "address space says nothing on Linux; resident memory is what runs out",
}
"""Families that no panel, alert or recording rule uses."""

SILENT: Final[Mapping[tuple[str, str], str]] = {}
"""Panels without data in a run, by dashboard's uid and panel's title: what only a failure that is not provoked would
fill. The value is an expression whose series must exist, all of them 0, which proves that the silence is real."""
