"""A bank in whole clusters under faults: its transactions are serializable, and its rules are kept."""

from __future__ import annotations

from collections import Counter

import pytest

from collectionstore_node.tests.simulation import world
from collectionstore_testkit.histories.draft import Draft

SEEDS = 6


@pytest.mark.parametrize("seed", range(1_000, 1_000 + SEEDS))
def test_the_rules_of_the_bank_hold_under_faults(seed: int) -> None:
    """The total at every revision, no write skew, no phantom, and every read as it was read; see `Bank.check`."""
    report = world.run(seed, bank=True)
    done = Counter[str]()
    for name, count in report.transactions.items():
        done[name.rpartition(" ")[2]] += count
    assert done["committed"] > 10
    assert done["audit"] > 0


def test_a_bank_whose_reads_are_not_checked_breaks_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the clients state as read is dropped: then the check must find what snapshot isolation allows."""
    body = Draft.body
    monkeypatch.setattr(Draft, "body", lambda draft: body(draft) | {"reads": []})
    seen = []
    for seed in range(1_000, 1_010):
        try:
            world.run(seed, bank=True)
        except AssertionError as error:
            seen.append(str(error))
            break
    assert len(seen) == 1
    assert "has read" in seen[0] or "has found" in seen[0] or "hold" in seen[0] or "is booked" in seen[0]
