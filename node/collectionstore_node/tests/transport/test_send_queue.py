"""Bounded queues, and the pauses between dials."""

from __future__ import annotations

import msgspec

from collectionstore_node.transport.backoff import Backoff
from collectionstore_node.transport.wire.frames import FrameKind, decode_frame
from collectionstore_node.transport.wire.send_queue import ITEM_BYTES_MAX, Batch, SendQueue


def items(batch: Batch | None) -> list[object]:
    """Return what a batch holds."""
    assert batch is not None
    decoded: list[object] = msgspec.msgpack.decode(decode_frame(b"".join(batch.frame)).payload)
    return decoded


def encoded(value: object) -> bytes:
    """Return one item."""
    return msgspec.msgpack.encode(value)


def test_lane_gives_everything_in_one_frame_in_order() -> None:
    """What was queued together leaves together, first in first out."""
    lane = SendQueue(FrameKind.MESSAGES, 10, 1000)
    assert all(lane.put(encoded(number)) for number in range(5))
    batch = lane.take(1000)
    assert items(batch) == [0, 1, 2, 3, 4]
    assert batch is not None
    assert batch.messages == 5
    assert (len(lane), lane.size_bytes, lane.take(1000)) == (0, 0, None)


def test_lane_refuses_beyond_either_bound() -> None:
    """Count and bytes are bounded each for itself; what was refused leaves no trace."""
    by_count = SendQueue(FrameKind.MESSAGES, 2, 1000)
    assert [by_count.put(b"x") for _ in range(3)] == [True, True, False]
    by_bytes = SendQueue(FrameKind.MESSAGES, 10, 5)
    assert [by_bytes.put(b"xxx"), by_bytes.put(b"xxx"), by_bytes.put(b"xx")] == [True, False, True]
    assert (len(by_bytes), by_bytes.size_bytes) == (2, 5)


def test_lane_refuses_an_item_that_fits_no_frame() -> None:
    """An item that could never be sent is refused at once, not when its turn comes."""
    lane = SendQueue(FrameKind.MESSAGES, 10, 1 << 40)
    assert not lane.put(bytes(ITEM_BYTES_MAX + 1))
    assert lane.put(bytes(ITEM_BYTES_MAX))
    assert lane.take(1) is not None


def test_lane_splits_at_the_target_and_never_gives_an_empty_frame() -> None:
    """A frame holds items up to the target, and one item when that alone is larger."""
    lane = SendQueue(FrameKind.MESSAGES, 10, 1000)
    for text in ("a" * 40, "b", "c", "d" * 20):
        lane.put(encoded(text))
    assert items(lane.take(10)) == ["a" * 40]
    assert items(lane.take(10)) == ["b", "c"]
    assert lane.size_bytes == len(encoded("d" * 20))
    assert items(lane.take(10)) == ["d" * 20]


def test_clear_returns_how_many_were_dropped() -> None:
    """The owner counts what it drops."""
    lane = SendQueue(FrameKind.MESSAGES, 10, 1000)
    lane.put(b"x")
    lane.put(b"y")
    assert (lane.clear(), len(lane), lane.size_bytes) == (2, 0, 0)


def test_only_raft_messages_count_as_messages() -> None:
    """Requests and replies are frames without messages in the metrics."""
    lane = SendQueue(FrameKind.REPLIES, 10, 1000)
    lane.put(encoded("answer"))
    batch = lane.take(100)
    assert batch is not None
    assert batch.messages == 0


def test_backoff_doubles_to_its_bound_and_starts_over() -> None:
    """Pauses double up to the bound; a success starts over."""
    backoff = Backoff(0.1, 0.5, lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(4)] == [0.1, 0.2, 0.4, 0.5]
    assert backoff.next_delay_s(4.0) == 1.6
    backoff.reset()
    assert backoff.next_delay_s() == 0.1


def test_backoff_jitter_stays_in_the_upper_half() -> None:
    """Jitter takes away at most half of a pause, and a very long outage overflows nothing."""
    low, high = Backoff(0.1, 1.0, lambda: 0.0), Backoff(0.1, 1.0, lambda: 0.999)
    assert low.next_delay_s() == 0.05
    assert 0.0999 < high.next_delay_s() < 0.1
    assert [low.next_delay_s() for _ in range(5000)][-1] == 0.5
