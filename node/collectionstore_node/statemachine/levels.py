"""Feature levels: which meaning the log has, switched for the whole cluster at one entry.

Members of two versions run together during an upgrade, and must compute the same from the same entry. So a change of
what apply does is a new level. The level is part of the replicated state and starts at 1. Once every member supports a
higher one, the leader proposes an entry of that level; from that entry on, every member applies every command by it
(etcd's cluster version, CockroachDB's version gates; docs/adr/0009).

The level of an entry is the first byte of its data. A program that does not know it refuses the entry, and so does one
that opens a data directory or a snapshot of a raised level, because both have a higher format number then. A level is
never lowered: before it is raised a downgrade works, after it none does.

A new level is one constant here, and an `if` on `header.level` at the place that changes. What earlier levels do must
stay as it is, bit for bit, for as long as upgrades from them are promised.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 1
"""Level of a new cluster, and of versions without feature levels."""

BOUNDED: Final = 2
"""Costs of commands and entries are bounded (`costs`), outcomes and the idempotency table hold no values, and the
replicated time advances by bounded steps (`header.advance`)."""

ENGINE: Final = 3
"""Documents can be updated where they are (`Update`), and have secondary indexes."""

CHANGES: Final = 4
"""Changes are kept for a while, for watches and reads of the past; documents expire; collections have options."""

HIGHEST: Final = CHANGES
"""The highest level that this program supports."""
