"""All attacks, by name, in the order in which they run."""

from __future__ import annotations

from typing import Final

from collectionstore_attack.attacks import (
    bodies,
    calls,
    connections,
    disks,
    idempotency,
    listings,
    malformed,
    queries,
    streams,
    transactions,
    uploads,
    watches,
)
from collectionstore_attack.field import Attack

ATTACKS: Final[dict[str, Attack]] = {
    attack.name: attack
    for room in (
        transactions,
        idempotency,
        bodies,
        listings,
        queries,
        connections,
        uploads,
        malformed,
        streams,
        watches,
        calls,
        disks,
    )
    for attack in room.ATTACKS
}
"""Attacks on disks come last: they leave the largest traces."""
