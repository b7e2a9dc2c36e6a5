"""docs/reference/expiry.md, leases.md and docs/concepts/locks.md describe what the code does."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.api.handlers.locks import OWNER_CHARACTERS_MAX
from collectionstore_node.service.expirer import TICK_S
from collectionstore_node.service.leases import ATTACHED_SHOWN_MAX
from collectionstore_node.service.locks import LOOK_S, WAITING_MAX
from collectionstore_node.statemachine.costs import EXPIRE_COST, EXPIRE_ITEMS, LEASE_RECORDS_MAX, LEASES_MAX
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.ttl import TTL_ALLOWED

DOCS = Path(__file__).parents[4] / "docs"
EXPIRY = (DOCS / "reference" / "expiry.md").read_text()
LEASES = (DOCS / "reference" / "leases.md").read_text()
LOCKS = (DOCS / "concepts" / "locks.md").read_text()


def test_limits_are_as_written() -> None:
    assert f"from {TTL_ALLOWED.partition(':')[0]}, or `none`" in EXPIRY
    assert f"each of at most {EXPIRE_ITEMS} records, {EXPIRE_COST >> 20} MiB" in EXPIRY
    assert f"up to {TICK_S:g} s on top" in EXPIRY
    assert f"more than {TIME_STEP_MAX_MS // 60_000} minutes counts them as {TIME_STEP_MAX_MS // 60_000}" in EXPIRY
    assert f"(../operate/upgrades.md) {CHANGES}:" in EXPIRY
    assert f"{LEASES_MAX:,} leases in a store, and {LEASE_RECORDS_MAX:,} records" in LEASES
    assert f"the first {ATTACHED_SHOWN_MAX:,} of the records" in LEASES
    assert f"up to {OWNER_CHARACTERS_MAX} characters" in LOCKS
    assert f"every {LOOK_S * 1_000:g} ms" in LOCKS
    assert f"{WAITING_MAX} requests wait on a member" in LOCKS
