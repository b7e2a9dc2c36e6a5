"""The limits of a Raft group, and the bounds of its election timeout (Raft 5.2)."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.solo import Solo


@pytest.mark.parametrize(
    ("settings", "bounds"),
    [
        pytest.param(RaftSettings(election_ticks=10), (10, 20), id="twice-the-minimum-by-default"),
        pytest.param(RaftSettings(election_ticks=10, election_ticks_max=13), (10, 13), id="as-stated"),
    ],
)
def test_election_timeout_is_drawn_from_its_bounds(settings: RaftSettings, bounds: tuple[int, int]) -> None:
    drawn: list[tuple[int, int]] = []

    def draw(lo: int, hi: int) -> int:
        drawn.append((lo, hi))
        return lo

    Solo(term=1, settings=settings, random_ticks=draw)
    assert drawn[-1] == bounds


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"heartbeat_ticks": 0}, id="no-heartbeat"),
        pytest.param({"heartbeat_ticks": 10, "election_ticks": 10}, id="heartbeat-as-long-as-the-timeout"),
        pytest.param({"election_ticks": 10, "election_ticks_max": 10}, id="no-spread"),
        pytest.param({"message_bytes_max": 0}, id="no-room"),
    ],
)
def test_values_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"allowed: "):
        RaftSettings(**settings)
