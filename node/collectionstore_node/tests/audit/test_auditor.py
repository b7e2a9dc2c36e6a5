"""What strangers can do to the audit log: nothing that takes the place of a record, or refuses a request."""

from __future__ import annotations

import pytest

from collectionstore_node.audit.auditor import RESERVED_BYTES, Auditor
from collectionstore_node.audit.feeder import Feeder
from collectionstore_node.audit.rules import Rules
from collectionstore_node.audit.settings import Blocking
from collectionstore_node.tests.audit.recorded import RecordedSeries, RecordedSink, Time, event


@pytest.mark.parametrize("blocking", ["Always", "WhenFailing", "Never"])
async def test_a_flood_of_refusals_leaves_room_for_the_records_of_others(blocking: Blocking) -> None:
    """The sink takes nothing meanwhile: a request that was let in before the flood, and one behind it, are recorded."""
    time = Time()
    feeder = Feeder(
        "file",
        RecordedSink(),
        RecordedSeries(),
        bytes_max=40 * RESERVED_BYTES,
        clock=time.clock,
        wall_ms=lambda: 42,
        sleep=time.sleep,
        random=lambda: 0.5,
    )
    auditor = Auditor((feeder,), Rules(), blocking=blocking, random=lambda: 0.5)
    before = auditor.begin("ada", "write", "books")

    for number in range(10_000):
        auditor.record(event(number, user="", status=401), begun=False)

    queued = feeder.queued
    assert feeder.dropped == 10_000 - queued > 0
    for taken in (before, auditor.begin("ada", "write", "books")):
        auditor.release(taken)
        auditor.record(event(user="ada", id="x" * 512))
    # With one record of what was lost.
    assert (feeder.queued, feeder.dropped) == (queued + 3, 10_000 - queued)
